"""Measure the throughput of ``--jobs 2`` against 1, in one run::

    python examples/cluster/throughput.py --folder /tmp/throughput [--seconds 10 --long 60]
    python examples/cluster/throughput.py --folder /tmp/throughput --before /tmp/earlier

The second compares rendering with that of an earlier commit, as ``git worktree add /tmp/earlier
COMMIT`` gives it: one clip at 512 and at 1024, one job each, the two commits in turn.

Folders of clips for animate, and for render at 512 and 1024; then one long clip at 1024. Each pair
is measured one after the other, so that whatever else the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from killed_worker import SPEECH, dtalk, write_clips

from dtalk.speech.audio import SAMPLE_RATE, load_audio

HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measure, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--clips", type=int, default=6, help="that are rendered")
    parser.add_argument("--animated", type=int, default=80, help="clips that are animated")
    parser.add_argument("--seconds", type=float, default=8, help="of a clip")
    parser.add_argument("--long", type=float, default=60, help="seconds of the long clip")
    parser.add_argument(
        "--before", type=Path, help="the tree of an earlier commit, to compare with"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each commit in turn")
    given = parser.parse_args()
    if given.before is not None:
        compare(given.before.resolve(), given.folder.resolve(), given.seconds, given.rounds)
        return
    given.folder = given.folder.resolve()
    clips, some, motions = (given.folder / name for name in ("clips", "some", "motions"))
    write_clips(clips, given.animated, given.seconds)
    write_clips(some, given.clips, given.seconds)
    done([*dtalk(), "animate", str(some), "-o", str(motions)])
    write_long(given.folder / "long.wav", given.long)
    done([*dtalk(), "animate", str(given.folder / "long.wav")])
    total, out = given.clips * given.seconds, given.folder / "out"
    animated = given.animated * given.seconds
    row("animate", ["animate", str(clips), "--threads", "1"], animated, out)
    for size in ("512", "1024"):
        row(f"render, {size}", ["render", str(motions), "--size", size], total, out)
    long = ["render", str(given.folder / "long.npz"), "--size", "1024"]
    row(f"render, 1024, one clip of {given.long:g} s", long, given.long, out)


def compare(before: Path, folder: Path, seconds: float, rounds: int) -> None:
    """Time the rendering of one clip by an earlier commit and by this one, start included."""
    folder.mkdir(parents=True)
    write_long(folder / "clip.wav", seconds)
    done([*dtalk(), "animate", str(folder / "clip.wav")])
    for size in ("512", "1024"):
        command = [*dtalk(), "render", str(folder / "clip.npz"), "--size", size, "--jobs", "1"]
        command += ["--force", "-o", str(folder / f"{size}.mp4")]
        times = [[done(command, tree) for tree in (before, HERE)] for _ in range(rounds)]
        best = np.min(times, axis=0)
        rates = 30 * seconds / best
        print(f"{size}: {rates[0]:.1f} and {rates[1]:.1f} frames/s, {best[0] / best[1]:.2f} times")


def write_long(path: Path, seconds: float) -> None:
    """Write a recording again and again until it has lasted so long."""
    samples = np.resize(load_audio(SPEECH), round(seconds * SAMPLE_RATE))
    soundfile.write(path, samples, SAMPLE_RATE)


def row(what: str, arguments: list[str], seconds: float, out: Path) -> None:
    """Time a command with one job and with two, and print frames a second and their ratio."""
    frames = 30 * seconds
    rates = []
    for jobs in (1, 2):
        place = out / f"{what.replace(', ', '-').replace(' ', '-')}-{jobs}"
        rates.append(frames / done([*dtalk(), *arguments, "-o", str(place), "--jobs", str(jobs)]))
    print(f"{what}: {rates[0]:.1f} and {rates[1]:.1f} frames/s, {rates[1] / rates[0]:.2f} times")


def done(command: list[str], tree: Path = HERE) -> float:
    """Run a command with the dtalk of a tree; its time in seconds, with its start."""
    started = time.perf_counter()
    places = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=tree, env=places)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
