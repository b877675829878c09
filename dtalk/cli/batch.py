"""Run the jobs of a command and report them: for people, or as json for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dtalk.cli.flags import Reporting

if TYPE_CHECKING:
    from dtalk.cli.reports import Report
    from dtalk.utils.jobs import Job, Made


def run_batch(
    what: str,
    jobs: Sequence[Job],
    work: Callable[[Job, Report], Made],
    force: bool,
    reporting: Reporting,
    elsewhere: Callable[[Job], Made] | None = None,
    processes: int = 1,
) -> None:
    """Run the jobs, report each and all, and set the exit status.

    Several at a time run in processes of their own, which do ``elsewhere`` instead of ``work``.
    """
    from dtalk.cli.reports import open_report
    from dtalk.utils.jobs import run, run_in_processes

    with open_report(what, len(jobs), reporting) as report:
        if elsewhere is not None and min(processes, len(jobs)) > 1:
            running = run_in_processes(jobs, elsewhere, force, processes)
        else:

            def here(job: Job) -> Made:
                report.started(job)
                return work(job, report)

            running = run(jobs, here, force)
        for outcome in running:
            report.finished(outcome)
    status = report.summarise(Path.cwd())
    if status:
        raise typer.Exit(status)
