"""BEAT and 3D-ETF in their published layouts: names, splits, curves, bad files, real runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers import WIDTHS, Recorder, run_dtalk, smooth_motion, speech, training_config, write_data
from hypothesis import given
from hypothesis import strategies as st

from dtalk.data.clips import DataWarning, in_pieces, labels_of, load_clip, load_clips
from dtalk.data.index import read_index
from dtalk.data.published import read_beat, read_etf
from dtalk.errors import DataError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.resample import resample_motion
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.training.trainer import load_data

ALPHABETICAL = sorted(ARKIT_NAMES)
BEAT_NAMES = ALPHABETICAL[:-1]  # as in the published files: all but tongueOut
NAN = float("nan")
JAW = ARKIT_NAMES.index("jawOpen")
SMALL = [f"--{name.replace('_', '-')}={value}" for name, value in WIDTHS.items()]
SMALL += ["--batch-frames=45", "--audio-only-batch=2"]


def write_sound(path: Path, seconds: float, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(round(seconds * SAMPLE_RATE), seed), SAMPLE_RATE)


def beat_content(frames: int, seed: int = 0, names: list[str] | None = None, **changes) -> Any:
    """A BEAT file's content: 60 fps, time stamps of three decimals."""
    motion = dict(zip(ARKIT_NAMES, smooth_motion(frames, seed).T.astype(float)))
    rows = np.stack([motion[name] for name in BEAT_NAMES], axis=1)
    frames_ = [{"weights": row.tolist(), "time": round(n / 60, 3)} for n, row in enumerate(rows)]
    return {"names": names or BEAT_NAMES, "frames": frames_, **changes}


def write_beat(folder: Path, stem: str, seconds: float = 0.4, seed: int = 0, **changes) -> Path:
    path = folder / f"{stem}.json"
    write_sound(folder / f"{stem}.wav", seconds, seed)
    path.write_text(json.dumps(beat_content(round(60 * seconds), seed, **changes)))
    return path


def write_etf(folder: Path, stem: str, frames: int = 12, seed: int = 0, **parts: str) -> Path:
    """Beside each other, or in the folders that ``audio`` and ``motion`` name."""
    write_sound(folder / parts.get("audio", "") / f"{stem}.wav", frames / 30, seed)
    path = folder / parts.get("motion", "") / f"{stem}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    order = [ARKIT_NAMES.index(name) for name in ALPHABETICAL]
    np.save(path, smooth_motion(frames, seed)[:, order])
    return path


def index_of(folder: Path) -> tuple[list[tuple[str, ...]], list[str]]:
    """What the names say, and what was noted."""
    notes: list[str] = []
    clips = read_index(folder, notes.append)
    return [(c.name, c.set, c.split, c.speaker, c.emotion) for c in clips], notes


# Names and splits --------------------------------------------------------------------------------


@pytest.mark.parametrize(("stem", "split", "emotion"), [
    ("1_wayne_0_1_1", "test", "neutral"),
    ("1_wayne_0_8_8", "test", "neutral"),
    ("1_wayne_0_9_9", "train", "neutral"),
    ("1_wayne_0_56_56", "train", "neutral"),
    ("1_wayne_0_57_57", "val", "neutral"),
    ("1_wayne_0_64_64", "val", "neutral"),
    ("1_wayne_0_65_65", "test", "happy"),
    ("1_wayne_0_66_66", "train", "happy"),
    ("1_wayne_0_72_72", "val", "happy"),
    ("1_wayne_0_73_73", "test", "angry"),
    ("1_wayne_0_80_80", "val", "angry"),
    ("1_wayne_0_81_81", "test", "sad"),
    ("1_wayne_0_86_86", "val", "sad"),
    ("1_wayne_0_87_87", "test", "contempt"),
    ("1_wayne_0_94_94", "val", "contempt"),
    ("1_wayne_0_95_95", "test", "surprised"),
    ("1_wayne_0_102_102", "val", "surprised"),
    ("1_wayne_0_103_103", "test", "fearful"),
    ("1_wayne_0_110_110", "val", "fearful"),
    ("1_wayne_0_111_111", "test", "disgusted"),
    ("1_wayne_0_117_117", "train", "disgusted"),
    ("1_wayne_0_118_118", "val", "disgusted"),
    ("1_wayne_0_119_119", "train", ""),
    ("1_wayne_1_1_1", "test", "neutral"),
    ("1_wayne_1_2_2", "train", "neutral"),
    ("1_wayne_1_12_12", "val", "neutral"),
    ("5_stewart_0_4_4", "test", "neutral"),
    ("5_stewart_0_5_5", "val", "neutral"),
    ("5_stewart_0_8_8", "val", "neutral"),
    ("5_stewart_0_9_9", "train", "neutral"),
    ("5_stewart_0_65_65", "test", "happy"),
    ("5_stewart_0_65_a", "test", "happy"),
    ("5_stewart_0_65_b", "val", "happy"),
    ("5_stewart_0_118_118", "train", "disgusted"),
    ("5_stewart_1_1_b", "val", "neutral"),
    ("5_stewart_1_3_3", "train", "neutral"),
])  # fmt: skip
def test_beat_parts(tmp_path, stem, split, emotion):
    """The authors' lists, of ten speakers with four hours and twenty with one."""
    write_beat(tmp_path, stem, 0.1)
    speaker = "beat-" + "-".join(stem.split("_")[:2])
    assert index_of(tmp_path) == ([(stem, "beat", split, speaker, emotion)], [])


@pytest.mark.parametrize(("stem", "split", "speaker", "emotion"), [
    ("RD_Radio11_000", "test", "hdtf-Radio11", ""),
    ("RD_Radio11_001", "test", "hdtf-Radio11", ""),
    ("RD_Radio11_000_07", "test", "hdtf-Radio11", ""),
    ("WDA_BarackObama_000", "val", "hdtf-BarackObama", ""),
    ("WRA_ErikPaulsen_002", "train", "hdtf-ErikPaulsen", ""),
    ("03-01-01-01-01-02-01", "train", "ravdess-01", "neutral"),
    ("03-01-02-01-01-02-20", "train", "ravdess-20", "calm"),
    ("03-01-03-01-01-02-21", "val", "ravdess-21", "happy"),
    ("01-01-04-01-01-02-22", "val", "ravdess-22", "sad"),
    ("03-01-05-01-02-01-12", "train", "ravdess-12", "angry"),
    ("03-02-06-01-01-02-23", "test", "ravdess-23", "fearful"),
    ("03-01-07-01-01-02-24", "test", "ravdess-24", "disgusted"),
    ("03-01-08-01-01-02-01", "train", "ravdess-01", "surprised"),
])  # fmt: skip
def test_etf_names(tmp_path, stem, split, speaker, emotion):
    write_etf(tmp_path, stem)
    group = "ravdess" if speaker.startswith("ravdess") else "hdtf"
    assert index_of(tmp_path) == ([(stem, group, split, speaker, emotion)], [])


def test_what_has_no_published_split_is_spread_by_hash(tmp_path):
    """Uncut recordings and other languages: some in every split, the same each time."""
    stems = [f"{n}_x_{kind}_1_8" for n in range(1, 31) for kind in (0, 2, 4)]
    for stem in stems:
        write_beat(tmp_path, stem, 0.05)
    found = index_of(tmp_path)
    splits = [row[2] for row in found[0]]
    assert {s: splits.count(s) for s in set(splits)} == {"train": 69, "val": 15, "test": 6}
    assert index_of(tmp_path) == found


def test_labels_are_the_native_words(shared, tmp_path):
    native = set(labels_of(read_index(shared / "data"))[1])
    for n in (9, 66, 74, 82, 88, 96, 104, 112):
        write_beat(tmp_path, f"1_wayne_0_{n}_{n}", 0.05)
    for n in range(1, 9):
        write_etf(tmp_path, f"03-01-0{n}-01-01-01-01")
    speakers, emotions = labels_of(read_index(tmp_path))
    assert set(emotions) == native | {"contempt"}
    assert "ravdess-01" in labels_of(read_index(shared / "data"))[0]
    assert speakers == ("beat-1-wayne", "ravdess-01")


# Folders -----------------------------------------------------------------------------------------


def test_folders_may_be_nested_or_parallel(tmp_path):
    """A folder a speaker; sound and motion apart; several data sets in one folder."""
    write_beat(tmp_path / "beat_english" / "1", "1_wayne_0_9_9")
    write_beat(tmp_path / "beat_english" / "2", "2_scott_0_9_9")
    for group, stem in (("RAVDESS", "03-01-03-01-01-01-05"), ("HDTF", "RD_Radio11_000")):
        write_etf(tmp_path / "3D-ETF" / group, stem, audio="audio", motion="blendshape")
    clips = read_index(tmp_path)
    assert [(c.set, str(c.audio.relative_to(tmp_path))) for c in clips] == [
        ("hdtf", "3D-ETF/HDTF/audio/RD_Radio11_000.wav"),
        ("ravdess", "3D-ETF/RAVDESS/audio/03-01-03-01-01-01-05.wav"),
        ("beat", "beat_english/1/1_wayne_0_9_9.wav"),
        ("beat", "beat_english/2/2_scott_0_9_9.wav"),
    ]
    loaded, failures = load_clips(clips)
    assert (len(loaded), failures) == (4, [])


def test_folders_called_as_splits_say_so(tmp_path):
    for split in ("train", "val", "test"):
        write_etf(tmp_path / split, f"WDA_BarackObama_00{len(split)}")
    assert [(c.name[-1], c.split) for c in read_index(tmp_path)] == [
        ("4", "test"), ("5", "train"), ("3", "val"),
    ]  # fmt: skip


def test_the_nearest_sound_is_taken(tmp_path):
    """The same name in two copies of a data set."""
    for copy in ("one", "two"):
        write_etf(tmp_path / copy, "RD_Radio11_000", audio="wav", motion="npy")
    found = [str(c.audio.relative_to(tmp_path)) for c in read_index(tmp_path)]
    assert found == ["one/wav/RD_Radio11_000.wav", "two/wav/RD_Radio11_000.wav"]


def test_an_index_goes_before_other_layouts(tmp_path):
    write_beat(write_data(tmp_path), "1_wayne_0_9_9")
    assert len(read_index(tmp_path)) == 10
    assert all(c.native for c in read_index(tmp_path))


def test_hidden_files_and_files_of_other_names_are_no_clips(tmp_path):
    write_beat(tmp_path, "1_wayne_0_9_9")
    write_beat(tmp_path / ".cache", "1_wayne_0_10_10")
    write_beat(tmp_path, "notes")
    (tmp_path / "._1_wayne_0_9_9.json").write_bytes(b"\0\5\x16\7")  # as a Mac leaves them
    np.save(tmp_path / "mean.npy", np.zeros((3, 52)))
    found, notes = index_of(tmp_path)
    assert [row[0] for row in found] == ["1_wayne_0_9_9"]
    assert notes == []


def test_files_without_a_partner_are_counted_and_the_first_named(tmp_path):
    write_beat(tmp_path, "1_wayne_0_9_9")
    for n in range(10, 15):
        write_beat(tmp_path, f"1_wayne_0_{n}_{n}").unlink()
    write_beat(tmp_path, "1_wayne_0_20_20")
    (tmp_path / "1_wayne_0_20_20.wav").unlink()
    found, notes = index_of(tmp_path)
    assert [row[0] for row in found] == ["1_wayne_0_9_9"]
    assert notes == [
        "left out, motion without sound: 1_wayne_0_20_20.json",
        "left out, sound without motion: 1_wayne_0_10_10.wav, 1_wayne_0_11_11.wav, "
        "1_wayne_0_12_12.wav and 2 more",
    ]


def test_without_anybody_to_tell_it_is_a_warning(tmp_path):
    write_beat(tmp_path, "1_wayne_0_9_9")
    write_beat(tmp_path, "1_wayne_0_10_10").unlink()
    with pytest.warns(DataWarning, match=r"sound without motion: 1_wayne_0_10_10.wav"):
        read_index(tmp_path)


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(DataError, match=r"clips.csv.* or BEAT or 3D-ETF as published"):
        read_index(tmp_path)
    write_sound(tmp_path / "speech.wav", 0.1)
    (tmp_path / "speech.json").write_text("{}")
    with pytest.raises(DataError, match=r"clips.csv.* or BEAT or 3D-ETF as published"):
        read_index(tmp_path)
    np.save(tmp_path / "data_verts.npy", np.zeros((2, 5023, 3), np.float32))
    with pytest.raises(DataError, match="is VOCASET: it holds vertices"):
        read_index(tmp_path)


# Curves ------------------------------------------------------------------------------------------


def test_beat_is_read_by_name_at_60(tmp_path):
    motion = read_beat(write_beat(tmp_path, "1_wayne_0_9_9", 0.4, seed=3))
    expected = smooth_motion(24, 3)
    expected[:, ARKIT_NAMES.index("tongueOut")] = 0
    assert motion.fps == 60
    np.testing.assert_array_equal(motion.coefficients, expected)


def as_maya(name: str) -> str:
    side = {"Left": "_L", "Right": "_R"}
    for long, short in side.items():
        if name.endswith(long) and name not in ("jawLeft", "jawRight"):
            name = name.removesuffix(long) + short
    return name.upper()


def test_beat_names_may_be_written_otherwise_and_in_another_order(tmp_path):
    path = write_beat(tmp_path, "1_wayne_0_9_9")
    plain = read_beat(path).coefficients
    content = beat_content(24)
    content["names"] = [as_maya(name) for name in reversed(content["names"])] + ["tongueOut"]
    for frame in content["frames"]:
        frame["weights"] = [*reversed(frame["weights"]), 0.25]
    path.write_text(json.dumps(content))
    found = read_beat(path).coefficients
    np.testing.assert_array_equal(found[:, :-1], plain[:, :-1])
    assert (found[:, -1] == 0.25).all()


def test_loading_halves_the_rate_behind_a_filter(tmp_path):
    path = write_beat(tmp_path, "1_wayne_0_9_9", 2.0)
    found = load_clip(read_index(tmp_path)[0])
    assert found.frames == frame_count(len(found.waveform)) == 60
    np.testing.assert_array_equal(
        found.coefficients, resample_motion(read_beat(path), 30).coefficients
    )


def test_etf_is_read_in_alphabetical_order(tmp_path):
    path = write_etf(tmp_path, "RD_Radio11_000", 12, seed=3)
    assert ALPHABETICAL[0] == "browDownLeft"
    assert [ALPHABETICAL[n] for n in (2, 22, 24, 51)] == [
        "browInnerUp", "jawForward", "jawOpen", "tongueOut",
    ]  # fmt: skip
    motion = read_etf(path)
    assert motion.fps == 30
    np.testing.assert_array_equal(motion.coefficients, smooth_motion(12, 3))
    np.testing.assert_array_equal(np.load(path)[:, 24], motion.coefficients[:, JAW])
    np.testing.assert_array_equal(
        load_clip(read_index(tmp_path)[0]).coefficients, smooth_motion(12, 3)
    )


def stamped(tmp_path: Path, times: list[Any], jaw: list[float] | None = None) -> Path:
    content = beat_content(len(times))
    column = BEAT_NAMES.index("jawOpen")
    for n, (frame, time) in enumerate(zip(content["frames"], times)):
        frame["time"] = time
        if jaw is not None:
            frame["weights"][column] = jaw[n]
    path = tmp_path / "1_wayne_0_9_9.json"
    path.write_text(json.dumps(content))
    return path


def test_dropped_frames_are_filled_in(tmp_path):
    """Frames 3 and 4 of eight are missing; the jaw opens evenly."""
    kept = [0, 1, 2, 5, 6, 7]
    motion = read_beat(stamped(tmp_path, [n / 60 for n in kept], [n / 10 for n in kept]))
    assert (len(motion), motion.fps) == (8, 60)
    np.testing.assert_allclose(motion.coefficients[:, JAW], np.arange(8) / 10, atol=1e-6)


@pytest.mark.parametrize(("rate", "expected"), [(15, 15), (25, 25), (30, 30), (59.94, 60)])
def test_the_rate_is_told_by_the_time_stamps(tmp_path, rate, expected):
    """Also of files that others have thinned out, as BEAT's own preprocessing does."""
    motion = read_beat(stamped(tmp_path, [7 + n / rate for n in range(20)]))
    assert (len(motion), motion.fps) == (20, expected)


def test_an_unusual_rate_is_kept(tmp_path):
    motion = read_beat(stamped(tmp_path, [n / 40 for n in range(20)]))
    assert len(motion) == 20
    assert motion.fps == pytest.approx(40)


@pytest.mark.parametrize("times", [[None] * 3, [0.5]])
def test_without_time_stamps_it_is_60(tmp_path, times):
    motion = read_beat(stamped(tmp_path, times))
    assert (len(motion), motion.fps) == (len(times), 60)


@pytest.mark.parametrize(("times", "message"), [
    ([0, 1 / 60, 1 / 120], "does not run forward"),
    ([0, 0, 0], "does not run forward"),
    ([0, None, 1 / 60], "does not run forward"),
    ([0, float("nan"), 1], "does not run forward"),
    ([0, float("inf"), 1], "does not run forward"),
    ([0, "soon", 1], "is not a number"),
    ([0, [1], 1], "is not a number"),
    ([0, 10**400, 1], "is not a number"),
    ([0, 1 / 60, 2 / 60, 1e9], "only 4 of 60000000001 frames are there"),
])  # fmt: skip
def test_bad_time_stamps(tmp_path, times, message):
    with pytest.raises(MotionError, match=rf"1_wayne_0_9_9.json: .*{message}"):
        read_beat(stamped(tmp_path, times))


# Bad files ---------------------------------------------------------------------------------------


def changed(place: int | None = None, **parts: Any) -> str:
    content = beat_content(6)
    if place is not None:
        content["frames"][place] = parts.pop("frame")
    return json.dumps({**content, **parts})


@pytest.mark.parametrize(("text", "message"), [
    ("", "not json, or damaged"),
    ('{"names": ["jaw', "not json, or damaged"),
    ("[" * 100_000, "not json, or damaged"),
    ("[]", "not a BEAT file: no json object"),
    ("{}", "not a BEAT file: it lacks `names` or `frames`"),
    (json.dumps({"facsNames": ["jawOpen"], "weightMat": [[0]]}), "lacks `names` or `frames`"),
    (changed(names=[1] * 51), "lacks `names` or `frames`"),
    (changed(frames={}), "lacks `names` or `frames`"),
    (changed(frames=[]), "`frames` holds none"),
    (changed(names=BEAT_NAMES[1:]), "not a BEAT file: 1 curves are missing, browdownleft first"),
    (changed(names=["a"] * 51), "51 curves are missing"),
    (changed(names=[*BEAT_NAMES, "jawOpen"]), "frame 0 has 51 weights for 52 names"),
    (changed(3, frame={"weights": [0.0] * 50, "time": 0.05}), "frame 3 has 50 weights for 51"),
    (changed(3, frame={"time": 0.05}), "frame 3 has no weights for 51"),
    (changed(3, frame=None), "frame 3 has no weights for 51"),
    (changed(3, frame={"weights": [NAN] * 51, "time": 0.05}), "frame 3 .* not finite"),
    (changed(3, frame={"weights": [1e300] * 51, "time": 0.05}), "frame 3 .* not finite"),
    (changed(3, frame={"weights": ["high"] * 51}), "not a table of numbers"),
    (changed(3, frame={"weights": [[0.0]] * 51}), "not a table of numbers"),
])  # fmt: skip
def test_bad_beat_files(tmp_path, text, message):
    path = write_beat(tmp_path, "1_wayne_0_9_9", 0.1)
    path.write_text(text)
    with pytest.raises(MotionError, match=message) as error:
        read_beat(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    loaded, failures = load_clips(read_index(tmp_path))
    assert loaded == []
    assert failures == [f"1_wayne_0_9_9: {error.value}"]


def test_a_binary_file_called_json(tmp_path):
    path = write_beat(tmp_path, "1_wayne_0_9_9")
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MotionError, match=r"1_wayne_0_9_9.json: not a text file"):
        read_beat(path)


def test_curves_that_dtalk_does_not_know_are_ignored_with_a_warning(tmp_path):
    content = beat_content(6)
    content["names"] = [*BEAT_NAMES, "neckTwist"]
    for frame in content["frames"]:
        frame["weights"].append(0.5)
    path = tmp_path / "1_wayne_0_9_9.json"
    path.write_text(json.dumps(content))
    with pytest.warns(MotionWarning, match="necktwist"):
        assert len(read_beat(path)) == 6


def bad_arrays() -> list[tuple[Any, str]]:
    hole = np.zeros((9, 52))
    hole[4, 7] = np.nan
    return [
        (np.zeros((9, 51)), r"52 names for coefficients of shape \[9, 51\]"),
        (np.zeros((9, 53)), r"52 names for coefficients of shape \[9, 53\]"),
        (np.zeros(52), r"52 names for coefficients of shape \[52\]"),
        (np.zeros((2, 9, 52)), r"52 names for coefficients of shape \[2, 9, 52\]"),
        (np.zeros((0, 52)), r"shape \[0, 52\], expected \[frames >= 1, 52\]"),
        (np.full((9, 52), "x"), "not a table of numbers"),
        (hole, "frame 4 holds a value that is not finite"),
        (np.full((9, 52), None, dtype=object), "not an npy file of numbers, or damaged"),
    ]


@pytest.mark.parametrize(("array", "message"), bad_arrays())
def test_bad_etf_arrays(tmp_path, array, message):
    path = write_etf(tmp_path, "RD_Radio11_000")
    np.save(path, array, allow_pickle=True)
    with pytest.raises(MotionError, match=message) as error:
        read_etf(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00", b"PK\x03\x04 zip?"])
def test_files_that_are_no_arrays(tmp_path, content):
    path = write_etf(tmp_path, "RD_Radio11_000")
    path.write_bytes(content)
    with pytest.raises(MotionError, match="not an npy file of numbers, or damaged"):
        read_etf(path)


def test_an_array_that_is_cut_off(tmp_path):
    path = write_etf(tmp_path, "RD_Radio11_000")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MotionError, match="not an npy file of numbers, or damaged"):
        read_etf(path)


def test_missing_files(tmp_path):
    for read in (read_beat, read_etf):
        with pytest.raises(MotionError, match=r"no such motion file: .*gone"):
            read(tmp_path / "gone")


@given(st.binary(max_size=300))
def test_no_content_brings_the_reader_down(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    for read in (read_beat, read_etf):
        with pytest.raises(MotionError, match="any"):
            read(path)


# Lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sound", "frames"), [(2.0, 58), (1.9, 57)])
def test_the_longer_is_cut_at_its_end(tmp_path, sound, frames):
    """BEAT's sound and face start together and end a little apart: here the face has 1.933 s."""
    path = write_beat(tmp_path, "1_wayne_0_9_9", 2.0)
    write_sound(tmp_path / "1_wayne_0_9_9.wav", sound, 1)
    path.write_text(json.dumps(beat_content(116)))
    found = load_clip(read_index(tmp_path)[0])
    assert found.frames == frame_count(len(found.waveform)) == frames
    np.testing.assert_allclose(found.waveform, speech(len(found.waveform), 1), atol=2e-4)


def test_motion_and_sound_that_are_no_pair(tmp_path):
    write_etf(tmp_path, "RD_Radio11_000", 30)
    write_sound(tmp_path / "RD_Radio11_000.wav", 1.5)
    loaded, failures = load_clips(read_index(tmp_path))
    assert loaded == []
    assert failures == [
        f"RD_Radio11_000: {tmp_path / 'RD_Radio11_000.npy'} lasts 1.00 s, its sound 1.50 s: "
        "no pair, or drifted apart"
    ]


# Training ----------------------------------------------------------------------------------------


def test_long_recordings_are_cut_into_pieces_for_training(tmp_path):
    """BEAT's conversations last ten minutes: one would be a batch of 18,000 frames."""
    write_etf(tmp_path / "train", "RD_Radio11_000", 610, seed=1)
    write_etf(tmp_path / "val", "RD_Radio12_000", 610, seed=2)
    data = load_data(training_config(tmp_path, tmp_path / "run"), Recorder())
    assert [clip.clip.name for clip in data.train] == [f"RD_Radio11_000#{n}" for n in range(3)]
    assert [clip.frames for clip in data.train] == [203, 204, 203]
    assert [frame_count(len(clip.waveform)) for clip in data.train] == [203, 204, 203]
    whole = load_clip(read_index(tmp_path)[0])
    np.testing.assert_array_equal(
        np.concatenate([clip.coefficients for clip in data.train]), whole.coefficients
    )
    np.testing.assert_array_equal(
        np.concatenate([clip.waveform for clip in data.train]), whole.waveform
    )
    assert [clip.frames for clip in data.validation] == [610]
    assert [piece.frames for piece in in_pieces(data.train[0])] == [203]


def test_many_bad_files_do_not_fill_the_page(tmp_path):
    for n in range(10, 40):
        write_beat(tmp_path, f"1_wayne_0_{n}_{n}", 0.1).write_text("{}")
    write_beat(tmp_path, "1_wayne_0_9_9")
    write_beat(tmp_path, "1_wayne_0_41_41").unlink()
    observer = Recorder()
    data = load_data(training_config(tmp_path, tmp_path / "run"), observer)
    assert [clip.clip.name for clip in data.train] == ["1_wayne_0_9_9"]
    assert observer.notes[0] == "left out, sound without motion: 1_wayne_0_41_41.wav"
    assert len(observer.notes) == 1 + 5 + 1
    assert observer.notes[1].startswith("left out: 1_wayne_0_10_10: ")
    assert observer.notes[-1] == "left out: and 25 more"


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """BEAT and 3D-ETF in one folder, with one bad file and one without a partner."""
    folder = tmp_path_factory.mktemp("both")
    for seed, stem in enumerate(("1_wayne_0_9_9", "1_wayne_0_66_66", "2_scott_0_57_57")):
        write_beat(folder / "beat" / stem[0], stem, seed=seed)
    for seed, stem in enumerate(("03-01-05-01-01-01-01", "03-01-04-01-01-01-21")):
        write_etf(folder / "RAVDESS", stem, seed=seed, audio="audio", motion="blendshape")
    write_etf(folder / "HDTF", "RD_Radio11_000")
    write_beat(folder / "beat" / "2", "2_scott_0_58_58").write_text("")
    write_beat(folder / "beat" / "2", "2_scott_0_10_10").unlink()
    return folder


def test_the_command_line_trains_distils_and_evaluates(both, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert (
        run_dtalk(monkeypatch, "train", "--data", both, "--out", "run", "--updates", 2, *SMALL) == 0
    )
    told = capfd.readouterr()
    assert "left out, sound without motion: beat/2/2_scott_0_10_10.wav" in told.out
    assert told.out.count("left out: ") == 1
    assert "left out: 2_scott_0_58_58: " in told.out
    log = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert {"beat", "ravdess", "all"} <= set(log[-1]["validation"])

    model = Path("run/model.safetensors")
    flags = ("--weights", model, "--json", "figures.json")
    assert run_dtalk(monkeypatch, "evaluate", "--data", both, *flags) == 0
    told = capfd.readouterr()
    assert "warning: left out, sound without motion: beat/2/2_scott_0_10_10.wav" in told.err
    assert "warning: left out: 2_scott_0_58_58: " in told.err
    scores = json.loads(Path("figures.json").read_text())["systems"]["model"]["sample"]
    assert set(scores) == {"all", "beat", "ravdess", "unseen speakers"}
    assert np.isfinite(scores["beat"]["lve_of_static"])
    assert run_dtalk(monkeypatch, "evaluate", "--data", both, *flags, "--sets", "ravdess") == 0

    student = ["--batch-frames=1000", "--encoder-width=12", "--updates=1", "--encoder-updates=1"]
    teacher = ("--teacher", model, "--data", both, "--out", "student", "--steps", 1)
    assert run_dtalk(monkeypatch, "distill", *teacher, *student) == 0
    assert Path("student/model.safetensors").is_file()


def test_the_command_line_on_a_folder_that_holds_none(tmp_path, monkeypatch, capfd):
    assert run_dtalk(monkeypatch, "train", "--data", tmp_path, "--out", tmp_path / "run") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: cannot read ")
    assert "or BEAT or 3D-ETF as published" in line
