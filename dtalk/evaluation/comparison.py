"""Comparison of systems, models and others' predictions, on the same clips.

A system's ``tables`` are those of :func:`.summary_tables` (``sample``, ``mean`` and
``retrieval``), beside them ``cost`` where speed and size were measured, and ``intervals`` and
``difference`` where they were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError, DtalkError
from dtalk.evaluation.evaluate import (
    ClipResult,
    evaluate,
    groups,
    score_predictions,
    summary_tables,
    tables_of_groups,
)
from dtalk.evaluation.predictions import check_fits, find_prediction, read_prediction
from dtalk.heads.head import Head
from dtalk.model import DiffusionTalker
from dtalk.utils.types import Array, Progress


@dataclass(frozen=True)
class System:
    """One system: its results in the order of the data's clips, and its tables."""

    name: str
    results: list[ClipResult]
    tables: dict[str, Any]
    failures: list[str] = field(default_factory=list)


def evaluate_model(
    model: DiffusionTalker,
    name: str,
    clips: Sequence[LoadedClip],
    head: Head,
    samples: int = 1,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
    sampler: str = "ddim",
) -> System:
    """Evaluate a model on the clips, everything inferred from the sound."""
    scored = evaluate(model, clips, head, samples, seed, steps, progress, sampler)
    return system_of(model, name, clips, scored)


def system_of(
    model: DiffusionTalker,
    name: str,
    clips: Sequence[LoadedClip],
    scored: Sequence[ClipResult],
    hits: npt.NDArray[np.float64] | None = None,
) -> System:
    """Make the tables of a model's results; ``hits`` as in `summary_tables`."""
    results = _in_order(scored, clips)
    return System(name, results, summary_tables(model, clips, results, hits))


def evaluate_folder(
    folder: Path,
    name: str,
    clips: Sequence[LoadedClip],
    data: Path,
    seen: Sequence[str],
    head: Head,
    progress: Progress | None = None,
) -> System:
    """Evaluate another system's predictions; ``failures`` has a line for each clip left out.

    ``seen``: speakers to count as seen.

    Raises:
        DataError: the folder is missing, or predicts none of the clips.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder of predictions: {folder}")
    failures: list[str] = []
    moving = [clip for clip in clips if clip.tracked]
    found = _read_all(folder, moving, data, head, failures, progress)
    results = _in_order(score_predictions(found, head), clips)
    if not results:
        reason = failures[0] if failures else "there is no clip with motion"
        raise DataError(f"{folder} predicts no clip of {data}: {reason}")
    return System(name, results, tables_of_groups(groups(results, seen)), failures)


def _read_all(
    folder: Path,
    clips: Sequence[LoadedClip],
    data: Path,
    head: Head,
    failures: list[str],
    progress: Progress | None,
) -> Iterator[tuple[LoadedClip, Array]]:
    """Read clips' predictions ``[1, T, ...]``; those that cannot be read go to ``failures``."""
    for done, clip in enumerate(clips, 1):
        try:
            path = find_prediction(folder, clip.clip, data)
            if path is None:
                raise DataError(f"{folder} holds no prediction")
            face = read_prediction(path, clip.frames)
            check_fits(face, path, head)
            yield clip, face[None]
        except DtalkError as error:
            failures.append(f"{clip.clip.name}: {error}")
        if progress:
            progress(done, len(clips))


def _in_order(results: Sequence[ClipResult], clips: Sequence[LoadedClip]) -> list[ClipResult]:
    """Sort results in the order of the data, so that tables and resamples of systems agree."""
    place = {id(clip): index for index, clip in enumerate(clips)}
    return sorted(results, key=lambda result: place[id(result.clip)])
