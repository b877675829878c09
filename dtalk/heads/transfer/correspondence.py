"""Correspondence of two faces, by a non-rigid registration of their surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import RBFInterpolator
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from dtalk.errors import HeadError
from dtalk.heads.transfer.landmarks import Face, landmarks
from dtalk.heads.transfer.surface import Points, Skin, closest_points, unit_vectors

# Non-rigid closest points: stiffness, and how far (metres) a partner may be, round by round.
# The fourth root of the stiffness is the length, in edges, over which the skin bends.
STIFFNESS = np.geomspace(2e4, 1.0, 16)
REACH = np.geomspace(0.02, 0.006, 16)
ALIKE = 0.5  # least cosine between the normals of partners
SURROUNDINGS = 0.012  # metres around a vertex in which lengths are compared
TRUST = 0.0015  # metres: a partner so far away is trusted as much as the smooth surroundings


def _deformed(source: Skin, target: Skin, start: Points, step: Callable[[], None]) -> Points:
    """Deform the source's vertices from ``start`` onto the target."""
    weights = target.samples(3)
    there, there_normals = weights @ target.vertices, unit_vectors(weights @ target.normals())
    ends = np.asarray(weights @ target.border().astype(float)) > 0
    bending = source.laplacian()
    bending = sparse.csr_array(bending.T @ bending)
    places = start
    for stiffness, reach in zip(STIFFNESS, REACH, strict=True):
        normals = Skin(places, source.faces).normals()
        found, apart, cosine = closest_points(places, normals, there, there_normals)
        pull = np.clip((cosine - ALIKE) / (1 - ALIKE), 0, 1) * (
            1 - np.minimum(apart / reach, 1) ** 2
        )
        pull[ends[found]] = 0
        system = stiffness * bending + sparse.diags_array(pull + 1e-4)
        # What is not pulled keeps the shape that it starts with.
        moved = (pull + 1e-4)[:, None] * (np.where(pull[:, None] > 0, there[found], places) - start)
        places = start + solved(system, moved)
        step()
    return places


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
    """Match two faces: steps 1 and 2 of the transfer; ``step`` is called after each of `STEPS`."""
    marks = landmarks(source), landmarks(target)
    found = np.all(np.isfinite(np.concatenate(marks, axis=1)), axis=1)
    if not np.any(found[:2]):
        raise HeadError("no face was found in it: neither nose nor mouth below its eyes")
    bend = RBFInterpolator(marks[0][found], marks[1][found], kernel="linear", degree=1)
    start = bend(source.skin.vertices)
    places = _deformed(source.skin, target.skin, start, step)
    deformed = Skin(places, source.skin.faces)
    samples = deformed.samples(4)
    wanted = target.skin
    closest, apart, cosine = closest_points(
        wanted.vertices,
        wanted.normals(),
        samples @ places,
        unit_vectors(samples @ deformed.normals()),
    )
    alike = np.clip((cosine - ALIKE) / (1 - ALIKE), 0, 1)
    trust = alike / ((apart / TRUST) ** 2 + 1e-6)
    return Match(samples[closest], trust, local_maps(source.skin.vertices, places), bend)


STEPS = len(STIFFNESS)


def local_maps(before: Points, after: Points, width: float = SURROUNDINGS) -> Points:
    """Find the linear map around each point of ``before`` that takes it to ``after``: [V, 3, 3].

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
    """Fit the linear map by least squares: ``before @ map`` is ``after``."""
    return np.asarray(np.linalg.lstsq(before, after, rcond=None)[0], dtype=np.float64)


def transfer_values(values: Points, found: Match, target: Skin) -> Points:
    """Interpolate values of the source's vertices [Vs, C] at the target's [Vt, C]."""
    bending = target.laplacian()
    system = bending.T @ bending + sparse.diags_array(found.trust + 1e-6)
    return solved(system, found.trust[:, None] * (found.weights @ values))


def solved(system: sparse.sparray, right: Points) -> Points:
    """Solve a sparse system that is symmetric and positive definite, for columns of ``right``."""
    # Without pivots, in the order that suits such systems, it takes half the time.
    factors = splu(
        sparse.csc_array(system),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return factors.solve(right)
