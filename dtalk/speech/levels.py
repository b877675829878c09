"""The level of speech from moment to moment, and the gain that evens it.

A recording has one level as a rule, and one gain brings it to the standard. But a second speaker
may be much softer than the first, or speech may follow loud music. So windows of four seconds are
looked at as well, as far as they hold speech: tenths of a second that are voiced and stand out from
the softest sound there. Pauses and noise hold none, and keep the gain of the speech beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dtalk.utils.types import Array

BoolArray = npt.NDArray[np.bool_]

SPEECH_LEVEL = 0.1  # the loud frames' RMS after levelling: -20 dB of full scale
MAXIMUM_GAIN = 30.0  # so that silence and faint noise stay faint
FRAME = 400  # samples, 25 ms
LOUD = 0.95  # quantile of the frames' RMS
TENTH = 1600  # samples, 100 ms: as long as noise needs to be even
OFFSET = 0.01  # of the loud frames' RMS: a smaller offset (DC) is not heard

WINDOW = 40  # tenths, 4 s: so long a pause is no part of speech
SHARE = 0.2  # of a window's tenths that are speech, where it holds speech
STANDING = 3.0  # times the softest frames' RMS (5th percentile), 9.5 dB
UNEVEN = 10 ** (3 / 20)  # 3 dB: how far speech goes up and down by itself
BURST = 2.0  # times the loud frames' RMS, 6 dB: what is not raised with what is soft around it
SMOOTHING = 5  # tenths

VOICED = 0.5  # autocorrelation at the period of the voice
_DECIMATION = 8  # 16 to 2 kHz, which holds the voice's first harmonics
_PERIODS = np.arange(4, 27)  # samples at 2 kHz; the inner ones, 5 to 25: 400 to 80 Hz
_TRANSFORM = 256  # samples of the Fourier transform, at least a tenth's and the longest period's
_SILENT = 1e-12  # energy of a tenth at 2 kHz, which rounding may leave
_AT_ONCE = 6000  # windows; more would take memory

PER_TENTH = TENTH // FRAME


@dataclass(frozen=True)
class Levels:
    """What is measured of a sound to bring it to the standard loudness.

    Attributes:
        frames: RMS of its frames of 25 ms ``[F]``.
        mean: of its samples.
        voiced: finds the whole tenths of a second ``[K]`` that are voiced; asked where needed.
    """

    frames: Array
    mean: float
    voiced: Callable[[], BoolArray]

    @cached_property
    def loud(self) -> float:
        """RMS of the loud frames."""
        return float(np.quantile(self.frames, LOUD))

    @property
    def offset(self) -> float:
        """What has to be taken off all samples."""
        return offset_of(self.mean, self.loud)

    @cached_property
    def gains(self) -> Array:
        """What samples in the midst of each tenth are multiplied with; a single one if all are."""
        return gain_of(local_loudness(self.frames, self.loud, self.voiced))

    def gain_at(self, samples: npt.ArrayLike) -> Array:
        """What samples of these numbers are multiplied with."""
        middles = (np.arange(len(self.gains)) + 0.5) * TENTH
        return np.interp(np.asarray(samples, np.float64), middles, self.gains).astype(np.float32)

    def levelled(self, samples: Array, first: int = 0) -> Array:
        """Samples ``[S]`` of the sound from number ``first`` on, at the standard loudness."""
        centred = samples - np.float32(self.offset) if self.offset else samples
        if len(self.gains) == 1:
            return centred * self.gains
        return centred * self.gain_at(first + np.arange(len(samples), dtype=np.float64))


def gain_of(loud: npt.ArrayLike) -> Array:
    """What brings speech whose loud frames have this RMS to the standard level; limited."""
    gain = SPEECH_LEVEL / np.maximum(loud, SPEECH_LEVEL / MAXIMUM_GAIN)
    return np.asarray(gain, np.float32)


def offset_of(mean: float, loud: float) -> float:
    """The offset of a sound of this mean, whose loud frames have this RMS: 0 if it is not heard."""
    return mean if abs(mean) > OFFSET * loud else 0.0


def frames_of(waveform: Array, size: int) -> Array:
    """RMS of frames of ``size`` samples; the last one is filled with its last sample."""
    return deviation(np.pad(waveform, (0, -len(waveform) % size), "edge").reshape(-1, size))


def whole_tenths(waveform: Array) -> Array:
    """The waveform's whole tenths of a second ``[K, 1600]``."""
    return waveform[: len(waveform) // TENTH * TENTH].reshape(-1, TENTH)


def deviation(frames: Array) -> Array:
    """RMS over the last axis about its mean, so that an offset does not count."""
    found: Array = frames.std(-1)
    return found


def local_loudness(frames: Array, loud: float, voiced: Callable[[], BoolArray]) -> Array:
    """RMS of the loud frames where each tenth of a second is: ``[K]``, or ``[1]`` if all are alike.

    ``loud`` within :data:`UNEVEN` of what was measured about the tenth.
    """
    count = len(frames) // PER_TENTH
    everywhere = np.array([loud])
    if count <= WINDOW:
        return everywhere
    frames = frames[: count * PER_TENTH]
    softest, loudest = _quantiles(frames)
    if loudest.max() <= UNEVEN * loud and loudest.min() * UNEVEN >= loud:
        return everywhere
    tenths, of_windows = tenths_of(frames), np.lib.stride_tricks.sliding_window_view
    spoken = np.pad(voiced(), (0, 1))[:count]  # the last tenth may have been cut off
    holding = hold_speech(of_windows(tenths, WINDOW), of_windows(spoken, WINDOW), softest)
    speech = _lowest(np.where(holding, loudest, np.inf))
    known = np.flatnonzero(np.isfinite(speech))
    if not len(known):
        return everywhere
    about = np.exp(np.interp(np.arange(count), known, np.log(speech[known])))
    about = np.maximum(about, _lowest(loudest))  # loud music beside soft speech is not raised
    wanted = np.clip(loud, about / UNEVEN, about * UNEVEN)
    burst = np.maximum.reduce([tenths, np.append(tenths[1:], 0), np.append(0, tenths[:-1])])
    return np.maximum(_smooth(wanted), np.minimum(loud, burst / BURST))


def tenths_of(frames: Array) -> Array:
    """RMS of tenths of a second ``[K]`` from that of their frames ``[4 K]``."""
    found: Array = np.sqrt(np.square(frames).reshape(-1, PER_TENTH).mean(1))
    return found


def hold_speech(tenths: Array, voiced: BoolArray, softest: npt.ArrayLike) -> BoolArray:
    """Tell which windows hold speech, given RMS and voicing of their tenths ``[..., K]``.

    ``softest`` is the RMS of the softest frames of each ``[...]``.
    """
    standing = tenths > STANDING * np.asarray(softest)[..., None]
    speech: BoolArray = (standing & voiced).mean(-1) >= SHARE
    return speech


def voiced_tenths(tenths: Array) -> BoolArray:
    """Tell which tenths of a second ``[K, 1600]`` are voiced: periodic at 80 to 400 Hz."""
    slow = tenths.reshape(-1, _DECIMATION) @ np.full(_DECIMATION, 1 / _DECIMATION, np.float32)
    slow = slow.reshape(len(tenths), TENTH // _DECIMATION)
    slow = slow - slow.mean(1, keepdims=True, dtype=np.float64)
    power = np.square(np.abs(np.fft.rfft(slow, _TRANSFORM)))
    correlation = np.fft.irfft(power)
    whole = np.maximum(correlation[:, :1], _SILENT)
    found = correlation[:, _PERIODS] / whole / (1 - _PERIODS / slow.shape[1])
    inner = found[:, 1:-1]
    peaks = (inner >= found[:, :-2]) & (inner >= found[:, 2:]) & (inner > VOICED)
    return peaks.any(1)


def _quantiles(frames: Array) -> tuple[Array, Array]:
    """RMS of the softest and of the loud frames of each window, which begin at every tenth."""
    windows = np.lib.stride_tricks.sliding_window_view(frames, WINDOW * PER_TENTH)[::PER_TENTH]
    parts = [
        np.quantile(windows[at : at + _AT_ONCE], (1 - LOUD, LOUD), axis=1)
        for at in range(0, len(windows), _AT_ONCE)
    ]
    softest, loudest = np.concatenate(parts, axis=1)
    return softest, loudest


def _lowest(windows: Array) -> Array:
    """The lowest of a measure among the windows that hold each tenth."""
    padded = np.pad(windows, WINDOW - 1, constant_values=np.inf)
    lowest: Array = np.lib.stride_tricks.sliding_window_view(padded, WINDOW).min(1)
    return lowest


def _smooth(loud: Array) -> Array:
    """Running geometric mean over :data:`SMOOTHING` tenths."""
    padded = np.pad(np.log(loud), SMOOTHING // 2, "edge")
    return np.exp(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING).mean(1))
