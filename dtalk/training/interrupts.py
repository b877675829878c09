"""Interrupts that wait until weights, average and update number agree."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dtalk.training.distributed import any_rank

STOPPING = (signal.SIGINT, signal.SIGTERM)  # ctrl-C; the end of a job's time, or of torchrun


class HeldInterrupts:
    """A handler that holds signals back; an interrupt of one rank stops all at the same update."""

    def __init__(self) -> None:
        self.met = False

    def note(self, *_: object) -> None:
        self.met = True

    def raise_if_any(self) -> None:
        """Raise KeyboardInterrupt if any rank met a signal; all ranks have to call this."""
        if any_rank(self.met):
            raise KeyboardInterrupt


@contextmanager
def held_interrupts() -> Iterator[HeldInterrupts]:
    """Hold ctrl-C and SIGTERM back until asked for."""
    held = HeldInterrupts()
    if threading.current_thread() is not threading.main_thread():
        yield held  # only the main thread may, and need, handle signals
        return
    before = {number: signal.signal(number, held.note) for number in STOPPING}
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
