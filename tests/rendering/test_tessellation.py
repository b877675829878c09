"""Round outlines: the midpoints by hand, and triangles that still fit together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dtalk.heads.head import PARTS, Head, built_in, shapes_from_fields
from dtalk.rendering import tessellation
from dtalk.rendering.tessellation import Tessellation


def head_of(vertices: list[list[float]], faces: list[list[int]]) -> Head:
    count = len(vertices)
    return Head(
        vertices=np.array(vertices, dtype=np.float32),
        faces=np.array(faces),
        colors=np.full((count, 3), 0.5, dtype=np.float32),
        shapes=shapes_from_fields(np.zeros((52, count, 3))),
        lips=np.array([0]),
        upper_face=np.array([0]),
        opening=(0, 0),
        corners=(0, 0),
        parts=np.zeros(count, dtype=np.uint8),
    )


def areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Signed, for faces in the xy plane."""
    a, b, c = (vertices[faces[:, k], :2].astype(float) for k in range(3))
    return np.cross(np.pad(b - a, ((0, 0), (0, 1))), np.pad(c - a, ((0, 0), (0, 1))))[:, 2] / 2


def edges(faces: np.ndarray) -> np.ndarray:
    """How often each directed edge occurs, and whether its opposite does."""
    return np.stack((faces, np.roll(faces, -1, axis=1)), axis=-1).reshape(-1, 2)


def test_a_midpoint_by_hand() -> None:
    """On the unit circle at 0 and 90 degrees: (1/2, 1/2) moves outward by 3/8 of (1/2, 1/2).

    Only the edge between the two faces is inside the surface, and split.
    """
    head = head_of([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], [[0, 1, 2], [1, 0, 3]])
    split = Tessellation(head)
    assert split.count == 5
    normals = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float32)
    colors = np.array([[0, 0, 0], [1, 0.5, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float32)
    positions, shades = split.rounded(head.vertices, normals, colors)
    np.testing.assert_array_equal(positions[:4], head.vertices)
    np.testing.assert_allclose(positions[4], [0.6875, 0.6875, 0])
    np.testing.assert_allclose(shades[4], [0.5, 0.25, 0])
    assert len(split.faces) == 4


def test_flat_surfaces_stay_flat() -> None:
    head = head_of([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], [[0, 1, 2], [1, 3, 2]])
    up = np.tile(np.array([0, 0, 1], dtype=np.float32), (4, 1))
    positions, _ = Tessellation(head).rounded(head.vertices, up, up)
    np.testing.assert_allclose(positions[4], [0.5, 0.5, 0])


@pytest.mark.parametrize("longest", [0.3, 0.9, 1.2, 1.45, 9])
def test_pieces_cover_the_same_area_without_cracks(longest: float) -> None:
    """A bumpy grid of triangles, so that faces have none, one, two or three long edges."""
    rng = np.random.default_rng(0)
    size = 6
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    places = np.stack((x, y), axis=-1).reshape(-1, 2) + rng.uniform(-0.3, 0.3, (size**2, 2))
    vertices = np.pad(places, ((0, 0), (0, 1))).tolist()
    corner = (np.arange(size - 1) + size * np.arange(size - 1)[:, None]).ravel()
    right, up = corner + 1, corner + size
    faces = np.concatenate(
        (np.stack((corner, right, up), axis=1), np.stack((right, up + 1, up), axis=1))
    )
    head = head_of(vertices, faces.tolist())
    split = Tessellation(head, longest)
    normals = np.tile(np.array([0, 0, 1], dtype=np.float32), (len(vertices), 1))
    positions, _ = split.rounded(head.vertices, normals, normals)
    pieces = areas(positions, split.faces)
    assert pieces.min() > 0  # none is turned over
    assert pieces.sum() == pytest.approx(areas(head.vertices, head.faces).sum(), rel=1e-5)
    directed = [tuple(edge) for edge in edges(split.faces).tolist()]
    assert len(set(directed)) == len(directed)
    open_edges = [edge for edge in directed if edge[::-1] not in set(directed)]
    assert len(open_edges) == 4 * (size - 1)  # the border, as before
    assert set(split.faces.ravel()) == set(range(split.count))


def test_only_long_edges_of_the_skin_are_split() -> None:
    head = built_in()
    split = Tessellation(head)
    assert 1000 < split.count - len(head.vertices) < 4000
    skin = head.parts == PARTS.index("skin")
    assert skin[split.split].all()
    length = np.linalg.norm(np.diff(head.vertices[split.split], axis=0)[0], axis=1)
    assert length.min() > tessellation.LONG
    assert not np.isin(head.lips, split.split).any()
    bald = replace(head, parts=np.full_like(head.parts, PARTS.index("eye")))
    for whole in (Tessellation(head, math.inf), Tessellation(bald)):
        assert whole.count == len(head.vertices)
        np.testing.assert_array_equal(whole.faces, head.faces)


def test_the_crown_becomes_rounder() -> None:
    """Midpoints of the crown lie further out than the chords between their ends."""
    head = built_in()
    split = Tessellation(head)
    crown = head.vertices[split.split[0], 1] > 0.81
    a, b = head.vertices[split.split[:, crown]]
    normals = head.vertices - np.array([0, 0.74, 0.03], dtype=np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions, _ = split.rounded(head.vertices, normals, normals)
    moved = positions[len(head.vertices) :][crown] - (a + b) / 2
    outward = (moved * normals[split.split[:, crown]].sum(axis=0)).sum(axis=1) / 2
    assert crown.sum() > 50
    assert outward.min() > 0
    assert 1e-4 < np.median(outward) < 5e-3  # metres
