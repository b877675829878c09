"""The training losses, each a small pure function that names its equation in the paper.

Sequences are ``[B, T, C]`` with a boolean ``mask`` ``[B, T]`` that is true on real frames; padded
frames change no loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional

RECONSTRUCTION_WEIGHT = 1.0  # lambda_1 of eqs. 15 and 16
CONTRAST_WEIGHT = 0.007  # lambda_2


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` ``[B, T]`` over the frames where ``mask`` ``[B, T]`` is true.

    No frame at all gives 0 (with a gradient path), so that a batch without motion is no special
    case.
    """
    weights = mask.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)


def reconstruction(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of x_0 over channels and real frames (eq. 4)."""
    return masked_mean((predicted - target).square().mean(-1), mask)


def vertex_error(predicted: Tensor, target: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    """Mean squared displacement error over the vertices of a region, from coefficients alone.

    A head's shapes are linear, so with ``gram = B B^T / V`` ``[C, C]`` of their displacements
    ``B`` ``[C, 3V]`` the error is ``d^T gram d``: one small product instead of V vertices.
    """
    difference = predicted - target
    return masked_mean(((difference @ gram) * difference).sum(-1), mask)


def velocity_error(predicted: Tensor, target: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    """:func:`vertex_error` of the frame-to-frame differences."""
    both_real = mask[:, 1:] & mask[:, :-1]
    return vertex_error(predicted.diff(dim=1), target.diff(dim=1), gram, both_real)


def contrast(audio: Tensor, library: Tensor, labels: Tensor, temperature: Tensor) -> Tensor:
    """InfoNCE of audio features against all entries of a library (eqs. 5 and 6).

    audio ``[B, D]`` and library ``[M, D]`` are L2-normalised; labels ``[B]`` hold the positive
    entry, or -1 where it is not known: those clips take no part. No label at all gives 0.
    """
    logits = audio @ library.T / temperature
    known = labels >= 0
    per_clip = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    return (per_clip * known).sum() / known.sum().clamp(min=1)


def teacher_loss(
    rec: Tensor,
    contrasts: Iterable[Tensor],
    reconstruction_weight: float = RECONSTRUCTION_WEIGHT,
    contrast_weight: float = CONTRAST_WEIGHT,
) -> Tensor:
    """lambda_1 L_rec + lambda_2 L_con(identity) + lambda_2 L_con(emotion) (eq. 15)."""
    return sum((contrast_weight * term for term in contrasts), reconstruction_weight * rec)
