"""Surfaces: spheres and Laplacians by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dtalk.heads.transfer.surface import Skin, sphere


def test_sphere_by_hand() -> None:
    points = np.array([[1, 2, 3]]) + 2 * np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0.6, 0.8]]
    )
    centre, radius = sphere(points)
    np.testing.assert_allclose(centre, [1, 2, 3])
    assert radius == pytest.approx(2)


def test_laplacian_of_a_linear_field_is_zero_inside() -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.arange(5.0), np.arange(4.0)))
    cells = [(r * 5 + c) for r in range(3) for c in range(4)]
    faces = np.array([t for i in cells for t in ((i, i + 1, i + 6), (i, i + 6, i + 5))])
    skin = Skin(np.stack((x, y, 0 * x), axis=1), faces)
    inner = ~skin.border()
    assert inner.sum() == 6
    found = skin.laplacian() @ (2 * x - 3 * y + 1)
    # The cotangents are kept above 0, so it is not exact.
    assert np.abs(found[inner]).max() < 0.5
    np.testing.assert_allclose(skin.laplacian() @ np.ones(20), 0, atol=1e-12)
    np.testing.assert_allclose(skin.normals(), np.tile([0, 0, 1], (20, 1)))
