"""Acoustic features: loudness normalisation and the log-mel spectrogram."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from dtalk.speech.audio import SAMPLE_RATE

MEL_BANDS = 80
MEL_WINDOW = 400  # 25 ms
MEL_HOP = 160  # 10 ms
MEL_FLOOR = 1e-6
MEL_CENTRE, MEL_SCALE = -5.0, 4.0  # about the mean and spread of log-mel of levelled speech

SPEECH_LEVEL = 0.1  # the loud frames' RMS after levelling: -20 dB of full scale
MAXIMUM_GAIN = 30.0  # so that silence and faint noise stay faint


def level(waveform: Tensor) -> Tensor:
    """Scale a waveform ``[S]`` to a standard loudness, so that recording levels do not matter.

    Scaled so that the loud frames (95th percentile of the RMS of 25 ms frames) come to
    :data:`SPEECH_LEVEL`; the gain is limited, so silence stays silent.
    """
    padded = functional.pad(waveform, (0, -len(waveform) % MEL_WINDOW))
    rms = padded.reshape(-1, MEL_WINDOW).square().mean(-1).sqrt()
    loud = torch.quantile(rms, 0.95).clamp(min=SPEECH_LEVEL / MAXIMUM_GAIN)
    return waveform * (SPEECH_LEVEL / loud)


@cache
def mel_filters() -> Tensor:
    """Make triangular filters ``[201, 80]``, evenly spaced in mel from 0 to 8 kHz.

    Mel scale of O'Shaughnessy (1987): 2595 log10(1 + f / 700).
    """
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, MEL_BANDS + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, MEL_WINDOW // 2 + 1, dtype=torch.float64)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(waveform: Tensor) -> Tensor:
    """Compute the log-mel spectrogram ``[S // 160 + 1, 80]`` of ``[S]`` samples at 10 ms steps.

    Natural logarithm of mel energies with a floor, shifted and scaled to about zero mean, unit
    spread on levelled speech.
    """
    window = torch.hann_window(MEL_WINDOW, device=waveform.device)
    padded = functional.pad(waveform, (MEL_WINDOW // 2, MEL_WINDOW // 2))
    spectrum = torch.fft.rfft(padded.unfold(0, MEL_WINDOW, MEL_HOP) * window)
    energy = (spectrum.real.square() + spectrum.imag.square()) / MEL_WINDOW
    mel = energy @ mel_filters().to(waveform.device)
    return (mel.clamp(min=MEL_FLOOR).log() - MEL_CENTRE) / MEL_SCALE
