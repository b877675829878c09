"""Who speaks in a sound, and how they feel, as a model finds it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dtalk.config import ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.protocol import Engine
from dtalk.engine.voice import as_found
from dtalk.engine.windows import LAYOUT, Layout, Spans, samples_of
from dtalk.motion.animation import Animation
from dtalk.motion.noise import WIDTH
from dtalk.speech.audio import first_sample
from dtalk.speech.measures import Measures, Reader, cut
from dtalk.utils.labels import label_of, probability_of
from dtalk.utils.types import Array

MOST = 12  # windows of a long sound: all of them in up to ten minutes


@dataclass(frozen=True)
class Heard:
    """What was found in a sound: see ``OUTPUTS`` of :mod:`dtalk.engine.graph`."""

    identity: Array
    emotion: Array
    identity_probability: Array
    emotion_probability: Array

    @classmethod
    def of(cls, found: Found) -> Heard:
        """What was found in a window."""
        return cls(*(getattr(found, field.name) for field in fields(cls)))

    def animation(
        self, config: ModelConfig, coefficients: Array, identity: str | None, emotion: str | None
    ) -> Animation:
        """An animation with labels: those that are named, else those that were found."""
        who, how = int(self.identity.argmax()), int(self.emotion.argmax())
        likely, felt = self.identity_probability.tolist(), self.emotion_probability.tolist()
        return Animation(
            coefficients,
            label_of(config.identities, who) if identity is None else identity,
            label_of(config.emotions, how) if emotion is None else emotion,
            None if identity else probability_of(config.identities, likely, who),
            None if emotion else probability_of(config.emotions, felt, how),
        )


def hear(
    engine: Engine, read: Reader, measures: Measures, layout: Layout = LAYOUT, most: int = MOST
) -> tuple[Heard, Array]:
    """Find who speaks in a long sound and how, once, and the pooled features ``[2 C]`` of it all.

    Of at most so many of the windows that it is animated in, spread over it. Identity and emotion
    are means, in which windows count by how much speech there is in them. The features are those
    that the sound would have at once, each frame's from the window that it is animated in.

    Raises:
        AudioError: see :func:`dtalk.engine.windows.predict_in_windows`.
    """
    spans, own = spread(measures.frames, layout, most)
    found, features = [], Moments()
    sounds = cut(read(), samples_of(spans, measures))
    for (begin, end), (first, last), sound in zip(spans, own, sounds):
        noise = np.zeros((end - begin, WIDTH), np.float32)
        levelled = measures.levels.levelled(sound, first_sample(begin))
        made = engine.run(levelled, noise, as_found(engine.config), 0.0)
        features.add(made.features[first - begin : last - begin])
        found.append(Heard.of(made))
    spoken = measures.spoken
    weights = [max(1, int(spoken[begin:end].sum())) for begin, end in spans]
    columns = ([getattr(one, field.name) for one in found] for field in fields(Heard))
    return Heard(*(_mean(column, weights) for column in columns)), features.pooled


def spread(frames: int, layout: Layout = LAYOUT, most: int = MOST) -> tuple[Spans, Spans]:
    """Windows, the first and the last one among them, and what is each one's own."""
    bounds, own = layout.bounds(frames), layout.own(frames)
    count = len(bounds)
    numbers = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return [bounds[k] for k in numbers], [own[k] for k in numbers]


class Moments:
    """Mean and deviation of rows ``[T, C]`` that come one after another."""

    def __init__(self) -> None:
        self._count, self._sums = 0, np.zeros(())

    def add(self, rows: Array) -> None:
        """Take in rows ``[T, C]``."""
        values = rows.astype(np.float64)
        self._count += len(values)
        self._sums = self._sums + np.stack([values.sum(0), np.square(values).sum(0)])

    @property
    def pooled(self) -> Array:
        """``[2 C]``, as :func:`dtalk.model.pooled` has them."""
        mean, square = self._sums / self._count
        variance = np.maximum(square - np.square(mean), 0)
        return np.concatenate([mean, np.sqrt(variance + 1e-5)]).astype(np.float32)


def _mean(rows: list[Array], weights: list[int]) -> Array:
    mean: Array = np.average(rows, axis=0, weights=weights).astype(np.float32)
    return mean
