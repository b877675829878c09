"""VOCASET in its published files: Python 2 pickles, every second frame, splits, damage."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import speech

from dtalk.data import clips as data_clips
from dtalk.data.clips import DataWarning
from dtalk.data.vocaset import SENTENCES, SUBJECTS, is_vocaset, read_vocaset
from dtalk.errors import DataError, DtalkError, PickleError
from dtalk.speech.audio import frame_count

TEST, OTHER = "FaceTalk_170731_00024_TA", "FaceTalk_170809_00138_TA"
RATE = 22000


def python_2(content: Any) -> bytes:
    """A pickle with the opcodes of Python 2, protocol 2: texts and raw bytes are one."""
    return b"\x80\x02" + _written(content) + b"."


def _written(content: Any) -> bytes:
    if isinstance(content, dict):
        items = b"".join(_written(key) + _written(value) for key, value in content.items())
        return b"}(" + items + b"u"
    if isinstance(content, str):
        return b"U" + bytes([len(content)]) + content.encode()
    if isinstance(content, bytes):
        return b"T" + struct.pack("<i", len(content)) + content
    if isinstance(content, int):
        return b"J" + struct.pack("<i", content)
    kind = content.dtype.str[1:]
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\x01btR"
    dtype = b"cnumpy\ndtype\n" + _written(kind) + b"K\0K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ"
    dtype += b"\xff\xff\xff\xffK\0tb"
    shape = b"(" + b"".join(map(_written, content.shape)) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _written(content.tobytes()) + b"tb"


def heads(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, (count, 5023, 3)).astype(np.float32)


class Folder:
    """The four files, to be changed before they are written."""

    def __init__(self, path: Path, places: Iterable[tuple[str, str, int]]) -> None:
        """``places``: subject, sequence and number of frames at 60 a second, one after another."""
        self.path = path
        self.rows: Any = {}
        self.sounds: Any = {}
        self.templates: Any = {}
        total = 0
        for subject, sequence, frames in places:
            table = {n: total + n for n in range(frames)}
            self.rows.setdefault(subject, {})[sequence] = table
            samples = speech(round(frames / 60 * RATE), total)
            entry = {"audio": (samples * 32767).astype(np.int16), "sample_rate": RATE}
            self.sounds.setdefault(subject, {})[sequence] = entry
            self.templates[subject] = heads(1, len(self.templates))[0].astype(float)
            total += frames
        self.vertices: Any = heads(total, 9)

    def write(self) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        np.save(self.path / "data_verts.npy", self.vertices)
        for name, content in (
            ("subj_seq_to_idx", self.rows),
            ("raw_audio_fixed", self.sounds),
            ("templates", self.templates),
        ):
            (self.path / f"{name}.pkl").write_bytes(python_2(content))
        return self.path


def folder_of(tmp_path: Path, frames: int = 12) -> Folder:
    """Two test sentences and one to train on."""
    train = SUBJECTS["train"][0]
    places = [(train, "sentence01", frames), (TEST, "sentence21", frames)]
    return Folder(tmp_path / "voca", [*places, (OTHER, "sentence22", frames)])


def told(folder: Path, split: str = "test") -> tuple[list[Any], list[str]]:
    """All clips, and what was noted while they were read but for what is not there."""
    notes: list[str] = []
    clips = list(read_vocaset(folder, split, notes.append))
    return clips, [line for line in notes if "not there" not in line]


# What is there -----------------------------------------------------------------------------------


def test_the_pickles_of_these_tests_are_those_of_python_2():
    content = {"a": {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "c": -7}}
    found = pickle.loads(python_2(content), encoding="latin1")  # noqa: S301
    assert found["a"]["c"] == -7
    np.testing.assert_array_equal(found["a"]["b"], content["a"]["b"])
    assert found["a"]["b"].dtype == np.int16


def test_every_second_frame_with_sound_and_template(tmp_path):
    folder = folder_of(tmp_path)
    clips, notes = told(folder.write())
    assert notes == []
    assert [clip.name for clip in clips] == [f"{TEST}/sentence21", f"{OTHER}/sentence22"]
    assert [clip.subject for clip in clips] == [TEST, OTHER]
    assert [clip.sequence for clip in clips] == ["sentence21", "sentence22"]
    for number, clip in enumerate(clips, 1):
        np.testing.assert_array_equal(
            clip.vertices, folder.vertices[12 * number : 12 * number + 12 : 2]
        )
        np.testing.assert_array_equal(
            clip.template, folder.templates[clip.subject].astype(np.float32)
        )
        assert clip.vertices.dtype == clip.template.dtype == clip.waveform.dtype == np.float32
        assert clip.frames == frame_count(len(clip.waveform)) == 6


def test_sound_is_resampled_from_22000(tmp_path):
    folder = folder_of(tmp_path, 60)
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    folder.sounds[TEST]["sentence21"]["audio"] = (tone * 16384).astype(np.int16)
    waveform = told(folder.write())[0][0].waveform
    assert len(waveform) == 16000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=1e-3)


def test_rows_may_lie_in_any_order(tmp_path):
    folder = folder_of(tmp_path)
    folder.rows[TEST]["sentence21"] = {n: 23 - n for n in range(12)}
    (clip, _), _ = told(folder.write())
    np.testing.assert_array_equal(clip.vertices, folder.vertices[[23, 21, 19, 17, 15, 13]])


def test_frames_may_be_written_in_any_order_and_meshes_as_doubles(tmp_path):
    folder = folder_of(tmp_path)
    folder.rows[TEST]["sentence21"] = dict(reversed(folder.rows[TEST]["sentence21"].items()))
    folder.vertices = folder.vertices.astype(np.float64)
    (clip, _), _ = told(folder.write())
    np.testing.assert_array_equal(clip.vertices, folder.vertices[12:24:2].astype(np.float32))
    assert clip.vertices.dtype == np.float32


def test_a_neighbour_stands_in_for_a_lost_frame(tmp_path):
    folder = folder_of(tmp_path)
    del folder.rows[TEST]["sentence21"][4]
    (clip, _), notes = told(folder.write())
    np.testing.assert_array_equal(clip.vertices, folder.vertices[[12, 14, 17, 18, 20, 22]])
    assert notes == []


def test_the_longer_of_sound_and_meshes_is_cut(tmp_path):
    folder = folder_of(tmp_path, 60)
    sound = folder.sounds[TEST]["sentence21"]
    sound["audio"] = sound["audio"][: round(0.95 * RATE)]
    folder.sounds[OTHER]["sentence22"]["audio"] = np.ones(round(1.05 * RATE), np.int16)
    clips, _ = told(folder.write())
    assert [clip.frames for clip in clips] == [28, 30]
    assert [frame_count(len(clip.waveform)) for clip in clips] == [28, 30]


def test_it_can_be_gone_through_again(tmp_path):
    found = read_vocaset(folder_of(tmp_path).write(), "test", lambda line: None)
    assert len(found) == 2
    for first, second in zip(found, found):
        assert first is not second
        np.testing.assert_array_equal(first.vertices, second.vertices)


def test_meshes_stay_on_disk(tmp_path, monkeypatch):
    """The published file has many GB: only the rows asked for are read."""
    folder = folder_of(tmp_path).write()
    modes = []
    load = np.load

    def noted(path: Path, **how: Any) -> Any:
        modes.append(how)
        return load(path, **how)

    monkeypatch.setattr(np, "load", noted)
    clips = iter(read_vocaset(folder, "test", lambda line: None))
    assert modes == [{"mmap_mode": "r", "allow_pickle": False}]
    assert not isinstance(next(clips).vertices, np.memmap)


# Splits ------------------------------------------------------------------------------------------


def test_splits_as_published(tmp_path):
    assert [len(SUBJECTS[split]) for split in ("train", "val", "test")] == [8, 2, 2]
    assert len({subject for subjects in SUBJECTS.values() for subject in subjects}) == 12
    everyone = [subject for subjects in SUBJECTS.values() for subject in subjects]
    places = [(s, f"sentence{n:02d}", 2) for s in everyone for n in (1, 20, 21, 40)]
    folder = Folder(tmp_path / "voca", places).write()
    names = {split: [clip.name for clip in told(folder, split)[0]] for split in SUBJECTS}
    assert len(names["train"]) == 32
    for split in ("val", "test"):
        assert names[split] == [f"{s}/sentence{n}" for s in SUBJECTS[split] for n in (21, 40)]
    assert {split: len(SENTENCES[split]) for split in SENTENCES} == {
        "train": 40, "val": 20, "test": 20,
    }  # fmt: skip


def test_sentences_that_are_not_there_are_counted(tmp_path):
    """The published files lack a few themselves."""
    folder = folder_of(tmp_path)
    del folder.sounds[OTHER]["sentence22"]
    notes: list[str] = []
    found = read_vocaset(folder.write(), "test", notes.append)
    assert len(found) == 1
    (note,) = notes
    assert note.startswith("39 of 40 sentences of the test split are not there: ")
    assert note.endswith(f"{TEST}/sentence25, {TEST}/sentence26, and 34 more")
    with pytest.warns(DataWarning, match="39 of 40 sentences"):
        read_vocaset(folder.path)


def test_a_split_that_is_not_there(tmp_path):
    folder = folder_of(tmp_path).write()
    with pytest.raises(DataError, match="holds no sentence of the val split"):
        read_vocaset(folder, "val")
    with pytest.raises(DataError, match="no such split: 'dev'; there are train, val, test"):
        read_vocaset(folder, "dev")


def test_is_vocaset(tmp_path):
    assert is_vocaset(folder_of(tmp_path).write())
    assert not is_vocaset(tmp_path)
    assert not is_vocaset(tmp_path / "nowhere")


# Damage ------------------------------------------------------------------------------------------


def sound_of(folder: Folder) -> dict[str, Any]:
    return folder.sounds[TEST]["sentence21"]


def rows_of(folder: Folder) -> dict[Any, Any]:
    return folder.rows[TEST]["sentence21"]


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: sound_of(f).pop("audio"), "its `audio` is no int16 array"),
    (lambda f: sound_of(f).update(audio=np.zeros((9, 2), np.int16)), "is no int16 array"),
    (lambda f: sound_of(f).update(audio=np.zeros(9, np.float32)), "is no int16 array"),
    (lambda f: sound_of(f).update(audio=np.zeros(0, np.int16)), "holds no sound"),
    (lambda f: sound_of(f).update(sample_rate="fast"), "its `sample_rate` is no number"),
    (lambda f: sound_of(f).update(sample_rate=0), "its sample rate is 0 Hz"),
    (lambda f: sound_of(f).update(sample_rate=8000), "lasts 0.20 s, its sound 0.55 s"),
    (lambda f: f.sounds[TEST].update(sentence21=7), "its `audio` is no int16 array"),
    (lambda f: f.rows[TEST].update(sentence21={}), "its frames are no table"),
    (lambda f: f.rows[TEST].update(sentence21=7), "its frames are no table"),
    (lambda f: rows_of(f).update({"a": 7}), "a frame or row is no number"),
    (lambda f: rows_of(f).update({3: "a"}), "a frame or row is no number"),
    (lambda f: rows_of(f).update({3: 36}), "a row is not among the 36"),
    (lambda f: rows_of(f).update({3: -1}), "a row is not among the 36"),
    (lambda f: rows_of(f).update({2**31 - 1: 3}), "frame 14 is missing"),
    (lambda f: [rows_of(f).pop(n) for n in (3, 4, 5)], "frame 4 is missing"),
    (lambda f: [rows_of(f).pop(n) for n in (0, 1)], "frame 0 is missing"),
    (lambda f: f.vertices.__setitem__((14, 3, 1), np.nan), "a vertex is not finite"),
])  # fmt: skip
def test_a_damaged_sentence_is_named_and_left_out(tmp_path, change, message):
    folder = folder_of(tmp_path)
    change(folder)
    clips, (note,) = told(folder.write())
    assert [clip.subject for clip in clips] == [OTHER]
    assert note.startswith("left out: ")
    assert f"{TEST}/sentence21" in note
    assert message in note


def test_many_damaged_ones_are_counted(tmp_path):
    places = [(TEST, f"sentence{n}", 4) for n in range(21, 30)]
    folder = Folder(tmp_path / "voca", places)
    for table in folder.rows[TEST].values():
        table[1] = 999
    clips, notes = told(folder.write())
    assert clips == []
    assert len(notes) == data_clips.SHOWN + 1
    assert notes[-1] == "left out: and 4 more"


@pytest.mark.filterwarnings("ignore::dtalk.data.clips.DataWarning")
@pytest.mark.parametrize(("change", "message"), [
    (lambda f: setattr(f, "vertices", f.vertices[:, :99]), r"of vertices \[N, 5023, 3\]"),
    (lambda f: setattr(f, "vertices", f.vertices[0]), "is no table of vertices"),
    (lambda f: setattr(f, "vertices", f.vertices.astype(int)), "is no table of vertices"),
    (lambda f: f.templates.update({TEST: f.templates[TEST][:9]}), f"{TEST} has no 5023 vertices"),
    (lambda f: f.templates[TEST].fill(np.inf), f"{TEST} has no 5023 vertices"),
    (lambda f: setattr(f, "templates", 7), "templates.pkl is no table"),
    (lambda f: setattr(f, "rows", 7), "subj_seq_to_idx.pkl is no table"),
    (lambda f: f.sounds.update({TEST: 7}), "raw_audio_fixed.pkl is no table"),
    (lambda f: setattr(f, "sounds", {}), "holds no sentence of the test split"),
    (lambda f: setattr(f, "templates", {}), "holds no sentence of the test split"),
])  # fmt: skip
def test_damaged_files(tmp_path, change, message):
    folder = folder_of(tmp_path)
    change(folder)
    with pytest.raises(DataError, match=message):
        read_vocaset(folder.write())


@pytest.mark.parametrize(
    "name", ["data_verts.npy", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl", "templates.pkl"]
)
@pytest.mark.filterwarnings("ignore::dtalk.data.clips.DataWarning")
def test_files_missing_or_broken(tmp_path, name):
    path = folder_of(tmp_path).write() / name
    content = path.read_bytes()
    for broken in (b"", b"nothing of the kind", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(DtalkError, match=name) as error:
            read_vocaset(path.parent)
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(DtalkError, match=rf"no such file: .*{name}"):
        read_vocaset(path.parent)


class Command:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_no_command_in_a_pickle_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path).write()
    (folder / "raw_audio_fixed.pkl").write_bytes(pickle.dumps({TEST: {"sentence21": Command()}}))
    with pytest.raises(PickleError, match=r"raw_audio_fixed.pkl: it asks for pathlib"):
        read_vocaset(folder)
    assert not Path("touched").exists()
