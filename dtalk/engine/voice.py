"""Whose manner and which emotion a prediction shows, as a graph is told of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dtalk.config import ModelConfig
from dtalk.utils.labels import NEUTRAL, check_label, one_hot
from dtalk.utils.types import Array


@dataclass(frozen=True)
class Voice:
    """Weights over the libraries: see ``INPUTS`` of :mod:`dtalk.engine.graph`.

    Attributes:
        identity: ``[M + 1]``; all 0: as found in the sound.
        emotion: ``[K, N + 1]``, a row a prediction; all 0: as found in the sound.
        share: ``[K]`` of each prediction.
        heard: ``[2 C]`` mean and deviation of the features of the whole sound that a window is of;
            None: of the window.
    """

    identity: Array
    emotion: Array
    share: Array
    heard: Array | None = None

    def completed(self, identity: Array, emotion: Array, heard: Array | None = None) -> Voice:
        """A voice that has these weights where it names nothing."""
        return Voice(
            self.identity if self.identity.any() else identity,
            self.emotion if self.emotion.any() else emotion[None],
            self.share,
            heard if self.heard is None else self.heard,
        )


def as_found(config: ModelConfig) -> Voice:
    """Identity and emotion as they are found in the sound."""
    nobody = np.zeros(len(config.identities) + 1, np.float32)
    nothing = np.zeros((1, len(config.emotions) + 1), np.float32)
    return Voice(nobody, nothing, np.ones(1, np.float32))


def chosen_voice(
    config: ModelConfig,
    identity: str | None = None,
    emotion: str | None = None,
    strength: float | None = None,
) -> Voice:
    """What a graph is told of an identity and an emotion, each None to find it in the sound.

    A named emotion is shown ``strength`` times over (None: as often as the model says), measured
    from neutral, or else "unknown": classifier-free guidance as a sum of two predictions.

    Raises:
        DataError: a label that is not in the library.
    """
    voice = as_found(config)
    if identity is not None:
        check_label(config.identities, identity, "identity")
        voice = replace(voice, identity=one_hot(config.identities, identity))
    if emotion is None:
        return voice
    check_label(config.emotions, emotion, "emotion")
    times = config.emotion_strength if strength is None else strength
    plain = times == 1 or emotion == NEUTRAL
    shares = {emotion: 1.0} if plain else {emotion: times, NEUTRAL: 1 - times}
    rows = np.stack([one_hot(config.emotions, name) for name in shares])
    return replace(voice, emotion=rows, share=np.array(list(shares.values()), np.float32))
