"""Systems side by side: models and other systems' predictions on the same clips, in one table.

A system's ``tables`` are those of :func:`dtalk.evaluation.evaluate.assess` (``sample``, ``mean`` and
``retrieval``), beside them ``cost`` where speed and size were measured, and ``intervals`` and
``difference`` where they were asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dtalk.config import EvaluationConfig
from dtalk.data.clips import LoadedClip, Progress
from dtalk.errors import DataError, DtalkError
from dtalk.evaluation.benchmark import machine
from dtalk.evaluation.bootstrap import Interval, interval, resampled_means, resamples
from dtalk.evaluation.evaluate import (
    OF_STATIC,
    ClipResult,
    assess,
    evaluate,
    groups,
    judge,
    summaries,
    write_figures,
)
from dtalk.evaluation.plots import Metric, plot_curves, plot_errors, plot_table
from dtalk.evaluation.predictions import check_fits, find_prediction, read_prediction
from dtalk.evaluation.scoring import Array
from dtalk.heads.head import Head
from dtalk.model import DiffusionTalker
from dtalk.utils.files import atomic_path


@dataclass(frozen=True)
class System:
    """A row of the comparison: results in the order of the data's clips, and their tables."""

    name: str
    results: list[ClipResult]
    tables: dict[str, Any]
    failures: list[str] = field(default_factory=list)


def judge_model(
    model: DiffusionTalker,
    name: str,
    clips: Sequence[LoadedClip],
    head: Head,
    samples: int = 1,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> System:
    """A model of ours on the clips, everything inferred from the sound."""
    results = _in_order(evaluate(model, clips, head, samples, seed, steps, progress), clips)
    return System(name, results, assess(model, clips, results))


def judge_folder(
    folder: Path,
    name: str,
    clips: Sequence[LoadedClip],
    data: Path,
    seen: Sequence[str],
    head: Head,
    progress: Progress | None = None,
) -> System:
    """Another system's predictions on the clips; ``failures`` has a line a clip left out.

    ``seen``: speakers to count as seen.

    Raises:
        DataError: the folder is missing, or predicts none of the clips.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder of predictions: {folder}")
    failures: list[str] = []
    moving = [clip for clip in clips if clip.tracked]
    found = _read_all(folder, moving, data, head, failures, progress)
    results = _in_order(judge(found, head), clips)
    if not results:
        told = failures[0] if failures else "there is no clip with motion"
        raise DataError(f"{folder} predicts no clip of {data}: {told}")
    return System(name, results, summaries(groups(results, seen)), failures)


def _read_all(
    folder: Path,
    clips: Sequence[LoadedClip],
    data: Path,
    head: Head,
    failures: list[str],
    progress: Progress | None,
) -> Iterator[tuple[LoadedClip, Array]]:
    """Clips with their one prediction ``[1, T, ...]``; what cannot be read goes to ``failures``."""
    for done, clip in enumerate(clips, 1):
        try:
            path = find_prediction(folder, clip.clip, data)
            if path is None:
                raise DataError(f"{folder} holds no prediction")
            face = read_prediction(path, clip.frames)
            check_fits(face, path, head)
            yield clip, face[None]
        except DtalkError as error:
            failures.append(f"{clip.clip.name}: {error}")
        if progress:
            progress(done, len(clips))


def _in_order(results: Sequence[ClipResult], clips: Sequence[LoadedClip]) -> list[ClipResult]:
    """In the order of the data, whatever order the work was done in: tables and resamples of two
    systems then go through the clips alike."""
    place = {id(clip): index for index, clip in enumerate(clips)}
    return sorted(results, key=lambda result: place[id(result.clip)])


# How sure -----------------------------------------------------------------------------------------


def add_intervals(systems: Sequence[System]) -> None:
    """Add ``intervals`` (95 % over clips, of one sample) and ``difference`` to the tables.

    Both hold pairs by figure. The difference is to the first system, on the clips both have; a
    pair that does not hold 0 calls it one.
    """
    for system in systems:
        everyone = range(len(system.results))
        system.tables["intervals"] = {
            key: interval(means) for key, means in _resampled(system, everyone).items()
        }
    for system in systems[1:]:
        system.tables["difference"] = difference(systems[0], system)


def difference(first: System, other: System) -> dict[str, Interval]:
    """How much more ``other``'s figures are than ``first``'s: 95 % over resampled common clips."""
    pairs = _common(first, other)
    ours = _resampled(first, [a for a, _ in pairs])
    theirs = _resampled(other, [b for _, b in pairs])
    return {key: interval(theirs[key] - means) for key, means in ours.items() if key in theirs}


def _common(first: System, other: System) -> list[tuple[int, int]]:
    place = {id(result.clip): index for index, result in enumerate(other.results)}
    return [
        (index, place[id(result.clip)])
        for index, result in enumerate(first.results)
        if id(result.clip) in place
    ]


def _resampled(system: System, members: Sequence[int]) -> dict[str, np.ndarray]:
    """Every figure of :func:`dtalk.evaluation.evaluate.summarise` on the resamples of some clips."""
    results = [system.results[index] for index in members]
    if not results:
        return {}
    chosen = resamples(len(results))

    def values(kind: str, key: str) -> np.ndarray:
        return np.array([getattr(result, kind)[key] for result in results], dtype=np.float64)

    plain = {key: resampled_means(values("sample", key), None, chosen) for key in results[0].sample}
    fractions = {
        name: resampled_means(values("sample", key), values("static", key), chosen)
        for name, key in OF_STATIC.items()
    }
    return plain | fractions


# Pictures -----------------------------------------------------------------------------------------

PLOTTED: tuple[Metric, ...] = (
    ("lve_of_static", "LVE / static", "lower"),
    ("eve_of_static", "EVE / static", "lower"),
    ("fdd_mm_of_static", "FDD-mm / static", "lower"),
    ("opening_r", "opening r", "higher"),
    ("rounding_r", "rounding r", "higher"),
    ("closure_recall", "closure", "higher"),
    ("acceleration", "acceleration", "one"),
)


def draw(systems: Sequence[System], folder: Path, title: str) -> list[Path]:
    """Draw ``table.png`` into a folder, and for the first clip of each data set that all systems
    have its curves and its errors over time; the files.

    Raises:
        DtalkError: matplotlib is missing, or the place cannot be written.
    """
    rows = {system.name: system.tables["sample"].get("all", {}) for system in systems}
    low, high = (
        {
            system.name: {key: pair[end] for key, pair in system.tables["intervals"].items()}
            for system in systems
            if "intervals" in system.tables
        }
        for end in (0, 1)
    )
    drawn = [folder / "table.png"]
    plot_table(drawn[0], rows, PLOTTED, low, high, title)
    for results in _examples(systems):
        drawn += _draw_clip(results, folder)
    return drawn


def _examples(systems: Sequence[System]) -> list[dict[str, ClipResult]]:
    """Results by system, for the first clip of each data set that all have."""
    tables = [{id(result.clip): result for result in system.results} for system in systems]
    chosen: dict[str, dict[str, ClipResult]] = {}
    for place, result in tables[0].items():
        if result.clip.clip.set not in chosen and all(place in table for table in tables):
            names = [system.name for system in systems]
            chosen[result.clip.clip.set] = dict(zip(names, (table[place] for table in tables)))
    return list(chosen.values())


def _draw_clip(results: Mapping[str, ClipResult], folder: Path) -> list[Path]:
    clip = next(iter(results.values())).clip
    name = clip.clip.name.replace("/", "-")
    drawn = [folder / f"errors-{name}.png"]
    errors = {key: result.errors for key, result in results.items() if result.errors is not None}
    plot_errors(drawn[0], errors, clip.clip.name, "largest error of a lip vertex, mm")
    curves = {key: result.curves for key, result in results.items() if result.curves is not None}
    if clip.coefficients is not None and curves:
        drawn.append(folder / f"curves-{name}.png")
        plot_curves(drawn[1], clip.coefficients, curves, clip.clip.name)
    return drawn


# Files --------------------------------------------------------------------------------------------


def write_report(
    systems: Sequence[System], path: Path, data: Path, config: EvaluationConfig
) -> None:
    """Write a json with all tables by system, what was asked for, and on which machine.

    Raises:
        DtalkError: the place cannot be written.
    """
    asked = {"data": str(data), **asdict(config)}
    by_name = {system.name: system.tables for system in systems}
    write_figures({"settings": asked, "machine": machine(), "systems": by_name}, path)


def write_table(systems: Sequence[System], path: Path) -> None:
    """Write a csv with a row for every system, kind (sample, mean) and group of clips.

    Speed and size stand in the rows of one sample of all clips. Undefined figures are empty.

    Raises:
        DtalkError: the place cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for system in systems:
        for kind in ("sample", "mean"):
            for group, scores in system.tables.get(kind, {}).items():
                row = {"system": system.name, "kind": kind, "group": group, **scores}
                if (kind, group) == ("sample", "all"):
                    row |= system.tables.get("cost", {})
                rows.append(row)
    _write_rows(rows, path)


def write_clips(systems: Sequence[System], path: Path) -> None:
    """Write a csv with a row for every system and clip, of one sample.

    Raises:
        DtalkError: the place cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for system in systems:
        for result in system.results:
            clip = result.clip.clip
            labels = {"set": clip.set, "clip": clip.name, "speaker": clip.speaker}
            more = {"emotion": clip.emotion, "frames": result.clip.frames}
            rows.append({"system": system.name, **labels, **more, **result.sample})
    _write_rows(rows, path)


def _write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and np.isnan(value) else value
