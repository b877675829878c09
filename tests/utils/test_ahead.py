"""Work ahead of what is used: order, ends, errors, and that it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dtalk.utils.ahead import ahead


def test_items_come_in_order_from_another_thread() -> None:
    threads = []

    def items() -> Iterator[int | None]:
        for number in range(5):
            threads.append(threading.current_thread())
            yield None if number == 3 else number

    assert list(ahead(items())) == [0, 1, 2, None, 4]
    assert threading.current_thread() not in threads
    assert list(ahead([])) == []


def test_errors_come_in_their_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    found = ahead(items(), 3)
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_no_more_than_asked_is_computed_and_nothing_after_the_end() -> None:
    done = []

    def items() -> Iterator[int]:
        for number in range(100):
            done.append(number)
            yield number

    before = set(threading.enumerate())  # other tests may have left some
    found = ahead(items(), 2)
    assert next(found) == 0
    assert set(threading.enumerate()) - before
    found.close()  # type: ignore[attr-defined]  # a generator
    assert len(done) <= 3
    assert not set(threading.enumerate()) - before
