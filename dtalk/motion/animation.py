"""The result of animating a clip, with either engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtalk.utils.labels import NEUTRAL
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

    def doubt(self, emotions: Sequence[str], threshold: float) -> str:
        """Say that an inferred emotion is too improbable; nothing if it is not.

        It is to be neutral, where that is among a model's ``emotions``.
        """
        share = self.emotion_confidence
        if NEUTRAL not in emotions or share is None or share >= threshold:
            return ""
        if self.emotion == NEUTRAL:
            return ""
        return f"emotion neutral, for {self.emotion} is only {share:.0%} probable"
