"""The command line: parses and prints; other modules, imported when needed, do the work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtalk.config import (
    AnimationOptions,
    DistillationConfig,
    HeadChoice,
    Look,
    ModelConfig,
    OutputOptions,
    RuntimeOptions,
    TrainingConfig,
)
from dtalk.errors import DtalkError
from dtalk.utils.settings import LOOK, RESEARCH
from dtalk.version import __version__

if TYPE_CHECKING:
    from dtalk.cli.console import Bars
    from dtalk.utils.jobs import Job, Outcome

from dtalk.cli.evaluate import evaluate
from dtalk.cli.flags import Force, Settings, Threads, as_tuples, takes
from dtalk.cli.help import App
from dtalk.cli.loading import head_of, model_of, options_of, set_threads
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
    """Run the command line; problems become one line and exit status 1."""
    try:
        app()
    except DtalkError as error:
        from dtalk.cli.console import fail

        fail(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
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
@takes(HeadChoice, AnimationOptions, RuntimeOptions)
def animate(
    inputs: Annotated[list[Path], typer.Argument(help="speech files, or folders of them")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="file or folder [beside the input]")
    ] = None,
    format: Annotated[  # noqa: A002
        list[str] | None,
        typer.Option("--format", help="npz, csv, json or flame; may be repeated [npz]"),
    ] = None,
    force: Force = False,
    head_flags: Settings = {},  # noqa: B006
    animation_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
) -> None:
    """Turn speech into facial animation curves.

    52 ARKit curves at 30 frames/s: npz, Live Link Face csv, Audio2Face json.
    Format flame adds the expression, jaw and eyes of the FLAME model that --head names.
    """
    from dtalk.speech.audio import AUDIO_SUFFIXES
    from dtalk.utils.files import expand_inputs
    from dtalk.utils.jobs import plan

    suffixes = _suffixes(format, out)
    jobs = plan(expand_inputs(inputs, set(AUDIO_SUFFIXES)), out, suffixes)

    from dtalk.inference import animate_file
    from dtalk.motion.files import is_flame, write_motion

    head = head_of(**head_flags)
    if any(is_flame(output) for job in jobs for output in job.outputs):
        from dtalk.heads.flame_export import checked_flame, export_flame

        checked_flame(head)
    elif any(head_flags.values()):
        raise DtalkError("curves fit any head: --head, --shape and --masks need --format flame")
    model = model_of(RuntimeOptions(**runtime_flags))
    options = options_of(model, animation_flags)

    def work(job: Job, bars: Bars) -> int:
        motion = animate_file(model, job.source, options)
        for output in job.outputs:
            if is_flame(output):
                fit = export_flame(motion, head, output)
                bars.note(f"{output}: {fit.accuracy}")
            else:
                write_motion(motion, output)
        return len(motion)

    _run_batch("animate", jobs, work, force)


@app.command()
@takes(OutputOptions, Look, HeadChoice, AnimationOptions, RuntimeOptions)
def render(
    inputs: Annotated[
        list[Path], typer.Argument(help="motion files (npz, csv, json), speech files, or folders")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="file or folder [beside the input]")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="the sound of a motion file [found beside it]")
    ] = None,
    size: Annotated[
        str, typer.Option(help="pixels: 512, or 1280x720", rich_help_panel=LOOK)
    ] = "512",
    force: Force = False,
    output_flags: Settings = {},  # noqa: B006
    look_flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    animation_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
) -> None:
    """Render a talking head: mp4 with sound, PNGs, or a web page.

    Inputs are motion, or speech, which is animated first. A page (-o talk.html) is one file
    with head, sound and curves, to be looked at in any browser.
    """
    from dtalk.utils.files import expand_inputs
    from dtalk.video.inputs import RENDERED_SUFFIXES, is_motion, without_own_audio

    output = OutputOptions(**as_tuples(output_flags))
    found = without_own_audio(expand_inputs(inputs, set(RENDERED_SUFFIXES)))
    if audio is not None and len(found) > 1 and not output.side_by_side:
        raise DtalkError(f"--audio names one sound, but there are {len(found)} inputs")
    pixels = _parse_size(size)
    head = head_of(**head_flags)

    from dtalk.video.render_job import RenderJob, planned

    jobs, moments, panels = planned(found, out, output)
    from_speech = any(not is_motion(path) for path, _ in found)
    runtime = RuntimeOptions(**runtime_flags)
    model = model_of(runtime) if from_speech else None
    render_job = RenderJob(
        audio,
        pixels,
        Look(**look_flags),
        head,
        options=options_of(model, animation_flags),
        runtime=runtime,
        moments=moments,
        idle_motion=output.idle_motion,
        together=panels,
    )

    def work(job: Job, bars: Bars) -> int:
        return render_job.make(job, partial(bars.frame_done, job.source.name))

    if render_job.comment:
        typer.echo(f"note: {render_job.comment} (--idle-motion)", err=True)
    _run_batch(
        "render", jobs, work, force, render_job.make if output.jobs > 1 else None, output.jobs
    )


app.command(rich_help_panel=RESEARCH)(evaluate)


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
    """
    import shlex

    from dtalk.cli.console import TrainingProgress
    from dtalk.training.trainer import Trainer

    set_threads(threads)
    model = as_tuples(model_flags)
    settings = TrainingConfig(data, out, model=model, **as_tuples(training_flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with TrainingProgress() as observer:
        Trainer(settings, observer, command).run()


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

    from dtalk.cli.console import TrainingProgress, show_comparison
    from dtalk.training.distillation import Rows, distil

    def report(rows: Rows) -> None:
        show_comparison("validation, one sample", rows)

    set_threads(threads)
    settings = DistillationConfig(data=data, out=out, teacher=teacher, **as_tuples(flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with TrainingProgress() as observer:
        distil(settings, observer, command, report)


def _suffixes(formats: Sequence[str] | None, out: Path | None) -> list[str]:
    """Choose the suffixes to write: of the formats asked for, else of the output file, else npz."""
    from dtalk.motion.files import FLAME_SUFFIX, FORMATS

    suffixes = {name: f".{name}" for name in FORMATS} | {"flame": FLAME_SUFFIX}
    formats = [name.lower().removeprefix(".") for name in formats or ()]
    unknown = [name for name in formats if name not in suffixes]
    if unknown:
        raise DtalkError(f"unknown format {unknown[0]!r}; there are {', '.join(suffixes)}")
    ending = out.name.lower() if out is not None and out.suffix and not out.is_dir() else ""
    named = next((name for name in reversed(suffixes) if ending.endswith(suffixes[name])), "")
    chosen = list(dict.fromkeys(formats or [named or "npz"]))
    if named and chosen != [named]:
        raise DtalkError(f"-o {out} is a {named} file, but --format says {', '.join(chosen)}")
    return [suffixes[name] for name in chosen]


def _parse_size(text: str) -> int | tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise DtalkError(f"cannot read size {text!r}; write pixels like 512 or 1280x720")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _run_batch(
    what: str,
    jobs: Sequence[Job],
    work: Callable[[Job, Bars], int],
    force: bool,
    elsewhere: Callable[[Job], int] | None = None,
    processes: int = 1,
) -> None:
    """Run the jobs with a bar over files, print what failed and a summary, set the exit status.

    Several at a time run in processes of their own, which do ``elsewhere`` instead of ``work``.
    """
    from dtalk.cli.console import batch_bars, fail, report, warn
    from dtalk.utils.jobs import run, run_in_processes

    outcomes: list[Outcome] = []
    with batch_bars(what, len(jobs)) as bars:
        if elsewhere is not None and min(processes, len(jobs)) > 1:
            running = run_in_processes(jobs, elsewhere, force, processes)
        else:
            running = run(jobs, lambda job: work(job, bars), force)
        for outcome in running:
            outcomes.append(outcome)
            for line in outcome.warnings:
                warn(line)
            if outcome.error:
                fail(outcome.error)
            bars.file_done(len(outcomes))
    status = report(outcomes, Path.cwd())
    if status:
        raise typer.Exit(status)
