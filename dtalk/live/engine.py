"""Models as streaming asks for them: one window of sound to the coefficients of its frames."""

from __future__ import annotations

from dtalk.engine.protocol import Engine, Talker
from dtalk.errors import CheckpointError
from dtalk.inference import engine_of


def live_engine_of(talker: Talker, steps: int | None) -> Engine:
    """The engine of a model that :func:`.load_talker` has loaded.

    Raises:
        CheckpointError: a teacher, whose large speech encoder is too slow.
    """
    engine = engine_of(talker, steps)
    if engine is None:
        raise CheckpointError(
            f"{talker.name} has a large speech encoder, which is too slow for live use; "
            "name a student with --weights"
        )
    return engine
