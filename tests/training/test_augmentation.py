"""Augmentation: nothing at strength 0, sound and motion in step, always finite."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import JAW, smooth_motion, speech
from hypothesis import given, settings
from hypothesis import strategies as st

from dtalk.motion.arkit import ARKIT_NAMES, MIRROR, MOUTH_NAMES
from dtalk.speech.audio import frame_count
from dtalk.training import augmentation
from dtalk.training.augmentation import SPEED_RANGE, augment, stretch_motion

LEFT, RIGHT = (ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right"))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class Scripted:
    """A generator that says a fixed speed, never mirrors and leaves the sound as it is.

    ``uniform(-1, 1)`` is the speed's draw; chances are decided by ``random``.
    """

    def __init__(self, speed: float, chance: float = 1.0) -> None:
        self.speed, self.chance = speed, chance

    def uniform(self, low, high, size=None):
        if size is not None:
            return np.zeros(size)
        return (self.speed - 1) / SPEED_RANGE if (low, high) == (-1, 1) else (low + high) / 2

    def random(self):
        return self.chance

    def standard_normal(self, size):
        return np.zeros(size)


def test_strength_0_changes_nothing():
    sound, motion = speech(4000), smooth_motion(8)
    found = augment(sound, motion, 0.0, rng(0))
    assert np.array_equal(found[0], sound)
    assert found[1] is not None
    assert np.array_equal(found[1], motion)
    assert augment(sound, None, 0.0, rng(0))[1] is None


def test_the_input_is_never_changed():
    sound, motion = speech(4000), smooth_motion(8)
    for seed in range(5):
        augment(sound, motion, 1.0, rng(seed))
    assert np.array_equal(sound, speech(4000))
    assert np.array_equal(motion, smooth_motion(8))


# Motion ------------------------------------------------------------------------------------------


def test_stretch_motion_by_hand():
    # Twice as fast: two frames become their mean. Half as fast: centres at -1/4, 1/4, 3/4, ...
    ramp = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    np.testing.assert_allclose(stretch_motion(ramp, 2.0), [[0.5], [2.5]])
    slow = stretch_motion(ramp, 0.5)[:, 0]
    np.testing.assert_allclose(slow, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


def test_stretch_motion_takes_the_speed_itself():
    """Not that of whole clips, 10 frames in 9: frame 8 shows what was at 8.5 * 1.08 - 0.5."""
    ramp = np.arange(10, dtype=np.float32)[:, None]
    found = stretch_motion(ramp, 1.08)[:, 0]
    np.testing.assert_allclose(found, 1.08 * (np.arange(9) + 0.5) - 0.5, rtol=1e-6)


def test_stretch_motion_at_speed_1_is_the_identity():
    assert np.array_equal(stretch_motion(smooth_motion(9), 1.0), smooth_motion(9))


@given(st.integers(1, 60), st.floats(0.8, 1.25))
def test_stretch_motion_stays_within_the_motion(frames, speed):
    motion = smooth_motion(frames)
    found = stretch_motion(motion, speed)
    assert found.dtype == np.float32
    assert len(found) == max(1, round(frames / speed))
    assert (found >= motion.min(0) - 1e-6).all()
    assert (found <= motion.max(0) + 1e-6).all()


# Sound and motion together -----------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.88, 0.93, 1.0, 1.07, 1.12])
@pytest.mark.parametrize("frame", [20, 45, 70])
def test_sound_and_motion_stay_in_step(speed, frame):
    """A click and a movement at the same time are at the same time after a change of speed."""
    time = (frame + 0.5) / 30
    sound = np.zeros(48000, np.float32)
    sound[round(time * 16000)] = 1.0
    motion = np.zeros((90, 52), np.float32)
    motion[:, JAW] = np.exp(-0.5 * ((np.arange(90) - frame) / 4) ** 2)
    found, moved = augment(sound, motion, 1.0, Scripted(speed))  # type: ignore[arg-type]
    assert moved is not None
    assert len(found) == round(48000 / speed)
    assert len(moved) == round(90 / speed)
    click = np.abs(found).argmax() / 16000
    jaw = moved[:, JAW]
    movement = ((np.arange(len(jaw)) + 0.5) / 30 * jaw).sum() / jaw.sum()
    assert click == pytest.approx(time / speed, abs=1 / 16000)
    assert movement == pytest.approx(time / speed, abs=0.01 / 30)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_the_pitch(speed):
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32)
    found, _ = augment(tone, None, 1.0, Scripted(speed))  # type: ignore[arg-type]
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() * 16000 / len(found) == pytest.approx(500 * speed, abs=2)
    middle = found[4000:10000]
    assert np.sqrt(2 * np.square(middle).mean()) == pytest.approx(1, abs=0.02)  # as loud as before


@settings(max_examples=30)
@given(st.integers(1, 20000), st.integers(0, 10000), st.floats(0.01, 1))
def test_any_clip_stays_finite_and_in_step(samples, seed, strength):
    sound, frames = speech(samples), frame_count(samples)
    found, moved = augment(sound, smooth_motion(frames), strength, rng(seed))
    assert moved is not None
    assert found.dtype == moved.dtype == np.float32
    assert found.ndim == 1
    assert moved.shape[1] == 52
    assert np.isfinite(found).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    low, high = 1 / (1 + SPEED_RANGE * strength), 1 / (1 - SPEED_RANGE * strength)
    assert low * samples - 1 <= len(found) <= high * samples + 1
    assert abs(len(moved) - len(found) * 30 / 16000) <= 2


@pytest.mark.parametrize("samples", [1, 2, 3, 1000])
def test_silence_stays_finite(samples):
    for seed in range(8):
        found, _ = augment(np.zeros(samples, np.float32), None, 1.0, rng(seed))
        assert np.isfinite(found).all()
        assert np.abs(found).max() < 1e-6


def test_mirror_swaps_left_and_right():
    motion = np.zeros((30, 52), np.float32)
    motion[:, LEFT], motion[:, JAW] = 0.8, 0.3
    _, mirrored = augment(speech(16000), motion, 1.0, Scripted(1.0, 0.49))  # type: ignore[arg-type]
    assert mirrored is not None
    np.testing.assert_allclose(mirrored[:, RIGHT], 0.8)
    assert (mirrored[:, LEFT] == 0).all()
    np.testing.assert_allclose(mirrored[:, JAW], 0.3)
    _, plain = augment(speech(16000), motion, 1.0, Scripted(1.0, 0.51))  # type: ignore[arg-type]
    assert plain is not None
    np.testing.assert_allclose(plain[:, LEFT], 0.8)


def test_about_half_of_the_clips_are_mirrored_the_rest_are_not():
    motion = smooth_motion(20)
    sides = []
    for seed in range(60):
        _, moved = augment(speech(800), motion, 1e-6, rng(seed))
        assert moved is not None
        mirrored = np.allclose(moved, motion[:, MIRROR], atol=1e-3)
        assert mirrored or np.allclose(moved, motion, atol=1e-3)
        sides.append(mirrored)
    assert 18 <= sum(sides) <= 42


def test_the_generator_alone_decides():
    sound, motion = speech(4000), smooth_motion(8)
    first, again, other = (augment(sound, motion, 1.0, rng(seed)) for seed in (3, 3, 4))
    assert first[1] is not None
    assert again[1] is not None
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert len(other[0]) != len(first[0]) or not np.array_equal(other[0], first[0])


# Silence -----------------------------------------------------------------------------------------

MOUTH = [ARKIT_NAMES.index(name) for name in MOUTH_NAMES]


def test_rest_by_hand():
    """Four frames to come to rest within the silence, four to leave it again."""
    found = augmentation._rest(16, 3, 13)
    fade = [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    for channel in range(52):
        expected = fade if channel in MOUTH else np.ones(16)
        np.testing.assert_array_equal(found[:, channel], expected)


def test_rest_from_the_start_and_to_the_end():
    """The clip goes on as it is beyond its ends: nothing fades there."""
    from_start, to_end = augmentation._rest(12, 0, 8), augmentation._rest(12, 5, 12)
    assert from_start[:, JAW].tolist() == [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert to_end[:, JAW].tolist() == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]
    assert augmentation._rest(5, 0, 5)[:, JAW].tolist() == [0] * 5


@pytest.mark.parametrize("frames", [1, 20, 30, 31, 200])
def test_silence_replaces_sound_and_mouth_in_the_same_frames(frames):
    sound, motion = speech(round(frames * 16000 / 30)), 0.1 + 0.8 * smooth_motion(frames)
    still = np.setdiff1d(np.arange(52), MOUTH)
    whole = 0
    for seed in range(25):
        quiet, moved = augmentation._silence(sound, motion, rng(seed))
        assert quiet.dtype == moved.dtype == np.float32
        assert quiet.shape == sound.shape
        assert np.isfinite(quiet).all()
        assert np.array_equal(moved[:, still], motion[:, still])
        changed = np.flatnonzero(quiet != sound)
        resting = np.flatnonzero((moved[:, MOUTH] != motion[:, MOUTH]).all(1))
        first, last = changed[0] * 30 / 16000, (changed[-1] + 1) * 30 / 16000
        assert first == pytest.approx(resting[0], abs=0.01)
        assert last == pytest.approx(resting[-1] + 1, abs=0.01)
        assert len(resting) >= min(15, frames)
        noise = quiet[changed[0] : changed[-1] + 1]
        level = 20 * np.log10(np.sqrt(np.square(noise).mean() / np.square(sound).mean()))
        assert -45.1 < level < 0.1
        whole += len(resting) == frames
    assert whole == 25 if frames <= 30 else 2 <= whole <= 14
    assert np.array_equal(sound, speech(round(frames * 16000 / 30)))


def test_some_clips_lose_their_speech():
    motion = np.full((60, 52), 0.5, np.float32)
    resting = [
        augment(speech(32000), motion, 1.0, rng(seed))[1][:, JAW].min() == 0  # type: ignore[index]
        for seed in range(150)
    ]
    assert 8 <= sum(resting) <= 30  # 12 in a hundred


# The parts of the sound --------------------------------------------------------------------------


def test_without_changes_the_sound_passes_through():
    sound = speech(5000)
    found, _ = augment(sound, None, 1.0, Scripted(1.0))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, sound, atol=1e-5)


def test_equaliser_stays_within_its_range():
    frequencies = np.linspace(0, 8000, 500)
    for seed in range(20):
        curve = augmentation._equaliser(frequencies, 0.5, rng(seed))
        assert curve.max() <= 10 ** (3 / 20) + 1e-6
        assert curve.min() >= 0
    curves = [augmentation._equaliser(frequencies, 1.0, rng(s)) for s in range(40)]
    limited = [c for c in curves if c[-1] < 0.1]
    assert 4 <= len(limited) <= 20  # 30 in a hundred lose what is high


def test_room_has_unit_energy_and_starts_with_the_direct_sound():
    for seed in range(10):
        room = augmentation._room(20000, rng(seed))
        assert np.square(room).sum() == pytest.approx(1, rel=1e-5)
        assert np.abs(room).argmax() == 0
        assert len(room) == 1600


def test_noise_lies_within_its_distance_below_the_speech():
    sound = speech(16000)
    ratios = []
    for seed in range(40):
        noise = augmentation._add_noise(sound, 1.0, rng(seed)) - sound
        if np.abs(noise).max():
            ratios.append(10 * np.log10(np.square(sound).mean() / np.square(noise).mean()))
    assert 14 <= len(ratios) <= 34  # 60 in a hundred have noise
    assert min(ratios) >= 5 - 0.1
    assert max(ratios) <= 35 + 0.1
    assert max(ratios) - min(ratios) > 15
