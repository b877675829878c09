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

MOST = 20  # windows of a long sound


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
) -> Heard:
    """Find identity and emotion of a long sound, once: the means over windows spread over it.

    Windows count by how much speech there is in them.

    Raises:
        AudioError: see :func:`dtalk.engine.windows.predict_in_windows`.
    """
    spans = spread(measures.frames, layout, most)
    found = []
    for (begin, end), sound in zip(spans, cut(read(), samples_of(spans, measures))):
        noise = np.zeros((end - begin, WIDTH), np.float32)
        levelled = measures.levels.levelled(sound, first_sample(begin))
        found.append(Heard.of(engine.run(levelled, noise, as_found(engine.config), 0.0)))
    spoken = measures.spoken
    weights = [max(1, int(spoken[begin:end].sum())) for begin, end in spans]
    columns = ([getattr(one, field.name) for one in found] for field in fields(Heard))
    return Heard(*(_mean(column, weights) for column in columns))


def spread(frames: int, layout: Layout = LAYOUT, most: int = MOST) -> Spans:
    """Windows of the encoder's own length on the grid, the first and the last one among them."""
    length = layout.window - 2 * layout.grid
    count = max(0, frames - length) // layout.grid + 1
    numbers = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return [(layout.grid * k, min(layout.grid * k + length, frames)) for k in numbers]


def _mean(rows: list[Array], weights: list[int]) -> Array:
    mean: Array = np.average(rows, axis=0, weights=weights).astype(np.float32)
    return mean
