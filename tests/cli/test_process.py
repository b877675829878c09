"""Signals, streams and warnings of a command's process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable

import pytest

from dtalk.cli.process import at_end, ready
from dtalk.motion.columns import MotionWarning
from dtalk.training.interrupts import held_interrupts

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")


def waited(milliseconds: int) -> None:
    """Wait in steps, between which signals are seen."""
    for _ in range(milliseconds):
        time.sleep(0.001)


def terminated(clean: Callable[[], None]) -> object:
    """Be terminated while a command works, ``clean`` up, and return the exit status."""

    def work() -> None:
        with ready():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                clean()

    with pytest.raises(SystemExit) as ended:
        work()
    return ended.value.code


@posix
def test_termination_is_an_interrupt_with_its_own_status():
    cleaned = []
    before = signal.getsignal(signal.SIGTERM)
    assert terminated(lambda: cleaned.append(True)) == 143
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is before


@posix
def test_termination_that_was_swallowed_comes_again(monkeypatch):
    """As some libraries swallow whatever is raised while they are imported."""
    monkeypatch.setattr("dtalk.cli.process.PATIENCE", 0.01)
    swallowed: list[bool] = []

    def work() -> None:
        with ready():
            while len(swallowed) < 3:
                try:
                    if not swallowed:
                        os.kill(os.getpid(), signal.SIGTERM)
                    waited(10_000)
                except KeyboardInterrupt:
                    swallowed.append(True)
            waited(10_000)

    with pytest.raises(SystemExit) as ended:
        work()
    assert (ended.value.code, len(swallowed)) == (143, 3)


@posix
def test_a_handler_that_comes_later_hears_of_a_termination_that_was_swallowed(monkeypatch):
    """A training handles signals itself, between its updates."""
    monkeypatch.setattr("dtalk.cli.process.PATIENCE", 0.01)

    def work() -> None:
        with ready():
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                waited(10_000)
            with held_interrupts() as held:
                while not held.met:
                    waited(10)
                held.raise_if_any()

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 143


@posix
def test_what_is_cleaned_up_is_not_interrupted_again(monkeypatch):
    """Neither where an interrupt is handled nor where an error that came of it is."""
    monkeypatch.setattr("dtalk.cli.process.PATIENCE", 0.001)
    cleaned = []

    def clean() -> None:
        waited(100)
        with contextlib.suppress(OSError):
            try:
                raise OSError
            finally:
                waited(100)
        cleaned.append(True)

    assert terminated(clean) == 143
    assert cleaned == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit(3), ValueError])
def test_other_ends_come_through(error):
    with pytest.raises(error if isinstance(error, type) else type(error)) as caught, ready():
        raise error
    assert getattr(caught.value, "code", 3) == 3


def test_warnings_of_dtalk_are_one_line_and_others_none(capsys):
    with ready():
        warnings.simplefilter("always")
        warnings.warn("a.csv: odd", MotionWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: a.csv: odd\n"


def test_letters_that_a_pipe_lacks(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w", encoding="cp1252") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with ready():
            print("日本 café")
    assert (tmp_path / "out").read_bytes().split() == [rb"\u65e5\u672c", b"caf\xe9"]


def test_what_is_to_be_closed_is():
    closed: list[int] = []
    with ready():
        at_end().callback(closed.append, 1)
        assert closed == []
    assert closed == [1]
