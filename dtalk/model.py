"""The network: contrastive personalizer, motion decoder, and DiffusionTalker that joins them.

    waveform -> encoder -> F_a [B, T, C] -> personalizer -> p [B, P]
    noise x_1 [B, T, 52] -> decoder(x_t, t, F_a, p), n steps -> x_0 [B, T, 52]

Inside the model coefficients are standardised; :meth:`DiffusionTalker.denormalise` brings them
back to [0, 1]. Sequences of unequal length are padded; ``lengths`` ``[B]`` says what is real, and
padding changes nothing in the real frames.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.config import ModelConfig
from dtalk.diffusion import Denoiser, guided, sample_ancestral, sample_ddim, schedule
from dtalk.errors import CheckpointError
from dtalk.motion.animation import Animation
from dtalk.motion.arkit import ARKIT_NAMES, MOUTH_CHANNELS, UPPER_FACE_CHANNELS
from dtalk.motion.noise import noise_seed
from dtalk.nn.fast_rnn import FastGRU
from dtalk.nn.frames import frame_mask
from dtalk.nn.recurrent import parallel_directions, run_recurrent
from dtalk.speech.audio import frame_count
from dtalk.speech.encoders import AdaptedEncoder, CompressedEncoder, build_encoder
from dtalk.speech.feature_cache import FeatureCache
from dtalk.speech.finishing import finished
from dtalk.speech.pretrained import LargeEncoder
from dtalk.utils.labels import NEUTRAL as NEUTRAL
from dtalk.utils.labels import check_label, label_of, probability_of
from dtalk.utils.types import Array

COEFFICIENTS = len(ARKIT_NAMES)
UNKNOWN = -1
"""The label of a clip whose identity or emotion is not known; it has a library entry of its own."""

_MINIMUM_TEMPERATURE, _MAXIMUM_TEMPERATURE = 0.01, 1.0


def cross_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Compute softmax(q k^T / sqrt(d_k)) v of ``[B, Q, D]``, ``[B, K, D]``, ``[B, K, E]``.

    Keys where ``mask`` ``[B, K]`` is false take no part. Eqs. 7 and 13.
    """
    scores = query @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -math.inf)
    return scores.softmax(-1) @ values


def pooled(features: Tensor, lengths: Tensor) -> Tensor:
    """Compute mean and standard deviation over the real frames: ``[B, T, C]`` -> ``[B, 2C]``."""
    mask = frame_mask(lengths, features.shape[1])[..., None]
    count = lengths[:, None].to(features.dtype)
    mean = (features * mask).sum(1) / count
    variance = ((features - mean[:, None]).square() * mask).sum(1) / count
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=-1)


def step_embedding(time: Tensor, width: int) -> Tensor:
    """Embed the continuous time t ``[B]`` in sinusoids ``[B, width]``.

    Source: Vaswani et al. (2017), section 3.5, with 1000 t for the position.
    """
    half = (width + 1) // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angles = 1000 * time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Make two linear layers with a GELU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Library(nn.Module):
    """Library of labels: learned tokens for each, and their contrast with the sound.

    ``contrast`` features come from an encoder of the entries (F_id or F_e of section II-C) and from
    the pooled audio features; both are L2-normalised.
    """

    def __init__(self, labels: Sequence[str], config: ModelConfig, is_open: bool = False) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.is_open = is_open
        shape = (len(labels) + 1, config.tokens, config.token_width)
        self.entries = nn.Parameter(torch.randn(shape) / math.sqrt(config.token_width))
        flat, width = config.tokens * config.token_width, config.contrast_width
        self.encode_entry = mlp(flat, flat, width)
        self.encode_audio = mlp(2 * config.feature_width, config.feature_width, width)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.1)))

    @property
    def temperature(self) -> Tensor:
        """tau of eqs. 5 and 6, learned in log space, clamped."""
        return self.log_temperature.exp().clamp(_MINIMUM_TEMPERATURE, _MAXIMUM_TEMPERATURE)

    def contrast_features(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Encode pooled audio ``[B, 2C]`` and entries as unit vectors ``[B, D]``, ``[M, D]``."""
        heard = functional.normalize(self.encode_audio(audio), dim=-1)
        return heard, self.encoded_entries()

    def encoded_entries(self) -> Tensor:
        """Encode the entries that a sound may be matched to as unit vectors ``[M, D]``."""
        known = self.entries if self.is_open else self.entries[:-1]
        return functional.normalize(self.encode_entry(known.flatten(1)), dim=-1)

    def match(self, audio: Tensor) -> Tensor:
        """Compute the probability of every label given the sound: ``[B, 2C]`` -> ``[B, M]``."""
        features, entries = self.contrast_features(audio)
        return (features @ entries.T / self.temperature).softmax(-1)

    def weights_of(self, labels: Tensor) -> Tensor:
        """Convert labels ``[B]``, -1 for unknown, to one-hot weights of entries ``[B, M + 1]``."""
        rows = torch.where(labels < 0, len(self.labels), labels)
        return functional.one_hot(rows, len(self.labels) + 1).float()

    def weights_of_match(self, match: Tensor, retrieval: str) -> Tensor:
        """Convert probabilities ``[B, M]`` to entry weights ``[B, M + 1]``, soft or one-hot."""
        if not self.labels:
            return match.new_ones(len(match), 1)
        if retrieval == "hard":
            return self.weights_of(match.argmax(-1))
        return match if self.is_open else functional.pad(match, (0, 1))

    def check(self, label: str, kind: str) -> None:
        """Refuse a label that is not in the library, which holds those of ``kind``.

        Raises:
            DataError: the message lists the labels there are.
        """
        check_label(self.labels, label, kind)

    def label_of(self, weights: Tensor) -> str:
        """Get the label of the largest of the weights ``[M + 1]``; empty for "unknown"."""
        return label_of(self.labels, int(weights.argmax()))

    def probability_of(self, match: Tensor, weights: Tensor) -> float | None:
        """Get the probability, of those in ``match`` ``[M]``, of the label of the largest weight.

        None if that is "unknown".
        """
        return probability_of(self.labels, match.tolist(), int(weights.argmax()))

    def tokens(self, weights: Tensor) -> Tensor:
        """Average entries by weights: ``[B, M + 1]`` -> ``[B, K, D]``."""
        return torch.einsum("bm,mkd->bkd", weights, self.entries)


class Integrator(nn.Module):
    """Cross-attention of identity tokens over emotion tokens, giving one embedding p (eq. 7).

    With one vector a side the softmax would run over a single key and p could not depend on the
    identity; with a few tokens it does, and the queries are added so that identity reaches p
    directly.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.token_width
        self.keys = mlp(width, width, width)
        self.values = mlp(width, width, width)
        self.output = nn.Linear(config.tokens * width, config.embedding_width)

    def forward(self, identity: Tensor, emotion: Tensor) -> Tensor:
        """Map tokens ``[B, K, D]`` of both to p ``[B, P]``."""
        mixed = cross_attention(identity, self.keys(emotion), self.values(emotion))
        return self.output((identity + mixed).flatten(1))


class Enhancer(nn.Module):
    """Cross-attention of p over the upper-face channels of a motion (eq. 13).

    Used in distillation only, with the same weights for teacher and student.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = len(UPPER_FACE_CHANNELS)
        self.keys = mlp(channels, width, width)
        self.values = mlp(channels, width, width)

    def forward(self, embedding: Tensor, motion: Tensor, mask: Tensor) -> Tensor:
        """Map p ``[M, P]``, x_0 ``[M, T, 52]``, mask ``[M, T]`` to features ``[M, P]``."""
        upper = motion[..., UPPER_FACE_CHANNELS]
        asked = embedding[:, None]
        return cross_attention(asked, self.keys(upper), self.values(upper), mask)[:, 0]


class Personalizer(nn.Module):
    """Contrastive personalizer: identity and emotion, from labels or the sound (section II-C)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.identity = Library(config.identities, config, config.open_set)
        self.emotion = Library(config.emotions, config)
        self.integrator = Integrator(config)

    def forward(self, identity_weights: Tensor, emotion_weights: Tensor) -> Tensor:
        """Map weights over library entries ``[B, M + 1]`` each to p ``[B, P]``."""
        return self.integrator(
            self.identity.tokens(identity_weights), self.emotion.tokens(emotion_weights)
        )

    def match(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the probability of every identity and emotion by pooled F_a ``[B, 2C]``."""
        return self.identity.match(audio), self.emotion.match(audio)


def around(reach: int) -> tuple[int, int]:
    """Compute the padding before and after, for a filter over an odd number of frames."""
    return reach // 2, reach // 2


class LinearPrior(nn.Module):
    """Linear prediction of motion from p and F_a: a filter over :attr:`reach` frames of F_a.

    People who present, read the news or act move their lips in different manners. With
    ``experts`` there is one filter for each, and a softmax over the pooled F_a averages them (a
    mixture of experts: Jacobs et al., "Adaptive mixtures of local experts", 1991).
    """

    reach = 9

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.constant = nn.Linear(config.embedding_width, COEFFICIENTS)
        experts = len(config.experts)
        # Named as in the checkpoints, like the decoder's `guide`.
        self.heard = nn.Conv1d(
            config.feature_width, COEFFICIENTS * max(1, experts), self.reach, bias=experts > 0
        )
        self.choose = nn.Linear(2 * config.feature_width, experts) if experts else None

    def forward(
        self, features: Tensor, embedding: Tensor, lengths: Tensor, audio: Tensor | None = None
    ) -> Tensor:
        """Map F_a ``[B, T, C]``, p ``[B, P]`` and lengths ``[B]`` to mu ``[B, T, 52]``.

        ``audio`` ``[B, 2C]`` is the pooled F_a of a whole sound; None: of this one.
        """
        real = features * frame_mask(lengths, features.shape[1])[..., None]
        filtered = self.heard(functional.pad(real.transpose(1, 2), around(self.reach)))
        if self.choose is not None:
            audio = pooled(real, lengths) if audio is None else audio
            if not self.choose.weight.requires_grad:  # features are not trained for it either
                audio = audio.detach()
            shares = self.choose(audio).softmax(-1)
            of_experts = filtered.unflatten(1, (-1, COEFFICIENTS))
            filtered = torch.einsum("bk,bkct->bct", shares, of_experts)
        return filtered.transpose(1, 2) + self.constant(embedding)[:, None]


class LinearDenoiser(nn.Module):
    """Linear estimate of x_0 from x_t, which the GRU corrects.

    The deviation of x_t from what the guide mu leads to expect, x_t - alpha_t mu, is smoothed over
    :attr:`reach` frames, mixed across channels, and scaled per channel and step (a Wiener filter
    with learned gains). Without it the GRU needs long to learn to let x_t pass at little noise.
    """

    reach = 9

    def __init__(self, step_width: int) -> None:
        super().__init__()
        self.smooth = nn.Conv1d(COEFFICIENTS, COEFFICIENTS, self.reach)
        self.gains = nn.Linear(step_width, 2 * COEFFICIENTS)
        with torch.no_grad():
            window = torch.hann_window(self.reach + 2, periodic=False)[1:-1]
            self.smooth.weight.copy_(torch.eye(COEFFICIENTS)[..., None] * window / window.sum())
            self.smooth.bias.zero_()  # type: ignore[union-attr]
            self.gains.weight.mul_(0.1)
            self.gains.bias.copy_(
                torch.cat([torch.full((COEFFICIENTS,), 0.5), torch.zeros(COEFFICIENTS)])
            )

    def forward(self, deviation: Tensor, step: Tensor) -> Tensor:
        """Filter the deviation ``[B, T, 52]``, 0 in padded frames, by step embedding ``[B, S]``."""
        padded = functional.pad(deviation.transpose(1, 2), around(self.reach))
        smooth = self.smooth(padded).transpose(1, 2)
        of_smooth, of_sharp = self.gains(step)[:, None].chunk(2, -1)
        return of_smooth * smooth + of_sharp * deviation


class MotionDecoder(nn.Module):
    """Predicts x_0: concat(p, F_a, x_t, step embedding) -> LayerNorm -> GRU -> MLP.

    What the MLP gives is added to the :class:`LinearPrior` mu, and to what a
    :class:`LinearDenoiser` makes of x_t. The prior is trained on its own as well, so that sound
    teaches the encoder at every step of the diffusion, also where x_t gives the motion away.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.step_width = config.step_width
        self.embed_step = mlp(config.step_width, config.step_width, config.step_width)
        given = config.embedding_width + config.feature_width
        self.guide = LinearPrior(config)
        self.linear = LinearDenoiser(config.step_width)
        self.norm = nn.LayerNorm(given + COEFFICIENTS + config.step_width)
        self.recurrent = FastGRU(
            given + COEFFICIENTS + config.step_width,
            config.hidden_width,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = mlp(2 * config.hidden_width, config.hidden_width, COEFFICIENTS)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        features: Tensor,
        embedding: Tensor,
        lengths: Tensor,
        audio: Tensor | None = None,
    ) -> Tensor:
        """Predict x_0 ``[B, T, 52]`` from x_t, t ``[B]``, F_a ``[B, T, C]`` and p ``[B, P]``.

        ``audio`` ``[B, 2C]`` is for the :class:`LinearPrior`.
        """
        step = self.embed_step(step_embedding(time, self.step_width))
        guide = self.guide(features, embedding, lengths, audio)
        real = frame_mask(lengths, noisy.shape[1])[..., None]
        deviation = (noisy - schedule(time)[0][:, None, None] * guide) * real
        constant = torch.cat([embedding, step], -1)[:, None].expand(-1, noisy.shape[1], -1)
        hidden = self.norm(torch.cat([constant, features, deviation], -1))
        hidden = self.dropout(run_recurrent(self.recurrent, hidden, lengths))
        return guide + self.linear(deviation, step) + self.output(hidden)


class DiffusionTalker(nn.Module):
    """Speech encoder, personalizer and motion decoder (sections II-B and II-C)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.name = ""
        self.encoder = build_encoder(config)
        self.personalizer = Personalizer(config)
        self.decoder = MotionDecoder(config)
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("std", torch.ones(COEFFICIENTS))

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def large_source(self) -> LargeEncoder | FeatureCache | None:
        """The attached large encoder or its cache; None for a small encoder."""
        return self.encoder.source if isinstance(self.encoder, AdaptedEncoder) else None

    @property
    def large_encoder(self) -> LargeEncoder | None:
        """The large encoder itself, if one is attached."""
        source = self.large_source
        return source.encoder if isinstance(source, FeatureCache) else source

    def attach(self, source: LargeEncoder | FeatureCache) -> None:
        """Attach the large encoder that the model was made with.

        Raises:
            CheckpointError: the model has a small one of its own, or was made with another.
        """
        if not isinstance(self.encoder, AdaptedEncoder):
            raise CheckpointError("this model has a small speech encoder and takes no other")
        large = source.encoder if isinstance(source, FeatureCache) else source
        if (large.fingerprint, large.layers) != self.config.encoder_key:
            raise CheckpointError(
                f"this model was made with {_layers(self.config.layer)} of {self.config.encoder}; "
                f"{_layers(large.layers)} of {large.name} are others"
            )
        self.encoder.source = source

    def new_like(self, **changes: Any) -> DiffusionTalker:
        """A new model of this configuration (except ``changes``) and the same attached encoder."""
        other = DiffusionTalker(dataclasses.replace(self.config, **changes)).to(self.device)
        if self.large_source is not None:
            other.attach(self.large_source)
        mine, theirs = self.encoder, other.encoder
        if isinstance(mine, CompressedEncoder) and isinstance(theirs, CompressedEncoder):
            theirs.source = None if mine.trains_blocks else mine.source
        return other

    def with_config(self, **changes: Any) -> DiffusionTalker:
        """A view of the same weights with other settings, which must not touch the network."""
        other = copy.copy(self)
        other.config = dataclasses.replace(self.config, **changes)
        return other

    def normalise(self, coefficients: Tensor) -> Tensor:
        """Standardise coefficients in [0, 1], of any shape ending in 52."""
        return (coefficients - self.mean) / self.std

    def denormalise(self, standardised: Tensor) -> Tensor:
        """Convert standardised values to coefficients, clamped to [0, 1]."""
        return (standardised * self.std + self.mean).clamp(0, 1)

    def finish(self, standardised: Tensor, waveform: Array, seeds: Sequence[int]) -> Array:
        """One sample a seed ``[N, T, 52]`` -> coefficients in [0, 1]; see :func:`.finished`."""
        coefficients = self.denormalise(standardised).cpu().numpy()
        return np.stack(
            [finished(c, waveform, seed, self.config) for c, seed in zip(coefficients, seeds)]
        )

    def features(self, waveforms: Sequence[Array], lengths: Tensor) -> Tensor:
        """Compute F_a ``[B, T, C]`` of 16 kHz waveforms of ``lengths`` ``[B]`` frames."""
        return self.encoder(self.prepare(waveforms), lengths)

    def prepare(self, waveforms: Sequence[Array]) -> list[Tensor]:
        """Compute the speech encoder's inputs, one ``[F, C]`` for each 16 kHz waveform."""
        return [
            self.encoder.prepare(torch.from_numpy(waveform).to(self.device))
            for waveform in waveforms
        ]

    def infer_weights(
        self, features: Tensor, lengths: Tensor, retrieval: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Infer library weights ``[B, M + 1]`` of identity and emotion from the sound."""
        return self.weights_of_match(*self.match(features, lengths), retrieval)

    def match(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the probability of every identity and emotion given the sound, ``[B, M]``."""
        return self.personalizer.match(pooled(features, lengths))

    def weights_of_match(
        self, identities: Tensor, emotions: Tensor, retrieval: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convert probabilities of identities and emotions to library weights."""
        kind = retrieval or self.config.retrieval
        return (
            self.personalizer.identity.weights_of_match(identities, kind),
            self.personalizer.emotion.weights_of_match(emotions, kind),
        )

    def denoiser(
        self, features: Tensor, embedding: Tensor, lengths: Tensor, audio: Tensor | None = None
    ) -> Denoiser:
        """Make DT_theta(a, i, e, x_t, t) of eq. 4 with all but x_t and t given."""
        return lambda noisy, time: self.decoder(noisy, time, features, embedding, lengths, audio)

    def spread(self) -> Tensor:
        """Get the temperatures per channel ``[52]``: of the mouth, of all the rest."""
        scales = torch.full((COEFFICIENTS,), self.config.upper_temperature, device=self.device)
        scales[MOUTH_CHANNELS] = self.config.temperature
        return scales

    @torch.inference_mode()
    def animate(
        self,
        waveform: Array,
        identity: str | None = None,
        emotion: str | None = None,
        seed: int = 0,
        steps: int | None = None,
        temperature: float = 1.0,
        emotion_strength: float | None = None,
        sampler: str = "ddim",
    ) -> Animation:
        """Predict coefficients for one speech clip.

        Args:
            waveform: 16 kHz mono float32 ``[S]``, S >= 1.
            identity, emotion: a library label, or None to infer it from the sound.
            seed: of the noise. The same input, seed, weights and threads give the same bytes.
            steps: denoising steps; None for the model's own number.
            temperature: scales how far the sample strays from the mean motion; 0 gives the mean.
            emotion_strength: how strongly a named emotion shows: 1 as learned, more exaggerates,
                0 is none; None for the model's own. An inferred emotion always has 1.
            sampler: ``ddim``, or ``ancestral``: with new noise at every step (eq. 3).

        Raises:
            DataError: a label that is not in the library.
        """
        frames = frame_count(len(waveform))
        lengths = torch.tensor([frames], device=self.device)
        # The layers of a large encoder have use for all threads.
        wide = isinstance(self.encoder, (AdaptedEncoder, CompressedEncoder))
        inputs = self.prepare([waveform]) if wide else None
        with parallel_directions():
            inputs = inputs or self.prepare([waveform])
            features = self.encoder(inputs, lengths)
            personalizer, heard = self.personalizer, self.match(features, lengths)
            found = self.weights_of_match(*heard)
            who = self._choose(personalizer.identity, identity, found[0], "identity")
            how = self._choose(personalizer.emotion, emotion, found[1], "emotion")
            denoise = self.denoiser(features, personalizer(who, how), lengths)
            if emotion is not None:
                plain = personalizer(who, personalizer.emotion.weights_of(self._calm(lengths)))
                strength = (
                    self.config.emotion_strength if emotion_strength is None else emotion_strength
                )
                denoise = guided(denoise, self.denoiser(features, plain, lengths), strength)
            count = self.config.steps if steps is None else steps
            noise = clip_noise(waveform, frames, seed, count, sampler)[:, None]
            x = self.sample(denoise, noise, count, sampler, temperature)
        return Animation(
            self.finish(x, waveform, [seed])[0],
            personalizer.identity.label_of(who[0]),
            personalizer.emotion.label_of(how[0]),
            None if identity else personalizer.identity.probability_of(heard[0][0], who[0]),
            None if emotion else personalizer.emotion.probability_of(heard[1][0], how[0]),
        )

    def sample(
        self,
        denoise: Denoiser,
        noise: Tensor,
        steps: int,
        sampler: str = "ddim",
        temperature: float = 1.0,
    ) -> Tensor:
        """Sample standardised x_0 ``[B, T, 52]`` from :func:`clip_noise` ``[N, B, T, 52]``."""
        noise = noise.to(self.device)
        shift, spread = self.config.noise_shift, self.spread() * temperature
        if sampler == "ancestral":
            return sample_ancestral(denoise, noise[0], steps, noise[1:], shift, spread)
        return sample_ddim(denoise, noise[0], steps, shift, spread)

    def _calm(self, like: Tensor) -> Tensor:
        """The emotion that named ones are measured from: neutral, or else "unknown"."""
        labels = self.personalizer.emotion.labels
        return torch.full_like(like, labels.index(NEUTRAL) if NEUTRAL in labels else UNKNOWN)

    @staticmethod
    def _choose(library: Library, label: str | None, found: Tensor, kind: str) -> Tensor:
        if label is None:
            return found
        library.check(label, kind)
        index = torch.tensor([library.labels.index(label)], device=found.device)
        return library.weights_of(index)


def _layers(numbers: Sequence[int]) -> str:
    return "layers " + ", ".join(map(str, numbers))


def clip_noise(waveform: Array, frames: int, seed: int, steps: int, sampler: str) -> Tensor:
    """Sample standard normal noise ``[N, frames, 52]``: N is 1, or ``steps`` if ancestral.

    Sampled on the CPU, so that a seed means the same everywhere.
    """
    generator = torch.Generator().manual_seed(noise_seed(waveform, seed))
    count = max(1, steps) if sampler == "ancestral" else 1
    noises = [torch.randn(frames, COEFFICIENTS, generator=generator) for _ in range(count)]
    return torch.stack(noises)
