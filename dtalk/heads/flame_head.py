"""FLAME heads that ARKit curves deform, and that turn on FLAME's own neck joint.

The jaw joint stays at rest: the 52 shapes hold the jaw's movement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dtalk.errors import HeadError
from dtalk.heads.eyes import Eye, RiggedHead, close_lids, eye_about
from dtalk.heads.flame import LEFT_EYE, NECK, RIGHT_EYE, ROOT, Flame
from dtalk.heads.head import shapes_from_fields
from dtalk.heads.transfer.correspondence import local_maps
from dtalk.heads.transfer.transfer import Transfer, head_arrays
from dtalk.utils.types import Array


@dataclass(frozen=True, eq=False)
class FlameHead(RiggedHead):
    """A FLAME head: vertices in FLAME's own order, `RiggedHead`, and

    Attributes:
        flame: what it is made of.
        betas: its identity, if it is one of FLAME's.
    """

    flame: Flame = field(kw_only=True)
    betas: tuple[float, ...] = field(default=(), kw_only=True)

    def with_template(self, vertices: npt.ArrayLike) -> FlameHead:
        """Replace the neutral face by a subject's, ``vertices`` [V, 3], metres.

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
    def joints(self) -> Array:
        """Root, neck, jaw, left and right eye, [5, 3]."""
        return self.flame.joints(self.vertices)

    @cached_property
    def neck(self) -> tuple[Array, Array]:
        return self.joints[NECK], 1 - self.flame.weights[:, ROOT]

    @property
    def linear(self) -> bool:
        return False

    def _corrected(self, vertices: Array, rotations: Array) -> Array:
        """Add the correctives of FLAME's neck."""
        change = (rotations - np.eye(3, dtype=np.float32)).reshape(*rotations.shape[:-2], 9)
        corrections = change @ self.flame.pose[:, :, :9].reshape(-1, 9).T
        corrected: Array = vertices + corrections.reshape(vertices.shape)
        return corrected


def flame_head(flame: Flame, transferred: Transfer, betas: Sequence[float] = ()) -> FlameHead:
    """Make a head of a FLAME model and what was transferred to its template."""
    fields = transferred.fields.copy()
    fields[:, np.concatenate(flame.eyeballs)] = 0
    open_head = FlameHead(
        **head_arrays(transferred, flame.template, flame.faces),
        shapes=shapes_from_fields(fields),
        eyes=flame_eyes(flame, flame.template, fields),
        flame=flame,
    )
    head = close_lids(open_head)
    if not any(betas):
        return head
    return replace(head.with_template(flame.shaped(betas)), betas=tuple(map(float, betas)))


def flame_eyes(flame: Flame, vertices: Array, fields: Array) -> tuple[Eye, ...]:
    """Make both eyes of an unposed FLAME head, turning about their joints."""
    joints = flame.joints(vertices)
    eyes = []
    for joint in (LEFT_EYE, RIGHT_EYE):
        turning = np.flatnonzero(flame.weights[:, joint] > 0)
        shares = flame.weights[turning, joint]
        eyes.append(eye_about(vertices, fields, turning, shares, joints[joint]))
    return tuple(eyes)
