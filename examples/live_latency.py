"""How late do frames of `dtalk live` arrive? Real speech at its own pace, receivers by others.

    python examples/live_latency.py [SPEECH ...] [--seconds 60] [--latency 200ms] [--busy]

Speech is written into `dtalk live -` as a microphone would, 10 ms at a time. Its frames are
received on loopback by PyLiveLinkFace, python-osc and json. A frame's lateness is the time from the
moment of the sound that it stands for to its arrival. `--busy` keeps another core busy meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dtalk.speech.audio import SAMPLE_RATE, load_audio

CLIP = Path(__file__).parent / "speech" / "jfk.flac"
BLOCK = 160  # samples
ALLOWED = 0.06  # seconds beyond the latency asked for
Arrivals = dict[int, float]
"""When each frame arrived, by its number."""


def spin() -> None:
    """Keep a core busy."""
    while True:
        pass


def speech(paths: list[Path], seconds: float) -> np.ndarray:
    """That much speech, the files one after another, again and again."""
    sound = np.concatenate([load_audio(path) for path in paths or [CLIP]])
    return np.resize(sound, round(seconds * SAMPLE_RATE))


def microphone(sound: np.ndarray, pipe: int) -> float:
    """Write the sound at its own pace; when it began."""
    raw = (sound * 32767).astype("<i2").tobytes()
    start = time.monotonic()
    for at in range(0, len(raw), 2 * BLOCK):
        spoken = start + (at / 2 + BLOCK) / SAMPLE_RATE
        time.sleep(max(0.0, spoken - time.monotonic()))
        os.write(pipe, raw[at : at + 2 * BLOCK])
    os.close(pipe)
    return start


def receive(receiver: socket.socket, number: Callable[[bytes], int | None]) -> Arrivals:
    """Fill in arrivals in a thread until the socket is closed."""
    arrivals: Arrivals = {}

    def read() -> None:
        while True:
            try:
                datagram = receiver.recv(4096)
            except OSError:
                return
            found = number(datagram)
            if found is not None:
                arrivals.setdefault(found, time.monotonic())

    threading.Thread(target=read, daemon=True).start()
    return arrivals


def live_link_number(datagram: bytes) -> int | None:
    """The frame's number; it counts from the time of day."""
    from pylivelinkface import PyLiveLinkFace

    found, face = PyLiveLinkFace.decode(datagram)
    return int(face._frames) if found else None


def vmc_number(fps: int) -> Callable[[bytes], int | None]:
    """Numbers of frames, at their `Apply`, from the time that came before it."""
    from pythonosc.osc_bundle import OscBundle

    last = [0.0]

    def number(datagram: bytes) -> int | None:
        for message in OscBundle(datagram):
            if message.address == "/VMC/Ext/T":
                last[0] = message.params[0]
            elif message.address == "/VMC/Ext/Blend/Apply":
                return round(last[0] * fps - 0.5)
        return None

    return number


def json_arrivals(process: subprocess.Popen[bytes]) -> Arrivals:
    """Read lines in a thread until the process ends."""
    arrivals: Arrivals = {}

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            arrivals[json.loads(line)["frame"]] = time.monotonic()

    threading.Thread(target=read, daemon=True).start()
    return arrivals


def summary(name: str, lateness: np.ndarray, frames: int, allowed: float) -> str:
    """A line of the table."""
    median, p95, most = (1000 * np.quantile(lateness, q) for q in (0.5, 0.95, 1))
    share = 100 * (lateness <= allowed).mean()
    steady = 1000 * np.std(np.diff(lateness))
    return (
        f"{name:12}{len(lateness):7}{frames - len(lateness):9}{median:8.0f}{p95:8.0f}{most:8.0f}"
        f"{share:9.1f}{steady:9.1f}"
    )


def main() -> None:
    """Start dtalk and the receivers, speak, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path, nargs="*", help="files [the example clip, repeated]")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--latency", default="200ms")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="keep another core busy meanwhile")
    asked = parser.parse_args()
    sound = speech(asked.speech, asked.seconds)
    unreal, vtuber = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for receiver in (unreal, vtuber):
        receiver.bind(("127.0.0.1", 0))
    command = [sys.executable, "-m", "dtalk", "live", "-", "--latency", asked.latency]
    command += ["--fps", str(asked.fps), "--threads", str(asked.threads), "--to", "json"]
    command += ["--to", f"live-link=127.0.0.1:{unreal.getsockname()[1]}"]
    command += ["--to", f"vmc=127.0.0.1:{vtuber.getsockname()[1]}"]
    command += ["--weights", asked.weights] if asked.weights else []
    neighbour = multiprocessing.Process(target=spin, daemon=True)
    if asked.busy:
        neighbour.start()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stderr
    process.stderr.readline()  # it is ready
    found = {
        "json": json_arrivals(process),
        "Live Link": receive(unreal, live_link_number),
        "VMC": receive(vtuber, vmc_number(asked.fps)),
    }
    load = os.getloadavg()[0]
    start = microphone(sound, os.dup(process.stdin.fileno()))
    process.stdin.close()
    said = process.stderr.read().decode()
    process.wait()
    frames = round(asked.seconds * asked.fps)
    allowed = float(asked.latency.removesuffix("ms")) / 1000 + ALLOWED
    first = min(found["Live Link"]) - min(found["json"])
    found["Live Link"] = {number - first: when for number, when in found["Live Link"].items()}
    print(
        f"{asked.seconds:g} s of speech, {asked.latency}, {asked.fps} frames/s, load average "
        f"{load:.1f} before and {os.getloadavg()[0]:.1f} after\n\n"
        "               frames  missing  median    95 %  longest  within  interval\n"
        f"{'late, ms':>36}{1000 * allowed:17.0f} ms, %  std, ms"
    )
    for name, arrivals in found.items():
        numbers = [number for number in sorted(arrivals) if 0 <= number < frames]
        lateness = [arrivals[n] - start - (n + 0.5) / asked.fps for n in numbers]
        print(summary(name, np.array(lateness), frames, allowed))
    print(f"\ndtalk itself: {said.strip()}")


if __name__ == "__main__":
    main()
