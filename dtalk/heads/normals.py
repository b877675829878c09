"""Normals of a head's vertices: the sum of the normals of the faces around, weighted by area."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dtalk.heads.head import Head
from dtalk.utils.types import Array


def incidence(head: Head) -> sparse.csr_array:
    """Build the incidence matrix [V, F]: 1 where a face touches a vertex."""
    faces = len(head.faces)
    rows, columns = head.faces.ravel(), np.repeat(np.arange(faces), 3)
    ones = np.ones(3 * faces, dtype=np.float32)
    return sparse.csr_array((ones, (rows, columns)), shape=(len(head.vertices), faces))


class VertexNormals:
    """The normals of one head in any deformation; what depends on its faces is kept."""

    def __init__(self, head: Head) -> None:
        self._corners = head.faces.T
        self._incidence = incidence(head)

    def __call__(self, vertices: Array) -> Array:
        """Compute normals of length 1 of vertices [V, 3]; (0, 0, 1) where faces cancel out."""
        a, b, c = (vertices[corner] for corner in self._corners)
        summed = self._incidence @ np.cross(b - a, c - a)
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        up = np.array([0, 0, 1], dtype=np.float32)
        normals: Array = np.where(length > 0, summed / np.maximum(length, 1e-30), up)
        return normals.astype(np.float32)
