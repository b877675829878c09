"""The clock of Live Link Face csv: 60 ticks a second, whatever the rate of the rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.curves import Motion
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
