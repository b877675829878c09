"""The 52 channels, the motion container, and its three file formats."""

from __future__ import annotations

import csv
import errno
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dtalk.errors import DtalkError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES, MIRROR, MOUTH_NAMES, UPPER_FACE_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.curves import Motion
from dtalk.motion.files import FORMATS, read_motion, write_motion

JAW = ARKIT_NAMES.index("jawOpen")


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    """A warning that a test does not ask for is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def coefficients(frames: int = 45, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((frames, 52), dtype=np.float32)


def provenanced() -> Motion:
    rotation = np.random.default_rng(1).uniform(-0.5, 0.5, (45, 3)).astype(np.float32)
    return Motion(
        coefficients(),
        fps=25,
        audio="a/rede ü.wav",
        identity="s1",
        emotion="sad",
        seed=2**64 - 1,
        model="student",
        head_rotation=rotation,
    )


def refused(path: Path) -> str:
    with pytest.raises(MotionError) as error:
        read_motion(path)
    text = str(error.value)
    assert "\n" not in text
    assert path.name in text
    return text


def same(one: Motion, other: Motion) -> bool:
    fields = ("fps", "audio", "identity", "emotion", "seed", "model")
    return (
        np.array_equal(one.coefficients, other.coefficients)
        and all(getattr(one, field) == getattr(other, field) for field in fields)
        and (one.head_rotation is None) == (other.head_rotation is None)
        and (one.head_rotation is None or np.array_equal(one.head_rotation, other.head_rotation))
    )


class TestNames:
    def test_the_order_is_the_recordings(self, shared):
        clip = next((shared / "data" / "grid").glob("*.npz"))
        assert tuple(np.load(clip)["names"]) == ARKIT_NAMES

    def test_all_once(self):
        assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52

    def test_regions(self):
        gaze = {name for name in ARKIT_NAMES if name.startswith("eyeLook")}
        assert len(gaze) == 8
        assert len(UPPER_FACE_NAMES) == 16
        assert len(MOUTH_NAMES) == 28
        assert gaze | set(UPPER_FACE_NAMES) | set(MOUTH_NAMES) == set(ARKIT_NAMES)

    def test_mirror(self):
        mirrored = {name: ARKIT_NAMES[MIRROR[i]] for i, name in enumerate(ARKIT_NAMES)}
        assert mirrored["jawLeft"] == "jawRight"
        assert mirrored["mouthRight"] == "mouthLeft"
        assert mirrored["eyeLookInLeft"] == "eyeLookInRight"
        assert mirrored["mouthUpperUpRight"] == "mouthUpperUpLeft"
        assert mirrored["jawOpen"] == "jawOpen"
        assert sorted(MIRROR) == list(range(52))
        assert [MIRROR[i] for i in MIRROR] == list(range(52))
        assert sum(name == other for name, other in mirrored.items()) == 12


class TestMotion:
    def test_takes_anything_like_an_array(self):
        motion = Motion([[0] * 52] * 60, fps=60)
        assert motion.coefficients.dtype == np.float32
        assert motion.coefficients.shape == (60, 52)
        assert len(motion) == 60
        assert motion.duration == 1.0

    @pytest.mark.parametrize("shape", [(0, 52), (52,), (3, 51), (1, 3, 52)])
    def test_shapes(self, shape):
        with pytest.raises(MotionError, match="shape"):
            Motion(np.zeros(shape))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_must_be_finite(self, bad):
        values = np.zeros((5, 52))
        values[3, 7] = bad
        with pytest.raises(MotionError, match="frame 3"):
            Motion(values)
        with pytest.raises(MotionError, match="head rotation: frame 3"):
            Motion(np.zeros((5, 52)), head_rotation=values[:, 5:8])

    def test_head_rotation_must_fit(self):
        with pytest.raises(MotionError, match=r"head rotation has 4 frames, coefficients 5"):
            Motion(np.zeros((5, 52)), head_rotation=np.zeros((4, 3)))
        with pytest.raises(MotionError, match="shape"):
            Motion(np.zeros((5, 52)), head_rotation=np.zeros((5, 4)))

    @pytest.mark.parametrize("fps", [0, -30, np.nan, np.inf])
    def test_fps(self, fps):
        with pytest.raises(MotionError, match="fps"):
            Motion(np.zeros((5, 52)), fps=fps)

    @pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
    def test_seed(self, seed):
        with pytest.raises(MotionError, match="64 bits"):
            Motion(np.zeros((5, 52)), seed=seed)

    def test_numbers_are_asked_for(self):
        with pytest.raises(MotionError, match="not an array of numbers"):
            Motion([["a"] * 52])


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


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_named(path: Path, names: list[str], values: np.ndarray) -> Path:
    """The same columns in whichever format the suffix says."""
    if path.suffix == ".npz":
        np.savez(path, names=np.array(names), coefficients=values.astype(np.float32))
    elif path.suffix == ".json":
        path.write_text(json.dumps({"facsNames": names, "weightMat": values.tolist()}))
    else:
        stamps = [f"10:00:{k // 30:02}:{k % 30:02}.000" for k in range(len(values))]
        rows = [[stamp, *row] for stamp, row in zip(stamps, values.tolist(), strict=True)]
        write_csv(path, ["Timecode", *names], rows)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
class TestReadingByName:
    def test_reordered(self, tmp_path, suffix):
        order = np.random.default_rng(0).permutation(52)
        names = [ARKIT_NAMES[i] for i in order]
        path = write_named(tmp_path / f"a.{suffix}", names, coefficients()[:, order])
        np.testing.assert_array_equal(read_motion(path).coefficients, coefficients())

    def test_any_case(self, tmp_path, suffix):
        names = [name.upper() if i % 2 else name.lower() for i, name in enumerate(ARKIT_NAMES)]
        path = write_named(tmp_path / f"a.{suffix}", names, coefficients())
        np.testing.assert_array_equal(read_motion(path).coefficients, coefficients())

    def test_missing_channels_are_zero(self, tmp_path, suffix):
        path = write_named(
            tmp_path / f"a.{suffix}", ["jawOpen", "browInnerUp"], coefficients()[:, :2]
        )
        expected = np.zeros((45, 52), np.float32)
        expected[:, JAW] = coefficients()[:, 0]
        expected[:, ARKIT_NAMES.index("browInnerUp")] = coefficients()[:, 1]
        np.testing.assert_array_equal(read_motion(path).coefficients, expected)

    def test_unknown_channels_are_ignored_and_named(self, tmp_path, suffix):
        path = write_named(
            tmp_path / f"a.{suffix}", ["earWiggle", "jawOpen"], coefficients()[:, :2]
        )
        with pytest.warns(MotionWarning, match=rf"a\.{suffix}: .*earWiggle"):
            motion = read_motion(path)
        np.testing.assert_array_equal(motion.coefficients[:, JAW], coefficients()[:, 1])

    def test_no_known_channel(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", ["viseme_aa"], coefficients()[:, :1])
        assert "none of its channels" in refused(path)

    def test_a_channel_twice(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", ["jawOpen", "JawOpen"], coefficients()[:, :2])
        assert "JawOpen appears twice" in refused(path)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, tmp_path, suffix, bad):
        values = coefficients()
        values[2, 5] = bad
        path = write_named(tmp_path / f"a.{suffix}", list(ARKIT_NAMES), values)
        text = refused(path)
        assert "finite" in text
        # The line counts from 1 and the header is the first.
        assert ("line 4: eyeSquintLeft" if suffix == "csv" else "frame 2") in text

    def test_no_frames(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", list(ARKIT_NAMES), np.zeros((0, 52)))
        refused(path)

    def test_missing_file(self, tmp_path, suffix):
        assert "no such motion file" in refused(tmp_path / f"none.{suffix}")

    def test_a_folder(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").mkdir()
        assert "s a directory" in refused(tmp_path / f"a.{suffix}")

    def test_an_empty_file(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").touch()
        refused(tmp_path / f"a.{suffix}")

    def test_other_bytes(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").write_bytes(np.random.default_rng(0).bytes(5000))
        refused(tmp_path / f"a.{suffix}")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_cut_off(self, tmp_path, suffix, share):
        path = tmp_path / f"a.{suffix}"
        write_motion(provenanced(), path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        refused(path)

    @given(data=st.data())
    def test_damage_gives_motion_or_a_motion_error(self, tmp_path_factory, suffix, data):
        path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
        write_motion(Motion(coefficients(2)), path)
        content = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
            # In text files bytes above 127 would all fail in the same way.
            content[place] = data.draw(st.integers(0, 255 if suffix == "npz" else 127))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                motion = read_motion(path)
            except MotionError:
                return
        assert np.isfinite(motion.coefficients).all()


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

    @pytest.mark.parametrize("fps", ["thirty", np.nan, 0.0])
    def test_fps(self, tmp_path, fps):
        names = np.array(ARKIT_NAMES)
        np.savez(tmp_path / "a.npz", names=names, coefficients=coefficients(), fps=fps)
        assert "fps" in refused(tmp_path / "a.npz")


class TestCsv:
    HEADER = ("Timecode", "BlendshapeCount", "JawOpen", "HeadYaw", "HeadPitch", "HeadRoll")

    def recording(self, path: Path, stamps: list[str]) -> Path:
        rows: list[list[object]] = [[stamp, 61, 0.25, 0.1, 0.2, -0.3] for stamp in stamps]
        return write_csv(path, list(self.HEADER), rows)

    def test_of_the_app(self, tmp_path):
        """60 frames per second on the clock of the day, with the app's odd fractions."""
        stamps = [
            f"23:59:{k // 60:02}:{k % 60:02}.{466 + k % 3}" for k in range(59 * 60 + 17, 60 * 60)
        ]
        path = self.recording(tmp_path / "a.csv", [*stamps, "00:00:00:00.466", "00:00:00:01.467"])
        motion = read_motion(path)
        assert motion.fps == 60
        assert len(motion) == 45
        assert motion.coefficients[7, JAW] == 0.25
        assert motion.head_rotation is not None
        np.testing.assert_allclose(motion.head_rotation[3], [0.1, 0.2, -0.3], rtol=1e-6)

    def test_30_on_a_clock_of_60(self, tmp_path):
        stamps = [f"10:00:{k // 60:02}:{k % 60:02}.000" for k in range(10, 200, 2)]
        assert read_motion(self.recording(tmp_path / "a.csv", stamps)).fps == 30

    @pytest.mark.parametrize("stamp", ["", "later", "10:00:00", "10:00:00:00.000"])
    def test_clocks_that_do_not_tell(self, tmp_path, stamp):
        path = self.recording(tmp_path / "a.csv", [stamp] * 5)
        with pytest.warns(MotionWarning, match="30 frames per second are assumed"):
            assert read_motion(path).fps == 30

    def test_no_clock(self, tmp_path):
        path = write_csv(tmp_path / "a.csv", ["JawOpen"], [[0.25]] * 3)
        with pytest.warns(MotionWarning, match="30 frames per second are assumed"):
            assert read_motion(path).fps == 30

    def test_byte_order_mark_spaces_and_empty_lines(self, tmp_path):
        path = tmp_path / "a.csv"
        text = "Timecode, BlendShapeCount , jawopen \r\n00:00:00:00.0,1, 0.5\r\n\r\n ,\r\n\r\n"
        path.write_bytes(b"\xef\xbb\xbf" + text.replace(" ,\r\n", "").encode())
        assert read_motion(path).coefficients[0, JAW] == 0.5

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (["10:00:00:02.000", 61, 0.25], "line 4: 3 fields, the header has 6"),
            (["10:00:00:02.000", 61, 0.25, 0, 0, 0, 0], "line 4: 7 fields, the header has 6"),
            (["10:00:00:02.000", 61, "", 0, 0, 0], "line 4: JawOpen is '', not a number"),
            (["10:00:00:02.000", 61, "open", 0, 0, 0], "line 4: JawOpen is 'open', not a number"),
            (["10:00:00:02.000", 61, "nan", 0, 0, 0], "line 4: JawOpen is nan, not a finite"),
            (["10:00:00:02.000", 61, 0, "-inf", 0, 0], "line 4: HeadYaw is -inf, not a finite"),
        ],
    )
    def test_bad_lines_are_named(self, tmp_path, line, message):
        path = self.recording(tmp_path / "a.csv", ["10:00:00:00.000", "10:00:00:01.000"])
        with path.open("a", newline="") as file:
            csv.writer(file).writerow(line)
        assert message in refused(path)

    @pytest.mark.parametrize("column", [2, 4])
    def test_numbers_beyond_float32(self, tmp_path, column):
        row: list[object] = ["10:00:00:02.000", 61, 0.25, 0, 0, 0]
        row[column] = "1e39"
        assert "not finite" in refused(write_csv(tmp_path / "a.csv", list(self.HEADER), [row]))

    def test_utf_16(self, tmp_path):
        (tmp_path / "a.csv").write_text("Timecode,JawOpen\n0,0.5\n", encoding="utf-16")
        assert "not a text file" in refused(tmp_path / "a.csv")


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
