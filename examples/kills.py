"""End dtalk's commands at random moments and look at what is left: python examples/kills.py [N].

N runs (60) of animate, render --jobs 2, train and distill, ended by SIGTERM or SIGKILL in turn: a
third at any moment from the start, two thirds from when there is a first file, which is then at
risk. Counts files that are there but cannot be read, processes that live on and, after SIGTERM,
temporary files. Linux only: processes are found by their environment. Exit status 1 if there are
any.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
import torch
from safetensors import safe_open

import dtalk

MARK = "DTALK_KILLED_RUN"
LAST = 60.0  # seconds that a run may take to end
PATIENCE = 20.0  # seconds in which its processes have to be gone
STARTING = {"animate": 15.0, "render": 25.0, "train": 30.0, "distill": 40.0}  # s from the start
WORKING = {"animate": 3.0, "render": 20.0, "train": 20.0, "distill": 30.0}  # s from the first file
FIRST = 300.0  # seconds that a run may take to its first file
WIDTHS = (
    *("encoder-width", "feature-width", "token-width", "contrast-width"),
    *("embedding-width", "step-width", "hidden-width"),
)


def speech(path: Path, seed: int, seconds: float) -> None:
    """A voice made of noise in syllables."""
    samples = np.random.default_rng(seed).standard_normal(int(16000 * seconds))
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(len(samples)) / 16000)
    soundfile.write(path, 0.1 * loud * samples, 16000)


def data_folder(folder: Path) -> Path:
    """Twelve clips of two seconds to train on."""
    folder.mkdir()
    rows = ["clip,set,split,speaker,emotion,audio,motion"]
    for number in range(12):
        name = f"c{number}"
        speech(folder / f"{name}.wav", number, 2)
        values = np.random.default_rng(number).random((60, 52)).astype(np.float32)
        dtalk.write_motion(dtalk.Motion(values), folder / f"{name}.npz")
        split = "val" if number > 9 else "train"
        emotion = ("happy", "sad")[number % 2]
        rows.append(f"{name},s,{split},p{number % 3},{emotion},{name}.wav,{name}.npz")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def commands(work: Path) -> dict[str, Callable[[Path], list[str]]]:
    """Arguments of each command, by the folder of its outputs."""
    sounds, data = work / "in", data_folder(work / "data")
    sounds.mkdir()
    for number in range(6):
        speech(sounds / f"s{number}.wav", number, 6)
    small = [part for width in WIDTHS for part in (f"--{width}", "8")]
    small += ["--layers", "1", "--tokens", "2"]
    often = ["--validate-every", "20", "--save-minutes", "0"]
    teacher = work / "teacher"
    training = ["train", "--data", str(data), *small]
    subprocess.run(
        [sys.executable, "-m", "dtalk", *training, "-o", str(teacher), "--updates", "2"],
        check=True,
        capture_output=True,
    )
    taught = ["distill", "--data", str(data), "--teacher", str(teacher / "model.safetensors")]
    quick = ["--encoder-updates", "20", "--encoder-width", "8", "--encoder-blocks", "1"]
    both = ["--format", "npz", "--format", "csv"]
    pictures = ["render", str(sounds), "--size", "128", "--jobs", "2"]
    return {
        "animate": lambda out: ["animate", str(sounds), "-o", str(out), *both],
        "render": lambda out: [*pictures, "-o", str(out)],
        "train": lambda out: [*training, "-o", str(out), "--updates", "100000", *often],
        "distill": lambda out: [*taught, *quick, *often, "-o", str(out), "--updates", "100000"],
    }


def alive(mark: str) -> list[int]:
    """Processes that were started by the run, whoever is their parent now."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_whole(path: Path) -> bool:
    """Whether an output can be read to its end."""
    try:
        if path.suffix in (".npz", ".csv"):
            dtalk.read_motion(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return all(file.get_tensor(name) is not None for name in file.keys())  # noqa: SIM118
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".mp4":
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", "-i", path]
            return not subprocess.run([*command, "-f", "null", "-"], capture_output=True).returncode
    except Exception:
        return False
    return True


def files_in(out: Path) -> list[Path]:
    """What a run has written so far, temporary or not."""
    return [path for path in out.rglob("*") if path.is_file()]


def wait_for_file(process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until there is a file, or the process has ended."""
    started = time.monotonic()
    while not files_in(out) and process.poll() is None and time.monotonic() - started < FIRST:
        time.sleep(0.02)


def end_one(
    arguments: list[str], out: Path, how: signal.Signals, after: float, at_work: bool
) -> Counter[str]:
    """Run a command, end it so many seconds after its start or first file, count what is wrong."""
    mark = out.name
    process = subprocess.Popen(
        [sys.executable, "-m", "dtalk", *arguments],
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if at_work:
        wait_for_file(process, out)
    time.sleep(after)
    early, at_risk = process.poll() is None, bool(files_in(out))
    process.send_signal(how)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LAST)
    left = PATIENCE
    while (strays := alive(mark)) and left > 0:
        time.sleep(0.2)
        left -= 0.2
    files = files_in(out)
    temporaries = [path for path in files if path.name.startswith(".dtalk-")]
    outputs = [path for path in files if path not in temporaries]
    for stray in strays:
        os.kill(stray, signal.SIGKILL)
    process.wait()
    return Counter(
        {
            "ended while running": int(early),
            "with files at risk": int(early and at_risk),
            "outputs": len(outputs),
            "half files": sum(not is_whole(path) for path in outputs),
            "stray processes": len(strays),
            "temporaries": len(temporaries) if how == signal.SIGTERM else 0,
        }
    )


def main() -> int:
    """Run, and print a line a command and signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--stretch", type=float, default=1.0, help="times as late: a slow machine")
    asked = parser.parse_args()
    count, generator = asked.count, np.random.default_rng(asked.seed)
    tallies: dict[tuple[str, str], Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        kinds = commands(work)
        for number in range(count):
            name = list(kinds)[number % len(kinds)]
            how = (signal.SIGTERM, signal.SIGKILL)[number // len(kinds) % 2]
            out = work / f"out{os.getpid()}-{number}"
            at_work = number // (2 * len(kinds)) % 3 > 0
            longest = (WORKING if at_work else STARTING)[name]
            after = float(generator.uniform(0, asked.stretch * longest))
            tally = tallies.setdefault((name, how.name), Counter())
            found = end_one(kinds[name](out), out, how, after, at_work)
            tally.update({"runs": 1, **found})
            since = "its first file" if at_work else "its start"
            said = ", ".join(f"{n} {what}" for what, n in found.items() if n)
            print(
                f"{number + 1:4} {name} {how.name} {after:.1f} s after {since}: {said}", flush=True
            )
    total: Counter[str] = Counter()
    for (name, how_name), tally in tallies.items():
        total += tally
        print(f"{name:8} {how_name}: " + ", ".join(f"{n} {what}" for what, n in tally.items()))
    print("all: " + ", ".join(f"{n} {what}" for what, n in total.items()))
    return int(any(total[what] for what in ("half files", "stray processes", "temporaries")))


if __name__ == "__main__":
    sys.exit(main())
