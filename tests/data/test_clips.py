"""Clips: selection and loading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import (
    smooth_motion,
    speech,
    write_clip,
    write_data,
    write_index,
)
from indices import ROW, clip

from dtalk.data.clips import (
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
