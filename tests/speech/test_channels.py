"""Channels: their mean, one of them, and those that cancel each other."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.errors import AudioError
from dtalk.speech.channels import ChannelWarning, Selection, select_channels

RATE, PATH = 1000, Path("a.wav")
NOISE = 0.1 * np.random.default_rng(0).standard_normal((5 * RATE, 8)).astype(np.float32)


def blocks(samples: np.ndarray):
    return iter(np.array_split(samples.astype(np.float32), 7))


def selected(samples: np.ndarray, wanted: str = "auto") -> tuple[Selection, np.ndarray]:
    selection, all_ = select_channels(blocks(samples), RATE, samples.shape[1], wanted, PATH)
    return selection, np.concatenate([selection.mono(block) for block in all_])


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_the_mean_of_any_number(channels):
    samples = NOISE[:, :channels]
    selection, mono = selected(samples)
    assert selection == Selection()
    np.testing.assert_allclose(mono, samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("other", [-1.0, -0.7, -1.5])
def test_opposite_phase_leaves_the_louder_channel(other):
    samples = NOISE[:, :1] * np.array([1.0, other], np.float32)
    with pytest.warns(ChannelWarning, match=r"opposite phase.* only channel [12] is used"):
        selection, mono = selected(samples)
    louder = int(abs(other) > 1)
    assert selection.only == louder
    np.testing.assert_array_equal(mono, samples[:, louder])


@given(st.floats(-0.6, 1.0))
def test_wide_stereo_is_mixed(share):
    side = share * NOISE[:, :1] + np.sqrt(1 - share**2) * NOISE[:, 1:2]
    assert selected(np.hstack([NOISE[:, :1], side]))[0] == Selection()


def test_a_side_that_is_silent_is_mixed():
    assert selected(NOISE[:, :1] * np.array([0, 1], np.float32))[0] == Selection()


def test_silence_tells_nothing():
    assert selected(np.zeros((3000, 2)))[0] == Selection()


def test_opposite_phase_after_silence_is_found():
    samples = np.vstack([np.zeros((40 * RATE, 2)), NOISE[:, :1] * [1, -1]])
    with pytest.warns(ChannelWarning):
        assert selected(samples)[0].only is not None


@pytest.mark.parametrize(("wanted", "index"), [("left", 0), ("right", 1), ("1", 0), ("3", 2)])
def test_one_by_name(wanted, index):
    selection, mono = selected(NOISE[:, :3], wanted)
    np.testing.assert_array_equal(mono, NOISE[:, index])
    assert selection.heard(NOISE[:5, :3]).shape == (5, 1)


def test_mix_is_the_mean_come_what_may():
    _, mono = selected(NOISE[:, :1] * np.array([1, -1], np.float32), "mix")
    assert not mono.any()


@pytest.mark.parametrize("wanted", ["0", "3", "middle", "-1", "2.0", ""])
def test_what_there_is_not(wanted):
    with pytest.raises(AudioError, match="it has 2 channels"):
        selected(NOISE[:, :2], wanted)


def test_mono_has_no_right():
    with pytest.raises(AudioError, match=r"it has 1 channel$"):
        selected(NOISE[:, :1], "right")
