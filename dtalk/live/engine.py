"""Models as streaming asks for them: one window of sound to the coefficients of its frames."""

from __future__ import annotations

from typing import Protocol

from dtalk.config import ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.talker import GraphTalker
from dtalk.engine.voice import Voice
from dtalk.errors import CheckpointError
from dtalk.inference import Talker
from dtalk.utils.types import Array


class Engine(Protocol):
    """A model that animates a window; :class:`.Graph` is one."""

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        ...

    def run(self, levelled: Array, noise: Array, voice: Voice, temperature: float) -> Found:
        """Coefficients for samples ``[S]`` of standard loudness and noise ``[T, 52]``."""
        ...


def engine_of(talker: Talker, steps: int | None) -> Engine:
    """The engine of a model that :func:`.load_talker` has loaded.

    Raises:
        CheckpointError: a teacher, whose large speech encoder is too slow.
    """
    if isinstance(talker, GraphTalker):
        return talker.graph

    if talker.config.uses_large_encoder:
        raise CheckpointError(
            f"{talker.name} has a large speech encoder, which is too slow for live use; "
            "name a student with --weights"
        )

    from dtalk.live.torch_engine import TorchEngine
    from dtalk.model import DiffusionTalker

    assert isinstance(talker, DiffusionTalker)
    return TorchEngine(talker, steps)
