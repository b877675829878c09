"""How much windows change: a sound animated in windows and at once, with equal noise and labels.

    python examples/windows.py SOUND... [--weights MODEL] [--seconds 124]

The sounds are joined, and repeated or cut.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dtalk.config import EngineOptions
from dtalk.engine.hearing import hear
from dtalk.engine.voice import as_found
from dtalk.engine.windows import LAYOUT, predict_in_windows
from dtalk.inference import engine_of, load_talker
from dtalk.motion.curves import FPS
from dtalk.motion.noise import standard_normal
from dtalk.speech.audio import SAMPLE_RATE, load_audio
from dtalk.speech.measures import measure


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sounds", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=124.0, help="28 and a multiple of 24")
    asked = parser.parse_args()
    talker = load_talker(EngineOptions(weights=asked.weights, engine=asked.engine, threads=1))
    engine = engine_of(talker)
    assert engine is not None
    joined = np.concatenate([load_audio(path) for path in asked.sounds])
    sound = np.resize(joined, round(asked.seconds * SAMPLE_RATE))
    measures = measure([sound], 0)
    heard, features = hear(engine, lambda: iter([sound]), measures)
    at_once = as_found(engine.config).completed(heard.identity, heard.emotion)
    voice = at_once.completed(heard.identity, heard.emotion, features)
    noise = standard_normal(measures.digest.noise_seed, measures.frames)
    whole = engine.run(measures.levels.levelled(sound), noise, at_once, 1.0).coefficients
    found = predict_in_windows(engine, lambda: iter([sound]), measures, voice)
    off = np.abs(found - whole)
    print(f"largest {off.max():.4f}, mean {off.mean():.5f}, by window:")
    begins = [begin for begin, _ in LAYOUT.bounds(measures.frames)]
    for begin, end in zip(begins, [*begins[1:], measures.frames]):
        print(f"{begin / FPS:6.0f} to {end / FPS:.0f} s: {off[begin:end].max():.4f}")


if __name__ == "__main__":
    main()
