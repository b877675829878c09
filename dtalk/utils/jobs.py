"""Batches of files: where outputs go, and failures that stop nothing."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dtalk.errors import DtalkError, OutputExistsError
from dtalk.utils.workers import TRIES, Workers, in_order

_FILE_SUFFIXES = frozenset(
    {".npz", ".csv", ".json", ".glb", ".vrm"}
    | {".mp4", ".mov", ".avi", ".mkv", ".webm", ".html", ".wav", ".png"}
)


@dataclass(frozen=True)
class Job:
    """One input and the files to be made of it."""

    source: Path
    outputs: tuple[Path, ...]


@dataclass(frozen=True)
class Made:
    """What a job made.

    Attributes:
        frames: how many.
        seconds: how long they last.
        about: what is known of the motion, such as ``emotion`` and ``emotion_confidence``.
        notes: what is to be said about the outputs, a line each.
    """

    frames: int
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: ``error`` is None on success; its time in seconds; warnings met."""

    job: Job
    error: str | None
    made: Made
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames made."""
        return self.made.frames


def plan(
    found: Sequence[tuple[Path, Path]], out: Path | None, suffixes: Sequence[str]
) -> list[Job]:
    """Plan the outputs, one file a suffix (with its dot).

    ``found`` pairs inputs with their paths relative to what was named. Without ``out`` outputs lie
    beside their inputs. For a single input ``out`` may name the file, if it ends in the one suffix
    wanted; else it is a folder, and the inputs' tree is made again below it.

    Raises:
        DtalkError: two inputs would write the same file.
    """
    alone = len(found) == len(suffixes) == 1
    named = out is not None and alone and _ends_in(out, suffixes)
    if out is not None and not named:
        _refuse_file(out, len(found), suffixes)
    jobs = []
    for source, relative in found:
        place = source if out is None else out / relative
        outputs = [out] if named and out else [place.with_suffix(suffix) for suffix in suffixes]
        jobs.append(Job(source, tuple(outputs)))
    _refuse_collisions(jobs)
    return jobs


def _refuse_file(out: Path, inputs: int, suffixes: Sequence[str]) -> None:
    """Refuse an ``out`` that must be a folder but looks like a file.

    Raises:
        DtalkError: a suffix of a motion, sound or video file, and no such folder exists.
    """
    if out.suffix.lower() not in _FILE_SUFFIXES or out.is_dir():
        return
    wanted = " and ".join(suffixes)
    if _ends_in(out, suffixes):
        raise DtalkError(f"-o {out} names one file, but there are {inputs} inputs; name a folder")
    if len(suffixes) > 1:
        raise DtalkError(f"-o {out} names one file, but several are written; name a folder")
    raise DtalkError(f"-o {out}: {wanted} is written; name a {wanted} file or a folder")


def _ends_in(path: Path, suffixes: Sequence[str]) -> bool:
    return bool(path.suffix) and path.name.lower().endswith(tuple(suffixes))


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    writers: dict[Path, Path] = {}
    for job in jobs:
        for output in job.outputs:
            place = Path(os.path.realpath(output))  # the same file may be spelled in two ways
            if place in writers:
                raise DtalkError(
                    f"{writers[place]} and {job.source} would both write {output}; "
                    "rename one or run them apart with -o"
                )
            writers[place] = job.source


def run(jobs: Sequence[Job], work: Callable[[Job], Made], force: bool = False) -> Iterator[Outcome]:
    """Do the jobs one after another; failures are reported, not raised.

    ``work`` writes a job's outputs and returns what it made. Existing outputs are left
    alone and make the job fail, unless ``force``.
    """
    for job in jobs:
        started = time.perf_counter()
        error, made = None, Made(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                check_outputs(job.outputs, force)
                made = work(job)
            except DtalkError as problem:
                error = str(problem)
        warned = tuple(str(w.message) for w in caught if issubclass(w.category, UserWarning))
        yield Outcome(job, error, made, time.perf_counter() - started, warned)


def run_elsewhere(
    jobs: Sequence[Job], work: Callable[[Job], Made], force: bool, workers: Workers
) -> Iterator[Outcome]:
    """Do the jobs by workers as :func:`run` does; outcomes come in the order of the jobs.

    ``work`` is sent to them, so it must be importable and small. An input that two workers died of
    is named and left out.
    """
    refused = [_refusal(job, force) for job in jobs]
    tasks = [job for job, reason in zip(jobs, refused) if reason is None]
    found = in_order(workers, partial(_run_one, work=work), tasks)
    for job, reason in zip(jobs, refused):
        outcome = next(found) if reason is None else reason
        if isinstance(outcome, Outcome):
            yield outcome
        elif isinstance(outcome, str):
            yield Outcome(job, outcome, Made(0), 0.0)
        else:
            error = f"{job.source}: given up after {TRIES} tries: {outcome}; take fewer --jobs"
            yield Outcome(job, error, Made(0), 0.0)


def _run_one(job: Job, work: Callable[[Job], Made]) -> Outcome:
    """Do one job; its outputs were looked for before, and a first try may have left some."""
    [outcome] = run([job], work, force=True)
    return outcome


def _refusal(job: Job, force: bool) -> str | None:
    try:
        check_outputs(job.outputs, force)
    except OutputExistsError as error:
        return str(error)
    return None


def check_outputs(outputs: Sequence[Path], force: bool) -> None:
    """Refuse to replace outputs that exist, unless ``force``.

    Raises:
        OutputExistsError: it names them.
    """
    existing = [str(output) for output in outputs if output.exists()]
    if existing and not force:
        raise OutputExistsError(f"{', '.join(existing)} exists already; add --force to replace it")
