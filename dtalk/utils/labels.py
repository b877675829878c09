"""Labels of identities and emotions, and weights over them.

A library has an entry for each label and a last one for "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtalk.errors import DataError
from dtalk.utils.types import Array

NEUTRAL = "neutral"


def check_label(labels: Sequence[str], label: str, kind: str) -> None:
    """Refuse a label that is not among those of ``kind``.

    Raises:
        DataError: the message lists the labels there are.
    """
    if label not in labels:
        known = ", ".join(labels) or "none"
        raise DataError(f"unknown {kind} {label!r}; this model knows: {known}")


def label_of(labels: Sequence[str], entry: int) -> str:
    """The label of an entry; empty for "unknown"."""
    return (*labels, "")[entry]


def probability_of(
    labels: Sequence[str], probabilities: Sequence[float], entry: int
) -> float | None:
    """The probability of an entry's label; None for "unknown"."""
    return min(1.0, probabilities[entry]) if entry < len(labels) else None


def one_hot(labels: Sequence[str], label: str) -> Array:
    """Weights over all entries that take one alone: ``[M + 1]``; "unknown" for no such label."""
    weights = np.zeros(len(labels) + 1, np.float32)
    weights[labels.index(label) if label in labels else -1] = 1
    return weights
