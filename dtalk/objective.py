"""What training minimises: eq. 15 of a batch, with the errors weighed on the head's surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dtalk import losses
from dtalk.batching import Batch
from dtalk.diffusion import add_noise, time_grid
from dtalk.encoders import frame_mask
from dtalk.head import Head
from dtalk.model import UNKNOWN, DiffusionTalker, Library, pooled
from dtalk.settings import TrainingConfig


def region_gram(basis: npt.NDArray[np.float32], std: Tensor, covariance: Tensor) -> Tensor:
    """The ``gram`` of :func:`losses.vertex_error` for standardised coefficients ``[52, 52]``.

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
    """What the errors of the lips and of the upper face cost, ``[52, 52]`` each."""

    lips: Tensor
    upper_face: Tensor

    @staticmethod
    def of(head: Head, std: Tensor, covariance: Tensor, device: torch.device) -> Grams:
        """The costs for a head and the statistics of the data."""
        lips, upper = (
            region_gram(head.basis(region), std, covariance).to(device)
            for region in (head.lips, head.upper_face)
        )
        return Grams(lips, upper)


def condition(
    library: Library, audio: Tensor, labels: Tensor, choice: Tensor, config: TrainingConfig
) -> Tensor:
    """Weights over library entries ``[B, M + 1]``: by label, by match with the sound, or unknown.

    ``choice`` ``[B]`` is uniform in [0, 1). A clip without a label is matched instead. The match is
    not trained through: retrieval learns from eqs. 5 and 6 alone.
    """
    by_label = (choice < config.label_share) & (labels >= 0)
    unknown = choice >= config.label_share + config.match_share
    known = library.weights_of(torch.where(by_label, labels, UNKNOWN))
    matched = library.weights_of_match(library.match(audio).detach(), "soft")
    return torch.where((by_label | unknown)[:, None], known, matched)


def losses_of(
    model: DiffusionTalker,
    batch: Batch,
    grams: Grams,
    generator: torch.Generator,
    config: TrainingConfig,
) -> dict[str, Tensor]:
    """The loss of one batch (``total``, eq. 15) and its parts."""
    personalizer, moving = model.personalizer, len(batch.target)
    features, audio = _encoded(model, batch, config)
    contrasts, weights = [], []
    libraries = ((personalizer.identity, batch.identity), (personalizer.emotion, batch.emotion))
    for library, labels in libraries:
        contrasts.append(_contrast(library, audio, labels))
        choice = torch.rand(len(labels), generator=generator).to(model.device)
        weights.append(condition(library, audio, labels, choice, config)[:moving])
    hears = torch.rand(moving, generator=generator) >= config.deaf_share
    features = features * hears.to(features)[:, None, None]
    lengths, target = batch.lengths[:moving], batch.target
    mask = frame_mask(lengths, target.shape[1])
    times = _drawn_times(model, moving, generator)
    noise = torch.randn(target.shape, generator=generator).to(model.device)
    noisy, embedding = add_noise(target, noise, times), personalizer(*weights)
    with _precision(model.device, config.precision):
        predicted = model.decoder(noisy, times, features, embedding, lengths).float()
    guided = model.decoder.guided(features, embedding)
    parts = {
        **_motion_errors(predicted, target, grams, mask),
        "identity": contrasts[0],
        "emotion": contrasts[1],
        "guide": _weighted(_motion_errors(guided, target, grams, mask), config),
    }
    rec = _weighted(parts, config) + config.guide_weight * parts["guide"]
    total = losses.teacher_loss(
        rec, contrasts, config.reconstruction_weight, config.contrast_weight
    )
    return {"total": total, **parts}


def _encoded(model: DiffusionTalker, batch: Batch, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """F_a ``[M, T, C]`` of the clips with motion, and pooled features ``[B, 2C]`` of all."""
    moving = len(batch.target)
    # Clips of sound only go apart, since they are longer: less padding.
    parts = [slice(None, moving)] + [slice(moving, None)] * (len(batch.inputs) > moving)
    with _precision(model.device, config.precision):
        features = [model.encoder(batch.inputs[p], batch.lengths[p]).float() for p in parts]
    audio = [pooled(f, batch.lengths[p]) for f, p in zip(features, parts)]
    return features[0], torch.cat(audio)


def _drawn_times(model: DiffusionTalker, count: int, generator: torch.Generator) -> Tensor:
    """Times ``[count]`` of the sampler's steps, as evenly spread over a batch as they can be."""
    draw = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    draw = draw[torch.randperm(count, generator=generator)]
    steps = model.config.steps
    # A draw just below 1 is rounded up to it in float32.
    index = (draw * steps).long().clamp(max=steps - 1).to(model.device)
    return time_grid(steps, model.device, model.config.noise_shift)[:-1][index]


def _motion_errors(
    predicted: Tensor, target: Tensor, grams: Grams, mask: Tensor
) -> dict[str, Tensor]:
    return {
        "coefficients": losses.reconstruction(predicted, target, mask),
        "lips": losses.vertex_error(predicted, target, grams.lips, mask),
        "upper_face": losses.vertex_error(predicted, target, grams.upper_face, mask),
        "velocity": losses.velocity_error(predicted, target, grams.lips, mask),
    }


def _weighted(errors: dict[str, Tensor], config: TrainingConfig) -> Tensor:
    return (
        errors["coefficients"]
        + config.lip_weight * errors["lips"]
        + config.upper_weight * errors["upper_face"]
        + config.velocity_weight * errors["velocity"]
    )


def _precision(device: torch.device, name: str) -> torch.autocast:
    """Products of encoder and decoder in bfloat16 where asked; parameters stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def _contrast(library: Library, audio: Tensor, labels: Tensor) -> Tensor:
    if not library.labels:
        return audio.new_zeros(())
    return losses.contrast(*library.contrast_features(audio), labels, library.temperature)
