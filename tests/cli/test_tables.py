"""Tables: what stands where, and what is marked as best."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from dtalk.cli import console
from dtalk.cli.tables import (
    DETAILS,
    FIGURES,
    PAPER,
    Column,
    comparison_table,
    interval_table,
    marked,
    paper_table,
    retrieval_line,
)

NAN = math.nan
SCORES = {
    **{column.key: 0.5 + 0.001 * k for k, column in enumerate(FIGURES)},
    "eve": 0.125,
    "fdd_abs": 3.0,
}
COST = {
    "frames_per_second": 5000.4,
    "seconds": 0.06,
    "short_seconds": 0.0123,
    "batch_frames_per_second": 12345.6,
    "megabytes": 7.26,
    "disk_megabytes": 7.31,
}
TABLES = {"sample": {"all": SCORES}, "retrieval": {"all": {"identity": 0.875, "emotion": 0.625}}}


def lines_of(table, width: int = 200) -> list[list[str]]:
    page = io.StringIO()
    Console(file=page, width=width).print(table)
    return [line.split() for line in page.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("better", "values", "expected"),
    [
        ("lower", [2.0, 1.0, 3.0], ["[underline]2.0[/underline]", "[bold]1.0[/bold]", "3.0"]),
        ("higher", [2.0, 1.0, 3.0], ["[underline]2.0[/underline]", "1.0", "[bold]3.0[/bold]"]),
        ("one", [0.5, 1.2, 0.9], ["0.5", "[underline]1.2[/underline]", "[bold]0.9[/bold]"]),
        ("lower", [NAN, 4.0, NAN], ["–", "[bold]4.0[/bold]", "–"]),
        ("lower", [1.0, 1.0, 2.0], ["[bold]1.0[/bold]"] * 2 + ["[underline]2.0[/underline]"]),
        ("lower", [3.0], ["3.0"]),  # alone it is not best
        ("lower", [], []),
    ],
)
def test_the_best_is_bold_and_the_second_underlined(better, values, expected):
    assert marked(values, Column("", "", better, ".1f")) == expected


def test_the_papers_columns():
    lines = lines_of(paper_table("models", {"a": TABLES, "b": {**TABLES, "cost": COST}}))
    assert lines[0] == ["models"]
    headings = "EVE LVE mm² |FDD| mm² frames/s 10 s: ms 1 s: ms batch frames/s MB MB disk"
    assert lines[1] == headings.split()
    assert lines[2] == ["a", "0.125", "0.501", "3.000", *["–"] * 6]
    costs = ["5,000", "60.0", "12.3", "12,346", "7.3", "7.3"]
    assert lines[3] == ["b", "0.125", "0.501", "3.000", *costs]


def test_the_other_columns():
    lines = lines_of(comparison_table("models", {"teacher@2": TABLES, "[b]": TABLES}))
    scores = [f"{SCORES[column.key]:.3f}" for column in FIGURES] + ["0.875", "0.625"]
    assert lines[1][-2:] == ["identity", "emotion"]
    assert lines[2:] == [["teacher@2", *scores], ["[b]", *scores]]


def test_columns_that_nobody_has_are_left_out():
    assert lines_of(paper_table("", {"a": TABLES}))[-2] == ["EVE", "LVE", "mm²", "|FDD|", "mm²"]
    only = {"sample": {"all": SCORES}}
    assert "identity" not in lines_of(comparison_table("", {"a": only}))[-2]
    with_diversity = {"sample": {"all": {**SCORES, "diversity": 1.5}}}
    lines = lines_of(comparison_table("", {"a": only, "b": with_diversity}))
    assert lines[-3][-2:] == ["diversity", "mm"]
    assert (lines[-2][-1], lines[-1][-1]) == ("–", "1.500")


def test_a_system_without_clips_with_motion():
    empty = {"sample": {}, "retrieval": {"all": {"identity": 1.0, "emotion": NAN}}}
    assert lines_of(comparison_table("", {"a": empty}))[-1] == ["a", "1.000"]


def test_what_was_not_retrieved_is_a_dash():
    found = {"identity": 0.875, "emotion": NAN}
    assert retrieval_line("all", found) == "retrieval, top-1, all: identity 0.875, emotion –"


def test_no_figure_stands_in_two_columns():
    for columns in (DETAILS, PAPER):
        assert len({column.heading for column in columns}) == len(columns)


def test_tables_are_not_cut_on_a_narrow_page(monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=page, width=40))
    console.show_comparison("models", {"student": {**TABLES, "cost": COST}})
    assert "…" not in page.getvalue()
    assert "5,000" in page.getvalue()
    assert "0.625" in page.getvalue()


def test_intervals_and_which_differences_are_some():
    keys = [column.key for column in FIGURES]
    intervals = dict.fromkeys(keys, (0.25, 0.75))
    difference = {
        "lve_of_static": (0.1, 0.2),
        "eve_of_static": (-0.2, -0.1),
        "fdd_mm_of_static": (-0.1, 0.1),
        "opening_r": (1e-9, 2e-9),
        "closure_recall": (NAN, NAN),
    }
    first = {**TABLES, "intervals": {**intervals, "closure_recall": (NAN, NAN)}}
    other = {**TABLES, "intervals": intervals, "difference": difference}
    lines = lines_of(interval_table("val", {"a": first, "b": other}))
    assert lines[0] == ["val:", "95", "%", "over", "clips;", "*:", "differs", "from", "a"]
    marks = [word for word in lines[3] if word.startswith("0.75")]
    assert marks == ["0.750)*", "0.750)*", "0.750)", "0.750)", "0.750)"]
    assert lines[2][-1] == "–"
    assert lines[2][1:5] == ["0.500", "(0.250", "to", "0.750)"]
