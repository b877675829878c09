"""``dtalk evaluate``: which systems are scored on which clips, and where the figures go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtalk.config import MOST_STEPS, HeadChoice, RuntimeOptions, WorkOptions
from dtalk.errors import DtalkError
from dtalk.evaluation.config import EvaluationConfig
from dtalk.utils.settings import REPORTS

if TYPE_CHECKING:
    from dtalk.data.clips import LoadedClip
    from dtalk.evaluation.by_workers import ScoreJob
    from dtalk.evaluation.comparison import System
    from dtalk.heads.head import Head
    from dtalk.model import DiffusionTalker
from dtalk.cli.flags import Settings, as_tuples, takes
from dtalk.cli.loading import head_of, model_of, shared_out


@takes(EvaluationConfig, HeadChoice, RuntimeOptions, WorkOptions)
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
    json: Annotated[
        Path | None, typer.Option(help="write all figures to this file", rich_help_panel=REPORTS)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="write the tables to this file", rich_help_panel=REPORTS)
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="write each clip's figures to this csv", rich_help_panel=REPORTS),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="draw curves and tables into this folder", rich_help_panel=REPORTS),
    ] = None,
    flags: Settings = {},  # noqa: B006
    head_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
    work_flags: Settings = {},  # noqa: B006
) -> None:
    """Score models and predictions on tracked faces.

    Models infer everything from the sound.
    """
    from dtalk.evaluation import report
    from dtalk.evaluation.bootstrap import add_intervals
    from dtalk.evaluation.plots import check_matplotlib
    from dtalk.utils.files import check_output

    if plot is not None:
        check_matplotlib()
    table = plot and plot / "table.png"
    for place in filter(None, (json, csv, clips, table)):
        check_output(place)
    config = EvaluationConfig(**as_tuples(flags))
    # Named twice, a model still is one row.
    specs = list(
        dict.fromkeys(_model_and_steps(text, config.steps) for text in weights or () if text)
    )
    if not specs and not pred:
        specs = [(None, config.steps)]
    head = head_of(**head_flags, cache=runtime_flags["cache"])
    who = WorkOptions(**work_flags)
    systems = _systems(data, specs, pred or [], head, config, runtime_flags, who)
    if config.intervals:
        add_intervals(systems)
    _show_systems(systems, config)
    if plot is not None:
        for path in report.write_plots(systems, plot, f"{data.resolve().name}, {config.split}"):
            typer.echo(str(path))
    if json is not None:
        report.write_report(systems, json, data, config)
    if csv is not None:
        report.write_table(systems, csv)
    if clips is not None:
        report.write_clips(systems, clips)


Spec = tuple[Path | None, int | None]
"""A model file, None for the one that ships, and its steps, None for its own."""


def _systems(
    data: Path,
    specs: Sequence[Spec],
    folders: Sequence[Path],
    head: Head,
    config: EvaluationConfig,
    runtime_flags: Settings,
    who: WorkOptions,
) -> list[System]:
    """Evaluate all systems, models first."""
    from dtalk.evaluation.by_workers import ScoreJob
    from dtalk.heads.head import built_in

    models = [model_of(RuntimeOptions(weights=path, **runtime_flags)) for path, _ in specs]
    if config.close_in_silence is not None:
        models = [model.with_config(close_in_silence=config.close_in_silence) for model in models]
    clips, trained = _clips_to_compare(data, head, config)
    systems = []
    for model, (path, steps), name in zip(models, specs, _names(models, specs)):
        if who.elsewhere:
            runtime = shared_out(RuntimeOptions(weights=path, **runtime_flags), who)
            job = ScoreJob(runtime, config, steps, None if head is built_in() else head)
            system = _evaluated_elsewhere(job, who, model, name, clips)
        else:
            system = _evaluated_model(model, name, clips, head, config, steps)
        if config.speed:
            system.tables["cost"] = _cost(model, path, steps)
        systems.append(system)
    for folder, name in zip(folders, _folder_names(folders, [s.name for s in systems])):
        systems.append(_evaluated_folder(folder, name, clips, data, trained, head))
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
    """Load the clips, and the speakers seen in training, for systems that do not say theirs."""
    from dtalk.cli.console import counting, warn
    from dtalk.data.clips import few, labels_of, load_clips, select
    from dtalk.data.index import read_index
    from dtalk.data.vocaset import SUBJECTS, is_vocaset

    if is_vocaset(data):
        from dtalk.evaluation.vertex_clips import vertex_clips

        with counting("reading sentences", "sentences") as progress:
            return vertex_clips(data, config.split, head, warn, progress), SUBJECTS["train"]
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
    if not loaded:
        raise DtalkError(f"none of the {len(clips)} clips of {data} could be read")
    return loaded, labels_of(select(index, "train"))[0]


def _evaluated_model(
    model: DiffusionTalker,
    name: str,
    clips: list[LoadedClip],
    head: Head,
    config: EvaluationConfig,
    steps: int | None,
) -> System:
    from dtalk.cli.console import counting
    from dtalk.evaluation.comparison import evaluate_model

    with counting(f"scoring {name}", "clips") as progress:
        return evaluate_model(
            model,
            name,
            clips,
            head,
            config.samples,
            config.seed,
            steps,
            progress,
            config.sampler,
        )


def _evaluated_elsewhere(
    job: ScoreJob, who: WorkOptions, model: DiffusionTalker, name: str, clips: list[LoadedClip]
) -> System:
    from dtalk.cli.console import counting
    from dtalk.evaluation.by_workers import evaluate_by
    from dtalk.utils.open_workers import open_workers

    with (
        counting(f"scoring {name}", "clips") as progress,
        open_workers(who.jobs, who.cluster) as workers,
    ):
        return evaluate_by(workers, job, model, name, clips, progress)


def _evaluated_folder(
    folder: Path,
    name: str,
    clips: list[LoadedClip],
    data: Path,
    seen: Sequence[str],
    head: Head,
) -> System:
    from dtalk.cli.console import counting, warn
    from dtalk.data.clips import few
    from dtalk.evaluation.comparison import evaluate_folder

    with counting(f"scoring {name}", "clips") as progress:
        system = evaluate_folder(folder, name, clips, data, seen, head, progress)
    for line in few(system.failures):
        warn(f"{name}: left out: {line}")
    return system


def _folder_names(folders: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """Name folders by their own names, or by their paths where those are not unique."""
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
    """Parse ``FILE@STEPS`` into the file and the number of steps; without ``@``, ``steps``."""
    place, _, count = text.rpartition("@")
    if place and count.isdecimal() and not Path(text).exists():
        if not 1 <= int(count) <= MOST_STEPS:
            raise DtalkError(f"--weights {text}: steps are 1 to {MOST_STEPS}")
        return Path(place), int(count)
    return Path(text) if text else None, steps


def _names(models: Sequence[DiffusionTalker], specs: Sequence[Spec]) -> list[str]:
    """Name each row by its file, or by its path where several files have one name."""
    stems = [model.name for model in models]
    paths = {path for path, _ in specs}
    alike = len({path.stem for path in paths if path}) < len([path for path in paths if path])
    return [
        (str(path) if alike and path else stem) + (f"@{count}" if count else "")
        for stem, (path, count) in zip(stems, specs)
    ]
