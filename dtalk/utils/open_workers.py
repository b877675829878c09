"""The one way to workers: processes of this machine, or those of a Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dtalk.utils.workers import Processes, Workers


@contextmanager
def open_workers(jobs: int, cluster: str | None = None) -> Iterator[Workers]:
    """Start ``jobs`` processes, or join the workers of the Dask scheduler at ``cluster``.

    Raises:
        DtalkError: see :class:`.DaskWorkers`.
    """
    if cluster is None:
        with Processes(jobs) as processes:
            yield processes
        return
    from dtalk.utils.dask_workers import DaskWorkers  # an extra

    with DaskWorkers(cluster) as workers:
        yield workers
