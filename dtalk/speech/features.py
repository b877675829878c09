"""Acoustic features: the log-mel spectrogram."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.spectrum import WINDOW, band_energies

MEL_BANDS = 80
MEL_FLOOR = 1e-6
WIDE_MEL_FLOOR = 1e-7
MEL_CENTRE, MEL_SCALE = -5.0, 4.0  # about the mean and spread of log-mel of levelled speech


@cache
def mel_filters() -> Tensor:
    """Make triangular filters ``[201, 80]``, evenly spaced in mel from 0 to 8 kHz.

    Mel scale of O'Shaughnessy (1987): 2595 log10(1 + f / 700).
    """
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, MEL_BANDS + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(waveform: Tensor) -> Tensor:
    """Compute the log-mel spectrogram ``[S // 160 + 1, 80]`` of ``[S]`` samples at 10 ms steps.

    Natural logarithm of mel energies with a floor, shifted and scaled to about zero mean, unit
    spread on levelled speech.
    """
    padded = functional.pad(waveform, (WINDOW // 2, WINDOW // 2))
    mel = band_energies(padded[None], mel_filters(), WINDOW)[0]
    return (mel.clamp(min=MEL_FLOOR).log() - MEL_CENTRE) / MEL_SCALE


@cache
def slaney_filters() -> Tensor:
    """Triangular mel filters ``[201, 80]`` of equal area, 0 to 8 kHz.

    Mel scale of Slaney's Auditory Toolbox (1998): linear to 1 kHz, then logarithmic, 27 steps to a
    factor of 6.4.
    """
    linear, step = 3 / 200, 27 / math.log(6.4)
    top = 1000 * linear + step * math.log(SAMPLE_RATE / 2 / 1000)
    mels = torch.linspace(0, top, MEL_BANDS + 2, dtype=torch.float64)
    edges = torch.where(mels < 15, mels / linear, 1000 * torch.exp((mels - 15) / step))
    bins = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (edges[2:] - edges[:-2])).float()


def wide_log_mel(waveform: Tensor) -> Tensor:
    """Compute a log-mel spectrogram ``[S // 160 + 1, 80]`` with a range of more than seven decades.

    Whisper's filters and scale (:func:`slaney_filters`), with a fixed floor: at 7 kHz it lies about
    8 dB below that of :func:`log_mel`, so that soft fricatives show.
    """
    padded = functional.pad(waveform, (WINDOW // 2, WINDOW // 2))
    mel = band_energies(padded[None], slaney_filters())[0]
    return mel.clamp(min=WIDE_MEL_FLOOR).log10() / 4 + 1
