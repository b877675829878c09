"""Workers that do one task at a time: processes of this machine, or of a Dask cluster.

A task whose worker dies is tried once more, by another; what kills two workers is given up. Short
tasks are sent several at a time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from types import TracebackType
from typing import Any, Protocol, TypeVar

TRIES = 2  # of a task, before it is given up
CHUNK_SECONDS = 4.0  # of work sent at a time: up to 512 workers wait less than 5 % of it

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDied(Exception):
    """A worker ended while it did a task."""


class Workers(Protocol):
    """Workers to which functions and tasks are sent; both must be importable there."""

    def count(self) -> int:
        """Get how many tasks can be done at a time."""

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Begin a task, when fewer than :meth:`count` are being done; its future."""

    def wait(self, futures: Collection[Any]) -> Collection[Any]:
        """Wait until one of the futures is done; those that are."""

    def result(self, future: Any) -> Any:
        """Get what a task gave.

        Raises:
            WorkerDied: its worker ended.
        """


def in_order(
    workers: Workers,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    chunk_seconds: float = CHUNK_SECONDS,
    retry: Callable[[Task], Result] | None = None,
) -> Iterator[Result | WorkerDied]:
    """Do all tasks; yield what each gave in the order of the tasks, or that it was given up.

    Tasks shorter than ``chunk_seconds`` are sent several at a time, as long as all workers have
    some. Those of a chunk whose worker died are tried once more one by one, by ``retry`` if given:
    a first try may have ended before its worker did.
    """
    waiting, again = deque(range(len(tasks))), deque[int]()
    running = dict[Any, tuple[list[int], float]]()
    deaths, done, pace = Counter[int](), dict[int, Any](), Pace()
    for following in range(len(tasks)):
        while following not in done:
            while (again or waiting) and len(running) < workers.count():
                if again:
                    chunk, work = [again.popleft()], retry or function
                else:
                    size = pace.chunk(chunk_seconds, len(waiting), workers.count())
                    chunk, work = [waiting.popleft() for _ in range(size)], function
                future = workers.submit(partial(_each, work), [tasks[i] for i in chunk])
                running[future] = chunk, time.monotonic()
            for future in workers.wait(running):
                chunk, begun = running.pop(future)
                try:
                    done |= zip(chunk, workers.result(future))
                    pace.note(len(chunk), time.monotonic() - begun)
                except WorkerDied as error:
                    deaths.update(chunk)
                    again += [index for index in chunk if deaths[index] < TRIES]
                    done |= {index: error for index in chunk if deaths[index] >= TRIES}
        yield done.pop(following)


class Pace:
    """How long a task takes, from those that are done."""

    def __init__(self) -> None:
        self._tasks, self._seconds = 0, 0.0

    def note(self, tasks: int, seconds: float) -> None:
        """Note that some tasks took so long."""
        self._tasks += tasks
        self._seconds += seconds

    def chunk(self, seconds: float, waiting: int, workers: int) -> int:
        """Get how many tasks take so long, at least 1; less if others would have none then."""
        if not self._tasks:
            return 1
        fitting = seconds * self._tasks / max(self._seconds, 1e-6)
        return max(1, min(int(fitting), waiting // (2 * workers)))


def _each(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    return [function(task) for task in tasks]


class Processes:
    """Processes of this machine, each started when it is first needed.

    Every one is a pool of its own, so that it is known which task ended it.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._threads = max(1, (os.cpu_count() or 1) // count)
        self._idle = [self._start() for _ in range(count)]
        self._busy: dict[Future[Any], ProcessPoolExecutor] = {}

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, get_context("spawn"), _prepare_process, (self._threads,))

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # ctrl-C: what they were writing is removed
            for process in active_children():
                process.terminate()
        for pool in (*self._idle, *self._busy.values()):
            pool.shutdown(cancel_futures=True)

    def count(self) -> int:
        """Get the number of processes."""
        return self._count

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Any]:
        """Begin a task in an idle process."""
        pool = self._idle.pop()
        future = pool.submit(_guarded, function, task)
        self._busy[future] = pool
        return future

    def wait(self, futures: Collection[Future[Any]]) -> Collection[Future[Any]]:
        """Wait until a task is done."""
        return wait_for(futures, return_when=FIRST_COMPLETED).done

    def result(self, future: Future[Any]) -> Any:
        """Get what a task gave; a process that died is replaced."""
        pool = self._busy.pop(future)
        try:
            return future.result()
        except BrokenProcessPool as error:
            pool.shutdown()
            pool = self._start()
            raise WorkerDied("a process was killed, perhaps for memory") from error
        finally:
            self._idle.append(pool)


def _guarded(function: Callable[[Any], Any], task: Any) -> Any:
    try:
        return function(task)
    except SystemExit:  # terminated, and cleaned up; the pool would go on with its next task
        os._exit(1)


def set_renderer_threads(threads: int) -> None:
    """Set the threads of Mesa's software renderer, unless the user did; before it starts."""
    os.environ.setdefault("LP_NUM_THREADS", str(threads))


def _prepare_process(threads: int) -> None:
    """Leave Ctrl-C to the parent, which then terminates this process: as an exit, with cleanup."""
    set_renderer_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process, with cleanup, when the parent is gone, however it ended.

    A pool's process would else wait for its next task for ever.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
