"""The level of speech from moment to moment, with sounds whose levels are known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import speech

from dtalk.speech.levels import BURST, MAXIMUM_GAIN, TENTH, UNEVEN, Levels, voiced_tenths
from dtalk.speech.loudness import levels_of
from dtalk.speech.measures import measure

RATE = 16_000
LOUD = levels_of(speech(10 * RATE)).loud


def noise(seconds: float, level: float = 1.0) -> np.ndarray:
    found = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return (level * found).astype(np.float32)


def breaths(seconds: float, level: float) -> np.ndarray:
    """Noise that swells and is gone, once a second."""
    swell = np.sin(np.pi * np.arange(round(seconds * RATE)) / RATE) ** 4
    return noise(seconds, level) * swell.astype(np.float32)


def gains(*sounds: np.ndarray) -> list[np.ndarray]:
    """The gains of the tenths of each of sounds that follow one another."""
    found = levels_of(np.concatenate(sounds)).gains
    assert len(found) > 1
    ends = np.cumsum([len(sound) // TENTH for sound in sounds])
    return np.split(found, ends[:-1])


@pytest.mark.parametrize("seconds", [0.5, 4.0, 20.0])
def test_a_speaker_has_one_gain(seconds: float) -> None:
    assert len(levels_of(speech(round(seconds * RATE))).gains) == 1


@pytest.mark.parametrize("softer", [0.08, 0.3])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_softer_speaker_is_raised_to_within_3_dB(softer: float, turn: int) -> None:
    both = [speech(10 * RATE), np.float32(softer) * speech(10 * RATE)]
    first, second = (part[10:-10] for part in gains(*both[::turn]))
    loud, soft = (first, second)[::turn]
    assert soft.min() > loud.max() / softer / UNEVEN**2
    assert soft.max() < loud.min() / softer


def test_what_is_loud_is_not_raised_near_what_is_soft() -> None:
    both = [speech(10 * RATE), np.float32(0.08) * speech(10 * RATE)]
    loud, _ = gains(*both)
    levelled = levels_of(np.concatenate(both)).levelled(np.concatenate(both))
    frames = levelled[: 10 * RATE].reshape(-1, 400).std(1)
    assert frames.max() < 0.1 * BURST * 1.6  # a frame of a tenth that is twice as loud
    assert loud[:70].max() == pytest.approx(loud[0], rel=1e-3)


def test_speech_after_loud_music_is_raised_and_the_music_is_not() -> None:
    time = np.arange(8 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277.2, 329.6))
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * 2 * time)
    music, spoken = gains((0.3 * chord * swell).astype(np.float32), 0.05 * speech(10 * RATE))
    assert music[:70].max() < 1
    assert spoken[10:].min() > 5


@pytest.mark.parametrize("level", [0.001, 0.01])
def test_noise_and_breaths_between_words_stay_where_they_are(level: float) -> None:
    """In a pause of ten seconds between loud speech, to which a soft speaker answers."""
    loud, soft = speech(8 * RATE), np.float32(0.1) * speech(8 * RATE)
    pause = breaths(10, level * LOUD) + noise(10, 0.1 * level * LOUD)
    first, between, last, _ = gains(loud, pause, loud, soft)
    np.testing.assert_allclose(between[:-5], first[0], rtol=0.01)
    np.testing.assert_allclose(last[5:40], first[0], rtol=0.01)


def test_noise_before_soft_speech_is_not_louder_than_speech() -> None:
    before, _, _ = gains(noise(8, LOUD), 0.05 * speech(8 * RATE), speech(8 * RATE))
    assert before[:-5].max() * LOUD < 0.1 * UNEVEN * 1.05
    assert before.max() * LOUD < 0.1 * BURST * 1.05


def test_a_click_is_not_raised_with_the_soft_speech_around_it() -> None:
    soft = np.float32(0.08) * speech(10 * RATE)
    soft[80_000:80_400] = np.float32(0.5) * np.sign(noise(400 / RATE))
    _, around = gains(speech(10 * RATE), soft)
    assert around[50] < around[[48, 52]].min() / 2


def test_gains_are_limited() -> None:
    faint, loud = np.float32(1e-4) * speech(10 * RATE), speech(10 * RATE)
    assert gains(faint, loud)[0].max() == MAXIMUM_GAIN


def test_a_sound_in_parts_is_levelled_as_the_whole() -> None:
    sound = np.concatenate([speech(8 * RATE), 0.05 * speech(9 * RATE) + np.float32(0.01)])
    whole = levels_of(sound).levelled(sound)
    found = measure((sound[at : at + 999] for at in range(0, len(sound), 999)), 0)
    spans = [(0, 20_000), (20_000, 130_001), (130_001, len(sound))]
    parts = [found.levels.levelled(sound[begin:end], begin) for begin, end in spans]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-7)
    assert found.spoken[260:].mean() > 0.8


def test_gains_between_the_midsts_of_tenths_are_interpolated() -> None:
    levels = levels_of(np.concatenate([speech(6 * RATE), 0.05 * speech(6 * RATE)]))
    middles = (np.arange(120) + 0.5) * TENTH
    np.testing.assert_array_equal(levels.gain_at(middles), levels.gains)
    halfway = levels.gain_at(middles[:-1] + TENTH / 2)
    np.testing.assert_allclose(halfway, (levels.gains[1:] + levels.gains[:-1]) / 2, rtol=1e-6)
    assert levels.gain_at(0) == levels.gains[0]


def test_voicing_is_asked_for_only_where_levels_differ() -> None:
    def unasked() -> np.ndarray:
        raise AssertionError

    even = np.full(400, 0.1, np.float32)
    assert Levels(even, 0.0, unasked).gains.tolist() == pytest.approx([1.0])
    with pytest.raises(AssertionError):
        _ = Levels(np.append(even, 0.01 * even), 0.0, unasked).gains


@pytest.mark.parametrize("hertz", [85, 120, 220, 390])
def test_voices_are_voiced(hertz: float) -> None:
    time = np.arange(TENTH) / RATE
    parts = [np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3)]
    tenth = (np.ones((1, 3)) @ np.stack(parts)).astype(np.float32)
    assert voiced_tenths(tenth).all()
    assert voiced_tenths(1e-4 * tenth + np.float32(0.3)).all()


def test_noise_silence_and_rumble_are_not_voiced() -> None:
    white = noise(20).reshape(-1, TENTH)
    brown = np.cumsum(noise(20)).reshape(-1, TENTH)
    assert not voiced_tenths(white).any()
    assert voiced_tenths(brown).mean() < 0.05
    assert not voiced_tenths(np.full((2, TENTH), 0.3, np.float32)).any()
    assert voiced_tenths(np.zeros((0, TENTH), np.float32)).shape == (0,)
