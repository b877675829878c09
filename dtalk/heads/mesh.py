"""Heads of any mesh that trimesh reads: put upright and to scale, then rigged.

What a file does not say (its unit, which way is up, where the eyes are) is found by laying the
built-in face onto it: closest points from many starts (Besl and McKay 1992, with scale after
Umeyama 1991), places and normals judged together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.eyes import RiggedHead, close_lids, eye_about
from dtalk.heads.head import built_in, shapes_from_fields
from dtalk.heads.mesh_files import read_mesh
from dtalk.heads.transfer.cache import transfer_to
from dtalk.heads.transfer.landmarks import face_of
from dtalk.heads.transfer.surface import NORMAL_LENGTH, Points, Skin, pieces, sphere
from dtalk.heads.transfer.transfer import Transfer, head_arrays
from dtalk.utils.types import Array, IntArray, Progress

# First rough tries from many starts, then the best of them with more points: points of the face, of
# the mesh, steps.
ROUGH, FINE = (120, 1200, 10), (500, 6000, 50)
BEST = 6
FRONT = ((-0.065, -0.105, -0.03), (0.065, 0.05, 0.06))  # of the face, metres from between the eyes
SCALES = (0.7, 1.0, 1.5)  # of the mesh, relative to the built-in head of the same spread
KEPT = 0.8  # share of the points that count: the others may have nothing to lie on
WORST = 0.012  # metres, normals counted in: what is farther away is no face
EYE_PLACE, EYE_SIZES, ROUND = 0.02, (0.006, 0.025), 0.08  # metres, metres, share of the radius


@dataclass(frozen=True)
class Similarity:
    """The similarity ``scale * rotation @ point + shift``."""

    scale: float
    rotation: Points
    shift: Points

    def __call__(self, points: Points) -> Points:
        return self.scale * points @ self.rotation.T + self.shift

    def inverse(self) -> Similarity:
        """Invert the similarity."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.shift) / self.scale)


def load_mesh_head(path: Path, folder: Path, progress: Progress) -> RiggedHead:
    """Load the head of a mesh file; see `dtalk.heads.load.load_head`.

    Raises:
        HeadError: missing, damaged, of no known format, or no face can be found in it.
    """
    vertices, faces = read_mesh(path)
    onto = place_face(vertices, faces)
    if onto is None:
        raise HeadError(f"cannot use head {path}: no face was found in it")
    upright = onto.inverse()(vertices)
    balls = find_eyes(upright, faces)
    places = upright.astype(np.float32)
    transferred = transfer_to(places, faces, balls, folder, progress)
    return mesh_head(places, faces, transferred, balls)


def place_face(vertices: Points, faces: IntArray) -> Similarity | None:
    """Find the similarity that lays the built-in head onto a mesh; None if none fits."""
    middle = vertices.mean(axis=0)
    spread = np.sqrt(((vertices - middle) ** 2).sum(axis=1).mean())
    if not spread > 0:
        return None
    own = face_of(built_in()).skin.vertices
    unit = spread / np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=1).mean())
    sized = Skin((vertices - middle) / unit, faces)
    rough, fine = (_Search(sized, points) for points in (ROUGH, FINE))
    starts = [
        Similarity(scale, turn, -scale * turn @ own.mean(axis=0))
        for turn in Rotation.create_group("I").as_matrix()
        for scale in SCALES
    ]
    tries = sorted((rough.run(start) for start in starts), key=lambda found: found[0])
    cost, best = min((fine.run(way) for _, way in tries[:BEST]), key=lambda found: found[0])
    if cost > WORST:
        return None
    return Similarity(best.scale * unit, best.rotation, unit * best.shift + middle)


def _front() -> tuple[Points, Points]:
    """Get points of the built-in face's front in random order, with normals."""
    face = face_of(built_in())
    places, normals = face.skin.vertices, face.skin.normals()
    middle = face.eyes.mean(axis=0)
    low, high = (middle + np.array(corner) for corner in FRONT)
    front = np.flatnonzero(((places > low) & (places < high)).all(axis=1) & (normals[:, 2] > 0))
    chosen = np.random.default_rng(0).permutation(front)
    return places[chosen], normals[chosen]


class _Search:
    """Iterative closest points (ICP) from one start."""

    def __init__(self, mesh: Skin, points: tuple[int, int, int]) -> None:
        face, front, self._steps = points
        self._face, self._normals = (array[:face] for array in _front())
        chosen = np.random.default_rng(0).permutation(len(mesh.vertices))[:front]
        self._there = mesh.vertices[chosen]
        normals = NORMAL_LENGTH * mesh.normals()[chosen]
        self._tree = cKDTree(np.concatenate((self._there, normals), axis=1))

    def run(self, way: Similarity) -> tuple[float, Similarity]:
        """Iterate; return the final error, metres on the built-in head, and the similarity."""
        for _ in range(self._steps):
            apart, found = self._partners(way)
            close = np.argsort(apart, kind="stable")[: int(KEPT * len(apart))]
            way = umeyama(self._face[close], self._there[found[close]])
            if not 0.3 < way.scale < 4:
                return np.inf, way
        apart, _ = self._partners(way)
        kept = np.sort(apart)[: int(KEPT * len(apart))]
        return float(np.sqrt((kept**2).mean())) / min(way.scale, 1.0), way

    def _partners(self, way: Similarity) -> tuple[Points, IntArray]:
        turned = NORMAL_LENGTH * self._normals @ way.rotation.T
        apart, found = self._tree.query(np.concatenate((way(self._face), turned), axis=1))
        return apart, found


def umeyama(before: Points, after: Points) -> Similarity:
    """Find the similarity that takes points [N, 3] closest to others."""
    here, there = before.mean(axis=0), after.mean(axis=0)
    left, stretch, right = np.linalg.svd((after - there).T @ (before - here))
    flip = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left * flip @ right
    size = ((before - here) ** 2).sum()
    scale = float((stretch * flip).sum() / max(size, 1e-12))
    return Similarity(scale, rotation, there - scale * rotation @ here)


def find_eyes(vertices: Points, faces: IntArray) -> Sequence[IntArray]:
    """Find the eyeballs of an upright head, left and right: round pieces where eyes are."""
    labels = pieces(len(vertices), faces)
    balls: list[IntArray] = []
    for centre in face_of(built_in()).eyes:
        near = []
        for label in np.unique(labels):
            piece = np.flatnonzero(labels == label)
            if len(piece) < 12:
                continue
            middle, radius = sphere(vertices[piece])
            off = np.abs(np.linalg.norm(vertices[piece] - middle, axis=1) - radius)
            apart = float(np.linalg.norm(middle - centre))
            sized = EYE_SIZES[0] < radius < EYE_SIZES[1] and off.max() < ROUND * radius
            if sized and apart < EYE_PLACE:
                near.append((apart, piece))
        if near:
            balls.append(min(near, key=lambda found: found[0])[1])
    return balls if len(balls) == 2 else []


def mesh_head(
    vertices: Array, faces: IntArray, transferred: Transfer, balls: Sequence[IntArray]
) -> RiggedHead:
    """Make a head of any mesh with what was transferred to it and its two eyeballs, if any."""
    eyes = []
    for ball in balls:
        centre, _ = sphere(vertices[ball].astype(np.float64))
        shares = np.ones(len(ball), dtype=np.float32)
        eyes.append(eye_about(vertices, transferred.fields, ball, shares, centre))
    head = RiggedHead(
        **head_arrays(transferred, vertices, faces),
        shapes=shapes_from_fields(transferred.fields),
        eyes=tuple(eyes),
    )
    return close_lids(head)
