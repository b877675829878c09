"""Voice activity detection, and closing of the mouth in silence.

The model learns to close the mouth in silence, but real speakers open their mouths well before they
speak, and noises move them. Here the rule is plain: far from any sound the mouth is closed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.motion.arkit import PARTING_CHANNELS
from dtalk.speech.loudness import SPEECH_LEVEL, level
from dtalk.utils.types import Array

QUIET_DB = -20.0  # below the loud frames; between grid's pauses (-27) and its faintest speech
SHORTEST = 3  # frames; a shorter sound is a click
HOLD = 4  # frames around speech in which the mouth is free
FADE = 10  # frames in which the mouth closes


def close_in_silence(coefficients: Array, waveform: Array) -> Array:
    """Coefficients ``[..., T, 52]`` with lips that meet where nobody speaks.

    What parts the lips fades out; a smile stays, since people smile while they listen, too.

    ``waveform`` is the whole clip's, 16 kHz ``[S]``.
    """
    rested = coefficients.copy()
    rested[..., PARTING_CHANNELS] *= presence(waveform, coefficients.shape[-2])[:, None]
    return rested


def presence(waveform: Array, frames: int) -> Array:
    """Compute 1 near speech, 0 far from it, linear between: ``[frames]``."""
    spoken = np.flatnonzero(speaking(waveform, frames))
    if not len(spoken):
        return np.zeros(frames, np.float32)
    time = np.arange(frames)
    right = np.searchsorted(spoken, time).clip(max=len(spoken) - 1)
    left = (right - 1).clip(min=0)
    distance = np.minimum(abs(spoken[right] - time), abs(spoken[left] - time))
    return presence_at(distance)


def presence_at(distance: npt.ArrayLike) -> Array:
    """The presence of frames so far from the nearest spoken one."""
    return 1 - ((np.asarray(distance, np.float32) - HOLD) / FADE).clip(0, 1)


def speaking(waveform: Array, frames: int) -> npt.NDArray[np.bool_]:
    """Detect sound in each frame of the motion: ``[frames]``."""
    levelled = level(waveform)
    bounds = np.arange(frames + 1) * len(levelled) // frames
    starts = bounds[:-1].clip(max=len(levelled) - 1)
    energy = np.add.reduceat(np.square(levelled), starts)
    rms = np.sqrt(energy / np.diff(bounds).clip(min=1))
    loud = rms > SPEECH_LEVEL * 10 ** (QUIET_DB / 20)
    return without_clicks(loud, min(SHORTEST, frames))


def without_clicks(loud: npt.NDArray[np.bool_], shortest: int) -> npt.NDArray[np.bool_]:
    """Frames ``[T]`` without runs of fewer than ``shortest``."""
    kept = loud.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2]):
        if end - start < shortest:
            kept[start:end] = False
    return kept
