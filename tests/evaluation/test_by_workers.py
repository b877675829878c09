"""Evaluation by processes gives the figures of one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from helpers import loaded_clip, run_dtalk, tiny_model, write_data

from dtalk.config import RuntimeOptions
from dtalk.errors import DtalkError
from dtalk.evaluation import sampling
from dtalk.evaluation.by_workers import ScoreJob, evaluate_by
from dtalk.evaluation.comparison import evaluate_model
from dtalk.evaluation.config import EvaluationConfig
from dtalk.evaluation.evaluate import without_nan
from dtalk.heads.head import built_in
from dtalk.utils.workers import WorkerDied


class Here:
    """A worker in name only: this process; it may die of a task of so many clips."""

    def __init__(self, deadly: int = 0) -> None:
        self.deadly, self.tasks = deadly, list[Any]()

    def count(self):
        return 2

    def submit(self, function, task):
        self.tasks.append((function, task))
        return len(self.tasks) - 1

    def wait(self, futures):
        return list(futures)[-1:]

    def result(self, future):
        function, task = self.tasks[future]
        if any(len(group) == self.deadly for group in task):
            raise WorkerDied("killed")
        return function(task)


@pytest.fixture
def clips(monkeypatch):
    monkeypatch.setattr(sampling, "BATCH_FRAMES", 20)
    made = [loaded_clip(f"{n}", 6 + n % 4, n, speaker=("ann", "zoe")[n % 2]) for n in range(5)]
    return [*made, loaded_clip("silent", 7, 9, moving=False)]


def job_of(weights, **changes):
    runtime = RuntimeOptions(weights=weights, threads=1)
    return ScoreJob(runtime, EvaluationConfig(seed=3, **changes))


@pytest.mark.parametrize("samples", [1, 2])
def test_groups_of_clips_give_the_figures_of_all(clips, weights, samples):
    workers, seen = Here(), []
    job = job_of(weights, samples=samples)
    found = evaluate_by(workers, job, tiny_model(), "m", clips, lambda *now: seen.append(now))
    alone = evaluate_model(tiny_model(), "m", clips, built_in(), samples, seed=3)
    assert without_nan(found.tables) == without_nan(alone.tables)
    assert [result.clip.clip.name for result in found.results] == list("01234")
    for mine, theirs in zip(found.results, alone.results):
        assert np.array_equal(mine.curves, theirs.curves)
        assert np.array_equal(mine.errors, theirs.errors)
    assert len(workers.tasks) > 4
    assert seen[-1] == (5, 5)


def test_clips_that_kill_workers_are_named(clips, weights):
    with pytest.raises(DtalkError, match="given up after 2 tries at 0, 4 and others: killed"):
        evaluate_by(Here(deadly=2), job_of(weights), tiny_model(), "m", clips, lambda *_: None)


def test_evaluate_with_two_jobs(tmp_path, monkeypatch, weights):
    data = write_data(tmp_path / "data")
    command = ["evaluate", "--data", data, "--weights", weights, "--threads", 1, "--json"]
    assert run_dtalk(monkeypatch, *command, tmp_path / "one.json") == 0
    assert run_dtalk(monkeypatch, *command, tmp_path / "two.json", "--jobs", 2) == 0
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one == two
