"""What is drawn for one update of the weights."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers import training_config
from torch import Tensor

from dtalk.training.batches import Batch
from dtalk.training.objective import Draw

CLIPS, FRAMES, STEPS = 4, 3, 8


def batch() -> Batch:
    """Clips with motion, all alike: only what is drawn for them can differ."""
    unknown = torch.full((CLIPS,), -1)
    lengths = torch.full((CLIPS,), FRAMES)
    return Batch([], [], lengths, torch.zeros(CLIPS, FRAMES, 52), *[unknown] * 3)


def steps_of(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    config = training_config(Path("data"), Path("run"))
    return Draw.of(batch(), STEPS, generator, config).step


def test_every_clip_of_a_batch_meets_every_noise_level() -> None:
    """The levels of a batch are spread evenly, but in no order: else the first clips of a batch,
    which are the shortest, would never be seen with much noise."""
    drawn = torch.stack([steps_of(seed) for seed in range(100)])
    for row in drawn:
        assert [step // 2 for step in sorted(row.tolist())] == [0, 1, 2, 3]
    for clip in drawn.T:
        assert set(clip.tolist()) == set(range(STEPS))
