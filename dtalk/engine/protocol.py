"""What animates, in either engine: whole clips, and windows of sounds that are long or live."""

from __future__ import annotations

from typing import Any, Protocol

from dtalk.config import ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.voice import Voice
from dtalk.motion.animation import Animation
from dtalk.utils.types import Array


class Talker(Protocol):
    """A model that animates, on either engine."""

    config: ModelConfig
    name: str

    def with_config(self, **changes: Any) -> Talker:
        """A view of the same weights with other settings, which must not touch the network."""
        ...

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
        """Coefficients for one clip; see :meth:`dtalk.model.DiffusionTalker.animate`."""
        ...


class Engine(Protocol):
    """A model that animates a window; :class:`.Graph` is one."""

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        ...

    def run(self, levelled: Array, noise: Array, voice: Voice, temperature: float) -> Found:
        """Coefficients for samples ``[S]`` of standard loudness and noise ``[T, 52]``."""
        ...
