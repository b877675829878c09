"""Does the mouth open in time for the first word? Its opening about onsets after 0.3 s of silence.

    python examples/onsets.py --data DATA [--split val] [--sets grid] [--every 4] [--live 200]

Tracked faces and the model on the same clips, in % of each one's mean opening in speech, by frames
from the onset (30 a second). The page docs/robustness.md quotes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dtalk.config import EngineOptions
from dtalk.data.clips import LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.engine.protocol import Talker
from dtalk.evaluation.onsets import AROUND, onsets, opening_curve
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.inference import animate_waveform, load_talker
from dtalk.live.engine import live_engine_of
from dtalk.live.session import animate_blocks
from dtalk.live.window import SlidingWindow
from dtalk.speech.voice_activity import speaking
from dtalk.utils.types import Array

SHOWN = (-15, -12, -10, -8, -6, -4, -2, 0, 2, 4, 8, 15)

Face = Callable[[LoadedClip], Array]


def tracked(clip: LoadedClip) -> Array:
    """The face that the camera saw ``[T, 52]``."""
    assert clip.coefficients is not None
    return clip.coefficients.astype(np.float32)


def faces(talker: Talker, milliseconds: int | None) -> Iterator[tuple[str, Face]]:
    """What is measured, by name."""
    yield "tracked", tracked
    yield talker.name, lambda clip: animate_waveform(talker, clip.waveform).coefficients
    if milliseconds is not None:
        engine = live_engine_of(talker, None)

        def live(clip: LoadedClip) -> Array:
            window = SlidingWindow(engine, milliseconds / 1000)
            return np.array([f.coefficients for f in animate_blocks([clip.waveform], window)])

        yield f"live, {milliseconds} ms", live


def with_onsets(clips: Sequence[LoadedClip]) -> list[LoadedClip]:
    """The clips in which speech begins after silence."""
    return [clip for clip in clips if onsets(speaking(clip.waveform, clip.frames))]


def curve(clips: Sequence[LoadedClip], openings: dict[str, Array]) -> str:
    """A line's figures, of openings by the name of the clip."""
    spoken = [speaking(clip.waveform, clip.frames) for clip in clips]
    found = opening_curve([openings[clip.clip.name] for clip in clips], spoken)
    return "".join(f"{100 * found[AROUND + offset]:6.0f}" for offset in SHOWN)


def main() -> None:
    """Animate, measure, print a line a data set and face."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", default=[], help="only these data sets")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth clip")
    parser.add_argument("--live", type=int, metavar="MS", help="also streamed, with this latency")
    parser.add_argument("--weights", type=Path)
    asked = parser.parse_args()
    chosen = select(read_index(asked.data), asked.split, asked.sets, motion=True)
    clips = with_onsets(load_clips(chosen[:: asked.every])[0])
    talker, geometry = load_talker(EngineOptions(weights=asked.weights)), Geometry(built_in())
    print(f"{'':24}{'onsets':>7}" + "".join(f"{offset:+6}" for offset in SHOWN))
    for name, face in faces(talker, asked.live):
        openings = {c.clip.name: geometry.opening(face(c))[: c.frames] for c in clips}
        for group in (*sorted({clip.clip.set for clip in clips}), ""):
            some = [clip for clip in clips if group in ("", clip.clip.set)]
            count = sum(len(onsets(speaking(clip.waveform, clip.frames))) for clip in some)
            print(f"{group or 'all':10}{name:14}{count:7}{curve(some, openings)}", flush=True)


if __name__ == "__main__":
    main()
