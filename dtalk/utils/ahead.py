"""Work ahead: a thread that computes the next items while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], count: int = 1) -> Iterator[Item]:
    """Yield items, of which another thread computes ``count`` ahead of the one that is used.

    What it raises is raised here, in its place.
    """
    # Each next item is boxed, so that the end is told from any item.
    boxed = ((item,) for item in items)
    pool = ThreadPoolExecutor(1)
    try:
        waiting: deque[Future[tuple[Item] | None]] = deque()
        while True:
            while len(waiting) <= count:
                waiting.append(pool.submit(next, boxed, None))
            found = waiting.popleft().result()
            if found is None:
                return
            yield found[0]
    finally:
        pool.shutdown(cancel_futures=True)
