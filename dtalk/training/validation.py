"""Validation in training: the clips are shared out over the ranks, and all get all tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dtalk.data.clips import LoadedClip
from dtalk.evaluation.evaluate import ClipResult, evaluate, retrieved, summary_tables
from dtalk.evaluation.scoring import Geometry, Scores, static_scores
from dtalk.heads.head import built_in
from dtalk.model import DiffusionTalker
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.training.distributed import gathered, rank, ranks, share


def validation_tables(
    model: DiffusionTalker, clips: Sequence[LoadedClip]
) -> dict[str, dict[str, Scores]]:
    """Make :func:`.summary_tables` of one sample of a model, with the built-in head."""
    if ranks() == 1:
        return summary_tables(model, clips, evaluate(model, clips, built_in()))
    by_length = sorted(clips, key=lambda clip: clip.frames)  # so shares are of like lengths
    hits = _gathered(retrieved(model, share(by_length)), len(by_length))
    tracked = [clip for clip in by_length if clip.tracked]
    results = _all_results(model, tracked)
    return summary_tables(model, by_length, results, hits)


def _all_results(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> list[ClipResult]:
    """Score all clips, this rank its share; curves and errors stay behind."""
    found = {id(result.clip): result for result in evaluate(model, share(clips), built_in())}
    names = list(static_scores(np.zeros((2, len(ARKIT_NAMES)), np.float32), Geometry(built_in())))
    rows = [
        [scores[name] for scores in (result.sample, result.static) for name in names]
        for result in (found[id(clip)] for clip in share(clips))
    ]
    table = _gathered(np.array(rows).reshape(-1, 2 * len(names)), len(clips))
    return [
        ClipResult(clip, dict(zip(names, row)), None, dict(zip(names, row[len(names) :])))
        for clip, row in zip(clips, table.tolist())
    ]


def _gathered(rows: np.ndarray, count: int) -> np.ndarray:
    """Put together rows of which this rank has every N-th."""
    places = torch.arange(rank(), count, ranks())
    return gathered(torch.from_numpy(rows), places, count).numpy()
