"""Runs of training that several test files use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from helpers import (
    Recorder,
    training_config,
)

from dtalk.training.batches import BatchMaker
from dtalk.training.objective import (
    losses_of,
)
from dtalk.training.trainer import (
    STATE_FILE,
    Trainer,
    load_data,
)


def train(config, observer: Recorder | None = None) -> Trainer:
    trainer = Trainer(config, observer or Recorder(), "dtalk train")
    trainer.run()
    return trainer


def state_of(out: Path) -> dict:
    return torch.load(out / STATE_FILE, weights_only=True)


# Learning ----------------------------------------------------------------------------------------


def trainer_of(data: Path, out: Path, **changes) -> Trainer:
    return Trainer(training_config(data, out, **changes), Recorder())


def covariance_of(trainer: Trainer) -> np.ndarray:
    clips = load_data(trainer.config, Recorder()).train
    frames = [c.coefficients for c in clips if c.coefficients is not None]
    return np.cov(np.concatenate(frames), rowvar=False)


def heard(trainer: Trainer, batch, monkeypatch) -> tuple[dict[str, float], torch.Tensor]:
    """The losses, and the features that the decoder was given."""
    seen = []
    plain = trainer.model.decoder.forward

    def noting(noisy, time, features, *rest):
        seen.append(features.detach())
        return plain(noisy, time, features, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.model.decoder, "forward", noting)
        generator = torch.Generator().manual_seed(0)
        parts = losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    return {name: value.item() for name, value in parts.items()}, seen[0]


# Batches -----------------------------------------------------------------------------------------


def first_batches(maker: BatchMaker, start: int, count: int) -> list:
    source = maker(start)
    found = [next(source) for _ in range(count)]
    source.close()
    return found
