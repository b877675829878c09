"""The result of animating a clip, with either engine."""

from __future__ import annotations

from dataclasses import dataclass

from dtalk.utils.types import Array


@dataclass(frozen=True)
class Animation:
    """Curves of a clip.

    Attributes:
        coefficients: float32 ``[T, 52]`` in [0, 1].
        identity, emotion: labels that they were sampled with; empty for "unknown".
        identity_confidence, emotion_confidence: probabilities of labels that were inferred.
    """

    coefficients: Array
    identity: str
    emotion: str
    identity_confidence: float | None = None
    emotion_confidence: float | None = None
