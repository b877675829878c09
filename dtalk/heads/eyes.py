"""Heads that the built-in head's shapes were carried to: FLAME's, and any other mesh.

Eyeballs turn about their centres instead of moving on straight lines, and lids slide over them. A
FLAME head also turns on its neck by its own joint. Its jaw joint stays at rest: the 52 shapes hold
the jaw's movement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.flame import LEFT_EYE, NECK, RIGHT_EYE, ROOT, Flame, pose_matrices
from dtalk.heads.head import FloatArray, Head, IntArray, shapes_from_fields
from dtalk.heads.lids import close_lids
from dtalk.heads.transfer.transfer import Transfer, local_maps, sphere
from dtalk.motion.curves import ARKIT_NAMES

SIDES = ("Left", "Right")
# Degrees at weight 1, as the built-in head's eyes turn.
SIDEWAYS, UPWARD, DOWNWARD = 24.0, 16.0, 18.0
CLEARANCE = 0.03  # of the radius: how near a lid may come to the eyeball that it slides over
LID_REACH = 1.8  # radii around an eyeball within which skin slides over it
MOVES = 1e-4  # metres: less is no movement of a lid
_LIDS = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide")


@dataclass(frozen=True, eq=False)
class Eye:
    """An eyeball that turns.

    Attributes:
        vertices: which turn, [N], and ``shares``: how far each does, [N].
        centre: [3], metres.
        lids: skin that slides over it, [M], and ``floors``: how near it may come to the centre [M].
    """

    vertices: IntArray
    shares: FloatArray
    centre: FloatArray
    lids: IntArray
    floors: FloatArray

    def turn(self, moved: FloatArray, turns: FloatArray) -> None:
        """Turn it in ``moved`` [T, V, 3], in place, by rotations [T, 3, 3]."""
        apart = moved[:, self.vertices] - self.centre
        turned = apart @ np.swapaxes(turns, 1, 2) - apart
        moved[:, self.vertices] += self.shares[:, None] * turned

    def slide(self, moved: FloatArray) -> None:
        """Push lids in ``moved`` [T, V, 3] out of the eyeball, in place."""
        apart = moved[:, self.lids] - self.centre
        length = np.sqrt((apart * apart).sum(axis=-1))
        stretch = np.maximum(self.floors / np.maximum(length, 1e-9), 1)
        moved[:, self.lids] = self.centre + apart * stretch[..., None]


def gaze(coefficients: npt.ArrayLike) -> FloatArray:
    """Rotation vectors of the left and right eye, radians: [T, 52] -> [T, 2, 3]."""
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
class FittedHead(Head):
    """A head with eyes that turn: `Head`, and

    Attributes:
        eyes: left and right, or none.
    """

    eyes: tuple[Eye, ...] = ()

    def _moved(self, weights: FloatArray) -> FloatArray:
        moved = super()._moved(weights)
        clip = moved.reshape(-1, *self.vertices.shape)
        vectors = gaze(weights.reshape(-1, len(ARKIT_NAMES)))
        for eye, pose in zip(self.eyes, np.swapaxes(vectors, 0, 1)):
            eye.turn(clip, pose_matrices(pose))
            eye.slide(clip)
        return clip.reshape(moved.shape)


@dataclass(frozen=True, eq=False)
class FlameHead(FittedHead):
    """A FLAME head: vertices in FLAME's own order, `FittedHead`, and

    Attributes:
        flame: what it is made of.
        betas: its identity, if it is one of FLAME's.
    """

    flame: Flame = field(kw_only=True)
    betas: tuple[float, ...] = field(default=(), kw_only=True)

    def with_template(self, vertices: npt.ArrayLike) -> FlameHead:
        """The same head for a subject whose neutral face is ``vertices`` [V, 3], metres.

        Shapes are turned and scaled by what the change does around each vertex.

        Raises:
            HeadError: another number of vertices, or values that are not finite.
        """
        template = np.array(vertices, dtype=np.float32)
        if template.shape != self.vertices.shape:
            wanted = list(self.vertices.shape)
            raise HeadError(f"a template must be {wanted}, got {list(template.shape)}")
        maps = local_maps(self.vertices.astype(np.float64), template.astype(np.float64))
        shapes = self.shapes.toarray().reshape(len(template), 3, -1)
        fields = np.einsum("vij,vjk->kvi", maps.astype(np.float32), shapes)
        moved = replace(
            self,
            vertices=template,
            shapes=shapes_from_fields(fields),
            eyes=flame_eyes(self.flame, template, fields),
            betas=(),
        )
        return close_lids(moved)

    @cached_property
    def joints(self) -> FloatArray:
        """Root, neck, jaw, left and right eye, [5, 3]."""
        return self.flame.joints(self.vertices)

    @cached_property
    def _neck(self) -> tuple[FloatArray, FloatArray]:
        return self.joints[NECK], 1 - self.flame.weights[:, ROOT]

    def _turned(self, vertices: FloatArray, rotations: FloatArray) -> FloatArray:
        """As FLAME's neck joint turns them, its corrections included."""
        change = (rotations - np.eye(3, dtype=np.float32)).reshape(*rotations.shape[:-2], 9)
        corrections = change @ self.flame.pose[:, :, :9].reshape(-1, 9).T
        return super()._turned(vertices + corrections.reshape(vertices.shape), rotations)


def flame_head(flame: Flame, carried: Transfer, betas: Sequence[float] = ()) -> FlameHead:
    """A FLAME model with what was carried to its template."""
    fields = carried.fields.copy()
    fields[:, np.concatenate(flame.eyeballs)] = 0
    open_head = FlameHead(
        **_head_arrays(carried, flame.template, flame.faces),
        shapes=shapes_from_fields(fields),
        eyes=flame_eyes(flame, flame.template, fields),
        flame=flame,
    )
    head = close_lids(open_head)
    if not any(betas):
        return head
    return replace(head.with_template(flame.shaped(betas)), betas=tuple(map(float, betas)))


def mesh_head(
    vertices: FloatArray, faces: IntArray, carried: Transfer, balls: Sequence[IntArray]
) -> FittedHead:
    """Any mesh with what was carried to it; ``balls`` are its two eyeballs, or none."""
    eyes = []
    for ball in balls:
        centre, _ = sphere(vertices[ball].astype(np.float64))
        shares = np.ones(len(ball), dtype=np.float32)
        eyes.append(_eye(vertices, carried.fields, ball, shares, centre))
    head = FittedHead(
        **_head_arrays(carried, vertices, faces),
        shapes=shapes_from_fields(carried.fields),
        eyes=tuple(eyes),
    )
    return close_lids(head)


def _head_arrays(carried: Transfer, vertices: FloatArray, faces: IntArray) -> dict[str, Any]:
    upper, lower = carried.opening.tolist()
    left, right = carried.corners.tolist()
    return {
        "vertices": vertices.astype(np.float32),
        "faces": faces.astype(np.int64),
        "colors": carried.colors,
        "parts": carried.parts,
        "lips": carried.lips,
        "upper_face": carried.upper_face,
        "opening": (upper, lower),
        "corners": (left, right),
    }


def flame_eyes(flame: Flame, vertices: FloatArray, fields: FloatArray) -> tuple[Eye, ...]:
    """Both eyes of an unposed FLAME head, turning about their joints."""
    joints = flame.joints(vertices)
    eyes = []
    for joint in (LEFT_EYE, RIGHT_EYE):
        turning = np.flatnonzero(flame.weights[:, joint] > 0)
        shares = flame.weights[turning, joint]
        eyes.append(_eye(vertices, fields, turning, shares, joints[joint]))
    return tuple(eyes)


def _eye(
    vertices: FloatArray,
    fields: FloatArray,
    turning: IntArray,
    shares: FloatArray,
    centre: npt.NDArray[np.floating],
) -> Eye:
    apart = np.linalg.norm(vertices - centre, axis=1)
    ball = turning[shares > 0.5]
    radius = apart[ball].max()
    channels = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith(_LIDS)]
    moving = np.linalg.norm(fields[channels], axis=2).max(axis=0) > MOVES
    moving[ball] = False
    lids = np.flatnonzero(moving & (apart < LID_REACH * radius))
    floors = np.minimum(apart[lids], radius * (1 + CLEARANCE))
    return Eye(turning, shares, np.asarray(centre, np.float32), lids, floors.astype(np.float32))
