"""An exported model that animates clips as the model itself does, without torch."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from dtalk.engine.graph import Graph
from dtalk.engine.hearing import Heard
from dtalk.engine.voice import chosen_voice
from dtalk.errors import CheckpointError
from dtalk.motion.animation import Animation
from dtalk.motion.noise import noise_seed, standard_normal
from dtalk.speech.audio import frame_count
from dtalk.speech.finishing import finished
from dtalk.speech.loudness import level
from dtalk.utils.types import Array


class GraphTalker:
    """Animates like :class:`dtalk.model.DiffusionTalker`, within 1e-5 of its coefficients.

    Args:
        graph: see :class:`.Graph`.
        name: to note in motions; the file's if empty.
    """

    def __init__(self, graph: Graph, name: str = "") -> None:
        self.graph, self.config = graph, graph.config
        self.name = name or graph.path.stem

    def with_config(self, **changes: Any) -> GraphTalker:
        """A view of the same graph with other settings, which must not touch the network."""
        other = copy.copy(self)
        other.config = dataclasses.replace(self.config, **changes)
        return other

    def animate(
        self,
        waveform: Array,
        identity: str | None = None,
        emotion: str | None = None,
        seed: int = 0,
        steps: int | None = None,
        temperature: float = 1.0,
        emotion_strength: float | None = None,
        sampler: str = "ddim",
    ) -> Animation:
        """Coefficients for one speech clip; see :meth:`dtalk.model.DiffusionTalker.animate`.

        Raises:
            CheckpointError: other steps or another sampler than the graph's.
            DataError: a label that is not in the library.
        """
        graph = self.graph_for(steps, sampler)
        config, frames = self.config, frame_count(len(waveform))
        noise = standard_normal(noise_seed(waveform, seed), frames)
        voice = chosen_voice(config, identity, emotion, emotion_strength)
        found = graph.run(level(waveform), noise, voice, temperature)
        curves = finished(found.coefficients, waveform, seed, config)
        return Heard.of(found).animation(config, curves, identity, emotion)

    def graph_for(self, steps: int | None, sampler: str) -> Graph:
        """The graph, if it takes such steps.

        Raises:
            CheckpointError: other steps or another sampler than the graph's.
        """
        if obstacle := self.obstacle(steps, sampler):
            raise CheckpointError(f"{obstacle}; --engine torch can do it")
        return self.graph

    def obstacle(self, steps: int | None, sampler: str) -> str:
        """Why the graph cannot take such steps; empty if it can."""
        path, own = self.graph.path, self.graph.steps
        if steps not in (None, own):
            return f"{path} takes {own} steps, which are fixed in a graph"
        return "" if sampler == "ddim" else f"{path} samples by ddim, not {sampler}"
