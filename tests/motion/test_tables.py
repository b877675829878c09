"""Tables as programs and spreadsheets write them."""

from __future__ import annotations

import pytest

from dtalk.errors import MotionError
from dtalk.motion.tables import Table, read_table


def table(tmp_path, text: str) -> Table:
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8"))
    return read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1.5,2\n",
        "a;b\n1,5;2\n",
        "a;b\r\n1.5;2\r\n",
        "a\tb\n1,5\t2\n",
        '\ufeff"a","b"\n\n"1.5","2"\n,\n',
        " a , b \n 1.5 , 2 \n",
    ],
)
def test_separators_points_and_quotes(tmp_path, text):
    found = table(tmp_path, text)
    assert list(found.names) == ["a", "b"]
    assert found.numbers([0, 1]) == [[1.5, 2.0]]
    assert found.numbers([1]) == [[2.0]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1", "line 3: 1 fields, the header has 2"),
        ("1,2,3", "line 3: 3 fields, the header has 2"),
        ("1,x", "line 3: b is 'x', not a number"),
        ("1,", "line 3: b is '', not a number"),
        ("1,nan", "line 3: b is nan, not a finite number"),
        ("1,-inf", "line 3: b is -inf, not a finite number"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, row, reason):
    found = table(tmp_path, f"a,b\n1,2\n{row}\n")
    with pytest.raises(MotionError, match=reason):
        found.numbers([0, 1])


def test_a_comma_is_no_decimal_point_where_it_separates(tmp_path):
    found = table(tmp_path, 'a,b\n"1,5",2\n')
    with pytest.raises(MotionError, match="'1,5', not a number"):
        found.numbers([0])


def test_an_endless_field_is_no_table(tmp_path):
    with pytest.raises(MotionError, match="line 2: field larger than field limit"):
        table(tmp_path, "a,b\n" + "9" * 200_000)


@pytest.mark.parametrize("text", ["", "\n", "a,b"])
def test_without_rows(tmp_path, text):
    assert table(tmp_path, text).rows == []
