"""Tessellation: long edges of the skin are split and bent, so that outlines are round.

Where a head has few, large triangles (crown, ears, neck), its outline is a polygon that shows in
large pictures. A split edge's midpoint is moved toward the planes that touch the surface at both
ends (Boubekeur and Alexa, "Phong Tessellation", 2008), after the head is deformed, so that any head
will do. The lips, lids and other parts with short edges stay as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.heads.head import PARTS, Head
from dtalk.utils.types import Array, IntArray

LONG = 0.010  # metres
ROUNDNESS = 0.75  # 0: midpoints stay on the edge; 1: they lie on the planes


class Tessellation:
    """The triangles of a head with edges split that are longer than ``longest``, metres.

    Attributes:
        faces: int [F', 3], positions in what `rounded` gives.
        count: number of vertices, V + the number of split edges.
        split: int [2, E], the ends of the split edges.
    """

    def __init__(self, head: Head, longest: float = LONG) -> None:
        ends, of_face = _edges(head.faces)
        inside = np.bincount(of_face.ravel(), minlength=len(ends)) == 2
        split = inside & _is_long(head, ends, longest)
        self.split: IntArray = ends[split].T
        self.count = len(head.vertices) + self.split.shape[1]
        number = np.where(split, len(head.vertices) - 1 + np.cumsum(split), -1)
        self.faces = _divided(head.faces, number[of_face])

    def rounded(self, vertices: Array, normals: Array, colors: Array) -> tuple[Array, Array]:
        """Add bent midpoints to positions and colours [V, 3] of a deformed head: [V', 3].

        ``normals`` are unit vectors [V, 3].
        """
        a, b = self.split
        half = (vertices[b] - vertices[a]) / 2
        # How far the midpoint is from the planes at a and at b, along their normals.
        above_a = np.einsum("ec,ec->e", normals[a], half)[:, None] * normals[a]
        above_b = np.einsum("ec,ec->e", normals[b], -half)[:, None] * normals[b]
        middle = vertices[a] + half - np.float32(ROUNDNESS / 2) * (above_a + above_b)
        between = (colors[a] + colors[b]) / 2
        return np.concatenate((vertices, middle)), np.concatenate((colors, between))


def _edges(faces: IntArray) -> tuple[IntArray, IntArray]:
    """List the edges [E, 2], each once, and which of them each face has, [F, 3]: ab, bc, ca."""
    pairs = np.sort(np.stack((faces, np.roll(faces, -1, axis=1)), axis=-1).reshape(-1, 2), axis=1)
    ends, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return ends, inverse.reshape(-1, 3)


def _is_long(head: Head, ends: IntArray, longest: float) -> npt.NDArray[np.bool_]:
    skin = head.parts == PARTS.index("skin")
    length = np.linalg.norm(head.vertices[ends[:, 0]] - head.vertices[ends[:, 1]], axis=1)
    return skin[ends].all(axis=1) & (length > longest)


def _divided(faces: IntArray, middles: IntArray) -> IntArray:
    """Cut faces [F, 3] at the midpoints of their edges ab, bc, ca; -1 where there is none."""
    count = (middles >= 0).sum(axis=1)
    # With one midpoint, turn the face so that it lies on ab; with two, so that ca has none.
    first = np.argmax(middles >= 0, axis=1)
    last = np.argmin(middles >= 0, axis=1) + 1
    turn = np.where(count == 1, first, np.where(count == 2, last, 0))
    order = (turn[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces, order, axis=1).T
    ab, bc, ca = np.take_along_axis(middles, order, axis=1).T
    patterns = (
        ((a, b, c),),
        ((a, ab, c), (ab, b, c)),
        ((ab, b, bc), (a, ab, bc), (a, bc, c)),
        ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)),
    )
    pieces = [
        np.stack(corners, axis=1)[count == number]
        for number, pattern in enumerate(patterns)
        for corners in pattern
    ]
    return np.concatenate(pieces)
