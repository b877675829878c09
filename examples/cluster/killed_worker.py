"""Animate a folder by a Dask scheduler and two workers, of which one is killed on the way.

Compares every output with what one process makes::

    python examples/cluster/killed_worker.py --clips 300 --folder /tmp/killed
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from dtalk.speech.audio import SAMPLE_RATE, load_audio

SPEECH = Path(__file__).resolve().parents[1] / "speech" / "jfk.flac"
POISON = "poison.wav"
PATIENCE = 120  # seconds for a scheduler to be there


def main() -> None:
    """Do it, and say what came of it; exit status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a clip")
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--weights", default="student")
    given = parser.parse_args()
    sys.exit(compare(given.folder, given.clips, given.seconds, given.weights))


def compare(folder: Path, clips: int, seconds: float, weights: str) -> int:
    """Animate the clips alone and by workers; the number of outputs that differ or are missing."""
    names = write_clips(folder / "in", clips, seconds)
    animate = [*dtalk(), "animate", str(folder / "in"), "--threads", "1", "--weights", weights]
    alone, together = folder / "alone", folder / "together"
    started = time.monotonic()
    subprocess.run([*animate, "-o", str(alone)], check=True, stdout=subprocess.DEVNULL)
    between = time.monotonic()
    (folder / "in" / POISON).write_text("no sound\n")
    with cluster(folder, 2) as (address, (_, victim, _)):
        killer = threading.Thread(target=kill, args=(victim, together, clips // 3))
        killer.start()
        command = [*animate, "-o", str(together), "--cluster", address]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        killer.join()
    ended = time.monotonic()
    wrong = [name for name in names if not same(alone / name, together / name)]
    print(
        f"{clips} clips: {between - started:.0f} s alone, {ended - between:.0f} s by two workers,"
    )
    print(f"one of them killed after {clips // 3} outputs (exit status {victim.returncode});")
    print(f"{clips - len(wrong)} outputs have the same bytes, {len(wrong)} do not: {wrong[:3]}")
    named = [line for line in done.stderr.splitlines() if POISON in line]
    print(f"exit status {done.returncode}; named: {named}")
    print(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
    return len(wrong) + (done.returncode != 1) + (len(named) != 1)


def dtalk() -> list[str]:
    """The command line, of this Python."""
    return [sys.executable, "-m", "dtalk"]


def write_clips(folder: Path, count: int, seconds: float) -> list[str]:
    """Write pieces of a recording, each at a place of its own; the names of their outputs."""
    folder.mkdir(parents=True)
    speech = load_audio(SPEECH)
    length = round(seconds * SAMPLE_RATE)
    starts = np.linspace(0, len(speech) - length, count).astype(int)
    for index, start in enumerate(starts):
        soundfile.write(folder / f"{index:04}.wav", speech[start : start + length], SAMPLE_RATE)
    return [f"{index:04}.npz" for index in range(count)]


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, Sequence[subprocess.Popen[bytes]]]]:
    """Start a scheduler and workers of one thread here; its address, and their processes."""
    about = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    by_file = ["--scheduler-file", str(about)]
    log = (folder / "cluster.log").open("wb")
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*dask, *arguments], stdout=log, stderr=log, env=environment)

    local = ["--host", "127.0.0.1", "--no-dashboard"]
    running = [start("scheduler", "--port", "0", *local, *by_file)]
    try:
        deadline = time.monotonic() + PATIENCE
        while not about.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        one = ["--nthreads", "1", "--no-nanny", *local]
        place = ["--local-directory", str(folder / "dask")]
        running += [start("worker", *by_file, *one, *place) for _ in range(workers)]
        yield address_in(about), running
    finally:
        for process in running:
            process.kill()
            process.wait()
        log.close()


def address_in(about: Path) -> str:
    """The address in a scheduler's file."""
    return str(json.loads(about.read_text())["address"])


def kill(worker: subprocess.Popen[bytes], folder: Path, outputs: int) -> None:
    """Kill a process as soon as a folder holds so many outputs."""
    deadline = time.monotonic() + PATIENCE
    while len(list(folder.glob("*.npz"))) < outputs and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.kill()
    worker.wait()


def same(first: Path, second: Path) -> bool:
    """Whether two files are there and have the same bytes."""
    return first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes()


if __name__ == "__main__":
    main()
