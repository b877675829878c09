"""Speech encoders: a 16 kHz waveform becomes features at the motion's frame rate.

An encoder splits its work in two. ``prepare`` turns one waveform into the network's input, without
gradients, so that it can be done once a clip; the module itself maps a padded batch of such inputs
to features ``[B, T, C]`` at 30 frames a second. Padding changes nothing in the real frames.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable

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
from dtalk.speech.bottom import (
    SHORTEST,
    Bottom,
    HubertBottom,
    WhisperBottom,
    frames_of,
    in_windows,
)
from dtalk.speech.feature_cache import FeatureCache
from dtalk.speech.front_ends import FRONT_ENDS, padded_to
from dtalk.speech.loudness import level
from dtalk.speech.pretrained import LargeEncoder
from dtalk.utils.types import Array


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
    bottom's, and a filter is fitted in closed form. The bottom's weights are part of the model. As
    long as they stay as they are its features of a sound can be kept: ``source`` has them. While a
    bottom's blocks are trained (:attr:`trains_blocks`) the network's input is its stem's instead.

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
        self.trains_blocks = False
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
        """The bottom's features ``[T, C]`` at the face's frame rate.

        While its blocks are trained, its stem's ``[F, C]`` at the bottom's own, of at most 28 s.
        """
        if self.source is None:
            return super().prepare(waveform, keep)
        return _features_by(self.source, waveform, keep)

    def train_blocks(self) -> None:
        """Let the bottom's transformer blocks be trained from now on, in clips of at most 28 s.

        Raises:
            CheckpointError: the bottom has none.
        """
        if not isinstance(self.bottom, WhisperBottom) or not len(self.bottom.blocks):
            raise CheckpointError("only the transformer blocks of a whisper front end are trained")
        self.bottom.blocks.requires_grad_(True)
        self.trains_blocks, self.source = True, None

    def prepare_levelled(self, levelled: Tensor) -> Tensor:
        samples, bottom = torch.as_tensor(levelled.shape[0]), self.bottom
        padded = padded_to(levelled, torch.tensor(SHORTEST))
        if self.trains_blocks:
            assert isinstance(bottom, WhisperBottom)
            return bottom.stem(padded[None])[0]
        return frames_of(in_windows(bottom, padded)[None], samples, bottom.rate, bottom.start)[0]

    def encode(self, inputs: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        rate, start = FPS, 0.5
        if self.trains_blocks:
            assert isinstance(self.bottom, WhisperBottom)
            inputs = self.bottom.transformed(inputs, frame_mask(lengths, inputs.shape[1]))
            rate, start = self.bottom.rate, self.bottom.start
        features = resample_features(inputs, lengths, frame_lengths, rate, start)
        hidden = self.standardised(features, frame_lengths)
        linear = self.linear(hidden.transpose(1, 2)).transpose(1, 2)
        hidden = run_recurrent(self.recurrent, self.dropout(hidden), frame_lengths)
        return linear + self.output(self.dropout(hidden))

    def standardised(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Bottom features ``[B, T, C]`` by the channels' statistics; 0 in padded frames."""
        mask = frame_mask(lengths, features.shape[1])[..., None]
        return (features - self.mean) / self.std * mask


class BottomFeatures:
    """What a compressed encoder is given, with a name, so that it can be kept.

    That is the features of its bottom, or of the bottom's stem while the blocks are trained.
    """

    layers: tuple[int, ...] = ()
    precision = "float32"

    def __init__(self, encoder: CompressedEncoder) -> None:
        bottom = encoder.bottom
        digest = hashlib.sha256(f"{type(bottom).__name__} {bottom.rate}".encode())
        for key, value in sorted(bottom.state_dict().items()):
            if not (encoder.trains_blocks and key.startswith("blocks.")):
                digest.update(key.encode() + value.cpu().numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        self._encoder = encoder

    def __call__(self, waveform: Array) -> Tensor:
        """16 kHz mono samples ``[S]`` -> features ``[T, C]``, on the CPU."""
        sound = torch.from_numpy(waveform).to(self._encoder.mean.device)
        return OwnEncoder.prepare(self._encoder, sound).cpu()


def build_bottom(config: ModelConfig) -> Bottom:
    """The bottom that a configuration asks for, untrained."""
    if config.encoder == "hubert":
        return HubertBottom(config.bottom_width)
    return WhisperBottom(
        config.bottom_width,
        config.encoder_depth,
        config.blocks_at_face_rate,
        config.block_width,
        config.stem_width,
    )


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
