"""Data sets: the index and its errors, selection, loading, epochs and batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    COLUMNS,
    loaded_clip,
    smooth_motion,
    speech,
    write_clip,
    write_data,
    write_index,
)
from hypothesis import given
from hypothesis import strategies as st

from dtalk.data.clips import (
    Clip,
    common_frames,
    few,
    in_pieces,
    labels_of,
    load_clip,
    load_clips,
    select,
)
from dtalk.data.index import read_index
from dtalk.errors import DataError
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.motion.resample import resample_motion
from dtalk.speech.audio import frame_count
from dtalk.training.batches import batches, sample_epoch

ROW = {"clip": "c", "set": "s", "split": "train", "audio": "c.wav"}


def clip(name: str = "c", **fields) -> Clip:
    plain = {"set": "s", "split": "train", "speaker": "", "emotion": "", "motion": None}
    return Clip(name, **{**plain, **fields}, audio=Path("c.wav"))


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


# Selection ---------------------------------------------------------------------------------------

CLIPS = [
    clip("1", set="a", split="train", motion=Path("m")),
    clip("2", set="a", split="val", motion=Path("m")),
    clip("3", set="b", split="train", motion=Path("m")),
    clip("4", set="b", split="test"),
    clip("5", set="c", split="train"),
]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, "12345"),
        ({"split": "train"}, "135"),
        ({"sets": ["a"]}, "12"),
        ({"sets": ["a", "c"], "split": "train"}, "15"),
        ({"without": ["b"]}, "125"),
        ({"sets": ["a", "b"], "without": ["b"]}, "12"),
        ({"motion": True}, "123"),
        ({"motion": False}, "45"),
        ({"split": "test", "motion": True}, ""),
    ],
)
def test_select(criteria, expected):
    assert "".join(c.name for c in select(iter(CLIPS), **criteria)) == expected


@pytest.mark.parametrize("criteria", [{"sets": ["a", "z"]}, {"without": ["z"]}])
def test_select_refuses_unknown_sets(criteria):
    with pytest.raises(DataError, match="no such set: z; there are a, b, c"):
        select(CLIPS, **criteria)


def test_labels_are_sorted_and_leave_out_the_unknown():
    clips = [clip(speaker=s, emotion=e) for s, e in (("bob", ""), ("", "sad"), ("ann", "happy"))]
    assert labels_of([*clips, *clips]) == (("ann", "bob"), ("happy", "sad"))
    assert labels_of([clip()]) == ((), ())


# Loading -----------------------------------------------------------------------------------------


def test_load_clip(tmp_path):
    write_index(tmp_path, [{**ROW, **write_clip(tmp_path, "c", 12, seed=3)}])
    found = load_clip(read_index(tmp_path)[0])
    assert found.waveform.dtype == np.float32
    np.testing.assert_allclose(found.waveform, speech(6400, 3), atol=4e-5)  # 16 bits
    assert found.coefficients is not None
    np.testing.assert_array_equal(found.coefficients, smooth_motion(12, 3))
    assert found.frames == 12


def test_frames_are_the_motions_or_those_of_the_sound(tmp_path):
    for moving in (True, False):
        write_index(tmp_path, [{**ROW, **write_clip(tmp_path, "c", 12, seed=3, moving=moving)}])
        found = load_clip(read_index(tmp_path)[0])
        assert (found.coefficients is not None) is moving
        assert found.frames == 12
    write_motion(Motion(smooth_motion(7)), tmp_path / "c.npz")
    write_index(tmp_path, [{**ROW, "motion": "c.npz"}])
    assert load_clip(read_index(tmp_path)[0]).frames == 7


@pytest.mark.parametrize("fps", [15, 29.97, 60])
def test_motion_at_another_rate_is_resampled(tmp_path, fps):
    row = write_clip(tmp_path, "c", 60, seed=0)
    motion = Motion(smooth_motion(round(2 * fps)), fps=fps)
    write_motion(motion, tmp_path / "c.npz")
    write_index(tmp_path, [{**ROW, **row}])
    found = load_clip(read_index(tmp_path)[0])
    assert found.coefficients is not None
    np.testing.assert_array_equal(found.coefficients, resample_motion(motion, 30).coefficients)
    assert found.frames == frame_count(len(found.waveform)) == 60


@pytest.mark.parametrize(("frames", "left"), [(112, 56), (120, 60), (128, 60)])
def test_the_longer_of_sound_and_resampled_motion_is_cut(tmp_path, frames, left):
    """Two seconds of sound; the difference may be a tenth of the longer, and a frame."""
    row = write_clip(tmp_path, "c", 60, seed=0)
    write_motion(Motion(smooth_motion(frames), fps=60), tmp_path / "c.npz")
    write_index(tmp_path, [{**ROW, **row}])
    found = load_clip(read_index(tmp_path)[0])
    assert found.frames == frame_count(len(found.waveform)) == left
    assert len(found.waveform) == round(left / 30 * 16000)


@pytest.mark.parametrize(("seconds", "other", "fits"), [
    (2.0, 2.25, True), (2.0, 2.27, False), (2.0, 1.78, True), (2.0, 1.75, False),
    (60.0, 60.9, True), (60.0, 61.1, False), (600.0, 601.1, False),
])  # fmt: skip
def test_lengths_that_fit(seconds, other, fits):
    """Worked by hand: 2.25 / 10 + 1 / 30 = 0.258 s; from 10 s on it is a second."""
    waveform = np.zeros(round(seconds * 16000), np.float32)
    if fits:
        assert common_frames(waveform, other, "c") == round(min(seconds, other) * 30)
    else:
        with pytest.raises(DataError, match=r"c lasts .* s, its sound .* s: no pair, or drifted"):
            common_frames(waveform, other, "c")


def test_native_motion_at_30_is_taken_as_it_is(tmp_path):
    """However long its sound is."""
    row = write_clip(tmp_path, "c", 60, seed=0)
    write_motion(Motion(smooth_motion(20)), tmp_path / "c.npz")
    write_index(tmp_path, [{**ROW, **row}])
    found = load_clip(read_index(tmp_path)[0])
    np.testing.assert_array_equal(found.coefficients, smooth_motion(20))
    assert len(found.waveform) == 32000
    assert in_pieces(found) == [found]


def test_few():
    lines = [str(n) for n in range(9)]
    assert few(lines[:6]) == lines[:6]
    assert few(lines) == ["0", "1", "2", "3", "4", "and 4 more"]


def test_warnings_about_many_clips_are_counted(tmp_path):
    rows = [{**ROW, **write_clip(tmp_path, f"c{n}", 10, seed=0), "clip": f"c{n}"} for n in range(9)]
    for n in range(9):
        content = (tmp_path / f"c{n}.wav").read_bytes()
        (tmp_path / f"c{n}.wav").write_bytes(content[:-2000])
    write_index(tmp_path, rows)
    with pytest.warns(UserWarning, match="wav|more") as caught:
        loaded, failures = load_clips(read_index(tmp_path))
    assert (len(loaded), failures) == (9, [])
    assert len(caught) == 6
    assert str(caught[0].message).startswith(f"{tmp_path / 'c0.wav'} is damaged")
    assert str(caught[-1].message) == "and 4 more warnings about clips"


def test_load_clips_names_what_cannot_be_read(tmp_path):
    rows = [{**ROW, **write_clip(tmp_path, name, 10, seed=0)} for name in "abcd"]
    (tmp_path / "b.wav").write_bytes(b"no sound at all")
    (tmp_path / "c.npz").unlink()
    write_index(tmp_path, rows)
    calls = []
    loaded, failures = load_clips(read_index(tmp_path), lambda *done: calls.append(done))
    assert [c.clip.name for c in loaded] == ["a", "d"]
    assert [line.split(":")[0] for line in failures] == ["b", "c"]
    assert "b.wav" in failures[0]
    assert "c.npz" in failures[1]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# Epochs and batches ------------------------------------------------------------------------------


def many(**sizes: int):
    return [
        loaded_clip(f"{name}{i}", 5 + (7 * i) % 11, set=name)
        for name, size in sizes.items()
        for i in range(size)
    ]


def names(clips) -> list[str]:
    return [c.clip.name for c in clips]


def test_balance_1_takes_every_clip_once():
    clips = many(a=9, b=3, c=1)
    drawn = sample_epoch(clips, 1.0, np.random.default_rng(0))
    assert sorted(names(drawn)) == sorted(names(clips))


def test_balance_0_gives_every_set_an_equal_share():
    drawn = sample_epoch(many(a=9, b=2, c=1), 0.0, np.random.default_rng(0))
    assert Counter(c.clip.set for c in drawn) == {"a": 4, "b": 4, "c": 4}
    counts = Counter(names(drawn))
    assert counts["b0"] == counts["b1"] == 2  # gone through as a whole, twice
    assert counts["c0"] == 4
    assert max(counts[f"a{i}"] for i in range(9)) == 1


def test_balance_between_by_hand():
    # 16 and 4 clips at balance 1/2: shares 4 : 2 of 20, so 13 and 7
    drawn = sample_epoch(many(a=16, b=4), 0.5, np.random.default_rng(0))
    assert Counter(c.clip.set for c in drawn) == {"a": 13, "b": 7}
    assert set(Counter(c for c in names(drawn) if c[0] == "b").values()) == {1, 2}


def test_epochs_depend_on_the_generator_alone():
    clips = many(a=9, b=3)
    first, again, other = (
        names(sample_epoch(clips, 0.5, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@given(
    st.lists(st.integers(1, 40), min_size=0, max_size=30),
    st.integers(10, 100),
    st.integers(0, 5),
)
def test_batches_cover_everything_once_within_the_budget(lengths, budget, seed):
    motion = smooth_motion(40)
    plain = loaded_clip("c", 1)
    clips = [type(plain)(clip(str(i)), plain.waveform, motion[:n]) for i, n in enumerate(lengths)]
    made = list(batches(clips, budget, np.random.default_rng(seed)))
    assert sorted(names(c for group in made for c in group), key=int) == names(clips)
    for group in made:
        assert group
        padded = len(group) * max(c.frames for c in group)
        assert padded <= budget or len(group) == 1
    assert len(made) <= len(clips)


def test_batches_hold_clips_of_like_length():
    """Short and long ones never share a batch, and those of one length fill it."""
    clips = [loaded_clip(f"{n}-{i}", n) for n in (5, 50) for i in range(4)]
    made = list(batches(clips, 200, np.random.default_rng(0)))
    assert sorted(sorted(names(group)) for group in made) == [
        [f"5-{i}" for i in range(4)],
        [f"50-{i}" for i in range(4)],
    ]


def test_batches_come_in_random_order_by_the_generator_alone():
    clips = [loaded_clip(str(n), n) for n in (10, 20, 40, 80)]  # a batch each

    def order(seed):
        return [names(group)[0] for group in batches(clips, 1, np.random.default_rng(seed))]

    assert order(1) == order(1)
    assert sorted(order(1), key=int) == ["10", "20", "40", "80"]
    assert len({tuple(order(seed)) for seed in range(20)}) > 5


# Real data ---------------------------------------------------------------------------------------


def test_the_synthetic_folder_of_these_tests(tmp_path):
    clips = read_index(write_data(tmp_path))
    assert len(select(clips, "train", motion=True)) == 6
    assert len(select(clips, "train", motion=False)) == 2
    assert len(select(clips, "val")) == 2
    assert load_clips(clips)[1] == []


def test_the_shared_data_set(shared):
    clips = read_index(shared / "data")
    assert len(select(clips, "val", motion=True)) >= 352
    assert len(select(clips, "val", motion=False)) >= 270
    assert len(select(clips, "train", motion=True)) >= 889 + 1417 + 63 + 13
    assert len(select(clips, "train", motion=False)) >= 990
    assert all(c.motion is None for c in select(clips, sets=["ravdess-audio"]))
    _, emotions = labels_of(clips)
    assert {"neutral", "happy", "sad", "angry"} <= set(emotions)


def test_clips_of_the_shared_data_set_load(shared):
    clips = read_index(shared / "data")
    some = [select(clips, "val", sets=[name])[0] for name in sorted({c.set for c in clips})]
    loaded, failures = load_clips(some)
    assert failures == []
    for found in loaded:
        assert abs(found.frames - len(found.waveform) / 16000 * 30) < 3
        assert 0.01 < np.abs(found.waveform).max() <= 1.5
        if found.coefficients is not None:
            assert found.coefficients.shape == (found.frames, 52)
            assert found.coefficients.std() > 0.01
