"""Loudness and speech, measured as sound comes."""

from __future__ import annotations

import numpy as np
import pytest
from streams import hiss, in_blocks, quiet, syllables, tone

from dtalk.live.loudness import (
    USUAL_LEVEL,
    RunningLoudness,
    RunningPresence,
)
from dtalk.speech.audio import first_sample
from dtalk.speech.levels import MAXIMUM_GAIN, SPEECH_LEVEL, UNEVEN
from dtalk.speech.voice_activity import FADE, HOLD, presence


def heard(*sounds: np.ndarray) -> RunningLoudness:
    loudness = RunningLoudness()
    for block in in_blocks(np.concatenate(sounds)):
        loudness.feed(block)
    return loudness


def test_before_any_sound_speech_is_taken_to_be_as_loud_as_usual() -> None:
    assert RunningLoudness().gain == pytest.approx(SPEECH_LEVEL / USUAL_LEVEL)


def test_a_tone_between_silences_is_measured() -> None:
    loudness = heard(quiet(1), tone(2, amplitude=0.4))
    assert loudness.loud == pytest.approx(0.4 / np.sqrt(2), rel=0.01)
    assert loudness.floor == 0


def test_the_level_stays_while_nobody_speaks() -> None:
    loudness = heard(tone(2, 0.4), quiet(20))
    assert loudness.loud == pytest.approx(0.4 / np.sqrt(2), rel=0.01)


def test_noise_alone_is_no_speech_to_be_levelled() -> None:
    assert heard(hiss(20, 0.001)).loud == USUAL_LEVEL


def test_a_new_level_is_learned_within_the_memory() -> None:
    loudness = heard(tone(4, 0.8), quiet(1), tone(8, 0.08), quiet(0.5))
    assert loudness.loud == pytest.approx(0.08 / np.sqrt(2), rel=0.02)


def test_the_gain_is_limited() -> None:
    assert heard(quiet(1), tone(4, 1e-4)).gain == MAXIMUM_GAIN


def test_of_late_nothing_stands_out() -> None:
    """Silence for a second, even sound for four; at first noise soon and a tone in a second."""
    assert heard(tone(2), quiet(1.1)).steady
    assert not heard(tone(2), quiet(0.9)).steady
    assert heard(tone(2), hiss(4, 0.01)).steady
    assert not heard(tone(2), hiss(3, 0.01)).steady
    assert [heard(hiss(seconds, 0.01)).steady for seconds in (0.2, 0.3)] == [False, True]
    assert [heard(tone(seconds)).steady for seconds in (0.9, 1.0)] == [False, True]


def test_after_somebody_loud_somebody_softer_is_raised_in_four_seconds() -> None:
    loud, soft = heard(syllables(6, 0.5)).gain, heard(syllables(6, 0.5), syllables(4, 0.05)).gain
    assert soft == pytest.approx(10 * loud / UNEVEN, rel=0.02)


def test_an_offset_does_not_count() -> None:
    sound = np.concatenate([quiet(1), tone(2, 0.1)])
    loudness = heard(sound + np.float32(0.2))
    assert loudness.loud == pytest.approx(heard(sound).loud, rel=1e-4)
    last = sound[-16_000:]
    np.testing.assert_allclose(
        loudness.levelled(last + np.float32(0.2)), loudness.levelled(last), atol=1e-5
    )


@pytest.mark.parametrize("size", [1, 7, 400, 5000])
def test_how_sound_is_cut_into_blocks_does_not_matter(size: int) -> None:
    sound = np.concatenate([quiet(0.1), tone(0.2), hiss(0.1, 0.01)])
    loudness = RunningLoudness()
    for block in in_blocks(sound, size):
        loudness.feed(block)
    assert (loudness.loud, loudness.floor) == (heard(sound).loud, heard(sound).floor)


def test_frames_begin_where_their_sound_does() -> None:
    assert [first_sample(frame) for frame in (0, 1, 2, 3, 30)] == [0, 533, 1066, 1600, 16_000]


def present(sound: np.ndarray, look_ahead: int) -> np.ndarray:
    """The presence of every frame, each asked for as soon as its look-ahead is there."""
    loudness, running = RunningLoudness(), RunningPresence(look_ahead)
    found: list[float] = []
    for frame in range(len(sound) * 30 // 16_000):
        block = sound[first_sample(frame) : first_sample(frame + 1)]
        loudness.feed(block)
        running.feed(block, loudness)
        if frame >= look_ahead:
            found.append(running.at(frame - look_ahead))
    return np.array(found)


def test_the_mouth_comes_to_rest_as_in_whole_clips() -> None:
    sound = np.concatenate([quiet(1), tone(2), quiet(2)])
    found = present(sound, 6)
    np.testing.assert_allclose(found[60:], presence(sound, 150)[60 : len(found)], atol=1e-6)
    assert found[90 + HOLD + FADE] == 0


@pytest.mark.parametrize(("look_ahead", "rising"), [(3, 3), (6, 3), (9, 6), (15, 10)])
def test_the_mouth_is_free_in_time_or_soon_after(look_ahead: int, rising: int) -> None:
    found = present(np.concatenate([quiet(2), tone(2)]), look_ahead)
    start, free = int(np.flatnonzero(found)[0]), int(np.flatnonzero(found > 0.999)[0])
    assert free - start == rising - 1
    assert np.all(np.diff(found) < 1 / rising + 1e-6)
    assert free <= 60 + max(0, 4 - look_ahead)


def test_with_a_long_look_ahead_the_mouth_opens_as_in_whole_clips() -> None:
    sound = np.concatenate([quiet(2), tone(2), quiet(1)])
    found = present(sound, FADE + HOLD + 3)
    np.testing.assert_allclose(found, presence(sound, 150)[: len(found)], atol=0.11)


def test_the_mouth_rests_in_noise() -> None:
    sound = np.concatenate([hiss(3, 0.01), 0.01 * hiss(1, 1) + tone(1, 0.3), hiss(3, 0.01, 1)])
    found = present(sound, 6)
    assert not found[21:85].any()  # noise is known for what it is soon
    assert found[95:115].min() > 0.999
    assert not found[140:].any()


def test_a_click_does_not_open_the_mouth() -> None:
    click = quiet(1)
    click[8000:8200] = 0.9
    assert not present(np.concatenate([quiet(1), click, quiet(1)]), 6).any()
