"""Transfer of the built-in head's shapes, regions and colours to another head's vertices.

The other head may have any triangles and proportions. Both are brought together in steps:

1. Landmarks (eyes, nose, mouth, chin, ears), found in the same way on both, and a smooth warp
   through them (a biharmonic spline).
2. The built-in head's skin, warped so, is deformed onto the other's, stiff at first and ever softer
   (non-rigid iterative closest points; Amberg, Romdhani and Vetter 2007). What is close is judged
   by place and normal together: an upper lip is close to an upper lip, however little the two lips
   are apart.
3. Each vertex of the other skin takes what the closest point of the deformed skin has:
   displacements, turned and scaled by what the way there does to its surroundings. Where nothing
   is close (the depth of mouth and eye sockets), they go on smoothly from where something is.

Lengths are metres, y is up, the face looks along +z, in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from dtalk.errors import HeadError
from dtalk.heads.head import PARTS, Head
from dtalk.heads.transfer.correspondence import STEPS, Match, match, transfer_values
from dtalk.heads.transfer.landmarks import Face, eye_centres, face_of, skin_of
from dtalk.heads.transfer.surface import NORMAL_LENGTH, Points, Skin, pieces, submesh, unit_vectors
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array, IntArray, Progress

VERSION = 1  # of everything below: results of another one are not reused
BROW, BROW_SOFTNESS = 0.7, 0.002  # how strongly brows are painted; metres from a hair


def _span(eyes: Points) -> float:
    return float(np.linalg.norm(eyes[0] - eyes[1]))


# --- everything a head needs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Transfer:
    """The result of a transfer; arrays as in `dtalk.heads.head.Head`.

    Attributes:
        fields: float32 [52, V, 3], metres. Eyeballs have none: they are to be turned.
    """

    fields: Array
    colors: Array
    parts: npt.NDArray[np.uint8]
    lips: IntArray
    upper_face: IntArray
    opening: IntArray
    corners: IntArray


def transfer(
    source: Head,
    vertices: npt.ArrayLike,
    faces: npt.ArrayLike,
    eyes: Sequence[IntArray],
    progress: Progress = lambda done, total: None,
) -> Transfer:
    """Transfer all that ``source`` has to a mesh of a head.

    Args:
        source: the head with the 52 shapes.
        vertices, faces: [V, 3], upright, of about a head's size in metres, and [F, 3].
        eyes: vertices of the left and of the right eyeball; the others are skin.
        progress: called with the steps done and all steps.

    Raises:
        HeadError: the mesh has no face that could be found.
    """
    given = face_of(source)
    target = _laid(given, np.asarray(vertices, np.float64), np.asarray(faces, np.int64), eyes)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, STEPS)

    found = match(given, target.face, step)
    fields = np.zeros((len(ARKIT_NAMES), len(target.places), 3), dtype=np.float32)
    colors = np.zeros((len(target.places), 3), dtype=np.float32)
    parts = np.zeros(len(target.places), dtype=np.uint8)
    fields[:, target.skin] = _skin_fields(source, found, target.face.skin)
    colors[target.skin] = _skin_colors(source, found)
    for ball, centre in zip(eyes, target.face.eyes):
        colors[ball] = _eye_colors(source, given, target.places[ball] - centre)
        parts[ball] = PARTS.index("eye")
    near = _nearest_of_all(source, found, target.places[target.loose])
    fields[:, target.loose] = _fields(source)[:, near]
    colors[target.loose], parts[target.loose] = source.colors[near], source.parts[near]
    fields *= np.float32(target.scale)
    return Transfer(fields, colors, parts, **_regions(source, given.skin, found, target.skin))


@dataclass(frozen=True)
class _Laid:
    """A mesh, moved and scaled so that its eyes lie on the source's.

    Attributes:
        places: [V, 3], and ``face``, of its skin only.
        skin, loose: vertices of the skin, and of what is neither skin nor eyeball.
        scale: lengths in the mesh per length here.
    """

    places: Points
    face: Face
    skin: IntArray
    loose: IntArray
    scale: float


def _laid(source: Face, places: Points, faces: IntArray, eyes: Sequence[IntArray]) -> _Laid:
    skin, loose = _skin_and_loose(len(places), faces, eyes)
    centres, radius = eye_centres(places, eyes) if eyes else (source.eyes, source.radius)
    scale = _span(centres) / _span(source.eyes)
    if not (np.isfinite(scale) and scale > 0):
        raise HeadError("no face was found in it: its eyes lie in one place")
    middle, there = centres.mean(axis=0), source.eyes.mean(axis=0)
    here = (places - middle) / scale + there
    face = Face(submesh(here, faces, skin), (centres - middle) / scale + there, radius / scale)
    return _Laid(here, face, skin, loose, scale)


def _fields(head: Head) -> Array:
    """Displacements [52, V, 3], metres."""
    dense = head.shapes.toarray().reshape(-1, 3, len(ARKIT_NAMES))
    return np.ascontiguousarray(dense.transpose(2, 0, 1))


def _skin_fields(source: Head, found: Match, target: Skin) -> Points:
    """Transfer the source's fields, turned and scaled as their surroundings are: [52, Vt, 3]."""
    own = _fields(source)[:, skin_of(source)].astype(np.float64)
    moved = np.einsum("vij,kvj->vki", found.local, own)
    there = transfer_values(moved.reshape(len(moved), -1), found, target)
    return there.reshape(len(there), len(own), 3).transpose(1, 0, 2)


def _skin_and_loose(
    count: int, faces: IntArray, eyes: Sequence[IntArray]
) -> tuple[IntArray, IntArray]:
    """Find the largest piece besides the eyes, and all others: teeth, tongue, hair."""
    labels = pieces(count, faces)
    rest = np.setdiff1d(np.arange(count), np.concatenate([*eyes, np.empty(0, int)]))
    largest = np.bincount(labels[rest]).argmax()
    return rest[labels[rest] == largest], rest[labels[rest] != largest]


def _nearest_of_all(source: Head, found: Match, points: Points) -> IntArray:
    """Find, for points off the skin, the closest vertex of anything but the eyes."""
    still = np.isin(source.parts, (PARTS.index("eye"), PARTS.index("glint")))
    kept = np.flatnonzero(~still)
    tree = cKDTree(found.bend(source.vertices[kept].astype(np.float64)))
    return kept[tree.query(points)[1]]


def _skin_colors(source: Head, found: Match) -> Points:
    """Transfer the source's colours, with brows painted where it has hairs."""
    own = skin_of(source)
    colors = found.weights @ source.colors[own]
    hairs = np.flatnonzero(source.parts == PARTS.index("brow"))
    if not len(hairs):
        return colors
    apart, _ = cKDTree(source.vertices[hairs]).query(found.weights @ source.vertices[own])
    tint = BROW * np.exp(-((apart / BROW_SOFTNESS) ** 2))[:, None]
    return colors * (1 - tint) + source.colors[hairs].mean(axis=0) * tint


def _eye_colors(source: Head, face: Face, directions: Points) -> Points:
    """Transfer the colours of the source's left eye, by direction from the centre."""
    eyes = np.flatnonzero(source.parts == PARTS.index("eye"))
    left = eyes[source.vertices[eyes, 0] > 0]
    tree = cKDTree(unit_vectors(source.vertices[left] - face.eyes[0]))
    return source.colors[left[tree.query(unit_vectors(directions))[1]]]


def _regions(source: Head, own: Skin, found: Match, skin: IntArray) -> dict[str, Any]:
    places = found.weights @ own.vertices
    normals = own.normals()
    signature = np.concatenate(
        (places, NORMAL_LENGTH * unit_vectors(found.weights @ normals)), axis=1
    )
    sure = np.flatnonzero(found.trust >= min(1.0, np.median(found.trust)))

    def region(name: str) -> IntArray:
        inside = np.isin(np.arange(len(own.vertices)), getattr(source, name)).astype(float)
        return skin[sure[(found.weights @ inside > 0.5)[sure]]]

    def closest(name: str) -> IntArray:
        wanted = np.array(getattr(source, name))
        marks = np.concatenate((own.vertices[wanted], NORMAL_LENGTH * normals[wanted]), axis=1)
        return skin[sure[cKDTree(signature[sure]).query(marks)[1]]]

    return {
        "lips": region("lips"),
        "upper_face": region("upper_face"),
        "opening": closest("opening"),
        "corners": closest("corners"),
    }


def head_arrays(transferred: Transfer, vertices: Array, faces: IntArray) -> dict[str, Any]:
    """Collect the arrays of a :class:`.Head`, apart from its shapes."""
    upper, lower = transferred.opening.tolist()
    left, right = transferred.corners.tolist()
    return {
        "vertices": vertices.astype(np.float32),
        "faces": faces.astype(np.int64),
        "colors": transferred.colors,
        "parts": transferred.parts,
        "lips": transferred.lips,
        "upper_face": transferred.upper_face,
        "opening": (upper, lower),
        "corners": (left, right),
    }
