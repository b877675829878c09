"""Run the jobs of a command and report them: for people, or as json for programs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dtalk.cli.flags import Reporting
from dtalk.cli.pipes import deliver, is_piped
from dtalk.config import WorkOptions
from dtalk.errors import DtalkError

if TYPE_CHECKING:
    from dtalk.cli.reports import Report
    from dtalk.utils.jobs import Job, Made, Outcome
    from dtalk.utils.workers import Workers


def run_batch(
    what: str,
    jobs: Sequence[Job],
    work: Callable[[Job, Report], Made],
    force: bool,
    reporting: Reporting,
    elsewhere: Callable[[Job], Made],
    who: WorkOptions,
    split: Callable[[Job, Report, Workers], Made] | None = None,
) -> None:
    """Run the jobs, report each and all, and set the exit status.

    Other processes do ``elsewhere`` instead of ``work``, if the options say so; a single job they
    do together, by ``split``, where there is such a way.
    """
    from dtalk.cli.reports import open_report

    piped = any(map(is_piped, jobs))
    if reporting.json and piped:
        raise DtalkError("--json writes to standard output; name a file with -o")
    with open_report(what, len(jobs), reporting) as report:
        if piped or not who.elsewhere:
            found = _here(jobs, work, force, report)
        elif split is not None and len(jobs) == 1:
            found = _together(jobs, split, force, report, who)
        elif who.cluster is None and len(jobs) == 1:  # no process is started for a single job
            found = _here(jobs, work, force, report)
        else:
            found = _elsewhere(jobs, elsewhere, force, who)
        with closing(found):
            for outcome in found:
                report.finished(outcome)
    if piped:  # standard output is taken
        status = int(any(outcome.error for outcome in report.outcomes))
    else:
        status = report.summarise(Path.cwd())
    if status:
        raise typer.Exit(status)


Outcomes = Generator["Outcome", None, None]


def _here(
    jobs: Sequence[Job], work: Callable[[Job, Report], Made], force: bool, report: Report
) -> Outcomes:
    """Do the jobs in this process, one after another."""
    from dtalk.utils.jobs import run

    def reported(job: Job) -> Made:
        report.started(job)
        return work(job, report)

    for outcome in run(jobs, reported, force, report.warned):
        if not outcome.error:
            deliver(outcome.job)
        yield outcome


def _together(
    jobs: Sequence[Job],
    split: Callable[[Job, Report, Workers], Made],
    force: bool,
    report: Report,
    who: WorkOptions,
) -> Outcomes:
    """Do each job by all workers together."""
    from dtalk.utils.jobs import run
    from dtalk.utils.open_workers import open_workers

    with open_workers(who.jobs, who.cluster) as workers:
        yield from run(jobs, lambda job: split(job, report, workers), force, report.warned)


def _elsewhere(
    jobs: Sequence[Job], work: Callable[[Job], Made], force: bool, who: WorkOptions
) -> Outcomes:
    """Do the jobs by workers, each by one."""
    from dtalk.utils.jobs import run_elsewhere
    from dtalk.utils.open_workers import open_workers

    with open_workers(min(who.jobs, len(jobs)), who.cluster) as workers:
        yield from run_elsewhere(jobs, work, force, workers)
