"""Reports of a batch: bars and lines for people, or json for programs.

Programs get a line of json a file on standard output, and on standard error lines of json with a
``type``: ``start``, ``warning`` (``reason``), ``progress`` (``value`` from 0 to 1), ``success`` and
``failure`` (``reason``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from dtalk.cli import console
from dtalk.cli.flags import Reporting
from dtalk.utils.jobs import Job, Made, Outcome

STEPS = 20  # progress lines a file, at most


class Report:
    """A report for people: bars while it runs, a line or a table when it is done."""

    def __init__(self, bars: console.Bars | None) -> None:
        self._bars = bars
        self._told: list[str] = []
        self.outcomes: list[Outcome] = []

    def started(self, job: Job) -> None:
        """Note that a job begins."""

    def frame_done(self, name: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` frames of the file ``name`` are made."""
        if self._bars is not None:
            self._bars.frame_done(name, done, total)

    def warned(self, line: str) -> None:
        """Print a warning when it comes, which may be hours before the job's end."""
        self._told.append(line)
        console.warn(line)

    def finished(self, outcome: Outcome) -> None:
        """Print the warnings that were not told yet, the notes and the error of a job."""
        self.outcomes.append(outcome)
        told, self._told = self._told, []
        for line in outcome.warnings[len(told) :]:
            console.warn(line)
        for line in outcome.made.notes:
            console.err.print(console.printable(line), markup=False, highlight=False)
        if outcome.error:
            console.fail(outcome.error)
        if self._bars is not None:
            self._bars.file_done(len(self.outcomes))

    def summarise(self, base: Path) -> int:
        """Print what was made, as a table if it were several files; return the exit status."""
        failed = [outcome for outcome in self.outcomes if outcome.error]
        if len(self.outcomes) > 1:
            console.out.print(summary(self.outcomes, base))
            done = len(self.outcomes) - len(failed)
            console.out.print(f"{done} done, {len(failed)} failed", highlight=False)
        elif not failed:
            for outcome in self.outcomes:
                for path in outcome.job.outputs:
                    line = console.printable(f"{path}: {describe(outcome.made)}")
                    console.out.print(line, markup=False, highlight=False)
        return 1 if failed else 0


class QuietReport(Report):
    """A report of errors alone."""

    def warned(self, line: str) -> None:
        """Leave it out."""

    def finished(self, outcome: Outcome) -> None:
        """Print the error of a job."""
        self.outcomes.append(outcome)
        if outcome.error:
            console.fail(outcome.error)

    def summarise(self, base: Path) -> int:
        """Return the exit status."""
        return 1 if any(outcome.error for outcome in self.outcomes) else 0


class JsonReport(QuietReport):
    """A report for programs."""

    def __init__(self) -> None:
        super().__init__(None)
        self._source = ""
        self._step = self._done = 0

    def started(self, job: Job) -> None:
        """Write that a job begins."""
        self._source, self._step, self._done = str(job.source), 0, 0
        console.write_event("start", input=self._source)

    def warned(self, line: str) -> None:
        """Write that something is odd about a file."""
        console.write_event("warning", input=self._source, reason=line)

    def frame_done(self, name: str, done: int, total: int) -> None:
        """Write the progress of a file, in steps of a twentieth; anew for its next stage."""
        if done < self._done:
            self._step = 0
        self._done = done
        step = STEPS * done // max(total, 1)
        if step > self._step:
            self._step = step
            console.write_event("progress", input=self._source, value=step / STEPS)

    def finished(self, outcome: Outcome) -> None:
        """Write how a job went."""
        self.outcomes.append(outcome)
        source = str(outcome.job.source)
        if outcome.error:
            console.write_event("failure", input=source, reason=outcome.error)
        else:
            console.write_event("success", input=source)
        print(json.dumps(record(outcome)), flush=True)


def record(outcome: Outcome) -> dict[str, Any]:
    """A job and what came of it, as json has it."""
    source, told = str(outcome.job.source), list(outcome.warnings)
    if outcome.error:
        return {"input": source, "error": outcome.error, "warnings": told}
    return {
        "input": source,
        "outputs": [str(path) for path in outcome.job.outputs],
        "frames": outcome.made.frames,
        "seconds": round(outcome.made.seconds, 6),
        **outcome.made.about,
        "notes": [*notes(outcome.made), *outcome.made.notes],
        "warnings": told,
    }


@contextmanager
def open_report(what: str, files: int, reporting: Reporting) -> Iterator[Report]:
    """Open the report that was asked for; bars show while it is open."""
    if reporting.json:
        yield JsonReport()
    elif reporting.quiet:
        yield QuietReport(None)
    else:
        with console.batch_bars(what, files) as bars:
            yield Report(bars)


def describe(made: Made) -> str:
    """Say in words what was made: ``330 frames, 11.0 s, emotion neutral (61 %)``."""
    frames = f"{made.frames} frame{'s' if made.frames != 1 else ''}"
    lasting = [f"{made.seconds:.1f} s"] if made.seconds else []
    return ", ".join([frames, *lasting, *inferred(made.about)]) + "".join(
        f"; {note}" for note in notes(made)
    )


def notes(made: Made) -> list[str]:
    """List what the motion itself notes, such as idle motion."""
    return [made.about["notes"]] if made.about.get("notes") else []


def inferred(about: Mapping[str, Any]) -> list[str]:
    """Say emotion and voice in words, with the probability of what was inferred."""
    found = []
    for key, named, likened in (
        ("emotion", "emotion", "emotion"),
        ("identity", "voice", "voice like"),
    ):
        if about.get(key):
            share = about.get(f"{key}_confidence")
            certain = f"{named} {about[key]}"
            found.append(certain if share is None else f"{likened} {about[key]} ({share:.0%})")
    return [text.replace("%", " %") for text in found]


def summary(outcomes: Sequence[Outcome], base: Path) -> Table:
    """A row a file: what was made of it and in which time."""
    table = Table(box=None)
    for heading in ("input", "frames", "seconds", "result", "inferred"):
        table.add_column(heading, overflow="fold")
    for outcome in outcomes:
        made = console.printable(outcome.job.outputs[0].name)
        result = "[red]failed[/red]" if outcome.error else escape(made)
        frames = "" if outcome.error else str(outcome.frames)
        told = [", ".join(inferred(outcome.made.about)), *notes(outcome.made)]
        about = escape(console.printable("; ".join(told)))
        source = escape(console.printable(_short(outcome.job.source, base)))
        table.add_row(source, frames, f"{outcome.seconds:.1f}", result, about)
    return table


def _short(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
