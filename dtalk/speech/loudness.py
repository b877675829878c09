"""Loudness normalisation, so that recording levels do not matter."""

from __future__ import annotations

import numpy as np

from dtalk.utils.types import Array

SPEECH_LEVEL = 0.1  # the loud frames' RMS after levelling: -20 dB of full scale
MAXIMUM_GAIN = 30.0  # so that silence and faint noise stay faint

FRAME = 400  # samples, 25 ms
LOUD = 0.95  # quantile of the frames' RMS
TENTH = 1600  # samples, 100 ms: as long as noise needs to be even
STEADY = 1.5  # times the soft tenths' RMS (5th percentile), 3.5 dB: beyond, something stands out
LONG = 10  # tenths; a shorter sound may be part of a vowel


def level(waveform: Array) -> Array:
    """The waveform ``[S]`` at a standard loudness.

    Scaled so that the loud frames (95th percentile of the RMS of 25 ms frames) come to
    :data:`SPEECH_LEVEL`; the gain is limited, so silence stays silent.
    """
    return waveform * np.float32(gain(waveform))


def gain(waveform: Array) -> float:
    """What :func:`level` multiplies with."""
    padded = np.pad(waveform, (0, -len(waveform) % FRAME)).reshape(-1, FRAME)
    return gain_of_frames(root_mean_square(padded))


def gain_of_frames(rms: Array) -> float:
    """The gain for a clip whose frames have this RMS."""
    return gain_of(float(np.quantile(rms, LOUD)))


def is_steady(waveform: Array) -> bool:
    """Tell whether nothing stands out in a waveform ``[S]``: digital silence, a hum, even noise."""
    tenths = waveform[: len(waveform) // TENTH * TENTH].reshape(-1, TENTH)
    return not waveform.any() or is_even(root_mean_square(tenths))


def is_even(levels: Array) -> bool:
    """Tell whether nothing stands out in a sound whose whole tenths of a second have this RMS."""
    if len(levels) < LONG:
        return False
    soft, loud = np.quantile(levels, (1 - LOUD, LOUD))
    return bool(loud <= STEADY * soft)


def gain_of(loud: float) -> float:
    """What brings speech whose loud frames have this RMS to the standard level; limited."""
    return SPEECH_LEVEL / max(loud, SPEECH_LEVEL / MAXIMUM_GAIN)


def root_mean_square(frames: Array) -> Array:
    """RMS over the last axis."""
    level: Array = np.sqrt(np.square(frames).mean(-1))
    return level
