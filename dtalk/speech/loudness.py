"""Loudness normalisation, so that recording levels do not matter."""

from __future__ import annotations

import numpy as np

from dtalk.speech.levels import (
    FRAME,
    LOUD,
    Levels,
    deviation,
    frames_of,
    voiced_tenths,
    whole_tenths,
)
from dtalk.speech.levels import SPEECH_LEVEL as SPEECH_LEVEL
from dtalk.utils.types import Array

STEADY = 1.5  # times the soft tenths' RMS (5th percentile), 3.5 dB: beyond, something stands out
LONG = 10  # tenths; a shorter sound may be part of a vowel


def level(waveform: Array) -> Array:
    """The waveform ``[S]`` at a standard loudness, without its offset (DC).

    Scaled so that the loud frames (95th percentile of the RMS of 25 ms frames) come to
    :data:`.SPEECH_LEVEL`; the gain is limited, so silence stays silent. Where speech is much
    softer or louder than that for seconds, it has a gain of its own: see :class:`.Levels`.
    """
    return levels_of(waveform).levelled(waveform)


def levels_of(waveform: Array) -> Levels:
    """The levels that :func:`level` goes by."""
    return Levels(
        frames_of(waveform, FRAME),
        float(waveform.mean(dtype=np.float64)),
        lambda: voiced_tenths(whole_tenths(waveform)),
    )


def is_steady(waveform: Array) -> bool:
    """Tell whether nothing stands out in a waveform ``[S]``: digital silence, a hum, even noise."""
    return not waveform.any() or is_even(deviation(whole_tenths(waveform)))


def is_even(levels: Array, shortest: int = LONG) -> bool:
    """Tell whether nothing stands out in a sound whose whole tenths of a second have this RMS.

    Of fewer than ``shortest`` it is not known.
    """
    if len(levels) < shortest:
        return False
    soft, loud = np.quantile(levels, (1 - LOUD, LOUD))
    return bool(loud <= STEADY * soft)
