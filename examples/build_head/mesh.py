"""Geometry that several steps share; meshes here are arrays, results mostly sparse matrices.

A new vertex is a weighted mean of base vertices, so a step is a matrix: applied to the base
mesh it gives positions, applied to a target it gives displacements, and shapes stay linear.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from examples.build_head.source import Array, Ints


def rows_of(indices: Ints, count: int) -> sparse.csr_array:
    """The matrix that picks ``indices`` out of ``count`` vertices."""
    ones = np.ones(len(indices))
    return sparse.csr_array((ones, (np.arange(len(indices)), indices)), (len(indices), count))


def quad_edges(quads: Ints) -> Ints:
    """The four directed edges of each quad, [4 Q, 2], first sides first."""
    return np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])


def laplacian(quads: Ints, count: int) -> sparse.csr_array:
    """The mean of each vertex's neighbours, minus the vertex; zero where there are none."""
    edges = np.unique(np.sort(quad_edges(quads), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    neighbours = sparse.csr_array((np.ones(len(both)), both.T), (count, count))
    degree = neighbours.sum(axis=1)
    scale = sparse.diags_array(1 / np.maximum(degree, 1))
    return (scale @ neighbours - sparse.diags_array((degree > 0).astype(float))).tocsr()


def triangulate(quads: Ints, vertices: Array) -> Ints:
    """Two triangles a quad, split along the shorter diagonal, in the quads' order."""
    a, b, c, d = quads.T
    corners = vertices[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    along_first = np.stack([a, b, c, a, c, d], axis=1)
    along_second = np.stack([a, b, d, b, c, d], axis=1)
    return np.where((first <= second)[:, None], along_first, along_second).reshape(-1, 3)


def clip(triangles: Ints, distance: Array) -> tuple[sparse.csr_array, Ints]:
    """Cut a mesh where ``distance`` [V] turns negative.

    Returns the matrix from old to new vertices (kept ones in their order, then the new ones
    on the cut, each on an old edge), and the new triangles (untouched ones first).
    """
    inside = distance >= 0
    whole = triangles[inside[triangles].all(axis=1)]
    crossed = triangles[inside[triangles].any(axis=1) & ~inside[triangles].all(axis=1)]
    kept = np.unique(triangles[inside[triangles]])
    number = {(int(v), int(v)): k for k, v in enumerate(kept)}
    cut_faces = []
    for triangle in crossed.tolist():
        corners = [number.setdefault(edge, len(number)) for edge in _walk(triangle, inside)]
        cut_faces += [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
    faces = np.concatenate([np.searchsorted(kept, whole), np.array(cut_faces).reshape(-1, 3)])
    return _edge_matrix(np.array(list(number)), distance), faces


def _walk(triangle: list[int], inside: np.ndarray) -> list[tuple[int, int]]:
    """Around a cut triangle: kept corners as (v, v), points on the cut as (v, w), v < w."""
    points = []
    for v, w in zip(triangle, triangle[1:] + triangle[:1], strict=True):
        if inside[v]:
            points.append((v, v))
        if inside[v] != inside[w]:
            points.append((min(v, w), max(v, w)))
    return points


def _edge_matrix(edges: Ints, distance: Array) -> sparse.csr_array:
    a, b = edges.T
    fall = distance[a] - distance[b]
    share = np.where(a == b, 0, distance[a] / np.where(a == b, 1, fall))
    rows = np.arange(len(edges))
    values = np.concatenate([1 - share, share])
    place = (np.concatenate([rows, rows]), np.concatenate([a, b]))
    matrix = sparse.csr_array((values, place), (len(edges), len(distance)))
    matrix.eliminate_zeros()
    return matrix


def component_of(vertex: int, triangles: Ints, count: int) -> Ints:
    """The triangles that hang together with ``vertex``."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = sparse.csr_array((np.ones(len(edges)), edges.T), (count, count))
    _, label = csgraph.connected_components(graph, directed=False)
    return triangles[label[triangles[:, 0]] == label[vertex]]


def subdivide(quads: Ints, count: int) -> tuple[sparse.csr_array, Ints]:
    """One step of Catmull and Clark on a closed mesh (1978): matrix [V + E + Q, V], quads.

    New vertices: the old ones moved, then one an edge, then one a quad.
    """
    edges, edge_of = np.unique(np.sort(quad_edges(quads), 1), axis=0, return_inverse=True)
    faces = np.arange(len(quads))
    to_face = _mean(np.repeat(faces, 4), quads.ravel(), (len(quads), count))
    to_middle = _mean(np.repeat(np.arange(len(edges)), 2), edges.ravel(), (len(edges), count))
    face_of_edge = _mean(edge_of, np.tile(faces, 4), (len(edges), len(quads)))
    to_edge = (to_middle + face_of_edge @ to_face) / 2
    around = _mean(quads.ravel(), np.repeat(faces, 4), (count, len(quads))) @ to_face
    middles = _mean(edges.ravel(), np.repeat(np.arange(len(edges)), 2), (count, len(edges)))
    valence = np.bincount(edges.ravel(), minlength=count)
    scale = sparse.diags_array(1 / valence)
    stay = sparse.diags_array((valence - 3).astype(float))
    to_vertex = scale @ (around + 2 * (middles @ to_middle) + stay)
    matrix = sparse.vstack([to_vertex, to_edge, to_face]).tocsr()
    return matrix, _split_quads(quads, edge_of.reshape(4, -1).T + count, count + len(edges))


def _split_quads(quads: Ints, sides: Ints, first_center: int) -> Ints:
    """Each quad as four: corner, side, centre, side before."""
    centers = first_center + np.arange(len(quads))
    parts = [
        np.stack([quads[:, k], sides[:, k], centers, sides[:, k - 1]], axis=1) for k in range(4)
    ]
    return np.stack(parts, axis=1).reshape(-1, 4)


def _mean(rows: Ints, columns: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """Each row the mean of its columns."""
    counts = np.bincount(rows, minlength=shape[0])
    return sparse.csr_array((1 / counts[rows], (rows, columns)), shape)


def normals(vertices: Array, triangles: Ints) -> Array:
    """Unit normals at the vertices, weighted by area, [V, 3]."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, triangles[:, k], flat)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between (either may be the larger)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
