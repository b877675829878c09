"""Rows at their own times: clocks, holes, doubled and swapped rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.motion.timecodes import clock_rate, lay_out, read_times


def smpte(seconds: float, clock: int = 60) -> str:
    whole, ticks = divmod(round(seconds * clock * 1000), clock * 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours % 24:02}:{minute:02}:{second:02}:{ticks // 1000:02}.{ticks % 1000:03}"


def laid(times, values=None, fps=None):
    """The layout of rows at these times, whose values differ unless given."""
    values = np.arange(len(times)) if values is None else np.asarray(values)
    same = np.concatenate([[False], values[1:] == values[:-1]])
    layout = lay_out(np.asarray(times, float), same, fps)
    assert layout is not None
    return layout


def even(layout, values):
    return layout.evenly(np.asarray(values, np.float32)[:, None])[:, 0]


class TestReadTimes:
    def test_camera_clocks(self):
        times = read_times(["10:23:45:17.300", "10:23:45:18.300", "10:23:46:59.000"])
        start = 10 * 3600 + 23 * 60 + 45
        np.testing.assert_allclose(
            times, [start + 17.3 / 60, start + 18.3 / 60, start + 1 + 59 / 60]
        )

    @pytest.mark.parametrize("cells", [["0", "0,04", "0,08"], ["0", "0.04", "0.08"]])
    def test_seconds_with_either_point(self, cells):
        np.testing.assert_allclose(read_times(cells), [0, 0.04, 0.08])

    @pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
    @pytest.mark.parametrize("fps", [5, 24, 30, 60, 120, 240])
    def test_the_unit_of_plain_numbers_is_told_by_their_steps(self, unit, fps):
        times = 100 + np.arange(20) / fps
        found = read_times([f"{t * unit:.6f}" for t in times])
        np.testing.assert_allclose(found, times, atol=1e-5)

    def test_clocks_with_fractions(self):
        np.testing.assert_allclose(read_times(["00:01:02.5", "1:02.540"]), [62.5, 62.54])

    @pytest.mark.parametrize(
        "cells", [["", ""], ["x", "0.1"], ["1", "2"], ["3", "3"], ["nan", "0.1"], ["0:0:0:0", "1"]]
    )
    def test_what_is_no_time(self, cells):
        assert read_times(cells) is None

    @pytest.mark.parametrize(
        ("numbers", "rate"), [([28, 29, 0, 1], 30), ([58, 59, 0, 1], 60), ([56, 58, 0, 2], 60)]
    )
    def test_a_clock_is_told_by_its_highest_number(self, numbers, rate):
        assert clock_rate(np.array([0.0, 0, 1, 1]), np.array(numbers, float)) == rate


class TestLayOut:
    @given(st.integers(2, 400), st.sampled_from([24, 25, 30, 50, 60, 120]))
    def test_even_rows_stay_as_they_are(self, count, fps):
        layout = laid(np.arange(count) / fps)
        values = np.random.default_rng(count).random(count).astype(np.float32)
        assert layout.fps == fps
        assert layout.notes == ()
        np.testing.assert_array_equal(even(layout, values), values)

    def test_lost_rows_are_filled_in(self):
        kept = np.array([0, 1, 2, 5, 6, 7, 8, 9])
        layout = laid(kept / 30)
        np.testing.assert_allclose(even(layout, kept), np.arange(10), atol=1e-5)
        assert "2 rows are missing" in layout.notes[0]

    def test_every_third_row_lost(self):
        kept = np.array([k for k in range(120) if k % 3])
        layout = laid(kept / 60)
        assert layout.fps == 60
        np.testing.assert_allclose(even(layout, kept), np.arange(1, 120), atol=1e-4)

    def test_a_row_that_is_held_with_its_time_is_one_row(self):
        times = [0, 1 / 30, 2 / 30, 2 / 30, 2 / 30]
        layout = laid(times, [5, 6, 7, 7, 7])
        np.testing.assert_array_equal(even(layout, [5, 6, 7, 7, 7]), [5, 6, 7])

    def test_rows_of_a_coarse_clock_are_spread(self):
        times = np.floor(np.arange(60) / 2) / 30  # two rows a tick
        layout = laid(times)
        np.testing.assert_allclose(layout.times, np.arange(60) / 60, atol=1e-9)

    def test_swapped_rows_are_put_in_order(self):
        order = np.array([0, 1, 3, 2, 4, 5])
        layout = laid(order / 30)
        np.testing.assert_allclose(even(layout, order), np.arange(6), atol=1e-5)

    @pytest.mark.parametrize("change", [-3600.0, -1.5, 61.0, 3600.0])
    def test_a_clock_that_is_set(self, change):
        times = np.arange(240) / 60
        layout = laid(times + np.where(times >= 2, change, 0))
        np.testing.assert_array_equal(even(layout, np.arange(240)), np.arange(240))
        assert f"by {abs(change) + np.sign(change) / 60:.1f} s after row 120" in layout.notes[0]

    def test_a_hole_of_some_seconds_is_one(self):
        times = np.concatenate([np.arange(60), np.arange(360, 420)]) / 60
        layout = laid(times)
        assert layout.frames == 420
        assert "5.0 s in a row" in layout.notes[0]

    def test_midnight(self):
        seconds = 86400 - 1 + np.arange(120) / 60
        times = read_times([smpte(t) for t in seconds])
        assert times is not None
        layout = laid(times)
        assert layout.frames == 120
        assert layout.notes == ()

    def test_a_known_rate_wins(self):
        assert laid(np.arange(10) / 30, fps=60).frames == 19

    def test_a_clock_that_stands_still_is_none(self):
        assert lay_out(np.zeros(5), np.zeros(5, bool)) is None

    def test_jitter_keeps_the_mean_rate(self):
        jitter = 0.3 / 30 * np.random.default_rng(0).uniform(-1, 1, 300)
        layout = laid(np.arange(300) / 30 + jitter)
        assert abs(layout.frames - 300) <= 3
        assert layout.fps == pytest.approx(30, rel=0.02)

    @given(st.lists(st.floats(0, 1e5), min_size=2, max_size=40))
    def test_any_times_give_a_layout_of_bounded_length_or_none(self, times):
        layout = lay_out(np.array(times), np.zeros(len(times), bool))
        if layout is not None:
            assert (np.diff(layout.times) >= 0).all()
            assert layout.frames >= 1
