"""The process that a command runs in: its signals, streams and warnings."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TextIO

_ENDED_BY = 128  # plus the number of the signal: the exit status of a process that one ended
PATIENCE = 2.0  # seconds until an interrupt that has had no effect is raised again


_stack = ExitStack()


def at_end() -> ExitStack:
    """Get the stack of what is closed when the command ends."""
    return _stack


@contextmanager
def ready() -> Iterator[None]:
    """Make the process ready for a command: it cleans up, and prints whatever it has to say.

    SIGTERM does as Ctrl-C does, with an exit status of its own. Letters that the terminal lacks
    are shown as codes. Warnings are one line.
    """
    global _stack
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # not a stream of text of Python's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with _terminable(), warnings.catch_warnings(), ExitStack() as _stack:
        warnings.showwarning = _show
        yield


@contextmanager
def _terminable() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    ended: list[int] = []
    left = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ended:
            threading.Thread(target=remind, daemon=True).start()
        ended.append(number)
        if not _is_ending(sys.exc_info()[1]):
            signal.raise_signal(signal.SIGINT)

    def remind() -> None:
        """Ask again: an import, or what the garbage collector calls, may swallow an interrupt.

        Whoever has taken the signal on since, such as a training, has not seen it yet.
        """
        while not left.wait(PATIENCE):
            _thread.interrupt_main(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if ended:
            sys.exit(_ENDED_BY + ended[0])
        raise
    finally:
        left.set()
        signal.signal(signal.SIGTERM, before)


def _is_ending(handled: BaseException | None) -> bool:
    """Whether an exception that is handled comes of an interrupt: things are cleaned up."""
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    return handled is not None


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning that belongs to no file of a batch; others' are not a user's business."""
    if issubclass(category, UserWarning) and category.__module__.startswith("dtalk."):
        from dtalk.cli.console import warn

        warn(str(message))
