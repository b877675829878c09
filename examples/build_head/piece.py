"""A piece of the head: a mesh with its own colours and its own motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from examples.build_head.source import Array, Ints


@dataclass(frozen=True)
class Piece:
    """One connected kind of surface.

    Attributes:
        part: a name out of `dtalk.heads.head.PARTS`.
        vertices: [N, 3], metres.
        faces: [M, 3], counter-clockwise seen from outside.
        albedo: [N, 3], linear RGB, without occlusion.
        fields: for each shape that moves the piece, the displacements, [N, 3], metres.
    """

    part: str
    vertices: Array
    faces: Ints
    albedo: Array
    fields: Mapping[str, Array]
