"""The training losses, each a small pure function that names its equation in the paper.

Sequences are ``[B, T, C]`` with a boolean ``mask`` ``[B, T]`` that is true on real frames; padded
frames change no loss. Where several ranks share a batch, a rank's value is of its own clips, scaled
so that the mean over the ranks is the loss of the whole batch (:mod:`.distributed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from dtalk.training.distributed import mean_count, mean_over_ranks


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average ``values`` over the frames where ``mask``, of the same shape, is true.

    No frame at all gives 0 (with a gradient path), so that a batch without motion is no special
    case.
    """
    weights = mask.to(values.dtype)
    return (values * weights).sum() / mean_count(weights)


def reconstruction(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean squared error of x_0 over channels and real frames (eq. 4)."""
    return masked_mean((predicted - target).square().mean(-1), mask)


def vertex_error(predicted: Tensor, target: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean squared displacement error of a region's vertices, from coefficients.

    A head's shapes are linear, so with ``gram = B B^T / V`` ``[C, C]`` of their displacements
    ``B`` ``[C, 3V]`` the error is ``d^T gram d``: one small product instead of V vertices.
    """
    difference = predicted - target
    return masked_mean(((difference @ gram) * difference).sum(-1), mask)


def velocity_error(predicted: Tensor, target: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    """Compute :func:`vertex_error` of the frame-to-frame differences."""
    both_real = mask[:, 1:] & mask[:, :-1]
    return vertex_error(predicted.diff(dim=1), target.diff(dim=1), gram, both_real)


def contrast(audio: Tensor, library: Tensor, labels: Tensor, temperature: Tensor) -> Tensor:
    """Compute InfoNCE of audio features against all entries of a library (eqs. 5 and 6).

    audio ``[B, D]`` and library ``[M, D]`` are L2-normalised; labels ``[B]`` hold the positive
    entry, or -1 where it is not known: those clips take no part. No label at all gives 0.
    """
    logits = audio @ library.T / temperature
    known = labels >= 0
    per_clip = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    return (per_clip * known).sum() / mean_count(known)


def teacher_loss(
    rec: Tensor, contrasts: Iterable[Tensor], reconstruction_weight: float, contrast_weight: float
) -> Tensor:
    """Add up lambda_1 L_rec + lambda_2 L_con(identity) + lambda_2 L_con(emotion) (eq. 15)."""
    return sum((contrast_weight * term for term in contrasts), reconstruction_weight * rec)


def truncated_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    """Compute max(alpha^2 / sigma^2, 1), the weight of eq. 11; sigma > 0."""
    return (alpha.square() / sigma.square()).clamp(min=1)


def distillation(
    predicted: Tensor,
    target: Tensor,
    alpha: Tensor,
    sigma: Tensor,
    error: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """max(alpha^2 / sigma^2, 1) || x^te - x^st ||^2 (eq. 11), for ``[B, T, C]`` and times ``[B]``.

    ``error`` is the squared norm: any quadratic form of the difference of two sequences, such as
    :func:`reconstruction` with a mask.
    """
    weight = truncated_snr(alpha, sigma)
    return error(weigh(predicted, weight), weigh(target, weight))


def weigh(sequence: Tensor, weight: Tensor) -> Tensor:
    """Scale ``[B, T, C]`` so that a clip's squared error counts ``weight`` ``[B]`` times."""
    return weight.sqrt()[:, None, None] * sequence


def encoder_alignment(large: Tensor, small: Tensor, mask: Tensor) -> Tensor:
    """Compute 1 - mean cosine of two encoders' features, ``[..., C]`` each (eq. 12)."""
    return 1 - masked_mean(functional.cosine_similarity(large, small, dim=-1), mask)


def pooled_alignment(large: Tensor, small: Tensor) -> Tensor:
    """Compute 1 - mean cosine of the pooled features of two encoders, ``[B, C]`` each.

    Both are taken as deviations from the batch's mean of the large encoder's. Not in the paper.
    """
    clips = mean_count(large.new_ones(len(large)))
    centre = mean_over_ranks(large.sum(0)) / clips
    return (1 - functional.cosine_similarity(large - centre, small - centre, dim=-1)).sum() / clips


def personal_contrast(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE of M clips' personalized features, teacher against student (eq. 14).

    Both ``[M, D]``, of clips whose identities and emotions all differ, those of all ranks together;
    normalised here. Fewer than two clips cannot be told apart: the loss is 0.
    """
    if len(teacher) < 2:
        return student.sum() * 0
    teacher, student = functional.normalize(teacher, dim=-1), functional.normalize(student, dim=-1)
    same = torch.arange(len(teacher), device=teacher.device)
    return functional.cross_entropy(teacher @ student.T / temperature, same)


def student_loss(
    teacher_loss: Tensor,
    dis: Tensor,
    ae: Tensor,
    pc: Tensor,
    distillation_weight: float,
    encoder_weight: float,
    enhancer_weight: float,
) -> Tensor:
    """Add up L_tea + lambda_3 L_dis + lambda_4 L_ae + lambda_5 L_pc (eq. 16)."""
    return teacher_loss + distillation_weight * dis + encoder_weight * ae + enhancer_weight * pc
