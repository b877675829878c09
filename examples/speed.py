"""How fast the model animates: frames of motion per second of wall time.

    python examples/speed.py [--weights MODEL] [--seconds 10] [--threads 2]

Waveform in memory to coefficients on the CPU, batch 1, speech encoder included; three runs to warm
up, then the median of twenty. Also the time of one `dtalk animate` from the start of the process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

import dtalk
from dtalk.evaluation.benchmark import animation_seconds
from dtalk.speech.audio import SAMPLE_RATE, load_audio

CLIP = Path(__file__).parent / "speech" / "jfk.flac"


def cold(waveform: np.ndarray, weights: Path | None, threads: int) -> float:
    """Seconds of ``dtalk animate`` on the clip as a file, process start included."""
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.wav"
        soundfile.write(speech, waveform, SAMPLE_RATE)
        command = [sys.executable, "-m", "dtalk", "animate", str(speech), "--threads", str(threads)]
        command += ["--weights", str(weights)] if weights else []
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--encoder", help="large speech encoder of a teacher: folder or hub id")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = dtalk.load(asked.weights, encoder=asked.encoder)
    waveform = np.resize(load_audio(CLIP), int(asked.seconds * SAMPLE_RATE))
    seconds, frames = animation_seconds(model, waveform)
    print(
        f"{asked.seconds:g} s of speech, {model.config.steps} steps, {asked.threads} threads, "
        f"float32: {1000 * seconds:.0f} ms, {frames / seconds:.0f} frames/s"
    )
    print(f"cold, with the process: {cold(waveform, asked.weights, asked.threads):.2f} s")


if __name__ == "__main__":
    main()
