"""Distillations that several test files use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile
from helpers import (
    Recorder,
    distillation_config,
    large_model,
    speech,
)

from dtalk.checkpoint import save_model
from dtalk.training import starting
from dtalk.training.trainer import load_data

STEPS = 8  # of the teacher; its students have 4 and 2


def write_teacher(path: Path, data: Path, seed: int = 3, **changes: Any) -> Path:
    """A random model that hears through a large encoder, standardised as the data are."""
    clips = load_data(distillation_config(data, path, path), Recorder()).train
    model = large_model(seed, **{"steps": STEPS, **changes})
    starting.standardise(model, clips)
    save_model(model, path)
    return path


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("must not be asked")


# Speech without labels ---------------------------------------------------------------------------


def write_speech(path: Path, seconds: float, seed: int = 0, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(round(seconds * rate), seed), rate)
