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
    with _precision(model.device, config.precision):
        features = model.encoder(batch.inputs[:moving], batch.lengths[:moving]).float()
    audio = pooled(features, batch.lengths[:moving])
    if len(batch.inputs) > moving:  # apart, since they are longer: less padding
        with _precision(model.device, config.precision):
            extra = model.encoder(batch.inputs[moving:], batch.lengths[moving:]).float()
        audio = torch.cat([audio, pooled(extra, batch.lengths[moving:])])
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
    draw = (torch.arange(moving) + torch.rand(moving, generator=generator)) / moving
    draw = draw[torch.randperm(moving, generator=generator)]
    grid = time_grid(model.config.steps, model.device, model.config.noise_shift)[:-1]
    # A draw just below 1 is rounded up to it in float32.
    index = (draw * model.config.steps).long().clamp(max=model.config.steps - 1)
    times = grid[index.to(model.device)]
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
