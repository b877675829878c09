"""Motion files: round trips, exact, and what is refused."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from motions import JAW, coefficients, provenanced, refused

from dtalk.errors import DtalkError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.curves import Motion
from dtalk.motion.files import FORMATS, read_motion, write_motion


def same(one: Motion, other: Motion) -> bool:
    fields = ("fps", "audio", "identity", "emotion", "seed", "model")
    return (
        np.array_equal(one.coefficients, other.coefficients)
        and all(getattr(one, field) == getattr(other, field) for field in fields)
        and (one.head_rotation is None) == (other.head_rotation is None)
        and (one.head_rotation is None or np.array_equal(one.head_rotation, other.head_rotation))
    )


finite = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.just(52)),
    elements=st.floats(np.float32(-0.1), 1.5, width=32),
)


class TestRoundTrips:
    @given(finite)
    def test_npz_is_exact(self, tmp_path_factory, values):
        path = tmp_path_factory.getbasetemp() / "exact.npz"
        write_motion(Motion(values), path)
        assert same(read_motion(path), Motion(values))

    def test_npz_keeps_all_provenance(self, tmp_path):
        write_motion(provenanced(), tmp_path / "a.npz")
        assert same(read_motion(tmp_path / "a.npz"), provenanced())

    def test_npz_tells_no_time(self, tmp_path):
        for name in ("a.npz", "b.npz"):
            write_motion(provenanced(), tmp_path / name)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()

    @pytest.mark.parametrize(("suffix", "off"), [("csv", 5e-11), ("json", 5e-9)])
    def test_text_keeps_its_decimals(self, tmp_path, suffix, off):
        motion = provenanced()
        write_motion(motion, tmp_path / f"a.{suffix}")
        other = read_motion(tmp_path / f"a.{suffix}")
        np.testing.assert_allclose(other.coefficients, motion.coefficients, rtol=1e-7, atol=off)
        assert other.fps == 25

    def test_what_text_keeps_besides(self, tmp_path):
        motion = provenanced()
        write_motion(motion, tmp_path / "a.csv")
        write_motion(motion, tmp_path / "a.json")
        rotation = read_motion(tmp_path / "a.csv").head_rotation
        assert rotation is not None
        assert motion.head_rotation is not None
        np.testing.assert_allclose(rotation, motion.head_rotation, rtol=1e-7, atol=5e-9)
        assert read_motion(tmp_path / "a.json").audio == motion.audio

    @pytest.mark.parametrize("suffix", FORMATS)
    def test_one_frame(self, tmp_path, suffix):
        write_motion(Motion(np.full((1, 52), 0.5)), tmp_path / f"a.{suffix}")
        other = read_motion(tmp_path / f"a.{suffix}")
        assert other.coefficients.tolist() == [[0.5] * 52]
        assert other.fps == 30
        assert other.head_rotation is None

    @pytest.mark.parametrize("fps", [10, 12.5, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 120])
    @pytest.mark.parametrize("seconds", [1.2, 2, 61])
    def test_frame_rates(self, tmp_path, fps, seconds):
        motion = Motion(np.zeros((round(seconds * fps), 52)), fps=fps)
        for suffix in FORMATS:
            write_motion(motion, tmp_path / f"a.{suffix}")
            assert read_motion(tmp_path / f"a.{suffix}").fps == pytest.approx(fps, rel=1e-4)

    @pytest.mark.parametrize("name", FORMATS)
    def test_by_name_whatever_the_suffix(self, tmp_path, name):
        path = tmp_path / "motion.dat"
        write_motion(provenanced(), path, name)
        np.testing.assert_allclose(
            read_motion(path, name).coefficients, provenanced().coefficients, atol=1e-7
        )
        assert [entry.name for entry in tmp_path.iterdir()] == ["motion.dat"]

    def test_recordings_can_be_read(self, shared):
        clip = next((shared / "data" / "grid").glob("*.npz"))
        motion = read_motion(clip)
        np.testing.assert_array_equal(motion.coefficients, np.load(clip)["coefficients"])
        assert motion.fps == 30


class TestWriting:
    def test_unknown_formats(self, tmp_path):
        for write in (lambda p: write_motion(provenanced(), p), read_motion):
            with pytest.raises(MotionError, match=r"npz, csv, json"):
                write(tmp_path / "a.fbx")

    @pytest.mark.parametrize("suffix", FORMATS)
    def test_a_failure_leaves_the_old_file(self, tmp_path, suffix, monkeypatch):
        path = tmp_path / f"a.{suffix}"
        path.write_text("old")

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.replace", fail)
        with pytest.raises(DtalkError, match="No space left"):
            write_motion(provenanced(), path)
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    def test_live_link_face_layout(self, tmp_path):
        path = tmp_path / "a.csv"
        write_motion(Motion(coefficients(62)), path)
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert len(header) == 63
        assert header[:4] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft"]
        assert header[16:20] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
        assert header[23:25] == ["MouthRight", "MouthLeft"]
        assert header[53:57] == ["TongueOut", "HeadYaw", "HeadPitch", "HeadRoll"]
        assert header[57:] == [
            f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll")
        ]
        assert len(rows) == 62
        assert all(len(row) == 63 and row[1] == "61" for row in rows)
        assert rows[3][2 + JAW] == f"{coefficients(62)[3, JAW]:.10f}"

    def test_audio2face_layout(self, tmp_path):
        path = tmp_path / "a.json"
        write_motion(Motion(coefficients(3), audio="x.wav"), path)
        content = json.loads(path.read_text())
        assert list(content) == [
            *("exportFps", "trackPath", "numPoses", "numFrames", "facsNames", "weightMat")
        ]
        assert content["exportFps"] == 30
        assert isinstance(content["exportFps"], int)
        assert content["trackPath"] == "x.wav"
        assert (content["numPoses"], content["numFrames"]) == (52, 3)
        assert content["facsNames"] == list(ARKIT_NAMES)
        np.testing.assert_allclose(content["weightMat"], coefficients(3), atol=5.1e-9)

    def test_native_layout(self, tmp_path):
        write_motion(Motion(coefficients(3)), tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
            assert set(content.files) == {
                *("coefficients", "names", "fps", "audio", "identity", "emotion", "model")
            }
            assert tuple(content["names"]) == ARKIT_NAMES
            assert content["coefficients"].dtype == np.float32


class TestNpz:
    def test_objects_are_refused(self, tmp_path):
        values = np.array([[{}] * 52], dtype=object)
        np.savez(tmp_path / "a.npz", names=np.array(ARKIT_NAMES), coefficients=values)
        assert "not an npz motion file" in refused(tmp_path / "a.npz")

    def test_a_bare_array(self, tmp_path):
        with (tmp_path / "a.npz").open("wb") as file:
            np.save(file, coefficients())
        assert "not an npz motion file" in refused(tmp_path / "a.npz")

    def test_a_bit_that_says_encrypted(self, tmp_path):
        path = tmp_path / "a.npz"
        write_motion(provenanced(), path)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 1  # in the archive's directory
        data[data.index(b"PK\x03\x04") + 6] |= 1  # at the entry itself
        path.write_bytes(data)
        assert "not an npz motion file" in refused(path)

    def test_another_kind_of_npz(self, tmp_path):
        np.savez(tmp_path / "a.npz", coefficients=coefficients())
        assert "`names`" in refused(tmp_path / "a.npz")

    @pytest.mark.parametrize("values", [coefficients()[0], coefficients()[:, :51]])
    def test_names_that_do_not_fit(self, tmp_path, values):
        np.savez(tmp_path / "a.npz", names=np.array(ARKIT_NAMES), coefficients=values)
        assert "52 names" in refused(tmp_path / "a.npz")

    def test_a_rate_in_a_list_of_one(self, tmp_path):
        arrays = {"coefficients": coefficients(), "names": ARKIT_NAMES, "fps": np.array([24])}
        np.savez(tmp_path / "a.npz", **arrays)
        assert read_motion(tmp_path / "a.npz").fps == 24

    @pytest.mark.parametrize("fps", ["thirty", np.nan, 0.0])
    def test_fps(self, tmp_path, fps):
        names = np.array(ARKIT_NAMES)
        np.savez(tmp_path / "a.npz", names=names, coefficients=coefficients(), fps=fps)
        assert "fps" in refused(tmp_path / "a.npz")


GOOD_JSON = {"exportFps": 60, "facsNames": ["jawOpen"], "weightMat": [[0.5], [0.25]]}


class TestJson:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"facsNames": None}, "`facsNames`"),
            ({"facsNames": [1]}, "`facsNames`"),
            ({"weightMat": {}}, "`weightMat`"),
            ({"weightMat": [[0.5], [0.25, 1]]}, "not a table of numbers"),
            ({"weightMat": [["wide"]]}, "not a table of numbers"),
            ({"weightMat": [[0.5, 1]]}, "1 names"),
            ({"weightMat": [[10**400]]}, "not a table of numbers"),
            ({"weightMat": [[0], [1e39]]}, "frame 1 holds a value that is not finite"),
            ({"numFrames": 3}, "`numFrames` says 3, but `weightMat` holds 2"),
            ({"exportFps": "30"}, "not a frame rate"),
            ({"exportFps": 0}, "not a frame rate"),
            ({"exportFps": 10**400}, "not a frame rate"),
            ({"exportFps": float("nan")}, "not a frame rate"),
        ],
    )
    def test_what_does_not_fit_is_named(self, tmp_path, change, message):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(GOOD_JSON))
        assert read_motion(path).coefficients[:, JAW].tolist() == [0.5, 0.25]
        path.write_text(json.dumps(GOOD_JSON | change))
        assert message in refused(path)

    @pytest.mark.parametrize(
        "text", ["[]", "3", "1" * 5000, "[" * 100_000, '{"facsNames": ["jawOpen"]']
    )
    def test_other_json(self, tmp_path, text):
        (tmp_path / "a.json").write_text(text)
        refused(tmp_path / "a.json")


SUFFIXES = ["npz", "json", "csv"]


def write(path: Path, values: list[list[float]], fps: float | None = None) -> Path:
    """Write jawOpen and mouthPucker [T, 2] as another program would."""
    names = ["jawOpen", "mouthPucker"]
    rate = {} if fps is None else {"fps": fps}
    if path.suffix == ".npz":
        np.savez(path, coefficients=np.float32(values), names=np.array(names), **rate)
    elif path.suffix == ".json":
        rate = {} if fps is None else {"exportFps": fps}
        path.write_text(json.dumps({"facsNames": names, "weightMat": values, **rate}))
    else:
        times = [f"{k / fps:.5f}" if fps else "" for k in range(len(values))]
        rows = [f"{t},{a},{b}\n" for t, (a, b) in zip(times, values, strict=True)]
        path.write_text("".join(["time,jawOpen,mouthPucker\n", *rows]))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestEveryFormat:
    def test_a_rate_can_be_named_where_the_file_has_none(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", [[0.1, 0.2]] * 5)
        assert read_motion(path, fps=24).fps == 24

    def test_a_rate_in_the_file_holds(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", [[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]], fps=50)
        assert read_motion(path, fps=24).fps == 50

    def test_percent(self, tmp_path, suffix):
        path = write(tmp_path / f"a.{suffix}", [[10, 0], [60, 20], [80, 90]], fps=30)
        with pytest.warns(MotionWarning, match="from 0 to 100: they are divided by 100"):
            found = read_motion(path)
        np.testing.assert_allclose(found.coefficients[:, JAW], [0.1, 0.6, 0.8], atol=1e-6)

    @pytest.mark.parametrize("value", [1.6, -0.2, 50])
    def test_beyond(self, tmp_path, suffix, value):
        path = write(tmp_path / f"a.{suffix}", [[0.1, 0.2], [0.5, value], [0.5, 0.5]], fps=30)
        with pytest.raises(MotionError, match=f"mouthPucker is {value:g} in frame 1"):
            read_motion(path)


@pytest.mark.parametrize("suffix", ["npz", "json"])
@pytest.mark.parametrize("fps", [0.0, 0.99, 1000.5, 1e12, 1e-12, -30.0])
def test_rates_that_are_none(tmp_path, suffix, fps):
    path = write(tmp_path / f"a.{suffix}", [[0.1, 0.2]] * 3, fps=fps)
    with pytest.raises(MotionError, match=r"fps must be 1 to 1000|not a frame rate"):
        read_motion(path)


def test_names_as_bytes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, coefficients=np.full((3, 1), 0.4), names=np.array([b"jawOpen"]))
    assert read_motion(path).coefficients[0, JAW] == np.float32(0.4)


def test_names_that_are_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", coefficients=np.zeros((3, 1)), names=np.arange(1))
    with pytest.raises(MotionError, match="`names` are no texts"):
        read_motion(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_texts_are_written_piece_by_piece(suffix, tmp_path):
    """A piece is 1000 frames: three of them join without a seam."""
    curves = np.random.default_rng(0).uniform(0, 1, (2001, 52)).astype(np.float32)
    path = tmp_path / f"long.{suffix}"
    write_motion(Motion(curves), path)
    np.testing.assert_allclose(read_motion(path).coefficients, curves, atol=1e-8)
