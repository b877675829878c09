"""Does the mouth follow speech at any level? Its opening against that of the clean clip.

    python examples/loudness.py [SPEECH] [--live 200]

r of the opening to that of the clip as it is, and how far the mouth opens on average, in % of what
it does there: for the clip at other levels in 24 bits, over an offset, and on its own part after
another speaker and music, as loud and louder. Then what is no speech: how far the lips move.
`--live` streams what changes its level and what is no speech, too, with a latency in ms; the latter
without its first 1.5 s. The page docs/robustness.md quotes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtalk.config import EngineOptions
from dtalk.engine.protocol import Talker
from dtalk.evaluation.metrics import correlation
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.inference import animate_waveform, load_talker
from dtalk.live.engine import live_engine_of
from dtalk.live.session import animate_blocks
from dtalk.live.window import SlidingWindow
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE, load_audio
from dtalk.utils.types import Array

JFK = Path(__file__).parent / "speech" / "jfk.flac"
LEVELS = (0, -10, -22, -40, -60, -66, -80)
OFFSET = 0.1
SOFTER = -22
SECONDS = 6  # of music
SETTLED = 45  # frames in which a stream that begins with no speech comes to rest
FULL = 1 << 23  # 24 bits


@dataclass(frozen=True)
class Variant:
    """A sound ``[S]``, and the sample at which the clip begins in it."""

    name: str
    samples: Array
    start: int = 0


def at(samples: Array, decibels: float) -> Array:
    """The samples at another level, in 24 bits."""
    return (np.round(samples * 10 ** (decibels / 20) * FULL) / FULL).astype(np.float32)


def variants(speech: Array) -> Iterator[Variant]:
    """The clip, whose peak comes to full scale, as recordings may hold it."""
    loudest = speech / np.abs(speech).max()
    for decibels in LEVELS:
        yield Variant(f"peak at {decibels} dB", at(loudest, decibels))
    yield Variant(f"offset of {OFFSET:.0%} of full scale", 0.3 * loudest + np.float32(OFFSET))
    for name, decibels in (("as loud", 0), (f"{-SOFTER} dB louder", SOFTER)):
        both = np.concatenate([loudest, at(loudest, decibels)])
        yield Variant(f"after a speaker {name}", both, len(speech))
    for name, decibels in (("at 0 dB", 0), ("at -30 dB", -30)):
        tuned = np.concatenate([music(), at(loudest, decibels)])
        yield Variant(f"{name} after loud music", tuned, SECONDS * SAMPLE_RATE)


def music() -> Array:
    """Six seconds of chords that swell twice a second, near full scale."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277.2, 329.6, 440))
    return (0.2 * chord * (0.7 + 0.3 * np.sin(2 * np.pi * 2 * time))).astype(np.float32)


def no_speech() -> Iterator[Variant]:
    """Sounds in which the mouth is to rest, 5 s each."""
    noise = np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    yield Variant("digital silence", np.zeros(len(noise), np.float32))
    for decibels in (-20, -40, -60, -80):
        yield Variant(f"steady noise at {decibels} dB", at(noise, decibels))
    hum = np.sin(2 * np.pi * 50 * np.arange(len(noise)) / SAMPLE_RATE).astype(np.float32)
    yield Variant("hum at -40 dB", at(hum, -40))


def streamed(samples: Array, talker: Talker, milliseconds: int) -> Array:
    """The motion ``[T, 52]`` of the samples as a stream."""
    window = SlidingWindow(live_engine_of(talker, None), milliseconds / 1000)
    return np.array([frame.coefficients for frame in animate_blocks([samples], window)])


def main() -> None:
    """Animate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", nargs="?", type=Path, default=JFK)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--live", type=int, metavar="MS", help="also streamed, with this latency")
    asked = parser.parse_args()
    geometry, speech = Geometry(built_in()), load_audio(asked.speech)
    talker = load_talker(EngineOptions(weights=asked.weights))

    def opening(samples: Array) -> Array:
        return geometry.opening(animate_waveform(talker, samples).coefficients)

    def live_opening(samples: Array) -> Array:
        return geometry.opening(streamed(samples, talker, asked.live))

    def shown(found: Array, variant: Variant, clean: Array) -> str:
        part = found[round(variant.start * FPS / SAMPLE_RATE) :][: len(clean)]
        return f"{correlation(part, clean):8.3f}{part.mean() / clean.mean():9.0%}"

    clean = opening(speech)
    streams = f"{'live r':>8}{'opening':>9}" if asked.live else ""
    print(f"{'':34}{'r':>8}{'opening':>9}{streams}")
    for variant in variants(speech):
        line = f"{variant.name:34}{shown(opening(variant.samples), variant, clean)}"
        live = asked.live and variant.start
        print(
            line + (shown(live_opening(variant.samples), variant, clean) if live else ""),
            flush=True,
        )
    for variant in no_speech():
        line = f"{variant.name:34}{np.ptp(opening(variant.samples)):8.2f} mm"
        if asked.live:
            line += f"{np.ptp(live_opening(variant.samples)[SETTLED:]):8.2f} mm live"
        print(line, flush=True)


if __name__ == "__main__":
    main()
