"""Evaluation by several workers, to whom groups of clips are sent to be predicted and scored.

The groups are those of one process, and so are the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.config import RuntimeOptions
from dtalk.data.clips import LoadedClip
from dtalk.errors import DtalkError
from dtalk.evaluation.comparison import System, system_of
from dtalk.evaluation.config import EvaluationConfig
from dtalk.evaluation.evaluate import ClipResult, evaluate, retrieved
from dtalk.evaluation.sampling import by_length
from dtalk.heads.head import Head, built_in
from dtalk.inference import shared_model
from dtalk.model import DiffusionTalker
from dtalk.utils.types import Progress
from dtalk.utils.workers import TRIES, WorkerDied, Workers, in_order


@dataclass(frozen=True)
class ScoreJob:
    """How clips are predicted and scored; it can be sent to another process.

    ``steps``: denoising steps, the model's own if None; ``head``: the built-in one if None.
    """

    runtime: RuntimeOptions
    config: EvaluationConfig
    steps: int | None = None
    head: Head | None = None

    def score(self, clips: Sequence[LoadedClip]) -> list[tuple[Any, ...]]:
        """Score clips; what follows the clip in each `ClipResult`, in their order."""
        config, head = self.config, self.head or built_in()
        found = evaluate(
            self._model(),
            clips,
            head,
            config.samples,
            config.seed,
            self.steps,
            sampler=config.sampler,
        )
        by_clip = {id(r.clip): (r.sample, r.mean, r.static, r.curves, r.errors) for r in found}
        return [by_clip[id(clip)] for clip in clips]

    def hits(self, clips: Sequence[LoadedClip]) -> npt.NDArray[np.float64]:
        """Judge retrieval, see `dtalk.evaluation.evaluate.retrieved`."""
        return retrieved(self._model(), clips)

    def _model(self) -> DiffusionTalker:
        model, closing = shared_model(self.runtime), self.config.close_in_silence
        return model if closing is None else model.with_config(close_in_silence=closing)


def evaluate_by(
    workers: Workers,
    job: ScoreJob,
    model: DiffusionTalker,
    name: str,
    clips: Sequence[LoadedClip],
    progress: Progress,
) -> System:
    """Evaluate a model as `dtalk.evaluation.comparison.evaluate_model` does.

    Raises:
        DtalkError: two workers died of the same clips.
    """
    tracked = [clip for clip in clips if clip.tracked]
    results: list[ClipResult] = []
    for group, scored in _by_groups(workers, job.score, tracked):
        results += [ClipResult(clip, *scores) for clip, scores in zip(group, scored)]
        progress(len(results), len(tracked))
    place = {id(clip): index for index, clip in enumerate(clips)}
    hits = np.full((len(clips), 2), np.nan)
    for group, judged in _by_groups(workers, job.hits, clips):
        hits[[place[id(clip)] for clip in group]] = judged
    return system_of(model, name, clips, results, hits)


def _by_groups(
    workers: Workers, work: Callable[[Any], Any], clips: Sequence[LoadedClip]
) -> Iterator[tuple[list[LoadedClip], Any]]:
    groups = list(by_length(clips))
    for group, found in zip(groups, in_order(workers, work, groups)):
        if isinstance(found, WorkerDied):
            names = ", ".join(clip.clip.name for clip in group[:3])
            raise DtalkError(f"given up after {TRIES} tries at {names} and others: {found}")
        yield group, found
