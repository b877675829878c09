"""Files of a comparison: plots, json and csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dtalk.evaluation.benchmark import machine
from dtalk.evaluation.comparison import System
from dtalk.evaluation.config import EvaluationConfig
from dtalk.evaluation.evaluate import ClipResult, write_figures
from dtalk.evaluation.plots import Metric, plot_curves, plot_errors, plot_table
from dtalk.utils.files import atomic_path

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


def write_plots(systems: Sequence[System], folder: Path, title: str) -> list[Path]:
    """Plot ``table.png`` into a folder, and curves and errors over time of some clips.

    Those are the first of each data set that all systems have. Returns the files.

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
    written = [folder / "table.png"]
    plot_table(written[0], rows, PLOTTED, low, high, title)
    for results in _examples(systems):
        written += _plot_clip(results, folder)
    return written


def _examples(systems: Sequence[System]) -> list[dict[str, ClipResult]]:
    """Choose the first clip of each data set that all systems have; results by system."""
    tables = [{id(result.clip): result for result in system.results} for system in systems]
    chosen: dict[str, dict[str, ClipResult]] = {}
    for place, result in tables[0].items():
        if result.clip.clip.set not in chosen and all(place in table for table in tables):
            names = [system.name for system in systems]
            chosen[result.clip.clip.set] = dict(zip(names, (table[place] for table in tables)))
    return list(chosen.values())


def _plot_clip(results: Mapping[str, ClipResult], folder: Path) -> list[Path]:
    clip = next(iter(results.values())).clip
    name = clip.clip.name.replace("/", "-")
    written = [folder / f"errors-{name}.png"]
    errors = {key: result.errors for key, result in results.items() if result.errors is not None}
    plot_errors(written[0], errors, clip.clip.name, "largest error of a lip vertex, mm")
    curves = {key: result.curves for key, result in results.items() if result.curves is not None}
    if clip.coefficients is not None and curves:
        written.append(folder / f"curves-{name}.png")
        plot_curves(written[1], clip.coefficients, curves, clip.clip.name)
    return written


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
