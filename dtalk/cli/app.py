"""The command line: parses and prints; other modules, imported when needed, do the work."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtalk.config import (
    AnimationOptions,
    EngineOptions,
    HeadChoice,
    Look,
    ModelConfig,
    OutputOptions,
    WorkOptions,
)
from dtalk.errors import DtalkError
from dtalk.motion.options import CurveOptions
from dtalk.training.config import DistillationConfig, TrainingConfig
from dtalk.utils.settings import LOOK, RESEARCH
from dtalk.version import __version__

if TYPE_CHECKING:
    from dtalk.cli.reports import Report
    from dtalk.utils.jobs import Job, Made
    from dtalk.utils.workers import Workers

from dtalk.cli.batch import run_batch
from dtalk.cli.convert import convert
from dtalk.cli.evaluate import evaluate
from dtalk.cli.export import export
from dtalk.cli.flags import (
    Force,
    Formats,
    Out,
    Reporting,
    Settings,
    Threads,
    as_tuples,
    report_as,
    takes,
)
from dtalk.cli.help import App
from dtalk.cli.info import info
from dtalk.cli.live import live
from dtalk.cli.loading import (
    checked_labels,
    exporter_of,
    head_of,
    quiet_ranks,
    reporting_of,
    set_threads,
    shared_out,
)
from dtalk.cli.pipes import from_standard, to_standard
from dtalk.cli.recipes import Recipe

app = App(
    help="Speech in, a talking 3D face out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # markup would swallow "[npz]", and its tables cut long flags short
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; problems become one line and exit status 1.

    SIGTERM cleans up as Ctrl-C does.
    """
    from dtalk.cli.process import ready

    report_as(Reporting())
    try:
        with ready():
            app()
    except (DtalkError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            sys.exit(1)

        from dtalk.cli.console import fail
        from dtalk.errors import one_line

        fail(str(error) if isinstance(error, DtalkError) else one_line(error))
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dtalk {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show version")
    ] = False,
) -> None:
    """Speech in, a talking 3D face out."""


@app.command()
@takes(CurveOptions, HeadChoice, AnimationOptions, EngineOptions, WorkOptions, Reporting)
def animate(
    inputs: Annotated[list[Path], typer.Argument(help="speech files, or folders of them")],
    out: Out = None,
    format: Formats = None,  # noqa: A002
    force: Force = False,
    curve_flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    animation_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
    work_flags: Settings = {},  # noqa: B006
    report_flags: Settings = {},  # noqa: B006
) -> None:
    """Turn speech into facial animation curves.

    52 ARKit curves at 30 frames/s: npz, Live Link Face csv, Audio2Face json, glTF glb.
    glb holds the head that --head names, or an avatar of yours that bears ARKit names.
    Format flame adds the expression, jaw and eyes of the FLAME model that --head names.
    """
    reporting = reporting_of(report_flags)

    from dtalk.heads.export import suffixes_of
    from dtalk.speech.audio import AUDIO_SUFFIXES
    from dtalk.utils.files import expand_inputs
    from dtalk.utils.jobs import plan

    suffixes = suffixes_of(format, out)
    inputs, out = from_standard(inputs), to_standard(out, inputs, suffixes)
    jobs = plan(expand_inputs(inputs, set(AUDIO_SUFFIXES), batch=True), out, suffixes)

    from dtalk.cli.export_jobs import AnimateJob
    from dtalk.inference import load_talker

    exporter = exporter_of(jobs, **head_flags, cache=runtime_flags["cache"])
    options, who = AnimationOptions(**animation_flags), WorkOptions(**work_flags)
    runtime = shared_out(EngineOptions(**runtime_flags), who)
    checked_labels(load_talker(runtime, options), options)
    animate_job = AnimateJob(runtime, exporter, options, CurveOptions(**curve_flags))

    def work(job: Job, report: Report) -> Made:
        return animate_job.make(job, partial(report.frame_done, job.source.name))

    run_batch("animate", jobs, work, force, reporting, animate_job.make, who)


@app.command()
@takes(
    *(OutputOptions, CurveOptions, Look, HeadChoice, AnimationOptions, EngineOptions),
    *(WorkOptions, Reporting),
)
def render(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="motion files (npz, csv, json, glb), speech files, or folders"),
    ],
    out: Out = None,
    audio: Annotated[
        Path | None, typer.Option(help="the sound of a motion file [found beside it]")
    ] = None,
    size: Annotated[
        str, typer.Option(help="pixels: 512, or 1280x720", rich_help_panel=LOOK)
    ] = "512",
    force: Force = False,
    output_flags: Settings = {},  # noqa: B006
    curve_flags: Settings = {},  # noqa: B006
    look_flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    animation_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
    work_flags: Settings = {},  # noqa: B006
    report_flags: Settings = {},  # noqa: B006
) -> None:
    """Render a talking head: mp4 with sound, PNGs, or a web page.

    Inputs are motion, or speech, which is animated first. A page (-o talk.html) is one file
    with head, sound and curves, to be looked at in any browser.
    """
    reporting = reporting_of(report_flags)

    from dtalk.utils.files import expand_inputs
    from dtalk.video.inputs import RENDERED_SUFFIXES, is_motion, without_own_audio

    output = OutputOptions(**as_tuples(output_flags))
    inputs = from_standard(inputs)
    found = without_own_audio(expand_inputs(inputs, set(RENDERED_SUFFIXES), batch=True))
    if audio is not None and len(found) > 1 and not output.side_by_side:
        raise DtalkError(f"--audio names one sound, but there are {len(found)} inputs")
    pixels = _parse_size(size)
    head = head_of(**head_flags, cache=runtime_flags["cache"])

    from dtalk.inference import load_talker
    from dtalk.video.render_job import RenderJob, planned

    out = to_standard(out, inputs, [".png" if output.still else f".{output.format}"])
    jobs, moments, panels = planned(found, out, output)
    options, who = AnimationOptions(**animation_flags), WorkOptions(**work_flags)
    runtime = shared_out(EngineOptions(**runtime_flags), who)
    if any(not is_motion(path) for path, _ in found):
        checked_labels(load_talker(runtime, options), options)
    render_job = RenderJob(
        audio,
        pixels,
        Look(**look_flags),
        head if any(head_flags.values()) else None,
        options=options,
        runtime=runtime,
        moments=moments,
        curves=CurveOptions(**curve_flags),
        together=panels,
    )

    def work(job: Job, report: Report) -> Made:
        return render_job.make(job, partial(report.frame_done, job.source.name))

    def together(job: Job, report: Report, workers: Workers) -> Made:
        report.started(job)
        return render_job.make(job, partial(report.frame_done, job.source.name), workers)

    split = together if jobs[0].outputs[0].suffix.lower() == ".mp4" else None
    run_batch("render", jobs, work, force, reporting, render_job.make, who, split)


app.command()(convert)
app.command()(live)
app.command()(info)
app.command(rich_help_panel=RESEARCH)(evaluate)
app.command()(export)


@app.command(rich_help_panel=RESEARCH)
@takes(TrainingConfig, ModelConfig)
def train(
    data: Annotated[Path, typer.Option(help="data folder: clips.csv, BEAT or 3D-ETF")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for weights, state and log")],
    config: Recipe = None,
    threads: Threads = None,
    training_flags: Settings = {},  # noqa: B006
    model_flags: Settings = {},  # noqa: B006
) -> None:
    """Train a model on a data folder.

    The loss is the paper's eq. 15. Ctrl-C saves, --resume goes on exactly.
    torchrun -m dtalk train trains on several devices at once.
    """
    import shlex

    quiet_ranks()

    from dtalk.cli.console import training_progress
    from dtalk.training.distributed import joined
    from dtalk.training.trainer import train as run

    set_threads(threads)
    model = as_tuples(model_flags)
    settings = TrainingConfig(data, out, model=model, **as_tuples(training_flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with joined(settings.device) as device, training_progress() as observer:
        run(replace(settings, device=device), observer, command)


@app.command(rich_help_panel=RESEARCH)
@takes(DistillationConfig)
def distill(
    teacher: Annotated[Path, typer.Option(help="model file of the teacher")],
    data: Annotated[Path, typer.Option(help="data folder: clips.csv, BEAT or 3D-ETF")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for students, states and logs")],
    config: Recipe = None,
    threads: Threads = None,
    flags: Settings = {},  # noqa: B006
) -> None:
    """Distil a teacher, halving its steps.

    Rounds of eq. 16 of the paper, one a halving. Ctrl-C saves, --resume goes on exactly.
    """
    import shlex

    quiet_ranks()

    from dtalk.cli.console import show_comparison, training_progress
    from dtalk.training.distillation import Rows, distil
    from dtalk.training.distributed import joined

    def report(rows: Rows) -> None:
        show_comparison("validation, one sample", rows)

    set_threads(threads)
    settings = DistillationConfig(data=data, out=out, teacher=teacher, **as_tuples(flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with joined(settings.device) as device, training_progress() as observer:
        distil(replace(settings, device=device), observer, command, report)


def _parse_size(text: str) -> int | tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise DtalkError(f"cannot read size {text!r}; write pixels like 512 or 1280x720")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
