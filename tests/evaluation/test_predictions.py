"""Other systems' predictions: where they are found, and what is made of each kind of file."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers import smooth_motion

from dtalk.data.clips import Clip
from dtalk.errors import DataError, DtalkError
from dtalk.evaluation.predictions import FRAMES_OFF, find_prediction, read_prediction
from dtalk.motion.curves import Motion
from dtalk.motion.files import FORMATS, write_motion

DATA = Path("/data")


def clip(name: str = "one", audio: str = "/data/grid/sound.opus") -> Clip:
    return Clip(name, "grid", "val", "", "", Path(audio), None)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    "name", ["one.npz", "one.csv", "one.json", "one.npy", "grid/sound.csv", "sound.json"]
)
def test_a_prediction_is_found_by_clip_or_sound(tmp_path, name):
    assert find_prediction(tmp_path, clip(), DATA) is None
    path = touch(tmp_path / name)
    assert find_prediction(tmp_path, clip(), DATA) == path


def test_the_clips_own_name_comes_first(tmp_path):
    touch(tmp_path / "grid" / "sound.npz")
    named = touch(tmp_path / "one.npy")
    assert find_prediction(tmp_path, clip(), DATA) == named
    exact = touch(tmp_path / "one.npz")
    assert find_prediction(tmp_path, clip(), DATA) == exact


def test_names_with_dots_and_folders(tmp_path):
    """Nothing after a dot is taken for a suffix."""
    path = touch(tmp_path / "a" / "take 1.5.csv")
    assert find_prediction(tmp_path, clip("a/take 1.5"), DATA) == path
    assert find_prediction(tmp_path, clip("a/take 1"), DATA) is None


def test_sounds_outside_the_data_folder_go_by_their_bare_name(tmp_path):
    path = touch(tmp_path / "far.csv")
    assert find_prediction(tmp_path, clip(audio="/elsewhere/far.wav"), DATA) == path


@pytest.mark.parametrize("kind", FORMATS)
def test_curves_of_every_format(tmp_path, kind):
    motion = smooth_motion(9)
    write_motion(Motion(motion), tmp_path / f"a.{kind}")
    np.testing.assert_allclose(read_prediction(tmp_path / f"a.{kind}", 9), motion, atol=1e-7)


def test_curves_at_another_rate_are_resampled(tmp_path):
    motion = np.repeat(smooth_motion(8), 2, axis=0)
    write_motion(Motion(motion, fps=60), tmp_path / "a.npz")
    found = read_prediction(tmp_path / "a.npz", 8)
    assert found.shape == (8, 52)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_vertices(tmp_path, flat, kind):
    vertices = np.arange(4 * 5 * 3).reshape(4, 5, 3).astype(kind)
    np.save(tmp_path / "a.npy", vertices.reshape(4, 15) if flat else vertices)
    found = read_prediction(tmp_path / "a.npy", 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vertices)


def test_a_little_shorter_holds_its_last_frame_and_a_little_longer_is_cut(tmp_path):
    motion = smooth_motion(10)
    write_motion(Motion(motion), tmp_path / "a.npz")
    held = read_prediction(tmp_path / "a.npz", 10 + FRAMES_OFF)
    np.testing.assert_array_equal(held[:10], motion)
    np.testing.assert_array_equal(held[10:], np.repeat(motion[-1:], FRAMES_OFF, axis=0))
    cut = read_prediction(tmp_path / "a.npz", 10 - FRAMES_OFF)
    np.testing.assert_array_equal(cut, motion[: 10 - FRAMES_OFF])


@pytest.mark.parametrize("frames", [10 + FRAMES_OFF + 1, 10 - FRAMES_OFF - 1])
def test_another_length_is_refused(tmp_path, frames):
    write_motion(Motion(smooth_motion(10)), tmp_path / "a.npz")
    with pytest.raises(DataError, match=f"a.npz has 10 frames at 30 a second, its clip {frames}"):
        read_prediction(tmp_path / "a.npz", frames)


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.zeros((4, 5)), r"must hold vertices \[T, V, 3\] or \[T, V \* 3\], not \[4, 5\]"),
        (np.zeros((4, 5, 2)), r"not \[4, 5, 2\]"),
        (np.zeros(12), r"not \[12\]"),
        (np.zeros((0, 5, 3)), "holds no numbers"),
        (np.array([["a", "b", "c"]]), "holds no numbers"),
        (np.full((4, 5, 3), np.nan), "values that are not finite"),
    ],
)
def test_vertices_that_are_none(tmp_path, content, told):
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(DataError, match=told) as caught:
        read_prediction(tmp_path / "a.npy", 4)
    assert str(tmp_path / "a.npy") in str(caught.value)


def test_nothing_in_an_npy_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([Hostile()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Hostile()))
    (tmp_path / "c.npy").write_bytes(b"PK\x03\x04 a zip archive, cut short")
    for name in ("a.npy", "b.npy", "c.npy"):
        with pytest.raises(DataError, match="not an npy file of numbers, or damaged"):
            read_prediction(tmp_path / name, 4)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.csv", "a.json", "a.npz"])
def test_damaged_files_are_named(tmp_path, name):
    (tmp_path / name).write_text("what is this")
    with pytest.raises(DtalkError, match=name):
        read_prediction(tmp_path / name, 4)
