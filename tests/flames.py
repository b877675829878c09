"""Pickles as FLAME's files are: with chumpy's classes, which need not be installed."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dtalk.heads.head import PARTS, Head, built_in
from dtalk.motion.arkit import ARKIT_NAMES

Array = npt.NDArray[Any]


@contextmanager
def fake_classes(*names: str) -> Iterator[list[type]]:
    """Classes with these full names, which pickle finds while the block lasts."""
    modules: dict[str, ModuleType] = {}
    classes = []
    for full in names:
        module, _, name = full.rpartition(".")
        for package in (module.split(".")[0], module):
            modules.setdefault(package, ModuleType(package))
        made = type(name, (), {"__module__": module})
        setattr(modules[module], name, made)
        classes.append(made)
    with patch.dict(sys.modules, modules):
        yield classes


def instance(kind: type, **attributes: Any) -> Any:
    made: Any = object.__new__(kind)
    vars(made).update(attributes)
    return made


def write_pickle(path: Path, content: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


# --- a full-size head in FLAME's format ---------------------------------------------------------
#
# FLAME itself cannot ship. This one has its arrays, sizes and build (one skin with a mouth bag and
# two separate eyeballs), but other triangles, vertex order, proportions, pose and scale than the
# built-in head, out of which it is made step by step: see `full_size`. Since every step is known,
# so is where each of the 52 shapes should carry each of its vertices: the truth of the tests.

SKIN, SKIN_FACES, EYE, BORDER = 3931, 7800, 546, 60
RINGS, SEGMENTS = 17, 32  # of an eyeball: two poles and 17 rings of 32 vertices
EYE_CENTRE, EYE_RADIUS = np.array([0.0288, 0.7221, 0.1164]), 0.0154  # of the built-in head
ORIGIN = np.array([0.0, 0.70, 0.03])  # where the built-in head has FLAME's origin
SCALE = 1.07


@dataclass(frozen=True)
class FullSize:
    """A published file's content, and what only a test can know.

    ``fields`` [52, 5023, 3] are the true displacements in metres; ``skin`` [3931, 4458] gives the
    skin's vertices out of those of the built-in head's skin.
    """

    content: dict[str, Any]
    fields: Array
    skin: sparse.csr_array


def warp(points: Array) -> Array:
    """The built-in head's space to this head's: larger, wider jaw, longer face, and so on."""
    moved = points - ORIGIN
    x, y, z = points.T
    side = np.sign(x)

    def bump(cx: float, cy: float, cz: float, width: float) -> Array:
        apart = (np.abs(x) - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        return np.exp(-apart / (2 * width**2))

    jaw, chin, nose = (
        bump(0.05, 0.65, 0.09, 0.03),
        bump(0, 0.63, 0.13, 0.03),
        bump(0, 0.69, 0.15, 0.02),
    )
    eyes, mouth, skull = (
        bump(0.029, 0.722, 0.12, 0.03),
        bump(0.022, 0.656, 0.13, 0.025),
        bump(0, 0.8, 0, 0.06),
    )
    shift = np.stack(
        (
            side * (0.005 * jaw + 0.002 * eyes + 0.0025 * mouth * np.tanh(np.abs(x) / 0.01))
            + 0.03 * x * skull,
            -0.007 * chin - 0.003 * mouth + 0.002 * nose + 0.004 * skull,
            0.003 * nose - 0.003 * eyes + 0.004 * chin - 0.006 * skull,
        ),
        axis=1,
    )
    return SCALE * (moved + shift)


@functools.cache
def full_size() -> FullSize:
    """1. the built-in head's skin; 2. edges collapsed, fewest where lips and lids are; 3. vertices
    moved inside their triangles; 4. edges flipped; 5. another order; 6. `warp`; 7. new eyeballs;
    8. joints, weights and bases that are smooth and plausible, but invented."""
    rng = np.random.default_rng(2017)
    head = built_in()
    skin = np.flatnonzero(head.parts == PARTS.index("skin"))
    assert (skin == np.arange(len(skin))).all()
    points = head.vertices[skin].astype(np.float64)
    faces = head.faces[(head.faces < len(skin)).all(axis=1)]
    fine = _fineness(head, points)
    kept, faces = _collapsed(points, faces, fine)
    source = _slid(points, head.faces, faces, kept, fine, rng)
    faces = _flipped(source @ points, faces, fine[kept], rng)
    order = rng.permutation(len(kept))
    source, faces = source[order], np.argsort(order)[faces]
    template = warp(source @ points)
    truth = np.zeros((52, SKIN + 2 * EYE, 3))
    for k in range(52):
        field = head.shapes[:, [k]].toarray().reshape(-1, 3)[skin]
        truth[k, :SKIN] = warp(source @ (points + field)) - template
    balls, ball_faces = zip(*(_ball(side) for side in (1, -1)))
    vertices = np.concatenate((template, *balls))
    faces = np.concatenate((faces, ball_faces[0] + SKIN, ball_faces[1] + SKIN + EYE))
    content = {"v_template": vertices, "f": faces.astype(np.uint32)}
    content |= _rig(vertices, truth) | _bases(vertices, truth, rng)
    return FullSize(content, truth.astype(np.float32), source)


def _fineness(head: Head, points: Array) -> Array:
    """[V]: 1 at lips and lids, falling to 0 within 15 mm."""
    blink = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    moved = abs(head.shapes[:, blink]).sum(axis=1).reshape(-1, 3).sum(axis=1)[: len(points)]
    fine = np.union1d(head.lips, np.flatnonzero(moved > 0.004))
    return np.clip(1 - (cKDTree(points[fine]).query(points)[0] - 0.002) / 0.015, 0, 1)


def _edges(faces: Array) -> Array:
    return np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)


def _collapsed(points: Array, faces: Array, fine: Array) -> tuple[Array, Array]:
    """Vertices that stay and their faces: one end of short edges moves to the other."""
    faces = faces.copy()
    alive = np.ones(len(points), dtype=bool)
    while alive.sum() > SKIN:
        edges, uses = np.unique(_edges(faces), axis=0, return_counts=True)
        border = np.isin(np.arange(len(points)), edges[uses == 1])
        missing = int((uses == 1).sum()) - BORDER
        outer = uses == 1 if missing else (uses == 2) & ~border[edges].any(axis=1)
        left = missing or int(alive.sum()) - SKIN
        chosen = edges[outer & (fine[edges].max(axis=1) < 0.01)]
        length = np.linalg.norm(points[chosen[:, 0]] - points[chosen[:, 1]], axis=1)
        around = _neighbours(faces, len(points))
        blocked: set[int] = set()
        for gone, stays in chosen[np.argsort(length, kind="stable")]:
            ring = around[gone] | around[stays]
            if ring & blocked or len(around[gone] & around[stays]) != (1 if missing else 2):
                continue
            if not left:
                break
            faces[faces == gone] = stays
            alive[gone] = False
            blocked |= ring
            left -= 1
        faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])]
        faces = faces[faces[:, 2] != faces[:, 0]]
    kept = np.flatnonzero(alive)
    return kept, np.searchsorted(kept, faces)


def _neighbours(faces: Array, count: int) -> list[set[int]]:
    around: list[set[int]] = [set() for _ in range(count)]
    for a, b in _edges(faces):
        around[a].add(int(b))
        around[b].add(int(a))
    return around


def _slid(
    points: Array, old: Array, faces: Array, kept: Array, fine: Array, rng: np.random.Generator
) -> sparse.csr_array:
    """Where the kept vertices lie among the old ones: each anywhere in the third of one of its
    triangles next to it; less at lips and lids, and not at all at the border."""
    edges, uses = np.unique(_edges(faces), axis=0, return_counts=True)
    border = np.isin(np.arange(len(kept)), edges[uses == 1])
    inside = old[(old < len(points)).all(axis=1)]
    rows, columns, values = [], [], []
    for row, vertex in enumerate(kept):
        triangle = rng.permutation(inside[(inside == vertex).any(axis=1)])[0]
        shares = rng.dirichlet((1, 1)) * rng.uniform(0, 0.33) * (1 - 0.8 * fine[vertex])
        weights = np.zeros(3)
        weights[triangle != vertex] = 0 if border[row] else shares
        weights[triangle == vertex] = 1 - weights.sum()
        rows += [row] * 3
        columns += triangle.tolist()
        values += weights.tolist()
    return sparse.csr_array((values, (rows, columns)), shape=(len(kept), len(points)))


def _flipped(points: Array, faces: Array, fine: Array, rng: np.random.Generator) -> Array:
    """A third of the edges between two triangles that lie flat together join the other corners."""
    faces = faces.copy()
    owners: dict[tuple[int, int], list[int]] = {}
    for index, face in enumerate(faces):
        for a, b in zip(face, np.roll(face, -1)):
            owners.setdefault((min(a, b), max(a, b)), []).append(index)
    normals = np.cross(
        points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    )
    present, used = set(owners), set()
    pairs = [edge for edge, both in owners.items() if len(both) == 2]
    for number in rng.permutation(len(pairs))[: len(pairs) // 3]:
        a, b = pairs[number]
        first, second = owners[a, b]
        if first in used or second in used or fine[[a, b]].max() > 0.5:
            continue
        if (np.roll(faces[first], -list(faces[first]).index(a)))[1] != b:
            a, b = b, a
        c, d = (int(faces[f][(faces[f] != a) & (faces[f] != b)][0]) for f in (first, second))
        new = np.array([[c, a, d], [d, b, c]])
        fresh = np.cross(
            points[new[:, 1]] - points[new[:, 0]], points[new[:, 2]] - points[new[:, 0]]
        )
        lengths = np.linalg.norm(fresh, axis=1) * np.linalg.norm(normals[[first, second]], axis=1)
        flat = (fresh @ normals[[first, second]].T > 0.9 * lengths[:, None]).all()
        if flat and (min(c, d), max(c, d)) not in present:
            faces[[first, second]] = new
            used |= {first, second}
            present.add((min(c, d), max(c, d)))
    return faces


def _ball(side: int) -> tuple[Array, Array]:
    """An eyeball, poles front and back: FLAME's has as many vertices."""
    polar = np.pi * np.arange(1, RINGS + 1) / (RINGS + 1)
    angle = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    ring = np.stack(
        (np.outer(np.sin(polar), np.cos(angle)), np.outer(np.sin(polar), np.sin(angle)),
         np.outer(np.cos(polar), np.ones(SEGMENTS))), axis=-1,
    )  # fmt: skip
    sphere = np.concatenate(([[0, 0, 1]], ring.reshape(-1, 3), [[0, 0, -1]]))
    centre = warp(EYE_CENTRE[None] * [side, 1, 1])
    here = 1 + np.arange(RINGS * SEGMENTS).reshape(RINGS, SEGMENTS)
    there = np.roll(here, -1, axis=1)
    quads = np.stack((here[:-1], here[1:], there[1:], there[:-1]), axis=-1).reshape(-1, 4)
    last = 1 + RINGS * SEGMENTS
    front = np.stack((np.zeros(SEGMENTS, int), here[0], there[0]), axis=-1)
    back = np.stack((np.full(SEGMENTS, last), there[-1], here[-1]), axis=-1)
    faces = np.concatenate((front, quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], back))
    return centre + SCALE * 0.985 * EYE_RADIUS * sphere, faces


def _rig(vertices: Array, truth: Array) -> dict[str, Any]:
    """Joints (root, neck, jaw, eyes), who moves with which, and where they lie."""
    count = len(vertices)
    eyes = np.zeros((2, count), dtype=bool)
    eyes[0, SKIN : SKIN + EYE] = eyes[1, SKIN + EYE :] = True
    jaw_drop = np.linalg.norm(truth[ARKIT_NAMES.index("jawOpen")], axis=1)
    joint = np.array([0, vertices[:, 1].min() + 0.1, 0.03])
    reach = np.linalg.norm((vertices - joint)[:, 1:], axis=1)
    jaw = np.clip(jaw_drop / np.maximum(reach, 0.02) / 0.33, 0, 1)
    low = vertices[:, 1].min()
    neck = np.clip((vertices[:, 1] - low) / 0.05, 0, 1)
    weights = np.stack((1 - neck, neck - jaw * neck, jaw * neck, *np.zeros((2, count))), axis=1)
    for k, ball in enumerate(eyes):
        weights[ball] = np.eye(5)[3 + k]
    border = vertices[:, 1] < low + 0.02
    places = np.zeros((5, count))
    places[0], places[1] = border, border | (vertices[:, 1] < low + 0.06)
    places[2] = (np.linalg.norm(vertices[:, 1:] - joint[1:], axis=1) < 0.02) & (jaw < 0.5)
    places[3:] = eyes
    places /= places.sum(axis=1, keepdims=True)
    parents = np.array([2**32 - 1, 0, 1, 1, 1], dtype=np.uint32)
    return {
        "weights": weights,
        "J_regressor": sparse.csc_matrix(places),
        "J": places @ vertices,
        "kintree_table": np.stack((parents, np.arange(5, dtype=np.uint32))),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def _bases(vertices: Array, truth: Array, rng: np.random.Generator) -> dict[str, Any]:
    """300 smooth directions of shape, 100 of expression (60 mix the true shapes), 36 of pose."""

    def smooth(count: int, size: float) -> Array:
        waves = rng.normal(scale=25, size=(count, 3))
        pattern = np.cos(vertices @ waves.T + rng.uniform(0, 6, count))
        return size * pattern[:, None] * rng.normal(size=(3, count))

    still = ("jaw", "eyeLook", "tongue", "mouthClose")
    moving = [k for k, name in enumerate(ARKIT_NAMES) if not name.startswith(still)]
    mixed = np.einsum("kvc,kj->vcj", truth[moving], rng.normal(scale=0.08, size=(len(moving), 60)))
    shape = smooth(300, 1e-3) / np.sqrt(1 + np.arange(300))
    noise, pose = smooth(40, 1e-4), smooth(36, 5e-4)
    pose[SKIN:] = 0  # eyeballs stay round
    return {"shapedirs": np.concatenate((shape, mixed, noise), axis=2), "posedirs": pose}


def small(count: int = 40, seed: int = 0) -> dict[str, Any]:
    """Every key of a FLAME file, for a few vertices without a face."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(5), count)
    weights[:8], weights[8:16] = np.eye(5)[3], np.eye(5)[4]
    regressor = rng.dirichlet(np.ones(count), 5) * (rng.random((5, count)) < 0.5)
    return {
        "v_template": rng.normal(size=(count, 3)),
        "f": rng.integers(0, count, (60, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(count, 3, 400)),
        "posedirs": rng.normal(size=(count, 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], dtype=np.uint32),
        "bs_style": "lbs",
    }


def with_chumpy(content: dict[str, Any], path: Path) -> Path:
    """Write a FLAME file as published: with chumpy's arrays, by protocol 2."""
    with fake_classes("chumpy.ch.Ch", "chumpy.reordering.Select") as (ch, select):
        wrapped = {
            key: instance(ch, x=content[key], _dirty_vars=set())
            for key in ("v_template", "shapedirs", "posedirs", "weights")
        }
        template = wrapped["v_template"]
        count = content["v_template"].size
        places = {"idxs": np.arange(count), "preferred_shape": (count // 3, 3)}
        wrapped["v_template"] = instance(select, a=template, **places)
        return write_pickle(path, content | wrapped)


def published(
    content: dict[str, Any], betas: Array, expression: Array, pose: Array, moved: Any = 0
) -> tuple[Array, Array]:
    """Linear blend skinning, written out joint by joint: vertices [V, 3] and joints [5, 3].

    ``pose`` [5, 3] are the rotation vectors of root, neck, jaw and eyes; ``moved`` [V, 3] is added
    to the vertices at rest, as an expression is.
    """
    coefficients = np.zeros(400)
    coefficients[: len(betas)] = betas
    coefficients[300 : 300 + len(expression)] = expression
    shaped = content["v_template"] + content["shapedirs"] @ coefficients + moved
    regressor = content["J_regressor"]
    identity = content["v_template"] + content["shapedirs"][:, :, :300] @ coefficients[:300]
    joints = regressor @ identity
    rotations = Rotation.from_rotvec(pose).as_matrix()
    rest = shaped + content["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    chains: list[Array] = []
    for k, parent in enumerate((-1, 0, 1, 1, 1)):
        local = np.eye(4)
        local[:3, :3] = rotations[k]
        local[:3, 3] = joints[k] - (joints[parent] if k else 0)
        chains.append(chains[parent] @ local if k else local)
    posed = np.zeros_like(rest)
    for k, chain in enumerate(chains):
        moved = (rest - joints[k]) @ chain[:3, :3].T + chain[:3, 3]
        posed += content["weights"][:, [k]] * moved
    return posed, joints
