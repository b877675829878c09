"""The motion container."""

from __future__ import annotations

import numpy as np
import pytest

from dtalk.errors import MotionError
from dtalk.motion.curves import Motion


class TestMotion:
    def test_takes_anything_like_an_array(self):
        motion = Motion([[0] * 52] * 60, fps=60)
        assert motion.coefficients.dtype == np.float32
        assert motion.coefficients.shape == (60, 52)
        assert len(motion) == 60
        assert motion.duration == 1.0

    @pytest.mark.parametrize("shape", [(0, 52), (52,), (3, 51), (1, 3, 52)])
    def test_shapes(self, shape):
        with pytest.raises(MotionError, match="shape"):
            Motion(np.zeros(shape))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_must_be_finite(self, bad):
        values = np.zeros((5, 52))
        values[3, 7] = bad
        with pytest.raises(MotionError, match="frame 3"):
            Motion(values)
        with pytest.raises(MotionError, match="head rotation: frame 3"):
            Motion(np.zeros((5, 52)), head_rotation=values[:, 5:8])

    def test_head_rotation_must_fit(self):
        with pytest.raises(MotionError, match=r"head rotation has 4 frames, coefficients 5"):
            Motion(np.zeros((5, 52)), head_rotation=np.zeros((4, 3)))
        with pytest.raises(MotionError, match="shape"):
            Motion(np.zeros((5, 52)), head_rotation=np.zeros((5, 4)))

    @pytest.mark.parametrize("fps", [0, -30, np.nan, np.inf])
    def test_fps(self, fps):
        with pytest.raises(MotionError, match="fps"):
            Motion(np.zeros((5, 52)), fps=fps)

    @pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
    def test_seed(self, seed):
        with pytest.raises(MotionError, match="64 bits"):
            Motion(np.zeros((5, 52)), seed=seed)

    def test_numbers_are_asked_for(self):
        with pytest.raises(MotionError, match="not an array of numbers"):
            Motion([["a"] * 52])
