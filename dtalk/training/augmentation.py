"""Augmentation of training clips: speed, room, band limits, level, noise, mirror, silence.

What it should survive are speed, room, band limits, level, noise and a mirror.

Speed, pitch, equalisation and band limits are one multiplication in the frequency domain. All
randomness comes from the generator passed in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from dtalk.motion.arkit import ARKIT_NAMES, MIRROR, MOUTH_CHANNELS
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.utils.types import Array

SPEED_RANGE = 0.12  # of the original speed, either way
TILT_DB = 6.0  # per octave band, at most
TILT_KNOTS = 7
BAND_LIMITS = (3000.0, 7500.0)  # Hz
BAND_PROBABILITY = 0.3
NOISE_PROBABILITY = 0.6
NOISE_SNR_DB = (5.0, 35.0)
ROOM_PROBABILITY = 0.25
SILENCE_PROBABILITY = 0.12  # that a part of the clip, or all of it, loses its speech
ALL_SILENT = 0.3  # share of those in which it is all
SILENCE_SECONDS = 0.5  # at least
SILENCE_LEVEL_DB = (-45.0, 0.0)  # of the noise in its place, relative to the clip's RMS
REST_RAMP = 4  # frames in which the mouth comes to rest
ROOM_SECONDS = (0.05, 0.35)  # time in which the reverberation falls by 60 dB


def augment(
    waveform: Array, coefficients: Array | None, strength: float, generator: np.random.Generator
) -> tuple[Array, Array | None]:
    """Vary a clip at random; sound and motion are stretched alike.

    Args:
        waveform: float32 ``[S]`` at 16 kHz; coefficients: float32 ``[T, 52]`` or None.
        strength: 0 changes nothing, 1 is the full range of every change.
    """
    if strength <= 0:
        return waveform, coefficients
    speed = 1 + strength * SPEED_RANGE * generator.uniform(-1, 1)
    sound = _filter_and_stretch(waveform, speed, strength, generator)
    sound = _add_noise(sound, strength, generator)
    if coefficients is None:
        return sound, None
    moved = stretch_motion(coefficients, speed)
    if generator.random() < SILENCE_PROBABILITY * strength:
        sound, moved = _silence(sound, moved, generator)
    return sound, moved[:, MIRROR] if generator.random() < 0.5 else moved


def stretch_motion(coefficients: Array, speed: float) -> Array:
    """Play motion ``[T, C]`` at ``speed`` times its speed, interpolated at frame centres."""
    frames = len(coefficients)
    new = max(1, round(frames / speed))
    position = np.clip((np.arange(new) + 0.5) * speed - 0.5, 0, frames - 1)
    left = np.minimum(position.astype(np.int64), max(frames - 2, 0))
    right = np.minimum(left + 1, frames - 1)
    weight = (position - left)[:, None].astype(np.float32)
    return coefficients[left] * (1 - weight) + coefficients[right] * weight


def _silence(
    waveform: Array, coefficients: Array, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Replace speech by noise from one frame to another, and close the mouth meanwhile."""
    frames = len(coefficients)
    start, end = 0, frames
    shortest = round(SILENCE_SECONDS * FPS)
    if generator.random() > ALL_SILENT and frames > 2 * shortest:
        start = int(generator.integers(0, frames - shortest))
        end = int(generator.integers(start + shortest, frames + 1))
    samples = len(waveform) * np.array([start, end]) // frames
    quiet = waveform.copy()
    level = np.sqrt(np.square(waveform).mean()) * 10 ** (generator.uniform(*SILENCE_LEVEL_DB) / 20)
    quiet[slice(*samples)] = level * _coloured_noise(int(np.diff(samples)[0]), generator)
    return quiet, coefficients * _rest(frames, start, end)


def _rest(frames: int, start: int, end: int) -> Array:
    """Compute factors ``[frames, 52]``: the mouth's channels fade to 0 within [start, end)."""
    time = np.arange(frames)
    after = time - start if start > 0 else np.full(frames, frames)
    before = end - 1 - time if end < frames else np.full(frames, frames)
    inside = np.minimum(after, before)
    fade = 1 - np.clip((inside + 1) / REST_RAMP, 0, 1)
    factors = np.ones((frames, len(ARKIT_NAMES)), np.float32)
    factors[:, MOUTH_CHANNELS] = fade[:, None]
    return factors


def _filter_and_stretch(
    waveform: Array, speed: float, strength: float, generator: np.random.Generator
) -> Array:
    """Change speed (and pitch), equaliser, band limit and room, all in one spectrum."""
    length = fft.next_fast_len(len(waveform) + SAMPLE_RATE // 10, real=True)
    spectrum = fft.rfft(waveform, length)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    spectrum *= _equaliser(frequencies, strength, generator)
    if generator.random() < ROOM_PROBABILITY * strength:
        spectrum *= fft.rfft(_room(length, generator), length)
    new = max(2, round(length / speed))
    sound = fft.irfft(_resize(spectrum, new // 2 + 1), new) * (new / length)
    return sound[: max(1, round(len(waveform) / speed))].astype(np.float32)


def _equaliser(
    frequencies: npt.NDArray[np.float64], strength: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    knots = np.geomspace(60, SAMPLE_RATE / 2, TILT_KNOTS)
    gains = generator.uniform(-TILT_DB, TILT_DB, TILT_KNOTS) * strength
    curve = 10 ** (np.interp(np.maximum(frequencies, 1), knots, gains) / 20)
    if generator.random() < BAND_PROBABILITY * strength:
        limit = generator.uniform(*BAND_LIMITS)
        curve /= np.sqrt(1 + (frequencies / limit) ** 16)
    return np.asarray(curve)


def _room(length: int, generator: np.random.Generator) -> Array:
    """Make a room's impulse response: direct sound and decaying noise, of unit energy."""
    decay = generator.uniform(*ROOM_SECONDS)
    time = np.arange(min(length, SAMPLE_RATE // 10)) / SAMPLE_RATE
    tail = generator.standard_normal(len(time)) * np.exp(-6.9 * time / decay)
    tail *= generator.uniform(0.1, 0.7) / np.sqrt(np.square(tail).sum())
    tail[0] += 1
    return (tail / np.sqrt(np.square(tail).sum())).astype(np.float32)


def _resize(
    spectrum: npt.NDArray[np.complexfloating], bins: int
) -> npt.NDArray[np.complexfloating]:
    """Cut or pad a spectrum to ``bins``: resampling by Fourier transform."""
    if bins <= len(spectrum):
        return spectrum[:bins]
    return np.pad(spectrum, (0, bins - len(spectrum)))


def _add_noise(waveform: Array, strength: float, generator: np.random.Generator) -> Array:
    """Add noise between white and brown at a random distance below the speech."""
    if generator.random() >= NOISE_PROBABILITY * strength:
        return waveform
    ratio = 10 ** (-generator.uniform(*NOISE_SNR_DB) / 20)
    level = ratio * np.sqrt(np.square(waveform).mean())
    return (waveform + level * _coloured_noise(len(waveform), generator)).astype(np.float32)


def _coloured_noise(samples: int, generator: np.random.Generator) -> Array:
    """Make noise of RMS 1 whose amplitude falls with the frequency to a power from 0 to 1."""
    length = fft.next_fast_len(samples, real=True)
    bins = length // 2 + 1
    noise = generator.standard_normal(bins) + 1j * generator.standard_normal(bins)
    noise *= np.maximum(np.arange(bins), bins / 200) ** -generator.uniform(0, 1)
    sound = fft.irfft(noise, length)[:samples]
    return (sound / np.sqrt(np.square(sound).mean() + 1e-20)).astype(np.float32)
