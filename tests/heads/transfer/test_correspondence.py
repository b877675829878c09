"""Local maps by hand."""

from __future__ import annotations

import numpy as np

from dtalk.heads.transfer.correspondence import local_maps


def test_local_maps_are_exact_for_a_linear_map() -> None:
    points = np.random.default_rng(0).normal(scale=0.01, size=(200, 3))
    linear = np.array([[1.1, 0.2, 0], [0, 0.9, 0.1], [0.1, 0, 1.3]])
    maps = local_maps(points, points @ linear.T + 4)
    np.testing.assert_allclose(maps, np.tile(linear, (200, 1, 1)), atol=1e-9)
