from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.motion.curves import Motion
from dtalk.motion.resample import resample_motion


def coefficients(frames: int) -> np.ndarray:
    return np.random.default_rng(0).random((frames, 52), dtype=np.float32)


def swing(fps: float, hertz: float, seconds: float = 4) -> Motion:
    time = (np.arange(round(seconds * fps)) + 0.5)[:, None] / fps
    return Motion(0.5 + 0.5 * np.sin(2 * np.pi * hertz * time + np.arange(52)), fps=fps)


class TestResample:
    def test_double_the_rate_by_hand(self):
        """Halfway between frames: sinc(x) sinc(x / 3) at 0.25 and 0.75 of a frame."""
        values = np.zeros((30, 52), np.float32)
        values[10] = 1
        double = resample_motion(Motion(values, fps=30, audio="a.wav", seed=3), 60)
        assert (len(double), double.fps, double.audio, double.seed) == (60, 60.0, "a.wav", 3)

        def kernel(away):
            return np.sinc(away) * np.sinc(away / 3)

        places = (np.arange(60) + 0.5) / 2 - 0.5
        near = np.arange(-4, 5)
        around = [near + np.round(place) - place for place in places]
        whole = [kernel(away[abs(away) < 3]).sum() for away in around]
        expected = np.where(abs(places - 10) < 3, kernel(places - 10), 0) / whole
        np.testing.assert_allclose(double.coefficients[:, 0], expected.clip(0, 1), atol=1e-6)
        assert double.coefficients[20, 0] == pytest.approx(0.8936, abs=1e-3)

    @pytest.mark.parametrize(
        ("old", "new", "hertz", "left"),
        [(60, 30, 5, 1), (60, 30, 22, 0.02), (120, 30, 50, 0), (60, 24, 4, 1), (60, 24, 20, 0.01)],
    )
    def test_what_is_too_fast_is_taken_away_first(self, old, new, hertz, left):
        """At 30 frames a second 22 Hz would look like 8 Hz, and 50 Hz like 10 Hz."""
        inside = resample_motion(swing(old, hertz), new).coefficients[8:-8]
        assert np.abs(2 * inside - 1).max() == pytest.approx(left, abs=0.02)

    @pytest.mark.parametrize(("old", "new"), [(30, 60), (30, 50), (24, 60), (25, 30), (30, 120)])
    def test_what_a_rate_can_hold_is_followed_between_its_frames(self, old, new):
        found = resample_motion(swing(old, 4), new).coefficients
        wanted = swing(new, 4).coefficients[: len(found)]
        np.testing.assert_allclose(found[10:-10], wanted[10:-10], atol=0.02)

    @pytest.mark.parametrize("fps", [24, 25, 50, 60])
    def test_there_and_back(self, fps):
        motion = swing(30, 3)
        back = resample_motion(resample_motion(motion, fps), 30)
        assert len(back) == len(motion)
        np.testing.assert_allclose(back.coefficients[8:-8], motion.coefficients[8:-8], atol=0.015)

    def test_a_sudden_step_stays_within_0_and_1(self):
        values = np.zeros((60, 52))
        values[31:] = 1
        half = resample_motion(Motion(values, fps=60), 30).coefficients
        assert (half.min(), half.max()) == (0, 1)

    def test_same_rate_changes_nothing(self):
        motion = Motion(coefficients(9), fps=25)
        assert resample_motion(motion, 25) is motion

    @pytest.mark.parametrize(("old", "new"), [(60, 30), (30, 60), (25, 30), (29.97, 30)])
    def test_a_straight_line_stays_one(self, old, new):
        """Values equal to the time of the frame's centre keep that property inside."""

        def line(frames, fps):
            return (np.arange(frames) + 0.5)[:, None] / fps * np.ones(52)

        motion = Motion(
            line(round(4 * old), old), fps=old, head_rotation=line(round(4 * old), old)[:, :3]
        )
        other = resample_motion(motion, new)
        assert len(other) == round(motion.duration * new)
        inside = slice(6, -6)
        expected = line(len(other), new)
        np.testing.assert_allclose(other.coefficients[inside], expected[inside], atol=1e-3)
        assert other.head_rotation is not None
        np.testing.assert_allclose(other.head_rotation[inside], expected[inside, :3], atol=1e-3)

    @given(st.integers(1, 50), st.floats(5, 120), st.floats(5, 120))
    def test_length_and_range_are_kept(self, frames, old, new):
        motion = Motion(coefficients(frames), fps=old)
        other = resample_motion(motion, new)
        assert abs(len(other) / new - motion.duration) <= max(0.5 / new + 1e-9, 1 / new)
        assert other.coefficients.min() >= 0
        assert other.coefficients.max() <= 1

    def test_a_wider_range_is_kept(self):
        values = 3 * np.random.default_rng(0).random((30, 52)) - 1
        other = resample_motion(Motion(values, fps=30), 60).coefficients
        assert -1 <= other.min() < 0
        assert 1 < other.max() <= 2


def test_long_motions_are_resampled_as_short_ones() -> None:
    """Rows are made 1000 at a time; a cut far from both ends changes nothing."""
    curves = np.random.default_rng(0).uniform(0, 1, (900, 52)).astype(np.float32)
    whole = resample_motion(Motion(curves), 60.0).coefficients
    part = resample_motion(Motion(curves[400:700]), 60.0).coefficients
    assert len(whole) == 1800
    np.testing.assert_allclose(part[20:-20], whole[820:1380], atol=1e-6)
