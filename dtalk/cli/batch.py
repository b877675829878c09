"""Run the jobs of a command and report them: for people, or as json for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dtalk.cli.flags import Reporting
from dtalk.cli.pipes import deliver, is_piped
from dtalk.config import WorkOptions
from dtalk.errors import DtalkError

if TYPE_CHECKING:
    from dtalk.cli.reports import Report
    from dtalk.utils.jobs import Job, Made
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
    from dtalk.utils.jobs import run, run_elsewhere
    from dtalk.utils.workers import open_workers

    if reporting.json and any(map(is_piped, jobs)):
        raise DtalkError("--json writes to standard output; name a file with -o")
    with open_report(what, len(jobs), reporting) as report:
        piped = any(map(is_piped, jobs))
        if split is not None and len(jobs) == 1 and who.elsewhere and not piped:
            with open_workers(who.jobs, who.cluster) as workers:
                for outcome in run(jobs, lambda job: split(job, report, workers), force):
                    report.finished(outcome)
        elif not piped and (who.cluster is not None or min(who.jobs, len(jobs)) > 1):
            with open_workers(min(who.jobs, len(jobs)), who.cluster) as workers:
                for outcome in run_elsewhere(jobs, elsewhere, force, workers):
                    report.finished(outcome)
        else:

            def here(job: Job) -> Made:
                report.started(job)
                return work(job, report)

            for outcome in run(jobs, here, force):
                if not outcome.error:
                    deliver(outcome.job)
                report.finished(outcome)
    if piped:  # standard output is taken
        status = int(any(outcome.error for outcome in report.outcomes))
    else:
        status = report.summarise(Path.cwd())
    if status:
        raise typer.Exit(status)
