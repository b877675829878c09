"""Tasks by workers: order, tries, what is given up."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.utils.open_workers import open_workers
from dtalk.utils.workers import TRIES, Pace, WorkerDied, in_order


class Scripted:
    """Workers in name only: tasks are done when waited for, last begun first."""

    def __init__(self, count: int, deadly: dict[int, int] | None = None) -> None:
        self.size, self.deadly = count, dict(deadly or {})
        self.begun: list[Any] = []
        self.most = self.running = 0

    def count(self) -> int:
        return self.size

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        self.begun.append(list(task))
        self.running += 1
        self.most = max(self.most, self.running)
        return len(self.begun), function, None

    def wait(self, futures: Collection[Any]) -> Collection[Any]:
        return [max(futures, key=lambda future: future[0])]

    def result(self, future: Any) -> Any:
        self.running -= 1
        number, function, _ = future
        tasks = self.begun[number - 1]
        for task in tasks:
            if self.deadly.get(task, 0):
                self.deadly[task] -= 1
                raise WorkerDied(f"died of {task}")
        return function(tasks)

    def times(self, task: int) -> int:
        """How often a task was begun."""
        return sum(tasks.count(task) for tasks in self.begun)


def double(task: int) -> int:
    return 2 * task


@given(st.integers(0, 40), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
def test_results_come_in_the_order_of_the_tasks(tasks, count, chunk_seconds):
    workers = Scripted(count)
    results = in_order(workers, double, range(tasks), chunk_seconds)
    assert list(results) == [2 * task for task in range(tasks)]
    assert workers.most == min(count, tasks)
    assert sorted(itertools.chain(*workers.begun)) == list(range(tasks))


def test_short_tasks_are_sent_several_at_a_time():
    """As long as every worker has some; a first one shows how long they take."""
    workers = Scripted(2)
    list(in_order(workers, double, range(42)))
    sizes = [len(tasks) for tasks in workers.begun]
    assert sizes[:4] == [1, 1, 10, 7]
    assert sizes[-4:] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("seconds", "waiting", "workers", "size"),
    [(0.0, 99, 1, 1), (2.0, 99, 1, 8), (2.0, 99, 10, 4), (2.0, 3, 10, 1), (0.3, 99, 1, 1)],
)
def test_sizes_of_chunks(seconds, waiting, workers, size):
    """Four tasks have taken a second."""
    pace = Pace()
    assert pace.chunk(seconds, waiting, workers) == 1
    pace.note(4, 1.0)
    assert pace.chunk(seconds, waiting, workers) == size


@pytest.mark.parametrize("chunk_seconds", [0.0, 1.0])
def test_a_task_whose_worker_dies_is_tried_once_more_alone(chunk_seconds):
    workers = Scripted(2, {15: 1})
    found = list(in_order(workers, double, range(42), chunk_seconds))
    assert found == [2 * task for task in range(42)]
    assert workers.times(15) == 2
    assert [15] in workers.begun


def triple(task: int) -> int:
    return 3 * task


def test_a_task_may_be_done_otherwise_when_it_is_tried_again():
    found = list(in_order(Scripted(2, {2: 1}), double, range(4), 0.0, retry=triple))
    assert found == [0, 2, 6, 6]


@pytest.mark.parametrize("chunk_seconds", [0.0, 1.0])
def test_a_task_that_kills_every_worker_is_given_up_after_two_tries(chunk_seconds):
    """Those that were sent with it are done."""
    workers = Scripted(2, {15: 99})
    found = list(in_order(workers, double, range(42), chunk_seconds))
    assert isinstance(found.pop(15), WorkerDied)
    assert found == [2 * task for task in range(42) if task != 15]
    assert workers.times(15) == TRIES == 2


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
    assert workers.begun == [[0]]


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
