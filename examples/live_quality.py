"""What does latency buy? Faces of the sliding window against tracked ones, by look-ahead.

    python examples/live_quality.py --data DATA [--sets spokes grid] [--every 10] [--jobs 2]
        [--plot live_quality.svg]

Clips of the validation split are streamed as `dtalk live` does it, frame by frame, and scored as
`dtalk evaluate` scores whole clips, whose figures stand last. A second of sound takes two to three
of a slow core for each latency. The page docs/live.md quotes it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from dtalk.config import EngineOptions
from dtalk.data.clips import Clip, LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.engine.protocol import Talker
from dtalk.evaluation.scoring import Geometry, Scores, score
from dtalk.heads.head import built_in
from dtalk.inference import animate_waveform, load_talker
from dtalk.live.engine import live_engine_of
from dtalk.live.session import animate_blocks
from dtalk.live.window import SlidingWindow
from dtalk.utils.types import Array

SHOWN = ("opening_r", "rounding_r", "lve", "closure_recall", "closure_precision", "acceleration")
WHOLE = 0  # stands for the whole clip among latencies, which are in ms


@cache
def talker_of(weights: Path | None) -> Talker:
    """The model, loaded once a process."""
    return load_talker(EngineOptions(weights=weights, threads=1))


def face(clip: LoadedClip, weights: Path | None, latency: int) -> Array:
    """The clip's motion ``[T, 52]`` as a stream, or as a whole."""
    talker = talker_of(weights)
    if latency == WHOLE:
        return animate_waveform(talker, clip.waveform).coefficients
    window = SlidingWindow(live_engine_of(talker, None), latency / 1000)
    return np.array([frame.coefficients for frame in animate_blocks([clip.waveform], window)])


def measured(clip: LoadedClip, weights: Path | None, latency: int) -> tuple[Scores, float]:
    """Scores of a clip at a latency, and seconds of CPU that it took."""
    started = time.process_time()
    motion = fitted(face(clip, weights, latency), clip.frames)
    took, geometry = time.process_time() - started, Geometry(built_in())
    assert clip.coefficients is not None
    return score(motion, geometry.measure(clip.coefficients.astype(np.float32)), geometry), took


def chosen_clips(data: Path, sets: list[str], every: int) -> list[Clip]:
    """Every so-manieth clip of each set."""
    clips = select(read_index(data), "val", sets, motion=True)
    names = sorted({clip.set for clip in clips})
    return [c for name in names for c in [d for d in clips if d.set == name][::every]]


def fitted(motion: Array, frames: int) -> Array:
    """Cut, or held at its end."""
    return motion[np.minimum(np.arange(frames), len(motion) - 1)]


def figures(scores: Sequence[Scores]) -> Iterator[float]:
    """The mean of each shown figure over clips that have it."""
    for name in SHOWN:
        yield float(np.nanmean([found[name] for found in scores]))


def plot(path: Path, rows: dict[int, list[float]]) -> None:
    """Opening r by latency, with the whole clip's as a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    latencies = [latency for latency in rows if latency != WHOLE]
    for index, name in enumerate(("opening", "rounding")):
        line = axes.plot(latencies, [rows[ms][index] for ms in latencies], "o-", label=name)
        axes.axhline(rows[WHOLE][index], color=line[0].get_color(), linestyle="--")
    axes.set(
        xlabel="look-ahead, ms",
        ylabel="correlation with tracked faces",
        title="Live; dashed: the whole clip known",
        ylim=(0, 1),
    )
    axes.legend()
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Stream, score, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[], help="only these data sets")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth clip of each")
    parser.add_argument("--latencies", type=int, nargs="+", default=[100, 200, 300, 500])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="clips at a time")
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    clips, _ = load_clips(chosen_clips(asked.data, asked.sets, asked.every))
    frames = sum(clip.frames for clip in clips)
    print(f"{len(clips)} clips, {frames / 30:.0f} s")
    print(f"{'':12}" + "".join(f"{name:>19}" for name in SHOWN) + "  ms of CPU a frame")
    rows: dict[int, list[float]] = {}
    with ProcessPoolExecutor(asked.jobs) as pool:
        for latency in (*asked.latencies, WHOLE):
            every = [pool.submit(measured, clip, asked.weights, latency) for clip in clips]
            scores, times = zip(*(one.result() for one in every))
            rows[latency] = list(figures(scores))
            name = "whole clip" if latency == WHOLE else f"{latency} ms"
            shown = "".join(f"{value:19.3f}" for value in rows[latency])
            print(f"{name:12}{shown}{1000 * sum(times) / frames:12.1f}", flush=True)
    if asked.plot:
        plot(asked.plot, rows)


if __name__ == "__main__":
    main()
