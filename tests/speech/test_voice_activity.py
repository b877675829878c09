"""Where nobody speaks, and the mouth at rest there."""

from __future__ import annotations

import numpy as np
import pytest

from dtalk.motion.arkit import ARKIT_NAMES, PARTING_CHANNELS
from dtalk.speech.voice_activity import (
    FADE,
    HOLD,
    close_in_silence,
    presence,
    speaking,
    without_clicks,
)

RATE = 16_000
FRAME = RATE // 30
PARTING = [index in PARTING_CHANNELS for index in range(len(ARKIT_NAMES))]


def tone(frames: int, amplitude: float = 0.2) -> np.ndarray:
    time = np.arange(frames * RATE // 30) / RATE
    return (amplitude * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def quiet(frames: int) -> np.ndarray:
    return np.zeros(frames * RATE // 30, np.float32)


def test_a_tone_between_silences_is_found_to_the_frame() -> None:
    waveform = np.concatenate([quiet(30), tone(30), quiet(30)])
    assert np.flatnonzero(speaking(waveform, 90)).tolist() == list(range(30, 60))


@pytest.mark.parametrize("gain", [0.1, 1.0, 3.0])
def test_the_recording_level_does_not_matter(gain: float) -> None:
    waveform = np.concatenate([quiet(10), tone(30), tone(30, 0.001), quiet(10)])
    expected = [10 <= frame < 40 for frame in range(80)]  # the faint tone is 46 dB lower
    assert speaking(gain * waveform, 80).tolist() == expected


def test_a_click_is_no_speech() -> None:
    waveform = np.concatenate([tone(30), quiet(40)])
    waveform[50 * FRAME : 50 * FRAME + 30] = 0.9
    assert not speaking(waveform, 70)[35:].any()


def test_runs_that_are_too_short_are_taken_out() -> None:
    spoken = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1], bool)
    assert without_clicks(spoken, 3).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert without_clicks(spoken, 1).tolist() == spoken.tolist()
    assert without_clicks(np.zeros(0, bool), 3).tolist() == []


def test_presence_holds_then_falls_linearly() -> None:
    waveform = np.concatenate([tone(30), quiet(60)])
    found = presence(waveform, 90)
    distance = np.arange(90) - 29  # from the last spoken frame
    expected = np.clip(1 - (distance - HOLD) / FADE, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[29 + HOLD] == 1
    assert found[29 + HOLD + FADE] == 0


def test_presence_rises_before_speech_as_it_falls_after() -> None:
    waveform = np.concatenate([quiet(45), tone(30), quiet(45)])
    found = presence(waveform, 120)
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_silence_has_no_presence(frames: int) -> None:
    assert presence(quiet(frames), frames).tolist() == [0.0] * frames


def test_one_loud_frame_is_a_clip_of_speech() -> None:
    assert presence(tone(1), 1).tolist() == [1.0]


def test_fewer_samples_than_frames_is_no_error() -> None:
    assert presence(np.array([0.1], np.float32), 3).shape == (3,)


def test_only_the_mouth_rests() -> None:
    waveform = np.concatenate([tone(30), quiet(60)])
    face = np.random.default_rng(0).random((90, 52), np.float32)
    rested = close_in_silence(face, waveform)
    np.testing.assert_array_equal(rested[:30], face[:30])
    others = ~np.array(PARTING)
    np.testing.assert_array_equal(rested[:, others], face[:, others])
    assert not rested[60:, PARTING].any()
    assert face[60:, PARTING].any()  # what was given stays as it is
