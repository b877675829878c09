"""Text tables of motion: a header and rows of numbers, as programs and spreadsheets write them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtalk.errors import MotionError

_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """A header, and rows with the numbers of their lines.

    Attributes:
        names: of the columns.
        rows: line number and cells; lines without any are left out.
        separator: between cells; where it is no comma, a comma may be a number's decimal point.
    """

    names: Sequence[str]
    rows: Sequence[tuple[int, list[str]]]
    separator: str

    def column(self, index: int) -> list[str]:
        """The cells of a column."""
        return [row[index].strip() for _, row in self.rows]

    def numbers(self, columns: Sequence[int]) -> list[list[float]]:
        """The numbers in some columns of all rows.

        Raises:
            MotionError: a row (its line is named) is too short or too long, or holds something
                else than finite numbers.
        """
        values = []
        for line, row in self.rows:
            if len(row) != len(self.names):
                raise MotionError(
                    f"line {line}: {len(row)} fields, the header has {len(self.names)}"
                )
            values.append([self._number(row[column], column, line) for column in columns])
        return values

    def _number(self, cell: str, column: int, line: int) -> float:
        try:
            value = float(cell if self.separator == "," else cell.replace(",", "."))
        except ValueError:
            message = f"line {line}: {self.names[column]} is {cell!r}, not a number"
            raise MotionError(message) from None
        if not math.isfinite(value):
            text = cell.strip()
            raise MotionError(f"line {line}: {self.names[column]} is {text}, not a finite number")
        return value


def read_table(path: Path) -> Table:
    """Read a table whose cells are set apart by commas, semicolons or tabs, as its header is.

    Raises:
        MotionError: a line that is no row of a table.
        OSError, UnicodeDecodeError: not a file that can be read as text.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        separator = max(_SEPARATORS, key=header.count)
        reader = csv.reader(file, delimiter=separator)
        try:
            names = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except csv.Error as error:
            raise MotionError(f"line {reader.line_num}: {error}") from error
    return Table(names, rows, separator)
