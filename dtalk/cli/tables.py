"""Tables of figures in the paper's style: a row a system, best bold, second underlined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from dtalk.evaluation.metrics import Better, loss

Tables = Mapping[str, Any]
"""Of one system: see :mod:`dtalk.evaluation.comparison`."""


@dataclass(frozen=True)
class Column:
    """A column: the figure's place in the tables, heading, direction and format."""

    key: str
    heading: str
    better: Better = "lower"
    form: str = ".3f"
    factor: float = 1.0
    table: str = "sample"

    def value(self, tables: Tables) -> float:
        """Get the figure of one system; NaN where it has none."""
        found = tables.get(self.table, {})
        if self.table != "cost":
            found = found.get("all", {})  # nothing without clips to compare with
        value = found.get(self.key)
        return math.nan if value is None else self.factor * value


FIGURES = (
    Column("lve_of_static", "LVE"),
    Column("lve", "LVE mm²"),
    Column("eve_of_static", "EVE"),
    Column("fdd_mm_of_static", "FDD-mm"),
    Column("opening_r", "open r", "higher"),
    Column("rounding_r", "round r", "higher"),
    Column("closure_recall", "closure", "higher"),
    Column("acceleration", "accel.", "one"),
)
"""What every table of scores shows; LVE, EVE and FDD-mm as fractions of a static face's."""

DETAILS = (
    *FIGURES,
    Column("identity", "identity", "higher", table="retrieval"),
    Column("emotion", "emotion", "higher", table="retrieval"),
    Column("diversity", "diversity mm", "higher"),
)

PAPER = (
    Column("eve", "EVE"),
    Column("lve", "LVE mm²"),
    Column("fdd_abs", "|FDD| mm²"),
    Column("frames_per_second", "frames/s", "higher", ",.0f", table="cost"),
    Column("seconds", "10 s: ms", "lower", ".1f", 1000, "cost"),
    Column("short_seconds", "1 s: ms", "lower", ".1f", 1000, "cost"),
    Column("batch_frames_per_second", "batch frames/s", "higher", ",.0f", table="cost"),
    Column("megabytes", "MB", "lower", ".1f", table="cost"),
    Column("disk_megabytes", "MB disk", "lower", ".1f", table="cost"),
)
"""The columns of the paper's Table I, with EVE as it measures it, in coefficients."""

SAME = 1e-6  # what the rounding of a text file does is no difference
SURE = ("lve_of_static", "eve_of_static", "fdd_mm_of_static", "opening_r", "closure_recall")


def paper_table(title: str, systems: Mapping[str, Tables]) -> Table:
    """Make Table I: EVE, LVE and the absolute FDD of one sample; speed and size where measured."""
    return _table(title, systems, PAPER)


def comparison_table(title: str, systems: Mapping[str, Tables]) -> Table:
    """Make the table of all other columns: see :data:`DETAILS`."""
    return _table(title, systems, DETAILS)


def _table(title: str, systems: Mapping[str, Tables], columns: Sequence[Column]) -> Table:
    """Make a table with a row a system; columns without any figure are left out."""
    table = plain_table(title)
    cells = []
    for column in columns:
        values = [column.value(tables) for tables in systems.values()]
        if all(math.isnan(value) for value in values):
            continue
        table.add_column(column.heading, justify="right", no_wrap=True)
        cells.append(marked(values, column))
    for name, row in zip(systems, zip(*cells)):
        table.add_row(escape(name), *row)
    return table


def marked(values: Sequence[float], column: Column) -> list[str]:
    """Format a column: the best figure bold, the second underlined, of two or more.

    Equals are marked alike; what is not known is a dash.
    """
    ranks = sorted({loss(value, column.better) for value in values if not math.isnan(value)})
    styles = dict(zip(ranks[:2], ("bold", "underline"))) if len(values) > 1 else {}

    def cell(value: float) -> str:
        style = styles.get(loss(value, column.better))
        text = printed(value, column.form)
        return f"[{style}]{text}[/{style}]" if style else text

    return [cell(value) for value in values]


def printed(value: float, form: str = ".3f") -> str:
    """Format a figure; an unknown one is a dash."""
    return "–" if math.isnan(value) else format(value, form)


def interval_table(title: str, systems: Mapping[str, Tables]) -> Table:
    """Make the table of 95 % intervals; a star marks a difference to the first system."""
    table = plain_table(f"{title}: 95 % over clips; *: differs from {next(iter(systems))}")
    columns = [column for column in FIGURES if column.key in SURE]
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, tables in systems.items():
        table.add_row(escape(name), *(_interval_cell(tables, column) for column in columns))
    return table


def _interval_cell(tables: Tables, column: Column) -> str:
    low, high = tables["intervals"][column.key]
    if math.isnan(low):
        return "–"
    less, more = tables.get("difference", {}).get(column.key, (math.nan, math.nan))
    star = "*" if less > SAME or more < -SAME else " "
    return f"{column.value(tables):.3f} ({low:.3f} to {high:.3f}){star}"


def score_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Make a table of scores, a row a name, with the number of clips where it is known."""
    table = plain_table(title)
    for column in FIGURES:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, scores in rows.items():
        count = f" ({scores['clips']:.0f})" if "clips" in scores else ""
        table.add_row(escape(name) + count, *(printed(scores[c.key]) for c in FIGURES))
    return table


def retrieval_line(group: str, found: Mapping[str, float]) -> str:
    """Format the personalizer's accuracy as one line."""
    return f"retrieval, top-1, {group}: " + ", ".join(f"{k} {printed(v)}" for k, v in found.items())


def plain_table(title: str) -> Table:
    """Make an empty table with a title and a column for names."""
    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    return table
