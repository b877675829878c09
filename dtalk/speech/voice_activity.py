"""Voice activity detection, and closing of the mouth in silence.

The model learns to close the mouth in silence, but real speakers open their mouths well before they
speak, and noises move them. Here the rule is plain: far from any sound the mouth is closed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.motion.arkit import PARTING_CHANNELS
from dtalk.speech.loudness import SPEECH_LEVEL, is_steady, level
from dtalk.utils.types import Array

QUIET_DB = -20.0  # below the loud frames; between grid's pauses (-27) and its faintest speech
SHORTEST = 3  # frames; a shorter sound is a click
HOLD = 4  # frames around speech in which the mouth is free
FADE = 10  # frames in which the mouth closes


def close_in_silence(coefficients: Array, waveform: Array) -> Array:
    """Coefficients ``[..., T, 52]`` with lips that meet where nobody speaks.

    ``waveform`` is the whole clip's, 16 kHz ``[S]``.
    """
    return with_presence(coefficients, presence(waveform, coefficients.shape[-2]))


def with_presence(coefficients: Array, present: Array) -> Array:
    """Coefficients ``[..., T, 52]`` with lips that meet where the presence ``[T]`` is 0.

    What parts the lips fades out; a smile stays, since people smile while they listen, too.
    """
    rested = coefficients.copy()
    rested[..., PARTING_CHANNELS] *= present[:, None]
    return rested


def presence(waveform: Array, frames: int) -> Array:
    """Compute 1 near speech, 0 far from it, linear between: ``[frames]``."""
    return presence_around(speaking(waveform, frames))


def presence_around(speech: npt.NDArray[np.bool_]) -> Array:
    """The presence of frames ``[T]``, given those in which somebody speaks."""
    spoken = np.flatnonzero(speech)
    if not len(spoken):
        return np.zeros(len(speech), np.float32)
    time = np.arange(len(speech))
    right = np.searchsorted(spoken, time).clip(max=len(spoken) - 1)
    left = (right - 1).clip(min=0)
    distance = np.minimum(abs(spoken[right] - time), abs(spoken[left] - time))
    return presence_at(distance)


def presence_at(distance: npt.ArrayLike) -> Array:
    """The presence of frames so far from the nearest spoken one."""
    return 1 - ((np.asarray(distance, np.float32) - HOLD) / FADE).clip(0, 1)


def speaking(waveform: Array, frames: int) -> npt.NDArray[np.bool_]:
    """Detect sound that may be speech in each frame of the motion: ``[frames]``."""
    if is_steady(waveform):
        return np.zeros(frames, np.bool_)
    levelled = level(waveform)
    bounds = np.arange(frames + 1) * len(levelled) // frames
    starts = bounds[:-1].clip(max=len(levelled) - 1)
    lengths = np.diff(bounds).clip(min=1)
    energy, mean = (np.add.reduceat(x, starts) / lengths for x in (np.square(levelled), levelled))
    return spoken_frames(np.sqrt((energy - np.square(mean)).clip(min=0)))


def spoken_frames(rms: Array) -> npt.NDArray[np.bool_]:
    """Detect sound in frames by their RMS ``[T]`` at the standard loudness."""
    loud = rms > SPEECH_LEVEL * 10 ** (QUIET_DB / 20)
    return without_clicks(loud, min(SHORTEST, len(rms)))


def without_clicks(loud: npt.NDArray[np.bool_], shortest: int) -> npt.NDArray[np.bool_]:
    """Frames ``[T]`` without runs of fewer than ``shortest``."""
    kept = loud.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2]):
        if end - start < shortest:
            kept[start:end] = False
    return kept
