"""Where the time of a rendering goes, and how many frames a second come out with sound.

    python examples/rendering.py [--head FLAME.pkl] [--sizes 512 1024] [--seconds 10]

First the parts of a frame, one after another, each waited for: milliseconds of wall time, median
of all frames, and of processor time, mean. Then the whole, from motion to an mp4 with sound, in
which drawing and encoding overlap. Close other programs first, or trust the processor time only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from dtalk.config import DEFAULT_LOOK
from dtalk.heads.head import Head
from dtalk.heads.load import load_head
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS, Motion
from dtalk.rendering.camera import camera_at
from dtalk.rendering.lighting import Light
from dtalk.rendering.picture import Frame
from dtalk.rendering.renderer import Renderer
from dtalk.rendering.tessellation import Tessellation
from dtalk.video.mp4 import render_video, write_video

RATE = 16000
KEPT = 90  # frames, to measure encoding with


class Clock:
    """Wall and processor seconds of named parts; the latter with all threads."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.processor: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Note the time of a block."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[part].append(time.perf_counter() - wall)
        self.processor[part].append(time.process_time() - processor)


def chatter(frames: int) -> Motion:
    """All curves in motion, smoothly, from a seed."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(ARKIT_NAMES))
    times = np.arange(frames)[:, None] / FPS
    curves = 0.2 + 0.2 * np.sin(2 * np.pi * 3 * times + phases)
    return Motion(curves.astype(np.float32))


def measure_parts(head: Head, size: int, motion: Motion, clock: Clock) -> list[Frame]:
    """The parts of drawing, each frame's one after another; some of the frames."""
    camera = camera_at(head, DEFAULT_LOOK.camera, DEFAULT_LOOK.yaw, size, size)
    light = Light(head, camera.pose, camera.turn)
    outlines = Tessellation(head)
    frames: list[Frame] = []
    with Renderer(head, size, pixels="yuv420p") as renderer:
        canvas = renderer.canvas
        for row in motion.coefficients:
            with clock("deform"):
                vertices = head.deform(row)
            with clock("light"):
                colors, normals = light.shade(vertices)
            with clock("round"):
                shown = outlines.rounded(vertices, normals, colors)
            with clock("upload"):
                canvas.upload(*shown)
                canvas.finish()
            with clock("draw"):
                canvas.draw()
                canvas.finish()
            with clock("read"):
                canvas.read()
            with clock("average"):
                frame = canvas.frame()
            frames += [frame] if len(frames) < KEPT else []
    return frames


def measure_encoding(frames: list[Frame], folder: Path) -> tuple[float, float]:
    """Wall and processor milliseconds a frame of ffmpeg alone."""
    before, started = os.times(), time.perf_counter()
    write_video(iter(frames), folder / "encoded.mp4", FPS)
    wall, after = time.perf_counter() - started, os.times()
    children = after.children_user + after.children_system
    children -= before.children_user + before.children_system
    return 1000 * wall / len(frames), 1000 * children / len(frames)


def measure_whole(head: Head, size: int, motion: Motion, folder: Path) -> float:
    """Frames a second of a video with sound, the renderer's start included."""
    sound = folder / "sound.wav"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, round(motion.duration * RATE))
    soundfile.write(sound, noise, RATE)
    started = time.perf_counter()
    render_video(motion, folder / "whole.mp4", sound, size, head)
    return len(motion) / (time.perf_counter() - started)


def report(head: Head, size: int, motion: Motion, folder: Path) -> Iterator[str]:
    """The lines to print for one size."""
    clock = Clock()
    warm = chatter(10)
    measure_parts(head, size, warm, Clock())
    frames = measure_parts(head, size, motion, clock)
    yield f"{size} x {size}, {len(motion)} frames: ms of wall time (of processor time)"
    for part, times in clock.wall.items():
        processor = 1000 * float(np.mean(clock.processor[part]))
        yield f"  {part:8}{1000 * float(np.median(times)):7.2f} ({processor:.2f})"
    wall, processor = measure_encoding(frames, folder)
    yield f"  encode  {wall:7.2f} ({processor:.2f}), beside the drawing"
    yield f"  video with sound: {measure_whole(head, size, motion, folder):.0f} frames/s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--head", type=Path, help="FLAME model, or another head [the built-in]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="above 256")
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    head = load_head(asked.head)
    motion = chatter(round(asked.seconds * FPS))
    print(f"{len(head.vertices)} vertices, {len(head.faces)} triangles, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for size in asked.sizes:
            for line in report(head, size, motion, Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
