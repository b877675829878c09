"""Batches of files: where outputs go, and failures that stop nothing."""

from __future__ import annotations

import os
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dtalk.errors import DtalkError, OutputExistsError, one_line
from dtalk.utils.claims import claimed
from dtalk.utils.workers import TRIES, Workers, in_order

# What a file's name ends in, rather than a folder's: `talk.fbx`, but not `v1.2`.
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """One input and the files to be made of it, or the problem for which it cannot be done."""

    source: Path
    outputs: tuple[Path, ...]
    problem: str = ""


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
    wanted; else it is a folder, and the inputs' tree is made again below it. Inputs that would
    write the same file become jobs with a problem.

    Raises:
        DtalkError: ``out`` looks like a file that is not written.
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
    return _without_collisions(jobs)


def names_file(out: Path) -> bool:
    """Whether an output is meant to be a file: it ends like one, and is no folder."""
    return bool(_SUFFIX.fullmatch(out.suffix)) and not out.is_dir()


def _refuse_file(out: Path, inputs: int, suffixes: Sequence[str]) -> None:
    """Refuse an ``out`` that must be a folder but looks like a file.

    Raises:
        DtalkError: it ends in a file's suffix, and no such folder exists.
    """
    if not names_file(out):
        return
    wanted = " and ".join(suffixes)
    if _ends_in(out, suffixes):
        raise DtalkError(f"-o {out} names one file, but there are {inputs} inputs; name a folder")
    if len(suffixes) > 1:
        raise DtalkError(f"-o {out} names one file, but several are written; name a folder")
    raise DtalkError(f"-o {out}: {wanted} is written; name a {wanted} file, or make that folder")


def _ends_in(path: Path, suffixes: Sequence[str]) -> bool:
    return bool(path.suffix) and path.name.lower().endswith(tuple(suffixes))


def _without_collisions(jobs: Sequence[Job]) -> list[Job]:
    """Give jobs that would write the same file a problem: neither is done."""
    writers: dict[Path, list[Job]] = {}
    for job in jobs:
        for output in job.outputs:
            place = Path(os.path.realpath(output))  # the same file may be spelled in two ways
            writers.setdefault(place, []).append(job)
    problems = {
        id(job): _collision(job, place, others)
        for place, others in writers.items()
        if len(others) > 1
        for job in others
    }
    return [replace(job, problem=problems.get(id(job), job.problem)) for job in jobs]


def _collision(job: Job, place: Path, writers: Sequence[Job]) -> str:
    others = " and ".join(str(other.source) for other in writers if other is not job)
    named = next(path for path in job.outputs if Path(os.path.realpath(path)) == place)
    return f"{job.source} would write {named}, as would {others}; rename one, or run them apart"


def run(
    jobs: Sequence[Job],
    work: Callable[[Job], Made],
    force: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Outcome]:
    """Do the jobs one after another; failures are reported, not raised.

    Whatever a file makes a library raise is that file's failure, and names the place.

    ``work`` writes a job's outputs and returns what it made. Existing outputs are left
    alone and make the job fail, unless ``force``. Warnings are told when they come: before a long
    job's work, for most.
    """
    for job in jobs:
        started = time.perf_counter()
        error, made = None, Made(0)
        with _kept_warnings(tell) as warned:
            try:
                made = _do(job, work, force)
            except DtalkError as problem:
                error = str(problem)
            except Exception as problem:
                error = unexpected(job.source, problem)
        yield Outcome(job, error, made, time.perf_counter() - started, tuple(warned))


@contextmanager
def _kept_warnings(tell: Callable[[str], None] | None) -> Iterator[list[str]]:
    """Collect the warnings that are meant for users, each time they occur, and tell them."""
    kept: list[str] = []

    def keep(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            kept.append(str(message))
            if tell is not None:
                tell(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield kept


def _do(job: Job, work: Callable[[Job], Made], force: bool) -> Made:
    if job.problem:
        raise DtalkError(job.problem)
    with claimed(job.outputs):
        check_outputs(job.outputs, force)
        return work(job)


def unexpected(source: object, error: Exception) -> str:
    """Say in one line what went wrong where, of an error that nobody foresaw."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(__file__).parents[1] in Path(frame.filename).parents]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown"
    kind = type(error).__name__
    reason = "" if isinstance(error, MemoryError) else f": {one_line(error)}"
    return f"{source}: {kind}{reason} (at {place}; please report it if the file is in order)"


def run_elsewhere(
    jobs: Sequence[Job], work: Callable[[Job], Made], force: bool, workers: Workers
) -> Iterator[Outcome]:
    """Do the jobs by workers as :func:`run` does; outcomes come in the order of the jobs.

    ``work`` is sent to them, so it must be importable and small. An input that two workers died of
    is named and left out.
    """
    refused = [_refusal(job, force) for job in jobs]
    tasks = [job for job, reason in zip(jobs, refused) if reason is None]
    again = partial(_run_one, work=work, force=True)  # a first try may have made the outputs
    found = in_order(workers, partial(_run_one, work=work, force=force), tasks, retry=again)
    for job, reason in zip(jobs, refused):
        outcome = next(found) if reason is None else reason
        if isinstance(outcome, Outcome):
            yield outcome
        elif isinstance(outcome, str):
            yield Outcome(job, outcome, Made(0), 0.0)
        else:
            error = f"{job.source}: given up after {TRIES} tries: {outcome}; take fewer --jobs"
            yield Outcome(job, error, Made(0), 0.0)


def _run_one(job: Job, work: Callable[[Job], Made], force: bool) -> Outcome:
    [outcome] = run([job], work, force)
    return outcome


def _refusal(job: Job, force: bool) -> str | None:
    if job.problem:
        return job.problem
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
