"""Long clips in windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import speech

from dtalk.engine import windows
from dtalk.engine.graph import Graph
from dtalk.engine.voice import as_found, chosen_voice
from dtalk.engine.windows import OVERLAP, WINDOW, bounds, faded, run_in_windows
from dtalk.motion.noise import standard_normal


@pytest.mark.parametrize("frames", [1801, 1803, 2000, 3300, 4800, 10_000, 432_000])
def test_windows_cover_a_clip_and_overlap(frames: int) -> None:
    found = bounds(frames)
    assert found[0][0] == 0
    assert found[-1][1] == frames
    assert all(begin % 3 == 0 for begin, _ in found)
    assert all(one[1] - other[0] >= OVERLAP for one, other in pairwise(found))
    assert all(WINDOW <= end - begin <= WINDOW + 2 for begin, end in found)


def test_a_window_takes_over_in_the_middle_of_the_overlap() -> None:
    before, window = np.zeros((WINDOW, 1), np.float32), np.ones((WINDOW, 1), np.float32)
    found = faded(before, window, OVERLAP)[:, 0]
    assert not found[:120].any()  # 150 less half of the 60 frames of the fade
    assert found[120] == pytest.approx(0.5 / 60)
    assert found[149:151].mean() == pytest.approx(0.5)
    assert (found[180:] == 1).all()
    assert faded(before, window, 0) is window


@pytest.fixture(scope="module")
def graph(exported) -> Graph:
    return Graph(exported, threads=1)


def test_a_clip_that_is_not_long_is_predicted_at_once(graph) -> None:
    sound, noise, voice = speech(8000), standard_normal(0, 15), as_found(graph.config)
    whole, found = graph.run(sound, noise, voice), run_in_windows(graph, sound, noise, voice)
    np.testing.assert_array_equal(found.coefficients, whole.coefficients)


def test_windows_of_a_local_model_agree(graph, monkeypatch) -> None:
    """Of one voice, and of a model that hears each moment by itself and its neighbours."""
    frames = 400
    for name, value in {"WINDOW": 150, "OVERLAP": 60, "FADE": 12}.items():
        monkeypatch.setattr(windows, name, value)
    sound, noise = speech(frames * 1600 // 3), standard_normal(0, frames)
    voice = chosen_voice(graph.config, "bob", "happy", 1)
    whole = graph.run(sound, noise, voice)
    found = run_in_windows(graph, sound, noise, voice)
    assert len(bounds(frames)) == 4
    assert np.abs(found.coefficients - whole.coefficients).max() < 0.01
    assert found.emotion.shape == whole.emotion.shape
    assert found.emotion.sum() == pytest.approx(1)
    assert found.identity_probability.sum() == pytest.approx(1, abs=1e-5)
