"""Tasks by workers: order, tries, what is given up."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.utils.workers import TRIES, WorkerDied, in_order


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
