"""What a rank does in ``test_distributed.py``: everything there that needs two, in one process."""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from helpers import Recorder, distillation_config, training_config

from dtalk.evaluation import benchmark
from dtalk.training import distillation
from dtalk.training.distributed import any_rank, gathered, joined, mean_count, rank, wait_for_all
from dtalk.training.trainer import Trainer

UPDATES, STOP = 12, 5
SETTINGS: dict[str, Any] = {
    "batch_frames": 45,
    "updates": UPDATES,
    "validate_every": UPDATES,
    "learning_rate": 0.02,
}


def train(data: Path, out: Path, resume: bool = False) -> Trainer:
    """Train to the end on these ranks."""
    trainer = Trainer(training_config(data, out, **SETTINGS, resume=resume), Recorder())
    trainer.run()
    return trainer


def interrupted(data: Path, out: Path) -> int:
    """Train, meet a signal in rank 1 after update ``STOP``; return this rank's last update."""
    config = training_config(data, out, **SETTINGS)
    observer = Recorder()
    trainer = Trainer(config, observer)
    updated = observer.updated

    def stopping(update: int, updates: int, loss: float, seconds: float) -> None:
        updated(update, updates, loss, seconds)
        if update == STOP and rank() == 1:
            signal.raise_signal(signal.SIGTERM)

    observer.updated = stopping  # type: ignore[method-assign]
    try:
        trainer.run()
    except KeyboardInterrupt:
        wait_for_all()  # for rank 0, which saves
        return trainer.update
    raise AssertionError("was not interrupted")


def gradient_of_gathered() -> dict:
    """Rows of two ranks, put together; the gradient of the sum of their products with 1, 2, 3."""
    own = torch.tensor([[2.0], [4.0]] if rank() == 0 else [[3.0]], requires_grad=True)
    places = torch.tensor([0, 2] if rank() == 0 else [1])
    whole = gathered(own, places, 3)
    (whole[:, 0] * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    return {"whole": whole.detach(), "gradient": own.grad}


def main(folder: Path) -> None:
    """Do it all, and leave what was found in a file of the rank."""
    torch.set_num_threads(1)
    distillation.cost = functools.partial(benchmark.cost, seconds=0.1)  # type: ignore[attr-defined]
    data, found = folder / "data", dict[str, Any]()
    with joined("cpu"):
        found["weights"] = train(data, folder / "whole").model.state_dict()
        found["stopped"] = interrupted(data, folder / "parts")
        found["resumed"] = train(data, folder / "parts", resume=True).model.state_dict()
        found["alone_first"] = train(data, folder / "alone", resume=True).model.state_dict()
        found["gathered"] = gradient_of_gathered()
        found["any"] = [any_rank(rank() == 1), any_rank(False)]
        found["count"] = [mean_count(torch.tensor([rank() == 1])), mean_count(torch.tensor(0))]
        config = distillation_config(data, folder / "student", folder / "teacher.safetensors")
        config = dataclasses.replace(config, speech=(data,), steps=1, updates=2)
        found["student"] = distillation.distil(config, Recorder()).state_dict()
        torch.save(found, folder / f"rank{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
