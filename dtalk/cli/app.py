"""The command line: parses, prints, and leaves the work to the modules it imports when needed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, asdict, fields
from enum import Enum
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import typer

from dtalk import __version__
from dtalk.config import (
    AUTO,
    MOST_STEPS,
    MOST_THREADS,
    DistillationConfig,
    Engine,
    EvaluationConfig,
    HeadChoice,
    Hearing,
    Look,
    Manner,
    ModelConfig,
    Showing,
    TrainingConfig,
)
from dtalk.errors import DtalkError

if TYPE_CHECKING:
    from dtalk.cli.console import Bars
    from dtalk.data.clips import LoadedClip
    from dtalk.evaluation.comparison import System
    from dtalk.heads.head import Head
    from dtalk.model import DiffusionTalker
    from dtalk.utils.jobs import Job, Outcome

app = typer.Typer(
    help="Speech in, a talking 3D face out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # markup would swallow "[npz]", and its tables cut long flags short
    context_settings={"help_option_names": ["-h", "--help"]},
)

Force = Annotated[bool, typer.Option("--force", "-f", help="replace outputs that exist")]
Threads = Annotated[int | None, typer.Option(help="CPU threads [all]", min=1, max=MOST_THREADS)]
Settings = dict[str, Any]
"""Values of flags by name."""


def _flagged(settings: type) -> list[Field[Any]]:
    """The fields of a settings class that become flags."""
    return [f for f in fields(settings) if f.metadata and f.default is not MISSING]


def _flag(field: Field[Any], kind: Any) -> inspect.Parameter:
    """A settings field as an option of type ``kind``, with its default and its help."""
    default, choices = field.default, field.metadata["choices"]
    if isinstance(default, tuple):
        # Typer knows no lists of literals.
        single: Any = Enum("Choice", {c: c for c in choices}) if choices else get_args(kind)[0]
        kind, default = list[single], []
    elif choices:
        kind = Literal[choices]
    number = kind in (int, float, int | None, float | None)
    limits = {"min": field.metadata["least"], "max": field.metadata["most"]} if number else {}
    option = typer.Option(help=field.metadata["help"], **limits)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        field.name, keyword, default=default, annotation=Annotated[kind, option]
    )


def _takes(*classes: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for every setting of ``classes``.

    The command is called with one dictionary of their values for each class, after its own flags.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own[: -len(classes)]]
        kinds = {cls: get_type_hints(cls) for cls in classes}
        flags = [_flag(f, kinds[cls][f.name]) for cls in classes for f in _flagged(cls)]

        @wraps(function)
        def command(**values: Any) -> None:
            settings = [{f.name: values.pop(f.name) for f in _flagged(cls)} for cls in classes]
            function(*(values[p.name] for p in own), *settings)

        command.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


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
@_takes(HeadChoice, Manner, Engine)
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
    manner_flags: Settings = {},  # noqa: B006
    engine_flags: Settings = {},  # noqa: B006
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

    head = _load_head(**head_flags)
    if any(is_flame(output) for job in jobs for output in job.outputs):
        from dtalk.heads.flame_export import checked_flame, export_flame

        checked_flame(head)
    elif any(head_flags.values()):
        raise DtalkError("curves fit any head: --head, --shape and --masks need --format flame")
    model = _load_model(**engine_flags)
    manner = _manner(model, manner_flags)

    def work(job: Job, bars: Bars) -> int:
        motion = animate_file(model, job.source, manner)
        for output in job.outputs:
            if is_flame(output):
                fit = export_flame(motion, head, output)
                bars.note(f"{output}: {fit.accuracy}")
            else:
                write_motion(motion, output)
        return len(motion)

    _run_batch("animate", jobs, work, force)


@app.command()
@_takes(Showing, Look, HeadChoice, Manner, Engine)
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
    size: Annotated[str, typer.Option(help="pixels: 512, or 1280x720")] = "512",
    force: Force = False,
    showing_flags: Settings = {},  # noqa: B006
    look_flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    manner_flags: Settings = {},  # noqa: B006
    engine_flags: Settings = {},  # noqa: B006
) -> None:
    """Draw a talking head: mp4 with sound, or PNGs.

    Inputs are motion, or speech, which is animated first.
    """
    from dtalk.utils.files import expand_inputs
    from dtalk.video.inputs import RENDERED_SUFFIXES, is_motion, without_own_audio

    showing = Showing(**_tuples(showing_flags))
    found = without_own_audio(expand_inputs(inputs, set(RENDERED_SUFFIXES)))
    if audio is not None and len(found) > 1 and not showing.side_by_side:
        raise DtalkError(f"--audio names one sound, but there are {len(found)} inputs")
    pixels = _parse_size(size)
    head = _load_head(**head_flags)

    from dtalk.video.render_job import Production, planned

    jobs, moments, panels = planned(found, out, showing)
    speaks = any(not is_motion(path) for path, _ in found)
    model = _load_model(**engine_flags) if speaks else None
    production = Production(
        audio,
        pixels,
        Look(**look_flags),
        head,
        manner=_manner(model, manner_flags),
        engine=Engine(**engine_flags),
        moments=moments,
        life=showing.life,
        together=panels,
    )

    def work(job: Job, bars: Bars) -> int:
        return production.make(job, partial(bars.frame_done, job.source.name))

    if production.comment:
        typer.echo(f"note: {production.comment} (--life)", err=True)
    _run_batch(
        "render", jobs, work, force, production.make if showing.jobs > 1 else None, showing.jobs
    )


@app.command()
@_takes(EvaluationConfig, HeadChoice, Hearing)
def evaluate(
    data: Annotated[
        Path,
        typer.Option(help="data folder: clips.csv, BEAT, 3D-ETF, or VOCASET with a FLAME --head"),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="model file, or FILE@STEPS; repeatable [the one that ships, without --pred]"
        ),
    ] = None,
    pred: Annotated[
        list[Path] | None,
        typer.Option(help="folder of another system's predictions, a file a clip; repeatable"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="write all figures to this file")] = None,
    csv: Annotated[Path | None, typer.Option(help="write the tables to this file")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="write each clip's figures to this csv")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw curves and tables into this folder")
    ] = None,
    flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    hearing: Settings = {},  # noqa: B006
) -> None:
    """Score models and predictions on tracked faces.

    Models infer everything from the sound.
    """
    from dtalk.evaluation import comparison
    from dtalk.utils.files import check_output

    table = plot and plot / "table.png"
    for place in filter(None, (json, csv, clips, table)):
        check_output(place)
    config = EvaluationConfig(**_tuples(flags))
    # Named twice, a model still is one row.
    specs = list(
        dict.fromkeys(_model_and_steps(text, config.steps) for text in weights or () if text)
    )
    if not specs and not pred:
        specs = [(None, config.steps)]
    head = _load_head(**head_flags)
    systems = _systems(data, specs, pred or [], head, config, hearing)
    if config.intervals:
        comparison.add_intervals(systems)
    _show_systems(systems, config)
    if plot is not None:
        for path in comparison.draw(systems, plot, f"{data.resolve().name}, {config.split}"):
            typer.echo(str(path))
    if json is not None:
        comparison.write_report(systems, json, data, config)
    if csv is not None:
        comparison.write_table(systems, csv)
    if clips is not None:
        comparison.write_clips(systems, clips)


Spec = tuple[Path | None, int | None]
"""A model file, None for the one that ships, and its steps, None for its own."""


def _systems(
    data: Path,
    specs: Sequence[Spec],
    folders: Sequence[Path],
    head: Head,
    config: EvaluationConfig,
    hearing: Settings,
) -> list[System]:
    """All rows of the comparison, models first."""
    models = [_load_model(path, **hearing) for path, _ in specs]
    if config.rest is not None:
        models = [model.changed(rest=config.rest) for model in models]
    clips, trained = _clips_to_compare(data, head, config)
    systems = []
    for model, (path, steps), name in zip(models, specs, _names(models, specs)):
        system = _judged_model(model, name, clips, head, config, steps)
        if config.speed:
            system.tables["cost"] = _cost(model, path, steps)
        systems.append(system)
    for folder, name in zip(folders, _folder_names(folders, [s.name for s in systems])):
        systems.append(_judged_folder(folder, name, clips, data, trained, head))
    return systems


def _show_systems(systems: Sequence[System], config: EvaluationConfig) -> None:
    from dtalk.cli.console import show, show_comparison, show_system
    from dtalk.cli.tables import interval_table

    title = f"{config.split}, one sample"
    by_name = {system.name: system.tables for system in systems}
    for name, tables in by_name.items():
        show_system(name, tables, config.split, config.samples)
    if len(systems) > 1 or config.speed:
        show_comparison(title, by_name)
    if config.intervals:
        show(interval_table(title, by_name))


def _clips_to_compare(
    data: Path, head: Head, config: EvaluationConfig
) -> tuple[list[LoadedClip], tuple[str, ...]]:
    """The clips, and the speakers that systems which do not say have seen: those trained on."""
    from dtalk.cli.console import counting, warn
    from dtalk.data.clips import few, labels_of, load_clips, read_index, select
    from dtalk.data.vocaset import SUBJECTS, is_vocaset

    if is_vocaset(data):
        from dtalk.evaluation.vertex_clips import meshed_clips

        with counting("reading sentences", "sentences") as progress:
            return meshed_clips(data, config.split, head, warn, progress), SUBJECTS["train"]
    index = read_index(data, warn)
    clips = select(index, config.split, config.sets)
    if not any(clip.motion for clip in clips):
        raise DtalkError(
            f"{data} has no clip with motion in its {config.split} split to compare with"
        )
    with counting("reading clips", "clips") as progress:
        loaded, failures = load_clips(clips, progress)
    for line in few(failures):
        warn(f"left out: {line}")
    return loaded, labels_of(select(index, "train"))[0]


def _judged_model(
    model: DiffusionTalker,
    name: str,
    clips: list[LoadedClip],
    head: Head,
    config: EvaluationConfig,
    steps: int | None,
) -> System:
    from dtalk.cli.console import counting
    from dtalk.evaluation.comparison import judge_model

    with counting(f"scoring {name}", "clips") as progress:
        return judge_model(model, name, clips, head, config.samples, config.seed, steps, progress)


def _judged_folder(
    folder: Path,
    name: str,
    clips: list[LoadedClip],
    data: Path,
    seen: Sequence[str],
    head: Head,
) -> System:
    from dtalk.cli.console import counting, warn
    from dtalk.data.clips import few
    from dtalk.evaluation.comparison import judge_folder

    with counting(f"scoring {name}", "clips") as progress:
        system = judge_folder(folder, name, clips, data, seen, head, progress)
    for line in few(system.failures):
        warn(f"{name}: left out: {line}")
    return system


def _folder_names(folders: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """The folders' own names, or their whole paths where those are not their own alone."""
    names = [folder.resolve().name for folder in folders]
    return [
        str(folder) if [*names, *taken].count(name) > 1 else name
        for folder, name in zip(folders, names)
    ]


def _cost(model: DiffusionTalker, path: Path | None, steps: int | None) -> dict[str, Any]:
    from dtalk.evaluation.benchmark import cost
    from dtalk.inference import model_path

    return asdict(cost(model, model_path(path), steps))


def _model_and_steps(text: str, steps: int | None) -> Spec:
    """``FILE@STEPS`` as the file and the number of steps; without ``@``, ``steps``."""
    place, _, count = text.rpartition("@")
    if place and count.isdecimal() and not Path(text).exists():
        if not 1 <= int(count) <= MOST_STEPS:
            raise DtalkError(f"--weights {text}: steps are 1 to {MOST_STEPS}")
        return Path(place), int(count)
    return Path(text) if text else None, steps


def _names(models: Sequence[DiffusionTalker], specs: Sequence[Spec]) -> list[str]:
    """A name for each row: the file's, or its whole path where several are called alike."""
    stems = [model.name for model in models]
    paths = {path for path, _ in specs}
    alike = len({path.stem for path in paths if path}) < len([path for path in paths if path])
    return [
        (str(path) if alike and path else stem) + (f"@{count}" if count else "")
        for stem, (path, count) in zip(stems, specs)
    ]


@app.command()
@_takes(TrainingConfig, ModelConfig)
def train(
    data: Annotated[Path, typer.Option(help="data folder: clips.csv, BEAT or 3D-ETF")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for weights, state and log")],
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

    _set_threads(threads)
    model = _tuples(model_flags)
    config = TrainingConfig(data, out, model=model, **_tuples(training_flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with TrainingProgress() as observer:
        Trainer(config, observer, command).run()


@app.command()
@_takes(DistillationConfig)
def distill(
    teacher: Annotated[Path, typer.Option(help="model file of the teacher")],
    data: Annotated[Path, typer.Option(help="data folder: clips.csv, BEAT or 3D-ETF")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for students, states and logs")],
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

    _set_threads(threads)
    config = DistillationConfig(data=data, out=out, teacher=teacher, **_tuples(flags))
    command = shlex.join(["dtalk", *sys.argv[1:]])
    with TrainingProgress() as observer:
        distil(config, observer, command, report)


def _tuples(flags: Settings) -> Settings:
    """Repeatable flags as tuples, as the settings have them."""

    def plain(value: Any) -> Any:
        return value.value if isinstance(value, Enum) else value

    return {k: tuple(map(plain, v)) if isinstance(v, list) else v for k, v in flags.items()}


def _suffixes(formats: Sequence[str] | None, out: Path | None) -> list[str]:
    """The suffixes to write: of the formats asked for, else of the output file, else npz."""
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


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _load_head(head: Path | None, shape: str, masks: Path | None) -> Head:
    """The head that the flags name; a bar shows while shapes are carried to it."""
    from dtalk.heads.head import built_in

    if head is None and not shape and masks is None:
        return built_in()  # at once: the modules that carry shapes over take 0.3 s to import

    from dtalk.cli.console import counting
    from dtalk.heads.load import load_head, parse_shape

    with counting("carrying shapes to the head", "steps") as progress:
        return load_head(head, parse_shape(shape), masks, progress)


def _load_model(
    weights: Path | None,
    encoder: str | None,
    cache: Path | None,
    device: str,
    threads: int | None,
) -> DiffusionTalker:
    from dtalk.inference import load

    _set_threads(threads)
    return load(weights, device, encoder, cache)


def _manner(model: DiffusionTalker | None, flags: Settings) -> Manner:
    """The flags as a manner; a label the model does not know stops everything at once."""
    manner = Manner(**flags)
    for kind, label in (("identity", manner.identity), ("emotion", manner.emotion)):
        if model is not None and label != AUTO:
            getattr(model.personalizer, kind).check(label, kind)
    return manner


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
