"""The clock of Live Link Face csv: 60 ticks a second, whatever the rate of the rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from motions import JAW, refused, write_rows

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion
from dtalk.motion.live_link import _timecode, read_csv, write_csv


def rows_of(motion: Motion, path: Path) -> list[dict[str, str]]:
    write_csv(motion, path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def recording(path: Path, stamps: list[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["Timecode", "JawOpen"], *([stamp, 0.001 * k] for k, stamp in enumerate(stamps))]
        )
    return path


class TestWriting:
    @pytest.mark.parametrize(
        ("fps", "stamps"),
        [
            (30, ["00.000", "02.000", "04.000", "06.000"]),
            (60, ["00.000", "01.000", "02.000", "03.000"]),
            (24, ["00.000", "02.500", "05.000", "07.500"]),
            (25, ["00.000", "02.400", "04.800", "07.200"]),
            (50, ["00.000", "01.200", "02.400", "03.600"]),
            (120, ["00.000", "00.500", "01.000", "01.500"]),
        ],
    )
    def test_every_rate_counts_on_a_clock_of_60(self, fps, stamps):
        assert [_timecode(k, fps)[9:] for k in range(4)] == stamps

    def test_seconds_minutes_and_hours(self):
        assert _timecode(30, 30) == "00:00:01:00.000"
        assert _timecode(30 * 3661 + 7, 30) == "01:01:01:14.000"
        assert _timecode(2997, 29.97) == "00:01:40:00.000"

    def test_angles_of_the_eyes(self, tmp_path):
        """As the app: yaw positive to the right, pitch positive down, no roll, radians."""
        weights = np.zeros((2, 52))
        weights[1, ARKIT_NAMES.index("eyeLookInLeft")] = 0.5
        weights[1, ARKIT_NAMES.index("eyeLookOutRight")] = 0.5
        weights[1, ARKIT_NAMES.index("eyeLookDownLeft")] = 1
        still, moved = rows_of(Motion(weights), tmp_path / "a.csv")
        assert {still[name] for name in still if "Eye" in name and "Yaw" in name} == {
            "0.0000000000"
        }
        found = [float(moved[f"{side}Eye{axis}"]) for side in ("Left", "Right") for axis in AXES]
        np.testing.assert_allclose(found, [0.3, 0.6, 0, 0.3, 0, 0], atol=1e-7)


AXES = ("Yaw", "Pitch", "Roll")


class TestReading:
    @pytest.mark.parametrize("fps", [23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 120])
    @pytest.mark.parametrize("seconds", [0.2, 0.5, 0.99, 1, 1.5, 62])
    def test_its_own_files_of_any_length(self, tmp_path, fps, seconds):
        values = np.random.default_rng(0).random((max(2, round(seconds * fps)), 52))
        motion = Motion(values, fps=fps)
        write_csv(motion, tmp_path / "a.csv")
        found = read_csv(tmp_path / "a.csv")
        assert found.fps == pytest.approx(fps, rel=1e-4)
        np.testing.assert_allclose(found.coefficients, motion.coefficients, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("first", [0, 4, 29, 40])
    @pytest.mark.parametrize(("step", "fps"), [(1, 60), (2, 30)])
    def test_of_the_app_within_a_second(self, tmp_path, first, step, fps):
        """Fractions as the app has them."""
        stamps = [f"13:13:04:{first + step * k:02}.65{4 - k // 2}" for k in range(9)]
        assert read_csv(recording(tmp_path / "a.csv", stamps)).fps == fps

    @pytest.mark.parametrize("clock", [24, 25, 30, 48, 50, 60, 100, 120])
    def test_other_clocks_over_several_seconds(self, tmp_path, clock):
        stamps = [f"10:00:{k // clock:02}:{k % clock:02}.000" for k in range(7, 3 * clock)]
        assert read_csv(recording(tmp_path / "a.csv", stamps)).fps == clock

    @pytest.mark.parametrize("lost", [0.05, 0.1])
    def test_the_clock_is_found_where_rows_are_lost(self, tmp_path, lost):
        kept = np.flatnonzero(np.random.default_rng(0).random(600) > lost)
        stamps = [f"10:00:{k // 30:02}:{2 * (k % 30):02}.300" for k in kept]
        with pytest.warns(MotionWarning, match="rows are missing"):
            found = read_csv(recording(tmp_path / "a.csv", stamps))
        assert found.fps == 30
        assert len(found) == kept[-1] - kept[0] + 1

    def test_over_midnight(self, tmp_path):
        stamps = [f"23:59:59:{k:02}.000" for k in range(0, 60, 2)]
        stamps += [f"00:00:00:{k:02}.000" for k in range(0, 60, 2)]
        assert read_csv(recording(tmp_path / "a.csv", stamps)).fps == 30

    def test_one_row_tells_no_rate(self, tmp_path):
        assert read_csv(recording(tmp_path / "a.csv", ["10:00:00:07.000"])).fps == 30


class TestOtherPrograms:
    def written(self, path: Path, text: str) -> Motion:
        path.write_text(text, encoding="utf-8")
        return read_csv(path)

    def jaw(self, motion: Motion) -> list[float]:
        return [round(float(v), 4) for v in motion.coefficients[:, ARKIT_NAMES.index("jawOpen")]]

    def test_lost_rows_are_laid_out_by_their_time_codes(self, tmp_path):
        """Rows 0, 1, 2, 6 and 7 of 30 a second: the jaw rises by 0.1 a frame."""
        text = "Timecode,JawOpen\n" + "".join(
            f"01:00:00:{2 * k:02}.000,{k / 10}\n" for k in (0, 1, 2, 6, 7)
        )
        with pytest.warns(MotionWarning, match="3 rows are missing by their time codes"):
            found = self.written(tmp_path / "a.csv", text)
        assert self.jaw(found) == [k / 10 for k in range(8)]
        assert found.fps == 30

    def test_a_held_last_row_is_the_end(self, tmp_path):
        text = "Timecode,JawOpen\n00:00:00:00,0.1\n00:00:00:02,0.2\n" + "00:00:00:04,0.3\n" * 20
        assert self.jaw(self.written(tmp_path / "a.csv", text)) == [0.1, 0.2, 0.3]

    def test_nvidia_s_client(self, tmp_path):
        text = "timeCode,blendShapes.JawOpen\n0.0,0.1\n0.016667,0.2\n0.033333,0.3\n"
        found = self.written(tmp_path / "a.csv", text)
        assert (self.jaw(found), found.fps) == ([0.1, 0.2, 0.3], 60)

    def test_a_german_spreadsheet(self, tmp_path):
        text = "time;jaw_open;Comment\n0,00;0,1;a\n0,04;0,2;b\n0,08;0,3;c\n"
        with pytest.warns(MotionWarning, match="no ARKit blend shapes: Comment"):
            found = self.written(tmp_path / "a.csv", text)
        assert (self.jaw(found), found.fps) == ([0.1, 0.2, 0.3], 25)

    def test_the_rotation_is_laid_out_too(self, tmp_path):
        text = "Timecode,JawOpen,HeadYaw,HeadPitch,HeadRoll\n" + "".join(
            f"00:00:00:{2 * k:02},0.5,{k / 10},0,0\n" for k in (0, 1, 3, 4)
        )
        with pytest.warns(MotionWarning, match="1 rows are missing"):
            rotation = self.written(tmp_path / "a.csv", text).head_rotation
        assert rotation is not None
        np.testing.assert_allclose(rotation[:, 0], np.arange(5) / 10, atol=1e-6)

    @pytest.mark.parametrize("header", ["JawOpen", "Timecode,JawOpen"])
    def test_without_time_codes_the_rate_may_be_named(self, tmp_path, header):
        row = ",0.1\n" if "," in header else "0.1\n"
        (tmp_path / "a.csv").write_text(f"{header}\n" + row * 3)
        assert read_csv(tmp_path / "a.csv", fps=24).fps == 24
        with pytest.warns(MotionWarning, match="30 frames per second are assumed; --fps says it"):
            assert read_csv(tmp_path / "a.csv").fps == 30

    def test_time_codes_hold_against_a_named_rate(self, tmp_path):
        (tmp_path / "a.csv").write_text("time,JawOpen\n0,0.1\n0.04,0.2\n0.08,0.3\n")
        assert read_csv(tmp_path / "a.csv", fps=60).fps == 25

    def test_rows_of_a_lost_face(self, tmp_path):
        """The app writes a time code and 0 while it sees no face."""
        text = "Timecode,BlendShapeCount,JawOpen\n" + "".join(
            f"00:00:00:{2 * k:02}" + (",0\n" if k in (2, 3) else f",61,{k / 10}\n")
            for k in range(6)
        )
        with pytest.warns(MotionWarning, match="2 rows are missing"):
            assert self.jaw(self.written(tmp_path / "a.csv", text)) == [k / 10 for k in range(6)]


class TestCsv:
    HEADER = ("Timecode", "BlendshapeCount", "JawOpen", "HeadYaw", "HeadPitch", "HeadRoll")

    def recording(self, path: Path, stamps: list[str]) -> Path:
        rows: list[list[object]] = [[stamp, 61, 0.25, 0.1, 0.2, -0.3] for stamp in stamps]
        return write_rows(path, list(self.HEADER), rows)

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
        path = write_rows(tmp_path / "a.csv", ["JawOpen"], [[0.25]] * 3)
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
        assert "not finite" in refused(write_rows(tmp_path / "a.csv", list(self.HEADER), [row]))

    def test_utf_16(self, tmp_path):
        (tmp_path / "a.csv").write_text("Timecode,JawOpen\n0,0.5\n", encoding="utf-16")
        assert "not a text file" in refused(tmp_path / "a.csv")
