"""The skin: an average adult, its 52 shapes cleaned, cut off at the neck, with its regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from dtalk.motion.arkit import ARKIT_NAMES, MIRROR
from examples.build_head.mesh import clip, component_of, laplacian, smoothstep, triangulate
from examples.build_head.source import BODY, Array, Ints, Source

Bools = npt.NDArray[np.bool_]

MALE = 0.4  # share of the male targets; the rest is female
RACES = ("caucasian", "asian", "african")
TALLER_EYES = 0.3
CLOSE_LIPS = 0.25  # of mouthLowerDown, taken off the averaged face, whose lips are parted

MIRROR_X = np.array([-1.0, 1.0, 1.0])

# Shapes with creases or noise, and how many smoothing steps cure them.
SMOOTHING = {
    "mouthSmile": 14, "mouthStretch": 6, "cheekPuff": 4, "mouthLeft": 4, "mouthRight": 4,
    "cheekSquint": 3, "mouthDimple": 3,
}  # fmt: skip
SMOOTHING_STRENGTH = 0.6
SHARP_REGIONS = ("lips", "inside-mouth", "eyelids")  # never smoothed

# The eye targets carry junk: inside the nose and throat, and below the eyes.
JUNK_WIDTH, JUNK_DEPTH, JUNK_HEIGHT = 0.00505, 0.12, 0.675

# What is kept of the body: above the neck cut, which slopes down toward the chest.
BOX_BOTTOM, BOX_HALF_WIDTH = 0.50, 0.16
CUT_POINT, CUT_NORMAL = np.array([0.0, 0.562, 0.0]), np.array([0.0, 1.0, -0.1])

# A point (u, v) inside each texture island that is a cavity, by which the island is known.
MOUTH_CAVITY = (0.84, 0.07)
EYE_CAVITIES = ((0.045, 0.59), (0.12, 0.59))


def template(source: Source) -> Array:
    """The average adult with closed lips, all vertices of the base mesh, metres."""
    average = source.vertices.copy()
    for sex, weight in (("male", MALE), ("female", 1 - MALE)):
        for race in RACES:
            average += weight / len(RACES) * source.target(f"macrodetails/{race}-{sex}-young")
        body = f"macrodetails/universal-{sex}-young-averagemuscle-averageweight"
        average += weight * source.target(body)
    for side in ("l", "r"):
        average += TALLER_EYES * source.target(f"eyes/{side}-eye-height2-incr")
    down = source.face_unit("mouthLowerDownLeft") + source.face_unit("mouthLowerDownRight")
    return average - CLOSE_LIPS * symmetric(down, down, source.mirror)


def symmetric(moved: Array, other: Array, mirror: Ints) -> Array:
    """The mean of displacements and the mirror image of the other side's."""
    return (moved + other[mirror] * MIRROR_X) / 2


def shapes(source: Source, neutral: Array) -> dict[str, Array]:
    """The 52 shapes, symmetric, smooth and without junk: name -> metres, [19158, 3]."""
    raw = {name: source.face_unit(name) for name in ARKIT_NAMES}
    smooth = _smoother(source)
    cleaned = {}
    for name, other in zip(ARKIT_NAMES, MIRROR, strict=True):
        moved = symmetric(raw[name], raw[ARKIT_NAMES[other]], source.mirror)
        for _ in range(_steps(name)):
            moved = moved + smooth @ moved
        if name.startswith("eye"):
            moved[_junk(neutral)] = 0
        cleaned[name] = moved
    return cleaned


def _steps(name: str) -> int:
    return SMOOTHING.get(name, SMOOTHING.get(name.removesuffix("Left").removesuffix("Right"), 0))


def _smoother(source: Source) -> sparse.csr_array:
    """One Laplacian step, weaker the more a vertex belongs to a sharp region."""
    sharp = np.max([_widest_mask(source, name) for name in SHARP_REGIONS], axis=0)
    quads = _body_quads(source)
    step = laplacian(quads, len(source.vertices))
    return (sparse.diags_array(SMOOTHING_STRENGTH * (1 - sharp)) @ step).tocsr()


def _junk(neutral: Array) -> Bools:
    x, y, z = neutral.T
    hidden = (np.abs(x) <= JUNK_WIDTH) & (z < JUNK_DEPTH)
    is_body = np.arange(len(neutral)) < BODY.stop
    return is_body & (hidden | (y < JUNK_HEIGHT))


def vertex_mask(source: Source, name: str) -> Array:
    """A painted region at the vertices: the mean of the corners that meet there."""
    chosen = _is_body(source)
    return _corner_mean(source.quads[chosen], source.mask(name)[chosen], len(source.vertices))


def _widest_mask(source: Source, name: str) -> Array:
    """The highest corner instead of the mean, the same on both sides."""
    chosen = _is_body(source)
    values = np.zeros(len(source.vertices))
    np.maximum.at(values, source.quads[chosen].ravel(), source.mask(name)[chosen].ravel())
    return (values + values[source.mirror]) / 2


@dataclass(frozen=True)
class Skin:
    """The cut skin: ``matrix`` [S, 19158] takes base vertices to it."""

    matrix: sparse.csr_array
    faces: Ints
    origin: Ints  # the base vertex that each vertex is, -1 on the cut, [S]
    masks: Mapping[str, Array]  # lips, face, ears, ..., mouth_cavity, eye_cavity: [S], 0 to 1


def skin(source: Source, neutral: Array) -> Skin:
    """Cut the head off the body and carry all masks along."""
    quads = _body_quads(source)
    x, y, _ = neutral.T
    boxed = (y > BOX_BOTTOM) & (np.abs(x) < BOX_HALF_WIDTH)
    triangles = triangulate(quads[boxed[quads].all(axis=1)], neutral)
    crown = int(np.argmax(np.where(np.arange(len(y)) < BODY.stop, y, -np.inf)))
    distance = (neutral - CUT_POINT) @ CUT_NORMAL
    above = triangles[(distance[triangles] >= 0).any(axis=1)]
    matrix, faces = clip(component_of(crown, above, len(y)), distance)
    names = ("lips", "inside-mouth", "face", "eyelids", "ears")
    masks = {name: matrix @ vertex_mask(source, name) for name in names}
    masks["mouth_cavity"] = matrix @ _cavity(source, [MOUTH_CAVITY])
    masks["eye_cavity"] = matrix @ _cavity(source, EYE_CAVITIES)
    origin = np.where(np.diff(matrix.indptr) == 1, matrix.indices[matrix.indptr[:-1]], -1)
    return Skin(matrix, faces, origin, masks)


def _cavity(source: Source, points: Sequence[tuple[float, float]]) -> Array:
    """The share of each vertex's quads that lie in the texture islands around ``points``."""
    chosen = _is_body(source)
    corners, uv = source.quads[chosen], source.quad_uv[chosen]
    island = _islands(uv, len(source.uv))
    centers = source.uv[uv].mean(axis=1)
    inside = np.zeros(len(uv), dtype=bool)
    for point in points:
        inside |= island == island[np.linalg.norm(centers - point, axis=1).argmin()]
    return _corner_mean(corners, np.repeat(inside, 4), len(source.vertices))


def _islands(quad_uv: Ints, count: int) -> Ints:
    """A number for each quad, the same where the texture hangs together."""
    edges = np.concatenate([quad_uv[:, [k, k + 1]] for k in range(3)])
    graph = sparse.csr_array((np.ones(len(edges)), edges.T), (count, count))
    _, label = csgraph.connected_components(graph, directed=False)
    return np.asarray(label[quad_uv[:, 0]])


def _corner_mean(quads: Ints, values: Array, count: int) -> Array:
    """At each vertex the mean over the corners that meet there, [count]."""
    corners = quads.ravel()
    total = np.bincount(corners, values.ravel(), minlength=count)
    return np.asarray(total / np.maximum(np.bincount(corners, minlength=count), 1))


def _is_body(source: Source) -> Bools:
    return np.asarray((source.quads < BODY.stop).all(axis=1))


def _body_quads(source: Source) -> Ints:
    return source.quads[_is_body(source)]


# --- regions ----------------------------------------------------------------------------------

LIP_SHARE, FACE_SHARE, EAR_SHARE, CAVITY_SHARE = 0.5, 0.25, 0.3, 0.25
BELOW_EYES, IN_FRONT, BELOW_HAIR = 0.022, 0.055, 0.00985
NOSE_HALF_WIDTH, NOSE_TOP = 0.017, 0.002

# Vertices right on the border of a region (base numbers), where rounding would decide. They
# are fixed, because metrics depend on the regions.
LIP_BORDER = (531, 537, 540, 5359, 7276, 11961)
UPPER_BORDER, UPPER_OUTSIDE = (1095, 1106, 7787, 7798), (973, 7669)


def lip_vertices(skin: Skin) -> Ints:
    """Vertices of both lips, as painted."""
    inside = skin.masks["lips"] > LIP_SHARE + 1e-6
    return np.flatnonzero(inside | np.isin(skin.origin, LIP_BORDER))


def upper_face_vertices(skin: Skin, vertices: Array, eye_height: float) -> Ints:
    """Forehead, brows, lids, upper cheeks; no ears, hair, nose or eye cavities."""
    x, y, z = vertices.T
    inside = (skin.masks["face"] > FACE_SHARE) & (y > eye_height - BELOW_EYES) & (z > IN_FRONT)
    inside &= (skin.masks["ears"] < EAR_SHARE) & (above_hairline(vertices) < -BELOW_HAIR)
    inside &= skin.masks["eye_cavity"] < CAVITY_SHARE
    inside &= ~((np.abs(x) < NOSE_HALF_WIDTH) & (y < eye_height - NOSE_TOP))
    inside |= np.isin(skin.origin, UPPER_BORDER)
    return np.flatnonzero(inside & ~np.isin(skin.origin, UPPER_OUTSIDE))


# --- hair: a buzz cut -------------------------------------------------------------------------

HAIR_CENTER = (0.745, 0.025)  # y, z of the axis around which the hairline runs
HAIRLINE_AZIMUTH = np.array(
    [0, 0.25, 0.5, 0.72, 0.9, 1.05, 1.2, 1.4, 1.6, 1.75, 2.1, 2.5, np.pi]
)  # from the forehead (0) over the ear to the nape
HAIRLINE_HEIGHT = np.array(
    [7.95, 7.95, 7.93, 7.82, 7.58, 7.25, 7.36, 7.38, 7.20, 7.00, 6.85, 6.72, 6.68]
) * 0.1  # fmt: skip
HAIR_EDGE = (-0.0165, 0.0015)  # the colour comes in between these heights above the line
HAIR_COVER = 0.94  # a little skin shows through
HAIR_THICKNESS, HAIR_RISE = 0.008, (-0.010, 0.020)


def above_hairline(vertices: Array) -> Array:
    """Height above the hairline, metres, [V]."""
    x, y, z = vertices.T
    azimuth = np.arctan2(np.abs(x), z - HAIR_CENTER[1])
    return y - np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)


def hair_mask(vertices: Array, ears: Array) -> Array:
    """1 where the skin has hair, 0 where it has none, [V]."""
    covered = HAIR_COVER * smoothstep(*HAIR_EDGE, above_hairline(vertices))
    return covered * (1 - np.clip(ears, 0, 1))


def hair_thickness(vertices: Array, ears: Array) -> Array:
    """How far the hair stands off the skin, metres, [V]."""
    rise = smoothstep(*HAIR_RISE, above_hairline(vertices))
    return HAIR_THICKNESS * rise * (1 - np.clip(ears, 0, 1))
