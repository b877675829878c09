"""Lids that close: a blink is carried from another head, whose eyes may be less wide open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dtalk.heads.head import FloatArray, IntArray
from dtalk.motion.curves import ARKIT_NAMES

if TYPE_CHECKING:
    from dtalk.heads.eyes import FittedHead

AnyHead = TypeVar("AnyHead", bound="FittedHead")

CLOSED_AT = 0.9  # weight of eyeBlink at which nothing of the eye may be seen
STRETCHES = tuple(np.arange(1.0, 2.01, 0.1))  # of the blink, tried in turn
_EDGE = 1e-9


def close_lids(head: AnyHead) -> AnyHead:
    """The head with each eyeBlink made as much longer as it takes to hide the eyeball."""
    factors = np.ones(len(ARKIT_NAMES), dtype=np.float32)
    for eye, side in zip(head.eyes, ("Left", "Right")):
        channel = ARKIT_NAMES.index(f"eyeBlink{side}")
        row = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
        ball = eye.vertices[eye.shares > 0.5]
        left = []
        for stretch in STRETCHES:
            row[channel] = CLOSED_AT * stretch
            left.append(seen(head.deform(row), head.faces, ball))
            if not left[-1]:
                break
        factors[channel] = STRETCHES[int(np.argmin(left))]
    return replace(head, shapes=sparse.csr_array(head.shapes @ sparse.diags_array(factors)))


def seen(vertices: FloatArray, faces: IntArray, ball: IntArray) -> int:
    """How many points of an eyeball (corners, middles of edges and faces) the front shows."""
    own = np.isin(faces, ball)
    if not own.all(axis=1).any():
        return 0  # no surface, nothing to see
    corners = vertices[faces[own.all(axis=1)]].astype(np.float64)
    sides = (corners + np.roll(corners, 1, axis=1)) / 2
    points = np.concatenate((corners, sides, corners.mean(axis=1, keepdims=True)), axis=1)
    points = np.unique(points.reshape(-1, 3), axis=0)
    points = points[points[:, 2] > points[:, 2].mean()]
    return int((~_hidden(points, vertices[faces[~own.any(axis=1)]].astype(np.float64))).sum())


def _hidden(points: npt.NDArray[np.float64], triangles: npt.NDArray[np.float64]) -> npt.NDArray:
    """Whether a triangle [F, 3, 3] lies before a point [N, 3], seen along z."""
    flat, low, high = triangles[:, :, :2], points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    near = ((flat.max(axis=1) > low) & (flat.min(axis=1) < high)).all(axis=1)
    a, b, c = np.moveaxis(triangles[near], 1, 0)
    area = _cross(b - a, c - a)
    usable = np.abs(area) > 1e-12
    a, b, c, area = a[usable], b[usable], c[usable], area[usable]
    apart = points[:, None] - a
    along, across = _cross(apart, c - a) / area, _cross(b - a, apart) / area
    inside = (along >= -_EDGE) & (across >= -_EDGE) & (along + across <= 1 + _EDGE)
    depth = a[:, 2] + along * (b - a)[:, 2] + across * (c - a)[:, 2]
    return (inside & (depth > points[:, 2:])).any(axis=1)


def _cross(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
