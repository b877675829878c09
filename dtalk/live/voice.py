"""The voice of a stream: who speaks and how they feel, as the user says or as lately heard."""

from __future__ import annotations

import numpy as np

from dtalk.config import AUTO, AnimationOptions, ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.voice import Voice, chosen_voice
from dtalk.motion.curves import FPS
from dtalk.utils.labels import NEUTRAL, one_hot
from dtalk.utils.types import Array

MEMORY = 4.0  # seconds


class RunningVoice:
    """A running mean of the identities and emotions found in the windows.

    Args:
        chosen: what the user says; weights that are all 0 are found in the sound.
        neutral: weights that stand for an emotion less probable than ``threshold``, if any do.
    """

    def __init__(self, chosen: Voice, neutral: Array | None = None, threshold: float = 0.0) -> None:
        self._chosen, self._neutral, self._threshold = chosen, neutral, threshold
        self._identity = np.zeros_like(chosen.identity)
        self._emotion = np.zeros_like(chosen.emotion[0])
        self._frames = 0

    def add(self, found: Found, frames: int) -> None:
        """Take in what a window's sound resembles, for so many new frames."""
        self._frames += frames
        share = np.float32(min(1.0, max(frames / (MEMORY * FPS), frames / self._frames)))
        self._identity = self._identity + share * (found.identity - self._identity)
        self._emotion = self._emotion + share * (self._heard(found) - self._emotion)

    def _heard(self, found: Found) -> Array:
        unsure = found.emotion_probability.max() < self._threshold
        return self._neutral if unsure and self._neutral is not None else found.emotion

    @property
    def now(self) -> Voice:
        """What to animate the next window with."""
        return self._chosen.completed(self._identity, self._emotion)


def voice_of(config: ModelConfig, options: AnimationOptions) -> Voice:
    """The labels that the user names, as weights; what is not named is all 0.

    Raises:
        DataError: a label that is not in the library.
    """
    identity, emotion = (
        None if label == AUTO else label for label in (options.identity, options.emotion)
    )
    return chosen_voice(config, identity, emotion, options.emotion_strength)


def neutral_of(config: ModelConfig) -> Array | None:
    """The weights of the neutral emotion; None if the model knows none."""
    return one_hot(config.emotions, NEUTRAL) if NEUTRAL in config.emotions else None
