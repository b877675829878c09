"""``dtalk convert``: motion files of any format to any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtalk.cli.batch import run_batch
from dtalk.cli.flags import Force, Formats, Out, Reporting, Settings, takes
from dtalk.cli.loading import exporter_of, reporting_of
from dtalk.cli.pipes import from_standard, to_standard
from dtalk.config import HeadChoice, WorkOptions
from dtalk.motion.options import CurveOptions

if TYPE_CHECKING:
    from dtalk.cli.reports import Report
    from dtalk.utils.jobs import Job, Made


@takes(CurveOptions, HeadChoice, WorkOptions, Reporting)
def convert(
    inputs: Annotated[
        list[Path], typer.Argument(help="motion files (npz, csv, json, glb, vrm), or folders")
    ],
    out: Out = None,
    format: Formats = None,  # noqa: A002
    seed: Annotated[int, typer.Option(help="seed of --idle-motion", min=0)] = 0,
    force: Force = False,
    curve_flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    work_flags: Settings = {},  # noqa: B006
    report_flags: Settings = {},  # noqa: B006
) -> None:
    """Convert motion files to another format or frame rate.

    The name after -o or --format tell the format, as for dtalk animate.
    """
    reporting = reporting_of(report_flags)

    from dtalk.cli.export_jobs import ConvertJob
    from dtalk.heads.export import suffixes_of
    from dtalk.motion.files import READERS
    from dtalk.utils.files import expand_inputs
    from dtalk.utils.jobs import plan

    suffixes = suffixes_of(format, out)
    inputs, out = from_standard(inputs), to_standard(out, inputs, suffixes)
    found = expand_inputs(inputs, {f".{name}" for name in READERS}, batch=True)
    jobs = plan(found, out, suffixes)
    convert_job = ConvertJob(exporter_of(jobs, **head_flags), CurveOptions(**curve_flags), seed)

    def work(job: Job, report: Report) -> Made:
        return convert_job.make(job)

    who = WorkOptions(**work_flags)
    run_batch("convert", jobs, work, force, reporting, convert_job.make, who)
