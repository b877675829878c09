"""A video made in segments: every frame, in order, once; the sound as it is; one file."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from dtalk.errors import VideoError
from dtalk.motion.curves import Motion
from dtalk.utils.workers import Processes, WorkerDied
from dtalk.video import segments
from dtalk.video.mp4 import soundtrack_of, write_video
from dtalk.video.segments import Segment, worth_splitting, write_in_segments

SIDE, FRAMES = 32, 25


class Here:
    """A worker in name only: this process."""

    def __init__(self, deadly: int = -1) -> None:
        self.deadly, self.tasks, self.begun = deadly, list[Segment](), list[Any]()

    def count(self) -> int:
        return 2

    def submit(self, function: Any, task: list[Segment]) -> int:
        self.tasks += task
        self.begun.append((function, task))
        return len(self.begun) - 1

    def wait(self, futures: Collection[Any]) -> Collection[Any]:
        return list(futures)[-1:]

    def result(self, future: int) -> Any:
        function, task = self.begun[future]
        if any(segment.first == self.deadly for segment in task):
            raise WorkerDied("killed")
        return function(task)


def greys(motion: Motion) -> Iterator[np.ndarray]:
    """A frame a row, as grey as its first coefficient."""
    for value in motion.coefficients[:, 0]:
        yield np.full((SIDE, SIDE, 3), round(255 * float(value)), np.uint8)


def draw(segment: Segment) -> None:
    write_video(greys(segment.motions[0]), segment.path, segment.motions[0].fps)


def clip(fps: float = 30.0) -> Motion:
    coefficients = np.zeros((FRAMES, 52), np.float32)
    coefficients[:, 0] = np.linspace(0.1, 0.9, FRAMES)
    return Motion(coefficients, fps, head_rotation=np.zeros((FRAMES, 3), np.float32))


def ffmpeg(*arguments: str) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def shown(path: Path) -> np.ndarray:
    """The mean grey of each frame, of 255, without frames doubled or dropped."""
    raw = ffmpeg(
        "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"
    )
    return np.frombuffer(raw, np.uint8).reshape(-1, SIDE * SIDE).mean(1)


def times(path: Path) -> list[float]:
    """The time of each frame, in seconds."""
    text = ffmpeg("-i", str(path), "-fps_mode", "passthrough", "-map", "0:v", "-f", "framecrc", "-")
    lines = text.decode().splitlines()
    [base] = [line.split()[-1] for line in lines if line.startswith("#tb")]
    above, below = map(int, base.split("/"))
    return [int(line.split(",")[2]) * above / below for line in lines if not line.startswith("#")]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FRAMES", 10)


@pytest.mark.parametrize("fps", [30.0, 29.97, 24.0, 7.0])
def test_every_frame_is_shown_once_and_in_time(tmp_path: Path, fps: float) -> None:
    workers, motion = Here(), clip(fps)
    done: list[tuple[int, int]] = []
    path = tmp_path / "out.mp4"
    write_in_segments(
        [motion], path, None, "", draw, workers, lambda now, of: done.append((now, of))
    )
    assert sorted((task.first, len(task)) for task in workers.tasks) == [(0, 10), (10, 10), (20, 5)]
    assert done == [(10, 25), (20, 25), (25, 25)]
    expected = 255 * motion.coefficients[:, 0]
    np.testing.assert_allclose(shown(path), expected, atol=4)
    np.testing.assert_allclose(times(path), np.arange(FRAMES) / fps, atol=2e-3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_the_sound_and_the_note_are_those_of_a_video_in_one_piece(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    generator = np.random.default_rng(0)
    soundfile.write(speech, generator.uniform(-0.1, 0.1, 16000 * FRAMES // 30), 16000)
    whole, parts = tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    with soundtrack_of(speech, whole) as track:
        write_video(greys(clip()), whole, 30, track, "a note")
        write_in_segments([clip()], parts, track, "a note", draw, Here())
    both = [
        ffmpeg("-i", str(p), "-map", "0:a", "-c", "copy", "-f", "adts", "-") for p in (whole, parts)
    ]
    assert both[0] == both[1]
    assert b"a note" in parts.read_bytes()


def test_same_input_same_bytes(tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        write_in_segments([clip()], tmp_path / name, None, "", draw, Here())
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_segment_that_kills_workers(tmp_path: Path) -> None:
    workers = Here(deadly=10)
    with pytest.raises(VideoError, match="given up after 2 tries at the frames from 10 on: killed"):
        write_in_segments([clip()], tmp_path / "out.mp4", None, "", draw, workers)
    assert [task.first for task in workers.tasks].count(10) == 2
    assert list(tmp_path.iterdir()) == []


def test_segments_that_cannot_be_joined(tmp_path: Path) -> None:
    def nonsense(segment: Segment) -> None:
        segment.path.write_bytes(b"no video")

    with pytest.raises(VideoError, match="ffmpeg says: "):
        write_in_segments([clip()], tmp_path / "out.mp4", None, "", nonsense, Here())
    assert list(tmp_path.iterdir()) == []


def test_what_is_worth_splitting() -> None:
    """A short video is drawn here rather than by a process to be started, but not on a client."""
    assert not worth_splitting(10, Processes(2))
    assert worth_splitting(11, Processes(2))
    assert worth_splitting(1, Here())
