"""Blinks and head motion: from a seed, within bounds, at the speed of life."""

from __future__ import annotations

import numpy as np

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.idle import add_idle_motion, blinks

LIDS = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]


def still(seconds: float, fps: float = 30.0) -> Motion:
    return Motion(np.zeros((round(seconds * fps), 52), dtype=np.float32), fps=fps)


def starts(lids: np.ndarray) -> np.ndarray:
    """Frames in which a blink is first more than half shut."""
    return np.flatnonzero((lids[1:] > 0.5) & (lids[:-1] <= 0.5))


def test_the_same_seed_gives_the_same_life() -> None:
    first, again, other = (add_idle_motion(still(20), seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.coefficients, again.coefficients)
    np.testing.assert_array_equal(first.head_rotation, again.head_rotation)
    assert (first.coefficients != other.coefficients).any()


def test_only_lids_and_the_head_move() -> None:
    lively = add_idle_motion(still(60))
    others = np.delete(lively.coefficients, LIDS, axis=1)
    assert not others.any()
    np.testing.assert_array_equal(*lively.coefficients[:, LIDS].T)
    assert lively.coefficients.min() == 0
    assert lively.coefficients.max() == 1


def test_blinks_come_as_often_as_people_s() -> None:
    """Pauses are 1.2 to 5.5 s, so 600 s hold 109 to 500 blinks; their mean is 3.35 s."""
    lids = add_idle_motion(still(600)).coefficients[:, LIDS[0]]
    found = starts(lids)
    assert 150 < len(found) < 210
    pauses = np.diff(found) / 30
    assert 1.1 < pauses.min() < pauses.max() < 5.6
    assert 0.05 < (lids > 0.5).mean() * 600 / len(found) < 0.3  # seconds shut in each


def test_a_blink_by_hand() -> None:
    """Closing takes 0.08 s, shut for 0.04 s, opening 0.18 s, each smooth."""

    class Fixed:
        """Draws what it is told: the first blink starts at 0.5 s, the next never."""

        def __init__(self) -> None:
            self.values = iter([1.0, 1e9])

        def uniform(self, low: float, high: float) -> float:
            return next(self.values)

    times = 0.5 + np.array([-0.01, 0, 0.04, 0.08, 0.12, 0.21, 0.30, 0.35])
    expected = [0, 0, 0.5, 1, 1, 0.5, 0, 0]
    np.testing.assert_allclose(blinks(times, Fixed()), expected, atol=1e-12)


def test_the_head_drifts_smoothly_from_rest() -> None:
    rotation = add_idle_motion(still(120)).head_rotation
    assert rotation is not None
    assert np.abs(rotation[0]).max() < 1e-3
    assert np.rad2deg(np.abs(rotation)).max() < 12
    assert 1 < np.rad2deg(rotation[:, 0].std()) < 4
    speed = np.rad2deg(np.abs(np.diff(rotation, axis=0))) * 30
    assert speed.max() < 30  # degrees a second


def test_it_is_added_to_what_is_there() -> None:
    turned = np.full((90, 3), 0.1, dtype=np.float32)
    curves = np.full((90, 52), 0.4, dtype=np.float32)
    lively = add_idle_motion(Motion(curves, head_rotation=turned), 1)
    alone = add_idle_motion(still(3), 1)
    assert lively.head_rotation is not None
    assert alone.head_rotation is not None
    np.testing.assert_allclose(lively.head_rotation, alone.head_rotation + 0.1, atol=1e-6)
    lids = np.maximum(alone.coefficients[:, LIDS], np.float32(0.4))
    np.testing.assert_array_equal(lively.coefficients[:, LIDS], lids)
    assert (curves == np.float32(0.4)).all()  # the input is not changed


def test_a_single_frame() -> None:
    assert add_idle_motion(still(1 / 30)).coefficients.shape == (1, 52)
