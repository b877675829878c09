"""Bootstrap: hand-worked resamples, and what is known of normal data."""

from __future__ import annotations

import numpy as np
import pytest
from systems import clips_of, system

from dtalk.evaluation.bootstrap import (
    add_intervals,
    difference,
    interval,
    resampled_means,
    resamples,
)


def test_resamples_are_drawn_with_replacement_and_always_the_same():
    chosen = resamples(5, 400)
    assert chosen.shape == (400, 5)
    assert set(np.unique(chosen)) == set(range(5))
    assert any(len(set(row)) < 5 for row in chosen)
    np.testing.assert_array_equal(chosen, resamples(5, 400))
    assert (chosen != resamples(5, 400, seed=1)).any()


def test_means_by_hand():
    values = np.array([1.0, 2.0, np.nan, 6.0])
    chosen = np.array([[0, 1, 2, 3], [3, 3, 2, 2], [2, 2, 2, 2], [0, 0, 0, 1]])
    found = resampled_means(values, None, chosen)
    np.testing.assert_allclose(found, [3.0, 6.0, np.nan, 1.25])


def test_fractions_are_of_means():
    """Not means of fractions: 1/2 and 9/3 would give 1.75."""
    found = resampled_means(np.array([1.0, 9.0]), np.array([2.0, 3.0]), np.array([[0, 1], [1, 1]]))
    np.testing.assert_allclose(found, [2.0, 3.0])


@pytest.mark.filterwarnings("error")
def test_of_a_face_that_never_moves_there_is_no_fraction():
    found = resampled_means(np.ones(2), np.zeros(2), np.array([[0, 1]]))
    assert interval(found) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_an_interval_by_hand():
    assert interval(np.arange(101.0), coverage=0.9) == pytest.approx((5.0, 95.0))
    assert interval(np.array([4.0, np.nan, 4.0])) == (4.0, 4.0)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = interval(resampled_means(values, None, resamples(400, 4000)))
    error = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - error, abs=0.02)
    assert high == pytest.approx(values.mean() + error, abs=0.02)


def test_intervals_hold_the_figure_they_belong_to():
    clips = clips_of(*range(2, 22))
    values = list(np.random.default_rng(0).uniform(2, 4, 20))
    only = system("a", clips, values)
    add_intervals([only])
    scores = only.tables["sample"]["all"]
    assert set(only.tables["intervals"]) == set(scores)
    for key, (low, high) in only.tables["intervals"].items():
        assert low < scores[key] < high, key
    low, high = only.tables["intervals"]["lve"]
    assert only.tables["intervals"]["lve_of_static"] == pytest.approx((low / 10, high / 10))
    assert "difference" not in only.tables


def test_a_difference_is_judged_clip_by_clip():
    """Clips differ much more than the systems do: paired, that does not hide the difference."""
    clips = clips_of(*range(2, 22))
    values = np.random.default_rng(0).uniform(0, 100, 20)
    first, worse = system("a", clips, list(values)), system("b", clips, list(values + 1))
    add_intervals([first, worse])
    assert worse.tables["difference"]["lve"] == pytest.approx((1, 1))
    assert worse.tables["difference"]["lve_of_static"] == pytest.approx((0.1, 0.1))
    assert "difference" not in first.tables
    (low, high), (less, more) = (s.tables["intervals"]["lve"] for s in (first, worse))
    assert less < high
    assert low < more


def test_only_common_clips_tell_a_difference():
    clips = clips_of(*range(2, 12))
    first = system("a", clips, [1.0] * 10)
    other = system("b", clips[4:], [3.0] * 6)
    assert difference(first, other)["lve"] == pytest.approx((2, 2))
    none_common = difference(first, system("c", clips_of(40), [1.0]))
    assert none_common == {}
