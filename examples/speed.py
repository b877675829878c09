"""How fast the model animates, on both engines, and what it takes.

    python examples/speed.py [--weights MODEL] [--encoder ENCODER] [--threads 1 2] [--runs 20]
    python examples/speed.py --only memory --lengths 10 600 3600 14400 --formats npz csv json glb

Warm: waveform in memory to coefficients on the CPU, batch 1, speech encoder included; three runs to
warm up, then the median. Cold: `dtalk animate` from the start of the process, beside `python -c
"import torch"`, in turn. A streamed step is a window of `dtalk live`. Memory is the peak of the
process. Ratios in one run mean more than figures of several.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from dtalk.config import EngineOptions
from dtalk.engine.protocol import Talker
from dtalk.engine.talker import GraphTalker
from dtalk.inference import load_talker
from dtalk.live.window import CONTEXT, SlidingWindow
from dtalk.motion.curves import FPS
from dtalk.motion.noise import noise_seed, standard_normal
from dtalk.speech.audio import SAMPLE_RATE, frame_count, load_audio
from dtalk.speech.finishing import finished
from dtalk.speech.loudness import level

CLIP = Path(__file__).parent / "speech" / "jfk.flac"
ENGINES = ("onnx", "torch")
KINDS = ("cold", "warm", "parts", "streamed", "memory")
WARM_UP, COLD_RUNS = 3, 3
LOOK_AHEAD = 0.2  # seconds, of a streamed step


def speech(seconds: float) -> np.ndarray:
    """That much of the example clip, again and again."""
    return np.resize(load_audio(CLIP), round(seconds * SAMPLE_RATE))


def write_speech(path: Path, seconds: float) -> None:
    """A file of that much speech, in little memory."""
    clip, left = load_audio(CLIP), round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            file.write(clip[:left])
            left -= len(clip)


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Median wall time of calls, after a warm-up."""
    taken = []
    for _ in range(WARM_UP + runs):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken[WARM_UP:])


def loaded(asked: argparse.Namespace, engine: str, threads: int) -> Talker:
    """The model on an engine."""
    place = EngineOptions(
        weights=asked.weights, encoder=asked.encoder, engine=engine, threads=threads
    )
    return load_talker(place)


def animating(asked: argparse.Namespace, speech_file: Path, engine: str) -> list[str]:
    """The command that animates a file."""
    command = [sys.executable, "-m", "dtalk", "animate", str(speech_file), "--force"]
    command += [f"--format={name}" for name in asked.formats]
    command += ["--engine", engine, "--threads", str(asked.threads[0])]
    for flag in ("weights", "encoder"):
        value = getattr(asked, flag)
        command += [f"--{flag}", str(value)] if value else []
    return command


def cold(asked: argparse.Namespace, folder: Path) -> None:
    """Print the time of whole processes, and its ratio to that of importing torch."""
    path = folder / "cold.wav"
    soundfile.write(path, speech(10), SAMPLE_RATE)
    commands = {"import torch": [sys.executable, "-c", "import torch"]}
    commands |= {f"animate, {engine}": animating(asked, path, engine) for engine in asked.engines}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(COLD_RUNS):
        for name, command in commands.items():
            before = os.times()
            subprocess.run(command, check=True, capture_output=True)
            after = os.times()
            spent = sum(after[2:4]) - sum(before[2:4])  # of children, user and system
            taken[name].append((after.elapsed - before.elapsed, spent))
    base = np.median(taken["import torch"], axis=0)
    for name, times in taken.items():
        wall, spent = np.median(times, axis=0)
        print(
            f"cold     {name:16} {wall:6.2f} s and {spent:5.2f} s of processor time, "
            f"{wall / base[0]:.2f} and {spent / base[1]:.2f} of importing torch"
        )


def warm(asked: argparse.Namespace) -> None:
    """Print latency and speed by engine and threads."""
    for threads in asked.threads:
        for engine in asked.engines:
            model = loaded(asked, engine, threads)
            for seconds in (1.0, asked.seconds):
                sound = speech(seconds)
                ms = median_ms(partial(model.animate, sound), asked.runs)
                print(
                    f"warm     {engine:6} {threads} threads, {seconds:4g} s: {ms:7.1f} ms, "
                    f"{1000 * frame_count(len(sound)) / ms:6.0f} frames/s"
                )


def parts(asked: argparse.Namespace) -> None:
    """Print where the time of one animation with ONNX Runtime goes."""
    model, sound = loaded(asked, "onnx", asked.threads[0]), speech(asked.seconds)
    assert isinstance(model, GraphTalker)
    frames = frame_count(len(sound))
    noise = standard_normal(noise_seed(sound, 0), frames)
    levelled, curves = level(sound), np.zeros((frames, 52), np.float32)
    works: dict[str, Callable[[], object]] = {
        "reading flac": lambda: load_audio(CLIP),
        "level": lambda: level(sound),
        "noise": lambda: standard_normal(noise_seed(sound, 0), frames),
        "graph": lambda: model.graph.run(levelled, noise),
        "finishing": lambda: finished(curves, sound, 0, model.config),
    }
    for name, work in works.items():
        print(f"parts    {name:14} {median_ms(work, asked.runs):7.2f} ms")


def streamed(asked: argparse.Namespace) -> None:
    """Print the processor time of a streamed step, a frame each."""
    from dtalk.live.engine import live_engine_of

    for engine in asked.engines:
        window = SlidingWindow(live_engine_of(loaded(asked, engine, 1), None), LOOK_AHEAD)
        window.warm_up()
        sound, step = speech(CONTEXT + LOOK_AHEAD + 2), round(SAMPLE_RATE / FPS)
        at = round((CONTEXT + LOOK_AHEAD) * SAMPLE_RATE)
        window.feed(sound[:at])
        window.advance()
        started, frames = time.process_time(), 0
        for start in range(at, len(sound), step):
            window.feed(sound[start : start + step])
            frames += len(window.advance())
        ms = 1000 * (time.process_time() - started) / frames
        print(
            f"streamed {engine:6} {ms:6.1f} ms of one core a frame, of {1000 / FPS:.1f} there are"
        )


def memory(asked: argparse.Namespace, folder: Path) -> None:
    """Print the peak memory and the time of a process by the length of the file."""
    for seconds in asked.lengths:
        path = folder / f"{seconds}.wav"
        write_speech(path, seconds)
        for engine in asked.engines:
            started = time.perf_counter()
            process = subprocess.Popen(animating(asked, path, engine), stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"dtalk animate failed on {seconds} s")
            taken = time.perf_counter() - started
            print(
                f"memory   {engine:6} {seconds:6} s: {used.ru_maxrss / 1024:6.0f} MB, "
                f"{taken:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time",
                flush=True,
            )
        path.unlink()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--encoder", help="large speech encoder of a teacher: folder or hub id")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 60, 600], help="seconds")
    parser.add_argument("--formats", nargs="+", default=["npz"], help="that animate writes")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, measure in (("cold", cold), ("memory", memory)):
            if kind in asked.only:
                measure(asked, Path(folder))
    for kind, print_it in (("warm", warm), ("parts", parts), ("streamed", streamed)):
        if kind in asked.only:
            print_it(asked)


if __name__ == "__main__":
    main()
