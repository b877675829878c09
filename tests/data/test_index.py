"""The index of a data folder: read whatever wrote it, refused where it is none."""

from __future__ import annotations

import pytest
from helpers import (
    COLUMNS,
    write_index,
)
from indices import ROW

from dtalk.data.clips import (
    Clip,
    labels_of,
)
from dtalk.data.index import read_index
from dtalk.errors import DataError

# The index ---------------------------------------------------------------------------------------


def test_read_index(tmp_path):
    full = {"speaker": "ann", "emotion": "sad", "motion": "sub/c.npz", "seconds": "1", "frames": 30}
    write_index(tmp_path, [{**ROW, **full}, {**ROW, "clip": "d", "split": "val"}])
    assert read_index(tmp_path) == [
        Clip("c", "s", "train", "ann", "sad", tmp_path / "c.wav", tmp_path / "sub" / "c.npz"),
        Clip("d", "s", "val", "", "", tmp_path / "c.wav", None),
    ]


def test_columns_may_come_in_any_order_with_others_between(tmp_path):
    row = {**ROW, "speaker": "ann", "note": "x"}
    write_index(tmp_path, [row], ("motion", "speaker", "note", "audio", "emotion", *COLUMNS[:3]))
    assert read_index(tmp_path) == [
        Clip("c", "s", "train", "ann", "", tmp_path / "c.wav", None),
    ]


def test_an_index_as_spreadsheets_save_it(tmp_path):
    """With a byte order mark, as Excel writes utf-8."""
    write_index(tmp_path, [ROW])
    path = tmp_path / "clips.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_index(tmp_path)[0].name == "c"


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], COLUMNS, "names no clips"),
        ([ROW], ("clip", "set", "audio"), "lacks the columns split, speaker, emotion, motion"),
        ([{**ROW, "split": "dev"}], COLUMNS, r"clips.csv:2: split 'dev' is none of train, val"),
        ([ROW, {**ROW, "split": ""}], COLUMNS, r"clips.csv:3: split ''"),
        ([{**ROW, "audio": ""}], COLUMNS, r"clips.csv:2: .*no audio"),
    ],
)
def test_bad_indices(tmp_path, rows, columns, message):
    write_index(tmp_path, rows, columns)
    with pytest.raises(DataError, match=message) as error:
        read_index(tmp_path)
    assert "\n" not in str(error.value)


def test_no_index(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*clips.csv"):
        read_index(tmp_path)
    with pytest.raises(DataError, match=r"nowhere.clips.csv: No such file or directory; a data"):
        read_index(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"\x89PNG\r\n\x1a\n" * 9])
def test_an_index_that_is_none(tmp_path, content):
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"clips.csv"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c,s,train", r"clips.csv:2: the clip names no audio file"),
        ("c,s", r"clips.csv:2: split '' is none of"),
        ("c", r"clips.csv:2: split '' is none of"),
    ],
)
def test_a_row_that_breaks_off_before_what_it_needs(tmp_path, row, message):
    (tmp_path / "clips.csv").write_text(f"clip,set,split,audio,motion,speaker,emotion\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_index(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    """Whichever that is; quoted or not."""
    for first in ("clip", '"clip"'):
        text = f"\ufeff{first},set,split,audio,motion,speaker,emotion\nc,s,train,c.wav,,zoë,sad\n"
        (tmp_path / "clips.csv").write_bytes(text.encode())
        expected = Clip("c", "s", "train", "zoë", "sad", tmp_path / "c.wav", None)
        assert read_index(tmp_path) == [expected]


def test_an_index_written_on_windows(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").touch()
    write_index(
        tmp_path, [{"clip": "x", "split": "val", "audio": r"a\x.wav", "motion": r"m\x.csv"}]
    )
    [clip] = read_index(tmp_path)
    assert (clip.audio, clip.motion) == (tmp_path / "a" / "x.wav", tmp_path / "m" / "x.csv")


def test_a_row_with_too_many_fields(tmp_path):
    (tmp_path / "clips.csv").write_text(
        "clip,set,split,audio,motion,speaker,emotion\nc,s,train,c.wav,,ann,sad,more,still more\n"
    )
    assert read_index(tmp_path)[0].emotion == "sad"


def test_a_row_that_breaks_off_has_no_labels(tmp_path):
    """Fields that are not there are as good as empty ones."""
    (tmp_path / "clips.csv").write_text(
        "clip,set,split,audio,motion,speaker,emotion\nc,s,train,c.wav\nd,s,train,d.wav,,ann,sad\n"
    )
    found = read_index(tmp_path)
    assert (found[0].speaker, found[0].emotion, found[0].motion) == ("", "", None)
    assert labels_of(found) == (("ann",), ("sad",))
