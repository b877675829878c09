"""What does latency buy? Faces of the sliding window against tracked ones, by look-ahead.

    python examples/live_quality.py --data DATA [--sets spokes] [--plot live_quality.png]

Every clip of the validation split is streamed as `dtalk live` does it, frame by frame, and scored
as `dtalk evaluate` scores whole clips, whose figures stand last.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dtalk.config import EngineOptions
from dtalk.data.clips import LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.engine.protocol import Engine
from dtalk.evaluation.scoring import Geometry, Scores, score
from dtalk.heads.head import built_in
from dtalk.inference import animate_waveform, load_talker
from dtalk.live.engine import live_engine_of
from dtalk.live.session import animate_blocks
from dtalk.live.window import SlidingWindow
from dtalk.utils.types import Array

SHOWN = ("opening_r", "rounding_r", "lve", "closure_recall", "closure_precision", "acceleration")


def streamed(engine: Engine, clip: LoadedClip, latency: float) -> Array:
    """The clip's motion as a stream ``[T, 52]``, as long as the tracked one."""
    frames = animate_blocks([clip.waveform], SlidingWindow(engine, latency))
    return fitted(np.array([frame.coefficients for frame in frames]), clip.frames)


def fitted(motion: Array, frames: int) -> Array:
    """Cut, or held at its end."""
    return motion[np.minimum(np.arange(frames), len(motion) - 1)]


def figures(scores: list[Scores]) -> Iterator[float]:
    """The mean of each shown figure over clips that have it."""
    for name in SHOWN:
        yield float(np.nanmean([found[name] for found in scores]))


def plot(path: Path, rows: dict[str, list[float]], latencies: list[int]) -> None:
    """Opening r by latency, with the whole clip's as a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for index, name in enumerate(("opening", "rounding")):
        line = axes.plot(latencies, [rows[f"{ms} ms"][index] for ms in latencies], "o-", label=name)
        axes.axhline(rows["whole clip"][index], color=line[0].get_color(), linestyle="--")
    axes.set(
        xlabel="look-ahead, ms",
        ylabel="correlation with tracked faces",
        title="Live; dashed: the whole clip known",
        ylim=(0, 1),
    )
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Stream, score, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[], help="only these data sets")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth clip of each")
    parser.add_argument("--latencies", type=int, nargs="+", default=[100, 150, 200, 300, 500])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    chosen = select(read_index(asked.data), "val", asked.sets, motion=True)
    clips, _ = load_clips(chosen[:: asked.every])
    geometry, talker = (
        Geometry(built_in()),
        load_talker(EngineOptions(weights=asked.weights, threads=1)),
    )
    engine = live_engine_of(talker, None)
    motions = [clip.coefficients for clip in clips if clip.coefficients is not None]
    tracked = [geometry.measure(motion.astype(np.float32)) for motion in motions]
    rows: dict[str, list[float]] = {}

    def add(name: str, motions: list[Array]) -> None:
        scores = [score(m, t, geometry) for m, t in zip(motions, tracked)]
        rows[name] = list(figures(scores))
        print(f"{name:12}" + "".join(f"{value:19.3f}" for value in rows[name]), flush=True)

    print(f"{len(clips)} clips, {sum(clip.frames for clip in clips) / 30:.0f} s")
    print(" " * 12 + "".join(f"{name:>19}" for name in SHOWN))
    for latency in asked.latencies:
        started = time.process_time()
        motions = [streamed(engine, clip, latency / 1000) for clip in clips]
        step = (time.process_time() - started) / sum(clip.frames for clip in clips)
        add(f"{latency} ms", motions)
        print(f"{'':12}{1000 * step:.1f} ms of CPU a frame")
    whole = [fitted(animate_waveform(talker, c.waveform).coefficients, c.frames) for c in clips]
    add("whole clip", whole)
    if asked.plot:
        plot(asked.plot, rows, asked.latencies)


if __name__ == "__main__":
    main()
