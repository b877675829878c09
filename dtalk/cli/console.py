"""Terminal output: progress bars, tables, messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from dtalk.cli.flags import reporting
from dtalk.cli.tables import comparison_table, paper_table, retrieval_line, score_table

if TYPE_CHECKING:
    from dtalk.training.observer import Observer

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

TABLE_WIDTH = 150  # columns; a narrower page wraps lines rather than cut figures


def printable(text: object) -> str:
    """Text with what is no letter, sign or space shown as Python writes it: ``\\x1b``.

    Names and contents of files may hold codes that would change the terminal.
    """
    return "".join(_shown(letter) for letter in str(text))


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def write_event(kind: str, **values: Any) -> None:
    """Write one line of json for programs to standard error."""
    print(json.dumps({"type": kind, **values}), file=sys.stderr, flush=True)


def fail(message: str) -> None:
    """Print one line about an error."""
    if reporting().json:
        write_event("failure", reason=message)
    else:
        err.print(f"error: {printable(message)}", style="red", markup=False, highlight=False)


def warn(message: str) -> None:
    """Print one line about something odd that did not stop the work."""
    if reporting().json:
        write_event("warning", reason=message)
    elif not reporting().quiet:
        err.print(f"warning: {printable(message)}", style="yellow", markup=False, highlight=False)


def progress() -> Progress:
    """Make a bar with count, rate, elapsed and remaining time."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal or reporting().quiet or reporting().json,
    )


class Bars:
    """One bar for the files of a batch, if it has several, and one for the file being made."""

    def __init__(self, bar: Progress, what: str, files: int) -> None:
        self._bar = bar
        self._files = bar.add_task(what, total=files, rate="", visible=files > 1)
        self._current = bar.add_task("", total=None, rate="", visible=False)

    def file_done(self, done: int) -> None:
        """Show that ``done`` files are finished."""
        self._bar.update(self._files, completed=done)
        self._bar.reset(self._current, visible=False, total=None)

    def frame_done(self, name: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` frames of the file ``name`` are made."""
        if done < self._bar.tasks[self._current].completed:  # the next stage
            self._bar.reset(self._current)
        rate = _rate(self._bar, self._current, done, "frames")
        self._bar.update(
            self._current,
            description=printable(name),
            completed=done,
            total=total,
            rate=rate,
            visible=True,
        )


@contextmanager
def batch_bars(what: str, files: int) -> Iterator[Bars]:
    """Show :class:`Bars` while a batch runs."""
    with progress() as bar:
        yield Bars(bar, what, files)


@contextmanager
def counting(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that is called with the number done and the number in all."""
    with progress() as bar:
        task = bar.add_task(description, total=None, rate="")

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=_rate(bar, task, done, unit))

        yield update


def _rate(bar: Progress, task: TaskID, done: int, unit: str) -> str:
    elapsed = bar.tasks[task].elapsed or 0.0
    return f"{done / elapsed:.1f} {unit}/s" if elapsed > 0 else ""


class TrainingProgress:
    """The observer of training on the terminal: loading, loss and rate, validation tables."""

    def __init__(self) -> None:
        self._bar = progress()
        self._task: TaskID | None = None
        self._loading: TaskID | None = None

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def loading(self, done: int, total: int) -> None:
        """Show how many clips are read."""
        if self._loading is None:
            self._loading = self._bar.add_task("reading clips", total=total, rate="")
        self._bar.update(self._loading, completed=done, visible=done < total)

    def updated(self, update: int, updates: int, loss: float, seconds: float) -> None:
        """Show an update of the weights, the mean time of one being ``seconds``."""
        if self._task is None:
            self._task = self._bar.add_task("training", total=updates, rate="", completed=update)
        rate = f"loss {loss:.3f}  {1 / max(seconds, 1e-9):.2f} updates/s"
        self._bar.update(self._task, completed=update, rate=rate)

    def validated(self, update: int, tables: dict[str, dict[str, float]]) -> None:
        """Print the scores on the validation split."""
        show(score_table(f"validation after update {update}", tables))
        suffix = "_top1"
        found = {k.removesuffix(suffix): v for k, v in tables["all"].items() if suffix in k}
        out.print(retrieval_line("all", found), highlight=False)

    def note(self, line: str) -> None:
        """Print any other line."""
        out.print(line, markup=False, highlight=False)


@contextmanager
def training_progress() -> Iterator[Observer]:
    """Show how training goes; of several ranks, the first does."""
    from dtalk.training.distributed import rank  # which imports torch
    from dtalk.training.observer import Silent

    if rank() > 0:
        yield Silent()
        return
    with TrainingProgress() as observer:
        yield observer


def show(table: Table) -> None:
    """Print a table in full, whatever the terminal's width."""
    width = max(out.width, TABLE_WIDTH)
    Console(file=out.file, width=width, force_terminal=out.is_terminal).print(table)


def show_system(name: str, tables: Mapping[str, Any], split: str, samples: int) -> None:
    """Print one system's tables: :func:`.summary_tables`."""
    titles = {"sample": "one sample", "mean": f"mean of {samples} samples"}
    for kind in [kind for kind in titles if kind in tables]:
        show(score_table(f"{name}, {split}, {titles[kind]}", tables[kind]))
    for group, found in tables.get("retrieval", {}).items():
        out.print(retrieval_line(group, found), highlight=False)


def show_comparison(title: str, systems: Mapping[str, Mapping[str, Any]]) -> None:
    """Print two tables with a row a system: the paper's columns, then all others."""
    show(paper_table(title, systems))
    show(comparison_table(title, systems))
