"""Heads with eyes: eyeballs turn about their centres, lids slide over them and close.

FLAME models and other meshes that the built-in head's shapes were transferred to are such heads.
A blink comes from another head, whose eyes may be less wide open: it is lengthened until it closes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial.transform import Rotation

from dtalk.heads.flame import pose_matrices
from dtalk.heads.head import Head
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array, IntArray

SIDES = ("Left", "Right")
# Degrees at weight 1, as the built-in head's eyes turn.
SIDEWAYS, UPWARD, DOWNWARD = 24.0, 16.0, 18.0
CLEARANCE = 0.03  # of the radius: how near a lid may come to the eyeball that it slides over
LID_REACH = 1.8  # radii around an eyeball within which skin slides over it
MOVES = 1e-4  # metres: less is no movement of a lid
_LIDS = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide")


@dataclass(frozen=True, eq=False)
class Eye:
    """An eyeball, and the lids that slide over it.

    Attributes:
        vertices: which turn, [N], and ``shares``: how far each does, [N].
        centre: [3], metres.
        lids: skin that slides over it, [M], and ``floors``: how near it may come to the centre [M].
    """

    vertices: IntArray
    shares: Array
    centre: Array
    lids: IntArray
    floors: Array

    def turn(self, moved: Array, turns: Array) -> None:
        """Turn the eyeball in ``moved`` [T, V, 3], in place, by rotations [T, 3, 3]."""
        apart = moved[:, self.vertices] - self.centre
        turned = apart @ np.swapaxes(turns, 1, 2) - apart
        moved[:, self.vertices] += self.shares[:, None] * turned

    def slide(self, moved: Array) -> None:
        """Push the lids in ``moved`` [T, V, 3] out of the eyeball, in place."""
        apart = moved[:, self.lids] - self.centre
        length = np.sqrt((apart * apart).sum(axis=-1))
        stretch = np.maximum(self.floors / np.maximum(length, 1e-9), 1)
        moved[:, self.lids] = self.centre + apart * stretch[..., None]


def gaze(coefficients: npt.ArrayLike) -> Array:
    """Compute rotation vectors of the left and right eye, radians: [T, 52] -> [T, 2, 3]."""
    weights = np.asarray(coefficients, dtype=np.float64)

    def channel(name: str) -> npt.NDArray[np.float64]:
        return weights[:, ARKIT_NAMES.index(name)]

    found = []
    for side, outward in zip(SIDES, (1, -1), strict=True):
        yaw = outward * SIDEWAYS * (channel(f"eyeLookOut{side}") - channel(f"eyeLookIn{side}"))
        pitch = DOWNWARD * channel(f"eyeLookDown{side}") - UPWARD * channel(f"eyeLookUp{side}")
        angles = np.deg2rad(np.stack((yaw, pitch), axis=1))
        found.append(Rotation.from_euler("YX", angles).as_rotvec().reshape(-1, 3))
    return np.stack(found, axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RiggedHead(Head):
    """A head with eyes that turn: `Head`, and

    Attributes:
        eyes: left and right, or none.
    """

    eyes: tuple[Eye, ...] = ()

    @property
    def linear(self) -> bool:
        return not self.eyes

    def _moved(self, weights: Array) -> Array:
        moved = super()._moved(weights)
        clip = moved.reshape(-1, *self.vertices.shape)
        vectors = gaze(weights.reshape(-1, len(ARKIT_NAMES)))
        for eye, pose in zip(self.eyes, np.swapaxes(vectors, 0, 1)):
            eye.turn(clip, pose_matrices(pose))
            eye.slide(clip)
        return clip.reshape(moved.shape)


def eye_about(
    vertices: Array,
    fields: Array,
    turning: IntArray,
    shares: Array,
    centre: npt.NDArray[np.floating],
) -> Eye:
    """Make the eye of vertices that turn about a centre, and of the lids over it."""
    apart = np.linalg.norm(vertices - centre, axis=1)
    ball = turning[shares > 0.5]
    radius = apart[ball].max()
    channels = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith(_LIDS)]
    moving = np.linalg.norm(fields[channels], axis=2).max(axis=0) > MOVES
    moving[ball] = False
    lids = np.flatnonzero(moving & (apart < LID_REACH * radius))
    floors = np.minimum(apart[lids], radius * (1 + CLEARANCE))
    return Eye(turning, shares, np.asarray(centre, np.float32), lids, floors.astype(np.float32))


AnyHead = TypeVar("AnyHead", bound="RiggedHead")

CLOSED_AT = 0.9  # weight of eyeBlink at which nothing of the eye may be seen
STRETCHES = tuple(np.arange(1.0, 2.01, 0.1))  # of the blink, tried in turn
_EDGE = 1e-9


def close_lids(head: AnyHead) -> AnyHead:
    """Lengthen each eyeBlink until it hides the eyeball."""
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


def seen(vertices: Array, faces: IntArray, ball: IntArray) -> int:
    """Count the points of an eyeball (corners, middles of edges and faces) that the front shows."""
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
