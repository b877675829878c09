"""Side by side: names, lengths and rates, and which head stands where."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from gl import needs_gl, render_still

from dtalk.errors import RenderError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.resample import resample_motion
from dtalk.video.mp4 import LengthWarning
from dtalk.video.side_by_side import aligned, distinct_names, named_panels, panels, strip

JAW = ARKIT_NAMES.index("jawOpen")


def opening(*values: float, fps: float = 30.0) -> Motion:
    curves = np.zeros((len(values), 52), dtype=np.float32)
    curves[:, JAW] = values
    return Motion(curves, fps=fps)


def jaws(motion: Motion) -> list[float]:
    return [round(float(value), 6) for value in motion.coefficients[:, JAW]]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["teacher.npz", "student.npz"], ["teacher", "student"]),
        (["in/teacher/a.npz", "in/student/a.npz"], ["teacher", "student"]),
        (["run1/out/a.npz", "run2/out/a.csv"], ["run1", "run2"]),
        (["x/a.npz", "x/b.npz", "y/a.npz"], ["x/a", "x/b", "y/a"]),
        (["deep/er/a.npz", "a.npz", "b.npz"], ["deep/er/a", "a", "b"]),
        (["only.npz"], ["only"]),
        (["take.1.npz", "take.2.npz"], ["take.1", "take.2"]),
    ],
)
def test_names_are_what_differs(
    paths: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert distinct_names([Path(path) for path in paths]) == names


def test_the_reference_comes_first() -> None:
    found = named_panels([Path("a.npz"), Path("b.npz")], Path("truth.csv"))
    assert found == [
        ("reference", Path("truth.csv")),
        ("a", Path("a.npz")),
        ("b", Path("b.npz")),
    ]


def test_shorter_motions_hold_their_last_frame() -> None:
    with pytest.warns(LengthWarning, match=r"last 0\.03, 0\.10 s, the video 0\.10 s"):
        first, second = aligned([opening(0.2), opening(0.1, 0.2, 0.3)])
    assert (jaws(first), jaws(second)) == ([0.2, 0.2, 0.2], [0.1, 0.2, 0.3])


def test_the_sound_decides_on_the_length() -> None:
    with pytest.warns(LengthWarning):
        first, second = aligned([opening(0.2), opening(0.1, 0.2, 0.3, 0.4)], seconds=2 / 30)
    assert (jaws(first), jaws(second)) == ([0.2, 0.2], [0.1, 0.2])


def test_a_frame_more_or_less_is_no_matter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        motions = aligned([opening(0.1, 0.2), opening(0.3, 0.4, 0.5)])
    assert [len(motion) for motion in motions] == [3, 3]


def test_the_highest_frame_rate_is_taken() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow, fast = aligned([opening(0, 0.4), opening(1, 1, 1, 1, fps=60)])
    assert (slow.fps, fast.fps) == (60, 60)
    assert jaws(slow) == jaws(resample_motion(opening(0, 0.4), 60))
    assert sorted(jaws(slow)) == jaws(slow)


@needs_gl
def test_panels_are_stills_and_strips() -> None:
    motions = [opening(0, 0.5), opening(0.7, 0.2)]
    frames = list(panels(motions, ["closed", "open"], size=(48, 64)))
    assert [frame.shape for frame in frames] == [(64 + 16, 96, 3)] * 2
    for k, frame in enumerate(frames):
        for column, motion in enumerate(motions):
            expected = render_still(motion.coefficients[k], size=(48, 64))
            np.testing.assert_array_equal(frame[:64, 48 * column : 48 * (column + 1)], expected)
        np.testing.assert_array_equal(frame[64:, :48], strip("closed", 48, 64))


@needs_gl
def test_each_head_turns_by_itself() -> None:
    turning = Motion(np.zeros((1, 52)), head_rotation=np.array([[0.5, 0, 0]]))
    [frame] = panels([opening(0), turning], [], size=32)
    assert frame.shape == (32, 64, 3)
    np.testing.assert_array_equal(frame[:, :32], render_still(size=32))
    np.testing.assert_array_equal(frame[:, 32:], render_still(size=32, rotation=[0.5, 0, 0]))


def test_too_many_panels() -> None:
    with pytest.raises(RenderError, match="3 panels of 4096 pixels are wider than 8192"):
        panels([opening(0)] * 3, [], size=4096)


def test_names_are_readable_and_stay_inside() -> None:
    """Light letters on a dark strip, centred; a long name fills it, cut, but for its margins."""
    short, long = strip("AVA", 256, 256), strip("an endless name of a motion " * 4, 256, 256)
    assert short.shape == long.shape == (18, 256, 3)
    for picture in (short, long):
        assert picture.min() < 50
        assert picture.max() > 200
        columns = np.flatnonzero(picture.max(axis=(0, 2)) > 120)
        assert columns.min() >= 4
        assert 255 - columns.max() >= 4
        assert abs(columns.min() + columns.max() - 255) < 8
    assert np.ptp(np.flatnonzero(short.max(axis=(0, 2)) > 120)) < 60
    np.testing.assert_array_equal(strip("AVA", 256, 256), short)
