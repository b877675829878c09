"""Loudness normalisation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import speech
from hypothesis import given
from hypothesis import strategies as st

from dtalk.speech.levels import MAXIMUM_GAIN, SPEECH_LEVEL, TENTH
from dtalk.speech.loudness import is_steady, level, levels_of


def sine(samples: int = 16000, amplitude: float = 1.0) -> np.ndarray:
    """Of 440 Hz."""
    return (amplitude * np.sin(2 * math.pi * 440 * np.arange(samples) / 16000)).astype(np.float32)


def test_it_brings_a_sine_to_the_standard():
    found = level(sine(amplitude=0.7))  # RMS 0.7 / sqrt(2)
    assert found.dtype == np.float32
    assert np.sqrt(np.square(found).mean()) == pytest.approx(SPEECH_LEVEL, rel=1e-3)


@given(st.floats(0.05, 20))
def test_it_makes_the_recording_level_irrelevant(factor):
    sound = speech(6000)
    np.testing.assert_allclose(
        level(sound * np.float32(factor)), level(sound), atol=1e-6, rtol=1e-4
    )


def test_it_goes_by_the_loud_frames():
    """Pauses do not count: the same tone with four times as much silence comes out as loud."""
    tone = sine(4000)
    found = level(np.concatenate([tone, np.zeros(16000, np.float32)]))[:4000]
    np.testing.assert_allclose(found, level(tone), rtol=1e-3, atol=1e-7)


def test_the_loud_frames_are_a_quantile_of_the_rms():
    """Of 21 frames of RMS 0, 1, ... 20 the 95th percentile is the 20th: 19."""
    frames = np.repeat(np.arange(21, dtype=np.float32), 400)
    frames[::2] *= -1
    assert levels_of(frames).gains.tolist() == pytest.approx([SPEECH_LEVEL / 19])


def test_it_leaves_silence_silent_and_faint_noise_faint():
    assert (level(np.zeros(1000, np.float32)) == 0).all()
    faint = sine(1600, amplitude=1e-4)
    np.testing.assert_allclose(level(faint), MAXIMUM_GAIN * faint, atol=1e-8)


def test_an_offset_is_taken_off_where_it_can_be_heard():
    sound = speech(32000)
    sound -= sound.mean()
    np.testing.assert_allclose(level(sound + np.float32(0.1)), level(sound), atol=1e-6)
    loud = levels_of(sound).loud
    slight = sound + np.float32(0.005 * loud)
    np.testing.assert_array_equal(level(slight), slight * levels_of(slight).gains)


@pytest.mark.parametrize("samples", [1, 399, 400, 401])
def test_it_keeps_the_length(samples):
    found = level(np.ones(samples, np.float32))
    assert found.shape == (samples,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("levels", "steady"),
    [
        ([0.0] * 3, True),
        ([0.1] * 9, False),
        ([0.1] * 10, True),
        ([0.1] * 18 + [0.149] * 2, True),
        ([0.1] * 18 + [0.151] * 2, False),
        ([0.1] * 39 + [0.9], True),
        ([0.0] * 2 + [0.1] * 18, False),
    ],
    ids=["nothing", "a short hum", "a hum", "swells", "stands out", "a click", "begins"],
)
def test_what_is_steady(levels, steady):
    """A second and more of which the loud tenths are at most half as loud again as the soft."""
    tenths = np.repeat(np.float32(levels), TENTH)
    tenths[::2] *= -1
    assert is_steady(np.append(tenths, np.zeros(99, np.float32))) is steady
    assert is_steady(tenths + np.float32(0.5)) is (steady and any(levels))


def test_speech_is_not_steady_and_noise_is_at_any_level():
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    assert [is_steady(noise * np.float32(gain)) for gain in (1e-6, 1e-2, 1.0)] == [True] * 3
    assert not is_steady(speech(32000))
