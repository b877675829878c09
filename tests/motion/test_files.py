"""What all motion files have in common: rates, names and ranges as they come."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning
from dtalk.motion.files import read_motion

JAW = ARKIT_NAMES.index("jawOpen")
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
