"""Triangle surfaces: closest points with normals, connected pieces, fitted spheres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree
from trimesh.geometry import mean_vertex_normals
from trimesh.graph import connected_component_labels

from dtalk.utils.types import IntArray

Points = npt.NDArray[np.float64]
NORMAL_LENGTH = 0.015  # metres that a difference of 1 between normals counts for
INSIDE_OUT = -0.3  # signed volume as a share of its parts' sizes


@dataclass(frozen=True)
class Skin:
    """A triangle surface with cached properties."""

    vertices: Points
    faces: IntArray

    def normals(self) -> Points:
        """Vertex normals, [V, 3], each face weighing as much as its area."""
        a, b, c = (self.vertices[corner] for corner in self.faces.T)
        across = np.cross(b - a, c - a)
        return np.asarray(mean_vertex_normals(len(self.vertices), self.faces, across))

    def samples(self, each: int) -> tuple[sparse.csr_array, IntArray]:
        """Vertices, and points evenly inside the faces, as weights [N, V] of the vertices.

        ``each`` is the number of steps along an edge; also whether a vertex lies on a border, [V].
        """
        corners = [(i, j) for i in range(1, each) for j in range(1, each - i)]
        edges = [(i, 0) for i in range(1, each)] + [(0, i) for i in range(1, each)]
        edges += [(i, each - i) for i in range(1, each)]
        inner = np.array([(i, j, each - i - j) for i, j in corners + edges]) / each
        count, points = len(self.vertices), len(inner)
        rows = np.repeat(np.arange(len(self.faces) * points), 3)
        columns = np.repeat(self.faces, points, axis=0).ravel()
        values = np.tile(inner.ravel(), len(self.faces))
        inside = sparse.csr_array((values, (rows, columns)), shape=(rows[-1] + 1, count))
        return sparse.csr_array(sparse.vstack((sparse.eye_array(count), inside)))

    def border(self) -> npt.NDArray[np.bool_]:
        """Vertices of edges that only one face has, [V]."""
        edges = np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        found, uses = np.unique(edges, axis=0, return_counts=True)
        return np.isin(np.arange(len(self.vertices)), found[uses == 1])

    def laplacian(self) -> sparse.csr_array:
        """Cotangent weights over the vertices' areas [V, V]; 0 for what changes linearly.

        Scaled by the mean area, so that stiffness has no unit.
        """
        count = len(self.vertices)
        weights = sparse.csr_array((count, count))
        area = np.zeros(count)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            a, b, c = (self.vertices[self.faces[:, corner]] for corner in (i, j, k))
            double = np.linalg.norm(np.cross(a - c, b - c), axis=1)
            cotangent = ((a - c) * (b - c)).sum(axis=1) / np.maximum(double, 1e-12)
            pair = (self.faces[:, i], self.faces[:, j])
            weights += sparse.csr_array((np.clip(cotangent, 0.05, 5) / 2, pair), (count, count))
            np.add.at(area, self.faces[:, k], double / 6)
        weights = weights + weights.T
        degree = sparse.diags_array(np.asarray(weights.sum(axis=1)).ravel())
        share = area.mean() / np.maximum(area, 0.05 * area.mean())
        return sparse.csr_array(sparse.diags_array(share) @ (degree - weights))


def unit_vectors(vectors: Points) -> Points:
    """Divide vectors ``[N, 3]`` by their lengths."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


# --- closest points by place and normal ---------------------------------------------------------


def closest_points(
    wanted: Points, wanted_normals: Points, there: Points, there_normals: Points
) -> tuple[IntArray, Points, Points]:
    """Find for each point the closest one, its distance, and the cosine between their normals."""
    tree = cKDTree(np.concatenate((there, NORMAL_LENGTH * there_normals), axis=1))
    _, found = tree.query(np.concatenate((wanted, NORMAL_LENGTH * wanted_normals), axis=1))
    apart = np.linalg.norm(there[found] - wanted, axis=1)
    return found, apart, (there_normals[found] * wanted_normals).sum(axis=1)


def pieces(count: int, faces: IntArray) -> IntArray:
    """Label the connected piece of each vertex, [V]."""
    pairs = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    labels: IntArray = connected_component_labels(pairs, node_count=count)
    return labels


def submesh(vertices: Points, faces: IntArray, chosen: IntArray) -> Skin:
    """Get the faces whose corners are all among ``chosen`` vertices, ascending."""
    place = np.full(len(vertices), -1)
    place[chosen] = np.arange(len(chosen))
    renamed = place[faces]
    return Skin(vertices[chosen], renamed[(renamed >= 0).all(axis=1)])


def sphere(points: Points) -> tuple[Points, float]:
    """Fit a sphere to points by linear least squares: centre and radius."""
    middle = points.mean(axis=0)
    apart = points - middle
    system = np.concatenate((2 * apart, np.ones((len(points), 1))), axis=1)
    solution = np.linalg.lstsq(system, (apart**2).sum(axis=1), rcond=None)[0]
    return middle + solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def facing_outwards(vertices: Points, faces: IntArray) -> IntArray:
    """Turn faces [F, 3] round where their surface is inside out; else the same array is returned.

    That is judged by the signed volume between the faces and their middle, so the surface need
    not be closed.
    """
    corners = vertices[faces]
    if not len(corners):
        return faces
    a, b, c = (corners - corners.mean(axis=(0, 1))).transpose(1, 0, 2)
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
    turned = volumes.sum() < INSIDE_OUT * np.abs(volumes).sum()
    return np.ascontiguousarray(faces[:, ::-1]) if turned else faces
