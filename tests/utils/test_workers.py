"""Tasks by workers: order, tries, what is given up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.utils.workers import TRIES, WorkerDied, in_order, open_workers


class Scripted:
    """Workers in name only: tasks are done when waited for, last begun first."""

    def __init__(self, count: int, deadly: dict[int, int] | None = None) -> None:
        self.size, self.deadly = count, dict(deadly or {})
        self.begun: list[Any] = []
        self.most = self.running = 0

    def count(self) -> int:
        return self.size

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        self.begun.append(task)
        self.running += 1
        self.most = max(self.most, self.running)
        return len(self.begun), function, task

    def wait(self, futures: Collection[Any]) -> Collection[Any]:
        return [max(futures, key=lambda future: future[0])]

    def result(self, future: Any) -> Any:
        self.running -= 1
        _, function, task = future
        if self.deadly.get(task, 0):
            self.deadly[task] -= 1
            raise WorkerDied(f"died of {task}")
        return function(task)


def double(task: int) -> int:
    return 2 * task


@given(st.integers(0, 12), st.integers(1, 5))
def test_results_come_in_the_order_of_the_tasks(tasks, count):
    workers = Scripted(count)
    assert list(in_order(workers, double, range(tasks))) == [2 * task for task in range(tasks)]
    assert workers.most == min(count, tasks)
    assert sorted(workers.begun) == list(range(tasks))


def test_a_task_whose_worker_dies_is_tried_once_more():
    workers = Scripted(2, {1: 1})
    assert list(in_order(workers, double, range(3))) == [0, 2, 4]
    assert workers.begun.count(1) == 2


def test_a_task_that_kills_every_worker_is_given_up_after_two_tries():
    workers = Scripted(2, {1: 99})
    first, second, third = in_order(workers, double, range(3))
    assert (first, third) == (0, 4)
    assert isinstance(second, WorkerDied)
    assert workers.begun.count(1) == TRIES == 2


def test_mistakes_in_a_task_are_not_hidden():
    def wrong(task: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_order(Scripted(1), wrong, range(1)))


def test_work_begins_when_a_result_is_asked_for():
    workers = Scripted(1)
    results = in_order(workers, double, range(3))
    assert workers.begun == []
    next(results)
    assert workers.begun == [0]


def _start_workers(place: str) -> None:
    """Run in a process that will be killed: two workers say who they are, then wait."""
    with open_workers(2) as workers:
        list(in_order(workers, _tell_and_wait, [f"{place}/a", f"{place}/b"]))


def _tell_and_wait(place: str) -> None:
    Path(place).write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.skipif(os.name == "nt", reason="asks by signal 0")
def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    parent = get_context("spawn").Process(target=_start_workers, args=(str(tmp_path),))
    parent.start()
    files = [tmp_path / name for name in "ab"]
    assert _comes_true(lambda: all(f.exists() and f.read_text() for f in files))
    workers = [int(file.read_text()) for file in files]
    parent.kill()
    parent.join()
    assert _comes_true(lambda: not any(map(_runs, workers)))


def _comes_true(condition: Callable[[], bool]) -> bool:
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
