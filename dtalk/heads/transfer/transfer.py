"""The built-in head's shapes, regions and colours, carried to another head's vertices.

The other head may have any triangles and proportions. Both are brought together in steps:

1. Landmarks (eyes, nose, mouth, chin, ears), found in the same way on both, and a smooth warp
   through them (a biharmonic spline).
2. The built-in head's skin, warped so, is drawn onto the other's, stiff at first and ever softer
   (non-rigid iterative closest points; Amberg, Romdhani and Vetter 2007). What is close is judged
   by place and normal together: an upper lip is close to an upper lip, however little the two lips
   are apart.
3. Each vertex of the other skin takes what the closest point of the drawn skin has: displacements,
   turned and scaled by what the way there does to its surroundings. Where nothing is close
   (the depth of mouth and eye sockets), they go on smoothly from where something is.

Lengths are metres, y is up, the face looks along +z, in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.interpolate import RBFInterpolator
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from dtalk.errors import HeadError
from dtalk.heads.head import PARTS, FloatArray, Head, IntArray
from dtalk.motion.curves import ARKIT_NAMES

Points = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

VERSION = 1  # of everything below: results of another one are not reused

# Non-rigid closest points: stiffness, and how far (metres) a partner may be, round by round.
# The fourth root of the stiffness is the length, in edges, over which the skin bends.
STIFFNESS = np.geomspace(2e4, 1.0, 16)
REACH = np.geomspace(0.02, 0.006, 16)
NORMAL_LENGTH = 0.015  # metres that a difference of 1 between normals counts for
ALIKE = 0.5  # least cosine between the normals of partners
SURROUNDINGS = 0.012  # metres around a vertex in which lengths are compared
BROW, BROW_SOFTNESS = 0.7, 0.002  # how strongly brows are painted; metres from a hair
TRUST = 0.0015  # metres: a partner so far away is trusted as much as the smooth surroundings


@dataclass(frozen=True)
class Skin:
    """A surface of triangles, and what is asked of it again and again."""

    vertices: Points
    faces: IntArray

    def normals(self) -> Points:
        """Of the vertices, [V, 3], each face weighing as much as its area."""
        a, b, c = (self.vertices[corner] for corner in self.faces.T)
        across = np.cross(b - a, c - a)
        summed = np.zeros_like(self.vertices)
        for corner in self.faces.T:
            np.add.at(summed, corner, across)
        return _unit(summed)

    def samples(self, each: int) -> tuple[sparse.csr_array, IntArray]:
        """Vertices, and points evenly inside the faces, as weights [N, V] of the vertices.

        ``each`` is the number of steps along an edge; also whether a vertex lies on a border, [V].
        """
        corners = [(i, j) for i in range(1, each) for j in range(1, each - i)]
        edges = [(i, 0) for i in range(1, each)] + [(0, i) for i in range(1, each)]
        edges += [(i, each - i) for i in range(1, each)]
        inner = np.array([(i, j, each - i - j) for i, j in corners + edges]) / each
        count, points = len(self.vertices), len(inner)
        rows = np.repeat(np.arange(len(self.faces) * points), 3)
        columns = np.repeat(self.faces, points, axis=0).ravel()
        values = np.tile(inner.ravel(), len(self.faces))
        inside = sparse.csr_array((values, (rows, columns)), shape=(rows[-1] + 1, count))
        return sparse.csr_array(sparse.vstack((sparse.eye_array(count), inside)))

    def border(self) -> npt.NDArray[np.bool_]:
        """Vertices of edges that only one face has, [V]."""
        edges = np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        found, uses = np.unique(edges, axis=0, return_counts=True)
        return np.isin(np.arange(len(self.vertices)), found[uses == 1])

    def laplacian(self) -> sparse.csr_array:
        """Cotangent weights over the vertices' areas [V, V]; 0 for what changes linearly.

        Scaled by the mean area, so that stiffness has no unit.
        """
        count = len(self.vertices)
        weights = sparse.csr_array((count, count))
        area = np.zeros(count)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            a, b, c = (self.vertices[self.faces[:, corner]] for corner in (i, j, k))
            double = np.linalg.norm(np.cross(a - c, b - c), axis=1)
            cotangent = ((a - c) * (b - c)).sum(axis=1) / np.maximum(double, 1e-12)
            pair = (self.faces[:, i], self.faces[:, j])
            weights += sparse.csr_array((np.clip(cotangent, 0.05, 5) / 2, pair), (count, count))
            np.add.at(area, self.faces[:, k], double / 6)
        weights = weights + weights.T
        degree = sparse.diags_array(np.asarray(weights.sum(axis=1)).ravel())
        share = area.mean() / np.maximum(area, 0.05 * area.mean())
        return sparse.csr_array(sparse.diags_array(share) @ (degree - weights))


def _unit(vectors: Points) -> Points:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


# --- closest points by place and normal ---------------------------------------------------------


def _closest(
    wanted: Points, wanted_normals: Points, there: Points, there_normals: Points
) -> tuple[IntArray, Points, Points]:
    """For each point the closest one there, the distance, and the cosine between their normals."""
    tree = cKDTree(np.concatenate((there, NORMAL_LENGTH * there_normals), axis=1))
    _, found = tree.query(np.concatenate((wanted, NORMAL_LENGTH * wanted_normals), axis=1))
    apart = np.linalg.norm(there[found] - wanted, axis=1)
    return found, apart, (there_normals[found] * wanted_normals).sum(axis=1)


def _drawn(source: Skin, target: Skin, start: Points, step: Callable[[], None]) -> Points:
    """The source's vertices, drawn from ``start`` onto the target."""
    weights = target.samples(3)
    there, there_normals = weights @ target.vertices, _unit(weights @ target.normals())
    ends = np.asarray(weights @ target.border().astype(float)) > 0
    bending = source.laplacian()
    bending = sparse.csr_array(bending.T @ bending)
    places = start
    for stiffness, reach in zip(STIFFNESS, REACH, strict=True):
        normals = Skin(places, source.faces).normals()
        found, apart, cosine = _closest(places, normals, there, there_normals)
        pull = np.clip((cosine - ALIKE) / (1 - ALIKE), 0, 1) * (
            1 - np.minimum(apart / reach, 1) ** 2
        )
        pull[ends[found]] = 0
        system = stiffness * bending + sparse.diags_array(pull + 1e-4)
        # What is not drawn keeps the shape that it starts with.
        moved = (pull + 1e-4)[:, None] * (np.where(pull[:, None] > 0, there[found], places) - start)
        places = start + splu(sparse.csc_array(system)).solve(moved)
        step()
    return places


# --- landmarks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """A skin with eyes: their centres, left and right, [2, 3], and their radius."""

    skin: Skin
    eyes: Points
    radius: float


def landmarks(face: Face) -> Points:
    """Points that every face has, in the same order for all; NaN where one is not found."""
    weights = face.skin.samples(3)
    points, normals = weights @ face.skin.vertices, _unit(weights @ face.skin.normals())
    middle = face.eyes.mean(axis=0)
    points = points - middle
    nose = _extreme(points, (0, 0, 1), (-0.012, 0.012), (-0.06, -0.015))
    mouth = _slit(points, normals, nose)
    lower = mouth[0, 1] if np.isfinite(mouth[0, 1]) else nose[1] - 0.03
    chin = _extreme(points, (0, -0.5, 0.87), (-0.012, 0.012), (lower - 0.06, lower - 0.012))
    back = (-0.14, -0.05)
    ears = [
        _extreme(
            points, (side, 0, 0), tuple(sorted((0.03 * side, 0.13 * side))), (-0.05, 0.025), back
        )
        for side in (1, -1)
    ]
    found = np.stack((nose, *mouth, chin, *ears)) + middle
    return np.concatenate((found, face.eyes, face.eyes + np.array([0, 0, face.radius])))


def _extreme(
    points: Points, direction: Sequence[float], x: Any, y: Any, z: Any = (-np.inf, np.inf)
) -> Points:
    """The point inside a box that lies farthest in a direction."""
    limits = np.array([x, y, z])
    inside = points[((points > limits[:, 0]) & (points < limits[:, 1])).all(axis=1)]
    return inside[np.argmax(inside @ np.array(direction))] if len(inside) else np.full(3, np.nan)


def _slit(points: Points, normals: Points, nose: Points) -> Points:
    """The middle of the line between the lips, its left and its right end, [3, 3].

    There a surface that looks down lies close above one that looks up, not deep inside.
    """
    low = np.array([-0.045, nose[1] - 0.06, nose[2] - 0.05])
    high = np.array([0.045, nose[1] - 0.008, np.inf])
    near = ((points > low) & (points < high)).all(axis=1)
    points, normals = points[near], normals[near]
    above, below = points[normals[:, 1] < -0.5], points[normals[:, 1] > 0.5]
    missing = np.full((3, 3), np.nan)
    if not len(above) or not len(below):
        return missing
    squeeze = np.array([2.0, 1.0, 1.0])  # partners lie above each other
    apart, partner = cKDTree(below * squeeze).query(above * squeeze)
    pairs = (above + below[partner]) / 2
    front = cKDTree(points[:, :2]).query_ball_point(pairs[:, :2], 0.006)
    depth = np.array([points[around, 2].max() for around in front]) - pairs[:, 2]
    pairs = pairs[(apart < 0.005) & (depth < 0.009)]
    central = pairs[np.abs(pairs[:, 0]) < 0.006] if len(pairs) else pairs
    if not len(central):
        return missing
    middle = np.array([0, np.median(central[:, 1]), central[:, 2].max()])
    return np.stack((middle, pairs[np.argmax(pairs[:, 0])], pairs[np.argmin(pairs[:, 0])]))


# --- correspondence -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """Where a target's skin lies on a source's.

    Attributes:
        weights: sparse [Vt, Vs], each target vertex out of the source's vertices.
        trust: [Vt], how far that is to be trusted, 0 to a million; 1 is as much as the
            surroundings are.
        local: [Vs, 3, 3], what the way from source to target does around a source vertex.
        bend: the smooth warp through the landmarks, of any points of the source.
    """

    weights: sparse.csr_array
    trust: Points
    local: Points
    bend: Callable[[Points], Points]


def match(source: Face, target: Face, step: Callable[[], None] = lambda: None) -> Match:
    """See the steps 1 and 2 of the module; ``step`` is called after each of `STEPS`."""
    marks = landmarks(source), landmarks(target)
    found = np.all(np.isfinite(np.concatenate(marks, axis=1)), axis=1)
    if not np.any(found[:2]):
        raise HeadError("no face was found in it: neither nose nor mouth below its eyes")
    bend = RBFInterpolator(marks[0][found], marks[1][found], kernel="linear", degree=1)
    start = bend(source.skin.vertices)
    places = _drawn(source.skin, target.skin, start, step)
    drawn = Skin(places, source.skin.faces)
    samples = drawn.samples(4)
    wanted = target.skin
    closest, apart, cosine = _closest(
        wanted.vertices, wanted.normals(), samples @ places, _unit(samples @ drawn.normals())
    )
    alike = np.clip((cosine - ALIKE) / (1 - ALIKE), 0, 1)
    trust = alike / ((apart / TRUST) ** 2 + 1e-6)
    return Match(samples[closest], trust, local_maps(source.skin.vertices, places), bend)


STEPS = len(STIFFNESS)


def _span(eyes: Points) -> float:
    return float(np.linalg.norm(eyes[0] - eyes[1]))


def local_maps(before: Points, after: Points, width: float = SURROUNDINGS) -> Points:
    """The linear map around each point of ``before`` that takes it to ``after``: [V, 3, 3].

    Fitted to the points within about ``width``; in directions without any, as the whole.
    """
    whole = _fitted(before - before.mean(axis=0), after - after.mean(axis=0))
    tree = cKDTree(before)
    maps = np.empty((len(before), 3, 3))
    for block in np.array_split(np.arange(len(before)), max(1, len(before) // 500)):
        apart, near = tree.query(before[block], k=min(300, len(before)))
        share = np.exp(-0.5 * (apart / width) ** 2)[..., None]
        share /= share.sum(axis=1, keepdims=True)
        here, there = before[near], after[near]
        here = here - (share * here).sum(axis=1, keepdims=True)
        there = there - (share * there).sum(axis=1, keepdims=True)
        spread = np.swapaxes(share * here, 1, 2)
        prior = (0.15 * width) ** 2 * np.eye(3)
        maps[block] = np.linalg.solve(spread @ here + prior, spread @ there + prior @ whole)
    return np.swapaxes(maps, 1, 2)


def _fitted(before: Points, after: Points) -> Points:
    """The linear map as a matrix for rows: ``before @ map`` is ``after``, least squares."""
    return np.asarray(np.linalg.lstsq(before, after, rcond=None)[0], dtype=np.float64)


def carried(values: Points, found: Match, target: Skin) -> Points:
    """Values of the source's vertices [Vs, C] at the target's [Vt, C], smooth where unsure."""
    bending = target.laplacian()
    system = bending.T @ bending + sparse.diags_array(found.trust + 1e-6)
    return splu(sparse.csc_array(system)).solve(found.trust[:, None] * (found.weights @ values))


# --- everything a head needs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Transfer:
    """What the built-in head gives to another one; arrays as in `dtalk.heads.head.Head`.

    Attributes:
        fields: float32 [52, V, 3], metres. Eyeballs have none: they are to be turned.
    """

    fields: FloatArray
    colors: FloatArray
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
    """Carry all that ``source`` has to a mesh of a head.

    Args:
        source: the head with the 52 shapes.
        vertices, faces: [V, 3], upright, of about a head's size in metres, and [F, 3].
        eyes: vertices of the left and of the right eyeball; the others are skin.
        progress: told how many steps are done, and of how many.

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
    centres, radius = _centres(places, eyes) if eyes else (source.eyes, source.radius)
    scale = _span(centres) / _span(source.eyes)
    if not (np.isfinite(scale) and scale > 0):
        raise HeadError("no face was found in it: its eyes lie in one place")
    middle, there = centres.mean(axis=0), source.eyes.mean(axis=0)
    here = (places - middle) / scale + there
    face = Face(submesh(here, faces, skin), (centres - middle) / scale + there, radius / scale)
    return _Laid(here, face, skin, loose, scale)


def _fields(head: Head) -> FloatArray:
    """Displacements [52, V, 3], metres."""
    dense = head.shapes.toarray().reshape(-1, 3, len(ARKIT_NAMES))
    return np.ascontiguousarray(dense.transpose(2, 0, 1))


def _skin_fields(source: Head, found: Match, target: Skin) -> Points:
    """The source's, each turned and scaled as its surroundings are: [52, Vt, 3]."""
    own = _fields(source)[:, skin_of(source)].astype(np.float64)
    moved = np.einsum("vij,kvj->vki", found.local, own)
    there = carried(moved.reshape(len(moved), -1), found, target)
    return there.reshape(len(there), len(own), 3).transpose(1, 0, 2)


def _skin_and_loose(
    count: int, faces: IntArray, eyes: Sequence[IntArray]
) -> tuple[IntArray, IntArray]:
    """The largest piece besides the eyes, and all others: teeth, tongue, hair."""
    labels = pieces(count, faces)
    rest = np.setdiff1d(np.arange(count), np.concatenate([*eyes, np.empty(0, int)]))
    largest = np.bincount(labels[rest]).argmax()
    return rest[labels[rest] == largest], rest[labels[rest] != largest]


def pieces(count: int, faces: IntArray) -> IntArray:
    """Which connected piece each vertex belongs to, [V]."""
    pairs = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    joined = sparse.coo_array((np.ones(len(pairs)), tuple(pairs.T)), (count, count))
    labels: IntArray = connected_components(joined, directed=False)[1]
    return labels


def _nearest_of_all(source: Head, found: Match, points: Points) -> IntArray:
    """For points off the skin, the closest vertex of anything but the eyes."""
    still = np.isin(source.parts, (PARTS.index("eye"), PARTS.index("glint")))
    kept = np.flatnonzero(~still)
    tree = cKDTree(found.bend(source.vertices[kept].astype(np.float64)))
    return kept[tree.query(points)[1]]


def skin_of(head: Head) -> IntArray:
    """The skin's vertices of a head whose first ones they are."""
    return np.flatnonzero(head.parts == PARTS.index("skin"))


def submesh(vertices: Points, faces: IntArray, chosen: IntArray) -> Skin:
    """The faces whose corners are all among ``chosen`` vertices, ascending."""
    place = np.full(len(vertices), -1)
    place[chosen] = np.arange(len(chosen))
    renamed = place[faces]
    return Skin(vertices[chosen], renamed[(renamed >= 0).all(axis=1)])


def face_of(head: Head) -> Face:
    """The face of a head with eyeballs."""
    places = head.vertices.astype(np.float64)
    eyes = np.flatnonzero(head.parts == PARTS.index("eye"))
    balls = [eyes[places[eyes, 0] * side > 0] for side in (1, -1)]
    return Face(submesh(places, head.faces, skin_of(head)), *_centres(places, balls))


def _centres(places: Points, eyes: Sequence[IntArray]) -> tuple[Points, float]:
    """Centres [2, 3] and mean radius of two eyeballs."""
    centres, radii = zip(*(sphere(places[ball]) for ball in eyes), strict=True)
    return np.stack(centres), float(np.mean(radii))


def sphere(points: Points) -> tuple[Points, float]:
    """Centre and radius of the sphere closest to points, by linear least squares."""
    middle = points.mean(axis=0)
    apart = points - middle
    system = np.concatenate((2 * apart, np.ones((len(points), 1))), axis=1)
    solution = np.linalg.lstsq(system, (apart**2).sum(axis=1), rcond=None)[0]
    return middle + solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _skin_colors(source: Head, found: Match) -> Points:
    """The source's, with brows painted where it has hairs."""
    own = skin_of(source)
    colors = found.weights @ source.colors[own]
    hairs = np.flatnonzero(source.parts == PARTS.index("brow"))
    if not len(hairs):
        return colors
    apart, _ = cKDTree(source.vertices[hairs]).query(found.weights @ source.vertices[own])
    tint = BROW * np.exp(-((apart / BROW_SOFTNESS) ** 2))[:, None]
    return colors * (1 - tint) + source.colors[hairs].mean(axis=0) * tint


def _eye_colors(source: Head, face: Face, directions: Points) -> Points:
    """Of an eyeball's vertices, as seen from its centre: those of the source's left eye."""
    eyes = np.flatnonzero(source.parts == PARTS.index("eye"))
    left = eyes[source.vertices[eyes, 0] > 0]
    tree = cKDTree(_unit(source.vertices[left] - face.eyes[0]))
    return source.colors[left[tree.query(_unit(directions))[1]]]


def _regions(source: Head, own: Skin, found: Match, skin: IntArray) -> dict[str, Any]:
    places = found.weights @ own.vertices
    normals = own.normals()
    signature = np.concatenate((places, NORMAL_LENGTH * _unit(found.weights @ normals)), axis=1)
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
