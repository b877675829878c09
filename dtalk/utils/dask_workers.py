"""Workers of a Dask cluster: the scheduler's address is all that is needed.

Dask sends functions and results by pickle, so a scheduler is as trusted as the program itself.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection
from functools import partial
from itertools import count
from typing import Any

try:
    import distributed
    from distributed.diagnostics.plugin import SchedulerPlugin
    from distributed.scheduler import KilledWorker
except ImportError as missing:
    from dtalk.errors import DtalkError

    raise DtalkError("--cluster needs dask: pip install 'dtalk[cluster]'") from missing

from dtalk.errors import DtalkError, one_line
from dtalk.utils.workers import WorkerDied, set_renderer_threads
from dtalk.version import __version__

ANSWER = 10  # seconds in which a scheduler answers
JOIN = 60  # seconds in which a first worker joins, or another one when all have died
LOOK = 1  # seconds between looks at how many workers there are
PREFIX = "dtalk-"  # of our tasks' keys


class OneTry(SchedulerPlugin):
    """A scheduler's plugin: when a worker dies, its task fails at once, and the client decides.

    Dask's own limit, ``distributed.scheduler.allowed-failures``, holds for the whole scheduler. It
    would also do again what was done, if the worker dies before its result was fetched; its outputs
    would be there then.
    """

    name, idempotent = "dtalk-one-try", True

    async def start(self, scheduler: Any) -> None:
        """Note the scheduler."""
        self._tasks = scheduler.tasks

    def update_graph(self, scheduler: Any, **about: Any) -> None:
        """Count a new task as one that has used up its retries."""
        for key in about.get("keys", ()):
            task = scheduler.tasks.get(key)
            if task is not None and str(key).startswith(PREFIX):
                task.suspicious = max(task.suspicious, scheduler.allowed_failures)

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Forget how a result was made: as data, it is not made again when it is lost."""
        if finish == "memory" and str(key).startswith(PREFIX):
            self._tasks[key].run_spec = None


class DaskWorkers:
    """The workers of the scheduler at an address, of one thread each.

    Raises:
        DtalkError: no scheduler answers, no worker joins, or one cannot be used.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self._client = distributed.Client(address, timeout=ANSWER)
        except (OSError, ValueError) as error:
            raise DtalkError(
                f"no Dask scheduler answers at {address}: {one_line(error)}; start one with "
                "`dask scheduler` and workers with `dask worker`"
            ) from error
        self._numbers, self._count, self._seen = count(), 0, 0.0
        self._token = f"{PREFIX}{time.time():.6f}"
        try:
            self._check()
        except BaseException:
            self._client.close()
            raise

    def _check(self) -> None:
        """Check that all workers can do what is sent to them."""
        self.count()
        wide = [name for name, threads in self._client.nthreads().items() if threads != 1]
        if wide:
            raise DtalkError(
                f"the worker {wide[0]} has several threads; start workers with --nthreads 1, "
                "for a renderer and a model are of one thread"
            )
        try:
            versions = self._client.run(_version)
            self._client.register_plugin(OneTry())
        except Exception as error:  # whatever an import there raises
            raise DtalkError(
                f"workers or scheduler of {self.address} cannot import this dtalk: "
                f"{one_line(error)}; install dtalk[cluster] {__version__} there too"
            ) from error
        others = {name: found for name, found in versions.items() if found != __version__}
        for name, found in others.items():
            raise DtalkError(f"the worker {name} has dtalk {found}, not {__version__}")

    def __enter__(self) -> DaskWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()  # also withdraws what has not begun

    def count(self) -> int:
        """Get the number of workers; wait for one if there is none.

        Raises:
            DtalkError: none joins.
        """
        if time.monotonic() - self._seen > LOOK or not self._count:
            try:
                self._client.wait_for_workers(1, timeout=JOIN)
                self._count = len(self._client.nthreads())
            except (OSError, TimeoutError) as error:
                raise DtalkError(f"no worker has joined {self.address} in {JOIN} s") from error
            self._seen = time.monotonic()
        return self._count

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Begin a task on whichever worker is idle."""
        key = f"{self._token}-{next(self._numbers)}"
        here = partial(_in_folder, function, os.getcwd())
        return self._client.submit(here, task, key=key, pure=False)

    def wait(self, futures: Collection[Any]) -> Collection[Any]:
        """Wait until a task is done."""
        return distributed.wait(list(futures), return_when="FIRST_COMPLETED").done

    def result(self, future: Any) -> Any:
        """Get what a task gave.

        Raises:
            DtalkError: the scheduler was lost.
        """
        try:
            return future.result()
        except KilledWorker as error:
            self._count = 0  # to be looked at anew
            raise WorkerDied("a worker died, perhaps for memory") from error
        except distributed.client.FutureCancelledError as error:
            if error.reason.startswith("scheduler-"):
                raise DtalkError(f"the scheduler {self.address} was lost") from error
            self._count = 0
            raise WorkerDied("a worker died with what it had done") from error


def _in_folder(function: Callable[[Any], Any], folder: str, task: Any) -> Any:
    """Do a task in the client's folder, in which paths are relative.

    Raises:
        DtalkError: the folder is not there.
    """
    set_renderer_threads(1)
    before = os.getcwd()
    try:
        os.chdir(folder)
    except OSError as error:
        raise DtalkError(
            f"a worker on {platform.node()} has no folder {folder}; workers need the same files "
            "at the same places, by a shared file system"
        ) from error
    try:
        return function(task)
    finally:
        os.chdir(before)


def _version() -> str:
    return __version__
