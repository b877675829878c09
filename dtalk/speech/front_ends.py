"""First layers of small speech encoders, trained from random weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.nn.frames import frame_mask
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.features import MEL_BANDS, log_mel, wide_log_mel
from dtalk.speech.loudness import SPEECH_LEVEL
from dtalk.speech.spectrum import HOP


class FrontEnd(nn.Module, ABC):
    """The first layers of an encoder, at a frame rate of their own."""

    rate: float
    start: float

    @abstractmethod
    def prepare(self, levelled: Tensor) -> Tensor:
        """Compute the network's input ``[F, C]`` of a levelled waveform ``[S]``."""

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs ``[B, F, C]`` with ``lengths`` to features ``[B, F', D]`` and lengths."""


class MelFrontEnd(FrontEnd):
    """Log-mel spectrogram, then two convolutions, the second of stride 2: 50 Hz."""

    rate, start = SAMPLE_RATE / HOP / 2, 0.0

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv1d(MEL_BANDS, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, levelled: Tensor) -> Tensor:
        return log_mel(levelled)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        mask = frame_mask(lengths, inputs.shape[1])[:, None]
        hidden = functional.gelu(self.first(inputs.transpose(1, 2) * mask)) * mask
        hidden = functional.gelu(self.second(self.dropout(hidden)))
        return hidden.transpose(1, 2), (lengths + 1) // 2


class WideMelFrontEnd(MelFrontEnd):
    """The same on a log-mel spectrogram with a lower floor."""

    def prepare(self, levelled: Tensor) -> Tensor:
        return wide_log_mel(levelled)


class ConvFrontEnd(FrontEnd):
    """Seven strided convolutions over the waveform: 50 Hz.

    Kernels and strides are those of HuBERT's feature extractor (Hsu et al., 2021, section IV-B);
    it is narrower, and normalises each frame over its channels, which padding cannot change.
    """

    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    field, hop = 400, 320
    rate, start = SAMPLE_RATE / hop, 0.5

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        channels = (1, *([width] * len(self.kernels)))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, o, kernel, stride, bias=False)
            for i, o, kernel, stride in zip(channels, channels[1:], self.kernels, self.strides)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.kernels)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, levelled: Tensor) -> Tensor:
        # Half the overlap of two windows on either side centres frame j at (j + 0.5) hops.
        edge = (self.field - self.hop) // 2
        samples = torch.as_tensor(levelled.shape[0])
        frames = (samples / self.hop).round().long().clamp(min=1)
        whole = padded_to(levelled / SPEECH_LEVEL, frames * self.hop)
        return functional.pad(whole, (edge, edge))[:, None]

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        hidden = inputs.transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms):
            hidden = functional.gelu(norm(convolution(hidden).transpose(1, 2))).transpose(1, 2)
        return self.dropout(hidden.transpose(1, 2)), (lengths - self.field) // self.hop + 1


def padded_to(waveform: Tensor, samples: Tensor) -> Tensor:
    """A waveform ``[S]`` with silence up to a number of samples, if it has fewer.

    The number is a tensor, so that an exported graph takes any length.
    """
    missing = (samples - waveform.shape[0]).clamp(min=0)
    return torch.cat([waveform, waveform.new_zeros(cast(int, missing))])


FRONT_ENDS: dict[str, type[FrontEnd]] = {
    "mel": MelFrontEnd,
    "wide-mel": WideMelFrontEnd,
    "cnn": ConvFrontEnd,
}
