"""Does the mouth follow speech at any level? Its opening against that of the clean clip.

    python examples/loudness.py [SPEECH]

r of the opening to that of the clip as it is, and how far the mouth opens on average, in % of what
it does there: for the clip at other levels in 24 bits, over an offset, as the softer of two
speakers and after loud music, there on its own part. Then what is no speech: how far the lips
move. The page docs/robustness.md quotes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dtalk
from dtalk.evaluation.metrics import correlation
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE, load_audio
from dtalk.utils.types import Array

JFK = Path(__file__).parent / "speech" / "jfk.flac"
LEVELS = (0, -10, -22, -40, -60, -66, -80)
OFFSET = 0.1
SOFTER = -22
SECONDS = 6  # of music
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
    both = np.concatenate([loudest, at(loudest, SOFTER)])
    yield Variant(f"after a speaker {-SOFTER} dB louder", both, len(speech))
    tuned = np.concatenate([music(), at(loudest, -30)])
    yield Variant("at -30 dB after loud music", tuned, SECONDS * SAMPLE_RATE)


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


def main() -> None:
    """Animate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", nargs="?", type=Path, default=JFK)
    parser.add_argument("--weights", type=Path)
    asked = parser.parse_args()
    geometry, speech = Geometry(built_in()), load_audio(asked.speech)

    def opening(samples: Array) -> Array:
        return geometry.opening(dtalk.animate(samples, weights=asked.weights).coefficients)

    clean = opening(speech)
    print(f"{'':34}{'r':>8}{'opening':>9}")
    for variant in variants(speech):
        found = opening(variant.samples)[round(variant.start * FPS / SAMPLE_RATE) :][: len(clean)]
        share = found.mean() / clean.mean()
        print(f"{variant.name:34}{correlation(found, clean):8.3f}{share:9.0%}", flush=True)
    for variant in no_speech():
        print(f"{variant.name:34}{np.ptp(opening(variant.samples)):8.2f} mm", flush=True)


if __name__ == "__main__":
    main()
