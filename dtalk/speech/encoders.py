"""Speech encoders: a 16 kHz waveform becomes features at the motion's frame rate.

An encoder splits its work in two. ``prepare`` turns one waveform into the network's input, without
gradients, so that it can be done once a clip; the module itself maps a padded batch of such inputs
to features ``[B, T, C]`` at 30 frames a second. Padding changes nothing in the real frames.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dtalk.config import COMPRESSED_ENCODERS, ModelConfig
from dtalk.errors import CheckpointError
from dtalk.motion.curves import FPS
from dtalk.nn.fast_rnn import FastLSTM
from dtalk.nn.frames import frame_mask, resample_features
from dtalk.nn.recurrent import run_recurrent
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.bottom import (
    SHORTEST,
    Bottom,
    HubertBottom,
    WhisperBottom,
    frames_of,
    in_windows,
)
from dtalk.speech.feature_cache import FeatureCache
from dtalk.speech.features import MEL_BANDS, log_mel, wide_log_mel
from dtalk.speech.loudness import SPEECH_LEVEL, level
from dtalk.speech.pretrained import LargeEncoder
from dtalk.speech.spectrum import HOP
from dtalk.utils.types import Array


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


class ResidualBlock(nn.Module):
    """Residual block: a depthwise convolution over time, then two linear layers.

    After ConvNeXt (Liu et al., 2022, section 2), without its widening. Untrained it adds nothing.
    """

    kernel = 7

    def __init__(self, width: int) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(
            width, width, self.kernel, padding=self.kernel // 2, groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map ``[B, F, C]`` with ``mask`` ``[B, F, 1]`` of the real frames to ``[B, F, C]``."""
        around = self.over_time((hidden * mask).transpose(1, 2)).transpose(1, 2)
        return hidden + self.outer(functional.gelu(self.inner(self.norm(around))))


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


class SpeechEncoder(nn.Module, ABC):
    """A speech encoder, with features of unit variance in every frame."""

    output: nn.Linear

    @abstractmethod
    def prepare(self, waveform: Tensor, keep: bool = True) -> Tensor:
        """Compute the network's input ``[F, C]`` of a 16 kHz waveform ``[S]``, no gradients.

        Without ``keep`` it is not written to a cache: for a sound that will not come again.
        """

    @abstractmethod
    def encode(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Encode padded inputs ``[B, F, C]`` of ``lengths`` as ``[B, T, D]``."""

    def forward(self, inputs: list[Tensor], frame_lengths: Tensor) -> Tensor:
        """Encode prepared inputs of B clips of ``frame_lengths`` ``[B]`` as features ``[B, T, D]``.

        Normalised over the channels: mean 0, variance 1 in every frame.
        """
        lengths = torch.tensor([len(x) for x in inputs], device=frame_lengths.device)
        return self.features(pad_sequence(inputs, batch_first=True), lengths, frame_lengths)

    def features(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Encode padded inputs as :meth:`encode` does, and normalise over the channels."""
        encoded = self.encode(inputs, lengths, frame_lengths)
        return functional.layer_norm(encoded, (self.output.out_features,))


class OwnEncoder(SpeechEncoder):
    """A speech encoder whose weights are all the model's own: it can be exported as a graph."""

    @abstractmethod
    def prepare_levelled(self, levelled: Tensor) -> Tensor:
        """Compute the network's input ``[F, C]`` of a levelled waveform ``[S]``, in torch alone."""

    @torch.no_grad()
    def prepare(self, waveform: Tensor, keep: bool = True) -> Tensor:
        levelled = torch.from_numpy(level(waveform.cpu().numpy()))
        return self.prepare_levelled(levelled.to(waveform.device))


class SmallEncoder(OwnEncoder):
    """The student's speech encoder: front end, bidirectional LSTM, fully connected layer.

    Paper, section II-D2. The features are brought to the face's frame rate before the LSTM
    rather than after it. Residual blocks between, which the paper has not, help with emotions.

    Args:
        front_end: ``mel`` or ``wide-mel`` (log-mel 80) or ``cnn`` (HuBERT's seven convolutions).
        width: channels inside; blocks: residual ones; features: channels of the result.
        residual: whether the LSTM is added to what it is given, which learns much faster.
    """

    def __init__(
        self,
        front_end: str,
        width: int,
        blocks: int,
        features: int,
        dropout: float,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.front_end = FRONT_ENDS[front_end](width, dropout)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.recurrent = FastLSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, features)

    def prepare_levelled(self, levelled: Tensor) -> Tensor:
        return self.front_end.prepare(levelled)

    def encode(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        hidden, lengths = self.front_end(inputs, lengths)
        hidden = resample_features(
            hidden, lengths, frame_lengths, self.front_end.rate, self.front_end.start
        )
        mask = frame_mask(frame_lengths, hidden.shape[1])[..., None]
        for block in self.blocks:
            hidden = block(hidden, mask)
        recurrent = run_recurrent(self.recurrent, hidden, frame_lengths)
        return self.output(self.dropout(hidden + recurrent if self.residual else recurrent))


class AdaptedEncoder(SpeechEncoder):
    """The teacher's speech encoder: standardised, projected features of a frozen large encoder.

    The large encoder itself (:mod:`dtalk.speech.pretrained`) is no part of the weights: ``source``,
    set by :meth:`DiffusionTalker.attach`, turns a waveform into its features ``[T, C]``.

    Args:
        width: channels of the large encoder; features: channels of the result.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, features: int, dropout: float) -> None:
        super().__init__()
        self.source: LargeEncoder | FeatureCache[LargeEncoder] | None = None
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, features)

    def prepare(self, waveform: Tensor, keep: bool = True) -> Tensor:
        """Compute the large encoder's features ``[T, C]`` of a waveform ``[S]``.

        Raises:
            CheckpointError: no large encoder was attached.
        """
        if self.source is None:
            raise CheckpointError(
                "this model uses a large speech encoder, which is not part of its file: "
                "name its folder or hub id with --encoder"
            )
        return _features_by(self.source, waveform, keep)

    def encode(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        # Already at 30 fps; a clip whose motion is a little longer than its sound holds the last.
        features = resample_features(inputs, lengths, frame_lengths, FPS, 0.5)
        return self.output(self.dropout((features - self.mean) / self.std))


def _features_by(source: Callable[[Array], Tensor], waveform: Tensor, keep: bool) -> Tensor:
    """Features ``[T, C]`` of a waveform ``[S]``; a cache keeps them only if they are to be kept."""
    sound = waveform.cpu().numpy()
    found = source(sound, keep) if isinstance(source, FeatureCache) else source(sound)
    return found.to(waveform.device)


class CompressedEncoder(OwnEncoder):
    """The student's speech encoder as in the paper: a large one's bottom, BiLSTM, fully connected.

    Section II-D2. A linear filter over :attr:`reach` frames, every second one, is added to what the
    LSTM gives (not in the paper): most of what the large encoder's features say is linear in its
    bottom's, and a filter is fitted in closed form. The bottom's weights are part of the model and
    stay as they were copied, so that its features of a sound can be kept: ``source`` has them.

    Args:
        bottom: the large encoder's first layers; width: of the BiLSTM, both directions together.
        features: channels of the result.
    """

    reach, dilation = 5, 2
    mean: Tensor
    std: Tensor

    def __init__(self, bottom: Bottom, width: int, features: int, dropout: float) -> None:
        super().__init__()
        self.source: FeatureCache[BottomFeatures] | None = None
        self.bottom = bottom.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(bottom.width))
        self.register_buffer("std", torch.ones(bottom.width))
        self.linear = nn.Conv1d(
            bottom.width,
            features,
            self.reach,
            padding=self.reach // 2 * self.dilation,
            dilation=self.dilation,
        )
        self.recurrent = FastLSTM(bottom.width, width // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, features)

    def prepare(self, waveform: Tensor, keep: bool = True) -> Tensor:
        """The bottom's features ``[T, C]`` at the face's frame rate."""
        if self.source is None:
            return super().prepare(waveform, keep)
        return _features_by(self.source, waveform, keep)

    def prepare_levelled(self, levelled: Tensor) -> Tensor:
        samples, bottom = torch.as_tensor(levelled.shape[0]), self.bottom
        features = in_windows(bottom, padded_to(levelled, torch.tensor(SHORTEST)))
        return frames_of(features[None], samples, bottom.rate, bottom.start)[0]

    def encode(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        features = resample_features(inputs, lengths, frame_lengths, FPS, 0.5)
        hidden = self.standardised(features, frame_lengths)
        linear = self.linear(hidden.transpose(1, 2)).transpose(1, 2)
        hidden = run_recurrent(self.recurrent, self.dropout(hidden), frame_lengths)
        return linear + self.output(self.dropout(hidden))

    def standardised(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Bottom features ``[B, T, C]`` by the channels' statistics; 0 in padded frames."""
        mask = frame_mask(lengths, features.shape[1])[..., None]
        return (features - self.mean) / self.std * mask


class BottomFeatures:
    """The features of a compressed encoder's bottom, with a name, so that they can be kept."""

    layers: tuple[int, ...] = ()
    precision = "float32"

    def __init__(self, encoder: CompressedEncoder) -> None:
        bottom = encoder.bottom
        digest = hashlib.sha256(f"{type(bottom).__name__} {bottom.rate}".encode())
        for key, value in sorted(bottom.state_dict().items()):
            digest.update(key.encode() + value.cpu().numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        self._encoder = encoder

    def __call__(self, waveform: Array) -> Tensor:
        """16 kHz mono samples ``[S]`` -> features ``[T, C]`` at 30 fps, on the CPU."""
        sound = torch.from_numpy(waveform).to(self._encoder.mean.device)
        return OwnEncoder.prepare(self._encoder, sound).cpu()


def build_bottom(config: ModelConfig) -> Bottom:
    """The bottom that a configuration asks for, untrained."""
    if config.encoder == "hubert":
        return HubertBottom(config.bottom_width)
    return WhisperBottom(config.bottom_width, config.encoder_depth, config.blocks_at_face_rate)


def build_encoder(config: ModelConfig) -> SpeechEncoder:
    """Make the untrained speech encoder of a configuration."""
    dropout = config.dropout if config.encoder_dropout is None else config.encoder_dropout
    if config.encoder in COMPRESSED_ENCODERS:
        return CompressedEncoder(
            build_bottom(config), config.encoder_width, config.feature_width, dropout
        )
    if config.encoder in FRONT_ENDS:
        return SmallEncoder(
            config.encoder,
            config.encoder_width,
            config.encoder_blocks,
            config.feature_width,
            dropout,
            config.encoder_residual,
        )
    return AdaptedEncoder(config.large_width, config.feature_width, config.dropout)
