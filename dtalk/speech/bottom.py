"""The bottom of a published speech encoder, as the first part of a small one (section II-D2).

The paper's student keeps the large encoder's own convolutions, with their weights, and puts a
BiLSTM and a fully connected layer on them. Here it is the convolutional stem of Whisper's encoder
and its first transformer blocks, or HuBERT's seven convolutions, in plain torch: a student needs
no other library and no other file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.motion.curves import FPS
from dtalk.nn.frames import counted, resample_features
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.features import slaney_filters
from dtalk.speech.loudness import level
from dtalk.speech.spectrum import WINDOW, band_energies
from dtalk.utils.types import Array

WHISPER_BANDS = 80
HEAD_WIDTH = 64  # channels of an attention head, in every published Whisper
HOP = 320  # samples a feature, in Whisper and in HuBERT: 50 Hz
RATE = SAMPLE_RATE / HOP
SHORTEST = 1600  # samples; shorter sounds are followed by silence
SPAN, OVERLAP = 1400, 200  # features: 28 s, of which 4 s are cross-faded with the next window
FACE_GRID = 3  # frames of the face in 0.1 s, which is a whole number of samples


class Bottom(nn.Module, ABC):
    """The first layers of a large encoder: samples to features at 50 Hz, or at the face's 30.

    Attributes:
        rate: features a second; start: where the first one's centre lies, in features.
        grid: features that are a whole number of samples; width: channels.
    """

    rate: float = RATE
    grid = 1
    start: float
    width: int

    @abstractmethod
    def forward(self, waveforms: Tensor) -> Tensor:
        """Levelled samples ``[B, S]`` of 16 kHz, at most 28 s -> ``[B, F, C]`` at the rate."""


class Block(nn.Module):
    """One transformer block of Whisper's encoder: self-attention, then two linear layers.

    Args:
        width: channels; inner: those between the linear layers.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.attention_norm, self.linear_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.joined = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, F, C]``, of which ``mask`` ``[B, F]`` are real -> ``[B, F, C]``."""
        hidden = self.attended(hidden, mask)
        return hidden + self.outer(self.activations(hidden))

    def attended(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """What self-attention makes of ``[B, F, C]``: ``[B, F, C]``."""
        seen = self.attention_norm(hidden)
        query, key, value = (
            part(seen).unflatten(-1, (self.heads, HEAD_WIDTH)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heard = None if mask is None else mask[:, None, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, heard)
        return hidden + self.joined(mixed.transpose(1, 2).flatten(2))

    def activations(self, hidden: Tensor) -> Tensor:
        """What the first linear layer makes of ``[B, F, C]``: ``[B, F, inner]``."""
        return functional.gelu(self.inner(self.linear_norm(hidden)))


class WhisperBottom(Bottom):
    """Whisper's log-mel, its two convolutions and its first ``depth`` blocks.

    Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
    section 2.2. Whisper pads every sound to 30 s; here only the frames there are pass through.

    Args:
        width: channels; depth: blocks.
        at_face_rate: whether the blocks run at the face's rate: four tenths less work than at
            Whisper's 50 a second, after which four of ten features would be interpolated away.
        inner: channels between a block's linear layers; None for Whisper's own, 4 * ``width``.
        stem: channels between the convolutions; None for Whisper's own, ``width``.
    """

    start = 0.0

    def __init__(
        self,
        width: int,
        depth: int,
        at_face_rate: bool = False,
        inner: int | None = None,
        stem: int | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        if at_face_rate:
            self.rate, self.start, self.grid = FPS, 0.5, FACE_GRID
        self.first = nn.Conv1d(WHISPER_BANDS, stem or width, 3, padding=1)
        self.second = nn.Conv1d(stem or width, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(width, inner or 4 * width) for _ in range(depth))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.transformed(self.stem(waveforms))

    def stem(self, waveforms: Tensor) -> Tensor:
        """What the blocks are given, ``[B, F, C]`` at the rate, of samples ``[B, S]``."""
        hidden = self.first_activations(waveforms)
        hidden = functional.gelu(self.second(hidden)).transpose(1, 2)
        hidden = hidden + positions(hidden.shape[1], self.width).to(hidden)
        if self.rate == FPS:
            hidden = frames_of(hidden, torch.as_tensor(waveforms.shape[1]), RATE, 0.0)
        return hidden

    def first_activations(self, waveforms: Tensor) -> Tensor:
        """What the first convolution makes of samples ``[B, S]``: ``[B, stem, S // 160]``."""
        return functional.gelu(self.first(whisper_mel(waveforms)))

    def transformed(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the blocks make of the stem's ``[B, F, C]``, of which ``mask`` are real."""
        for block in self.blocks:
            hidden = block(hidden, mask)
        return hidden

    @classmethod
    def copied(cls, weights: Mapping[str, Tensor], depth: int) -> WhisperBottom:
        """A bottom with the weights of an encoder in transformers' names."""
        bottom = cls(len(weights["conv1.weight"]), depth)
        bottom.load_state_dict({name: _of_whisper(weights, name) for name in bottom.state_dict()})
        return bottom


_OF_WHISPER = {  # our names of its parts: those of transformers
    "first": "conv1",
    "second": "conv2",
    "attention_norm": "self_attn_layer_norm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "joined": "self_attn.out_proj",
    "linear_norm": "final_layer_norm",
    "inner": "fc1",
    "outer": "fc2",
}


def _of_whisper(weights: Mapping[str, Tensor], name: str) -> Tensor:
    """The weight that one of our names stands for."""
    *block, part, kind = name.split(".")
    prefix = f"layers.{block[1]}." if block else ""
    return weights[f"{prefix}{_OF_WHISPER[part]}.{kind}"]


class HubertBottom(Bottom):
    """HuBERT's seven convolutions over the waveform.

    Source: Hsu et al., "HuBERT" (2021), section IV-B; the first is normalised over time, channel
    by channel, as in the published base model.
    """

    start = 200 / HOP  # the first window is 400 samples wide
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        channels = (1, *([width] * len(self.kernels)))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, o, kernel, stride, bias=False)
            for i, o, kernel, stride in zip(channels, channels[1:], self.kernels, self.strides)
        )
        self.norm = nn.GroupNorm(width, width)

    def forward(self, waveforms: Tensor) -> Tensor:
        deviation = waveforms - waveforms.mean(-1, keepdim=True)
        variance = waveforms.var(-1, correction=0, keepdim=True)
        hidden = (deviation / torch.sqrt(variance + 1e-7))[:, None]
        for number, convolution in enumerate(self.convolutions):
            hidden = convolution(hidden)
            hidden = functional.gelu(self.norm(hidden) if number == 0 else hidden)
        return hidden.transpose(1, 2)

    @classmethod
    def copied(cls, weights: Mapping[str, Tensor]) -> HubertBottom:
        """A bottom with the weights of a feature extractor in transformers' names."""
        bottom = cls(len(weights["conv_layers.0.conv.weight"]))
        named = {
            f"convolutions.{i}.weight": weights[f"conv_layers.{i}.conv.weight"]
            for i in range(len(cls.kernels))
        }
        for kind in ("weight", "bias"):
            named[f"norm.{kind}"] = weights[f"conv_layers.0.layer_norm.{kind}"]
        bottom.load_state_dict(named)
        return bottom


def whisper_mel(waveforms: Tensor) -> Tensor:
    """Whisper's log-mel spectrograms ``[B, 80, S // 160]`` of samples ``[B, S]``.

    Source: Radford et al. (2022), section 2.2: 25 ms windows every 10 ms, Slaney's mel filters,
    log10 of the power, at most 8 below its maximum, scaled to about [-1, 1].
    """
    padded = functional.pad(waveforms, (WINDOW // 2, WINDOW // 2), mode="reflect")
    energy = band_energies(padded, slaney_filters())[:, :-1].clamp(min=1e-10).log10()
    floor = energy.amax((1, 2), keepdim=True) - 8
    return ((torch.maximum(energy, floor) + 4) / 4).transpose(1, 2)


def positions(frames: int, width: int) -> Tensor:
    """Whisper's sinusoids ``[frames, width]``: sines, then cosines, of falling rates."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half))
    angles = torch.arange(frames)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def frames_of(features: Tensor, samples: Tensor, rate: float, start: float) -> Tensor:
    """Features ``[B, F, C]`` of sounds of as many samples, at the face's 30 fps ``[B, T, C]``.

    Args:
        samples: a tensor, so that an exported graph takes any length; rate, start: as in
            :func:`dtalk.nn.frames.resample_features`.
    """
    each = torch.ones(features.shape[0], dtype=torch.long, device=features.device)
    frames = (samples.double() / SAMPLE_RATE * FPS).round().long().clamp(min=1)
    return resample_features(features, each * features.shape[1], each * frames, rate, start)


def at_face_rate(
    encode: Callable[[Array], Tensor],
    waveform: Array,
    start: float,
    window: int = SPAN,
) -> Tensor:
    """Features ``[T, C]`` at the face's 30 fps of 16 kHz samples ``[S]`` of any length and level.

    Args:
        encode, window: as in :func:`windowed`.
        start: where the first feature's centre lies, in features.
    """
    sound = torch.from_numpy(level(waveform))
    sound = functional.pad(sound, (0, max(0, SHORTEST - len(sound))))
    features = windowed(encode, sound.numpy(), window)
    return frames_of(features[None], torch.tensor(len(waveform)), RATE, start)[0]


def windowed(
    encode: Callable[[Array], Tensor],
    waveform: Array,
    window: int = SPAN,
) -> Tensor:
    """Features ``[F, C]`` of a sound of any length, in windows that are cross-faded.

    Args:
        encode: samples ``[S]``, at most 320 * ``window`` -> features ``[F, C]`` at 50 Hz.
        window: features at once, of which a seventh is shared with the next window.
    """
    overlap = window * OVERLAP // SPAN
    whole, step = window * HOP, (window - overlap) * HOP
    joined = encode(waveform[:whole])
    rising = ((torch.arange(overlap) + 0.5) / overlap)[:, None]
    for begin in range(step, len(waveform) - overlap * HOP, step):
        part = encode(waveform[begin : begin + whole])
        # HuBERT gives one feature less than a window has hops.
        fade = min(len(joined) - begin // HOP, overlap)
        mixed = torch.lerp(joined[begin // HOP :][:fade], part[:fade], rising[:fade])
        joined = torch.cat([joined[: begin // HOP], mixed, part[fade:]])
    return joined


def in_windows(bottom: Bottom, waveform: Tensor) -> Tensor:
    """Features ``[F, C]`` of levelled samples ``[S]`` of any length, S >= 1600.

    Up to 28 s in one window; beyond, in as many of 28 s as overlap by at least 4 s, spread evenly
    and cross-faded for 4 s. They begin where a feature and a sample do. All lengths are tensors, so
    that an exported graph holds the rule.
    """
    span, overlap = round(SPAN * bottom.rate / RATE), round(OVERLAP * bottom.rate / RATE)
    unit = round(bottom.grid * SAMPLE_RATE / bottom.rate)  # samples
    samples = torch.as_tensor(waveform.shape[0])
    beyond = (-(-(samples - SPAN * HOP) // unit)).clamp(min=0)  # grid steps
    more = (beyond * bottom.grid + span - overlap - 1) // (span - overlap)  # windows after it
    steps = counted(more + 1) * beyond // more.clamp(min=1)
    width = torch.where(more > 0, torch.tensor(SPAN * HOP), samples)
    padded = functional.pad(waveform, (0, unit))  # the last window may end a little later
    features = bottom(padded[steps[:, None] * unit + counted(width)])

    begins = steps * bottom.grid
    frames, last = counted(begins[-1] + features.shape[1]), features.shape[1] - 1
    before = torch.cat([torch.tensor([-span - overlap]), begins[:-1]])
    fades = (before + span + begins - overlap) / 2  # where each window fades in
    later = (frames[:, None] >= fades).sum(1) - 1
    earlier = (later - 1).clamp(min=0)
    mixed = ((frames + 0.5 - fades[later]) / overlap).clamp(0, 1)[:, None].to(features)
    one, other = (
        features[window, (frames - begins[window]).clamp(0, last)] for window in (earlier, later)
    )
    return torch.lerp(one, other, mixed)
