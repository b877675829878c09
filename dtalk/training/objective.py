"""The objective of training, eq. 15, with errors measured on the head's surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dtalk.diffusion import add_noise, time_grid
from dtalk.evaluation.metrics import CLOSED
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import Head
from dtalk.model import COEFFICIENTS, UNKNOWN, DiffusionTalker, Library, pooled
from dtalk.nn.frames import frame_mask
from dtalk.training import losses
from dtalk.training.batches import Batch
from dtalk.training.config import TrainingConfig
from dtalk.utils.devices import precision_of
from dtalk.utils.types import Array


def region_gram(basis: Array, std: Tensor, covariance: Tensor) -> Tensor:
    """Compute the ``gram`` of :func:`losses.vertex_error` for standardised values ``[52, 52]``.

    ``basis`` ``[52, V, 3]`` are a region's displacements. Scaled so that always predicting the
    mean costs 1.
    """
    flat = torch.from_numpy(basis).flatten(1)
    gram = flat @ flat.T
    moves = (gram * covariance).sum()
    if moves <= 0:  # nothing there moves in the data, so nothing is to be learned
        return torch.zeros_like(gram)
    return std[:, None] * gram * std / moves


@dataclass(frozen=True)
class Grams:
    """Gram matrices of lips, upper face and mouth opening, ``[52, 52]`` each.

    parting ``[52]``: how far a standardised coefficient opens the mouth, mm; ajar: the opening of
    standardised coefficients of 0, mm.
    """

    lips: Tensor
    upper_face: Tensor
    opening: Tensor
    parting: Tensor
    ajar: Tensor

    @staticmethod
    def of(
        head: Head, mean: Tensor, std: Tensor, covariance: Tensor, device: torch.device
    ) -> Grams:
        """Compute the matrices for a head and the statistics of the data."""
        face = Geometry(head)
        neutral = face.opening(np.zeros((1, COEFFICIENTS), np.float32))
        parting = face.opening(np.eye(COEFFICIENTS, dtype=np.float32)) - neutral
        lips, upper_face, opening = (
            region_gram(basis, std, covariance).to(device)
            for basis in (face.lips.basis, face.upper_face.basis, parting[:, None, None])
        )
        per_weight = torch.from_numpy(parting)
        ajar = float(neutral[0]) + mean @ per_weight
        return Grams(lips, upper_face, opening, (std * per_weight).to(device), ajar.to(device))

    def closed(self, target: Tensor) -> Tensor:
        """Find the frames of standardised ``[B, T, 52]`` whose lips are closed: ``[B, T]``."""
        return target @ self.parting + self.ajar < CLOSED


def condition(
    library: Library,
    audio: Tensor,
    labels: Tensor,
    choice: Tensor,
    label_share: float,
    retrieval_share: float,
) -> Tensor:
    """Compute weights over library entries ``[B, M + 1]``: by label, by match, or unknown.

    ``choice`` ``[B]`` is uniform in [0, 1). A clip without a label is matched instead. The match is
    not trained through: retrieval learns from eqs. 5 and 6 alone. A library without labels knows
    none of them.
    """
    if not library.labels:
        labels = torch.full_like(labels, UNKNOWN)
    by_label = (choice < label_share) & (labels >= 0)
    unknown = choice >= label_share + retrieval_share
    known = library.weights_of(torch.where(by_label, labels, UNKNOWN))
    matched = library.weights_of_match(library.match(audio).detach(), "soft")
    return torch.where((by_label | unknown)[:, None], known, matched)


@dataclass(frozen=True)
class Draw:
    """The random numbers of one update, the same for a student and its teacher.

    choices: how identity and emotion are given, uniform ``[2, B]``; with_audio: which clips with
    motion are given with their sound ``[M]``; step: of the sampler's ``[M]``; noise ``[M, T, 52]``.
    """

    choices: Tensor
    with_audio: Tensor
    step: Tensor
    noise: Tensor

    @staticmethod
    def of(batch: Batch, steps: int, generator: torch.Generator, config: TrainingConfig) -> Draw:
        """Sample on the CPU, so that a seed means the same everywhere; for a share as for all."""
        moving, device, share = batch.share.moving, batch.target.device, batch.share
        choices = torch.rand(2, share.clips, generator=generator)
        with_audio = torch.rand(moving, generator=generator) >= config.audio_dropout
        # As evenly spread over a batch as they can be.
        spread = (torch.arange(moving) + torch.rand(moving, generator=generator)) / moving
        spread = spread[torch.randperm(moving, generator=generator)]
        # A draw just below 1 is rounded up to it in float32.
        step = (spread * steps).long().clamp(max=steps - 1)
        seeds = torch.randint(2**62, (moving,), generator=generator)
        rows = share.moving_rows()
        noise = pad_sequence(
            [
                torch.randn(length, COEFFICIENTS, generator=torch.Generator().manual_seed(seed))
                for length, seed in zip(batch.lengths.tolist(), seeds[rows].tolist())
            ],
            batch_first=True,
        )
        drawn = (choices[:, share.rows], with_audio[rows], step[rows], noise)
        return Draw(*(values.to(device) for values in drawn))


@dataclass(frozen=True)
class EncodedSpeech:
    """A batch's speech features, and the embeddings made from them.

    features: F_a ``[M, T, C]`` of the clips with motion, and ``[B - M, T', C]`` of the others if
    there are any; audio: pooled, of all ``[B, 2C]``; embedding: p ``[M, P]``.
    """

    features: list[Tensor]
    audio: Tensor
    embedding: Tensor

    def conditions(self, draw: Draw) -> Tensor:
        """Get F_a ``[M, T, C]`` for the decoder: 0 where the clip's sound is withheld."""
        return self.features[0] * draw.with_audio.to(self.features[0])[:, None, None]


def parts_of(batch: Batch) -> list[slice]:
    """Slice clips with motion, then those of sound only, which are longer."""
    moving = len(batch.target)
    return [slice(None, moving)] + [slice(moving, None)] * (len(batch.lengths) > moving)


def encode_speech(
    model: DiffusionTalker, inputs: list[Tensor], batch: Batch, draw: Draw, config: TrainingConfig
) -> EncodedSpeech:
    """Encode the batch's sound from the model's own ``inputs``, and personalize."""
    with precision_of(model.device, config.precision):
        features = [model.encoder(inputs[p], batch.lengths[p]).float() for p in parts_of(batch)]
    audio = torch.cat([pooled(f, batch.lengths[p]) for f, p in zip(features, parts_of(batch))])
    moving, personalizer = len(batch.target), model.personalizer
    who = condition(
        personalizer.identity, audio, batch.identity, draw.choices[0], *identity_shares(config)
    )
    # A posed emotion cannot be found in the sound.
    is_posed = batch.posed >= 0
    labels = torch.where(is_posed, batch.posed, batch.emotion)
    choice = torch.where(is_posed, -1.0, draw.choices[1])
    shares = config.label_share, config.retrieval_share
    how = condition(personalizer.emotion, audio, labels, choice, *shares)
    return EncodedSpeech(features, audio, personalizer(who[:moving], how[:moving]))


def identity_shares(config: TrainingConfig) -> tuple[float, float]:
    """Shares of clips whose identity is given by its label, and by what is found in the sound."""
    label, retrieval = config.identity_label_share, config.identity_retrieval_share
    return (
        config.label_share if label is None else label,
        config.retrieval_share if retrieval is None else retrieval,
    )


def sampled_times(model: DiffusionTalker, draw: Draw) -> Tensor:
    """Compute t ``[M]`` of the sampled steps of the model's sampler."""
    config = model.config
    return time_grid(config.steps, model.device, config.noise_shift)[:-1][draw.step]


def noised(model: DiffusionTalker, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor]:
    """Compute x_t ``[M, T, 52]`` and t ``[M]`` at the sampled steps."""
    times = sampled_times(model, draw)
    return add_noise(batch.target, draw.noise, times), times


def losses_of(
    model: DiffusionTalker,
    batch: Batch,
    grams: Grams,
    generator: torch.Generator,
    config: TrainingConfig,
) -> dict[str, Tensor]:
    """Compute the loss of one batch (``total``, eq. 15) and its parts."""
    draw = Draw.of(batch, model.config.steps, generator, config)
    encoded = encode_speech(model, batch.inputs, batch, draw, config)
    predicted = denoised(model, encoded, batch, draw, config)
    return teacher_losses(model, encoded, predicted, batch, draw, grams, config)


def denoised(
    model: DiffusionTalker, encoded: EncodedSpeech, batch: Batch, draw: Draw, config: TrainingConfig
) -> Tensor:
    """Predict x_0 ``[M, T, 52]``."""
    noisy, times = noised(model, batch, draw)
    lengths = batch.lengths[: len(batch.target)]
    denoise = model.denoiser(encoded.conditions(draw), encoded.embedding, lengths)
    with precision_of(model.device, config.precision):
        return denoise(noisy, times).float()


def teacher_losses(
    model: DiffusionTalker,
    encoded: EncodedSpeech,
    predicted: Tensor,
    batch: Batch,
    draw: Draw,
    grams: Grams,
    config: TrainingConfig,
) -> dict[str, Tensor]:
    """Compute eq. 15 (``total``) and its parts, given the predicted x_0 ``[M, T, 52]``."""
    lengths = batch.lengths[: len(batch.target)]
    mask = frame_mask(lengths, batch.target.shape[1])
    closed = mask & grams.closed(batch.target)
    guide = model.decoder.guide(encoded.conditions(draw), encoded.embedding, lengths)
    parts = {
        **motion_errors(predicted, batch.target, grams, mask, closed),
        **contrasts(model, encoded.audio, batch),
        "guide": weighted(motion_errors(guide, batch.target, grams, mask, closed), config),
    }
    rec = weighted(parts, config) + config.guide_weight * parts["guide"]
    total = losses.teacher_loss(
        rec,
        (parts["identity"], parts["emotion"]),
        config.reconstruction_weight,
        config.contrast_weight,
    )
    return {"total": total, **parts}


def contrasts(model: DiffusionTalker, audio: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Compute eqs. 5 and 6 from pooled features ``[B, 2C]``."""
    personalizer = model.personalizer
    return {
        "identity": _contrast(personalizer.identity, audio, batch.identity),
        "emotion": _contrast(personalizer.emotion, audio, batch.emotion),
    }


def motion_errors(
    predicted: Tensor, target: Tensor, grams: Grams, mask: Tensor, closed: Tensor
) -> dict[str, Tensor]:
    """Compute errors of ``[B, T, 52]``, in coefficients and on the head's surface.

    mask and closed ``[B, T]``: the real frames, and those of them whose lips should be closed.
    """
    return {
        "coefficients": losses.reconstruction(predicted, target, mask),
        "lips": losses.vertex_error(predicted, target, grams.lips, mask),
        "upper_face": losses.vertex_error(predicted, target, grams.upper_face, mask),
        "velocity": losses.velocity_error(predicted, target, grams.lips, mask),
        "closure": losses.vertex_error(predicted, target, grams.opening, closed),
    }


def weighted(errors: dict[str, Tensor], config: TrainingConfig) -> Tensor:
    """Add up :func:`motion_errors` by the weights of the configuration."""
    return (
        errors["coefficients"]
        + config.lip_weight * errors["lips"]
        + config.upper_weight * errors["upper_face"]
        + config.velocity_weight * errors["velocity"]
        + config.closure_weight * errors["closure"]
    )


def _contrast(library: Library, audio: Tensor, labels: Tensor) -> Tensor:
    if not library.labels:
        return audio.new_zeros(())
    return losses.contrast(*library.contrast_features(audio), labels, library.temperature)
