"""Compare training by two ranks with training by one process, on this machine::

    python examples/cluster/ranks.py --data mydata --folder /tmp/ranks [--updates 50]

Three runs by the command line, with the same settings: alone; by two ranks; by two ranks that are
killed in the middle and resumed. Dropout is 0, as ranks draw masks of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from dtalk.training.trainer import LOG_FILE, STATE_FILE

RANKS = 2


def main() -> None:
    """Train three times and compare the states."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the runs")
    parser.add_argument("--updates", type=int, default=50)
    given, others = parser.parse_known_args()
    fixed = ["--updates", str(given.updates), "--dropout", "0"]
    command = ["train", "--data", str(given.data), *fixed, *others]
    one, two, parts = (given.folder / name for name in ("one", "two", "parts"))
    alone = [sys.executable, "-m", "dtalk"]
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ranks += [f"--nproc-per-node={RANKS}", "-m", "dtalk"]
    subprocess.run([*alone, *command, "--out", str(one)], check=True)
    subprocess.run([*ranks, *command, "--out", str(two)], check=True)
    stop([*ranks, *command, "--out", str(parts), "--save-minutes", "0.01"], parts)
    print(f"stopped after update {state_of(parts)['update']}")
    subprocess.run([*ranks, *command, "--out", str(parts), "--resume"], check=True)
    start = largest(state_of(one)["average"], state_of(one)["model"])
    print(f"one process and {RANKS} ranks: {difference(one, two):.1e} at most, in any weight")
    print(f"(averaged weights and the last ones: {start:.1e})")
    print(f"{RANKS} ranks, and killed and resumed: {difference(two, parts):.1e}")
    for name in ("one", "two"):
        last = json.loads((given.folder / name / LOG_FILE).read_text().splitlines()[-1])
        print(f"{name}: loss {last['losses']['total']:.6f}, LVE {last['validation']['all']['lve']}")


def stop(command: list[str], out: Path) -> None:
    """Start a command, and kill it once it has saved a state."""
    with subprocess.Popen(command, start_new_session=True) as running:
        while not (out / STATE_FILE).exists():
            time.sleep(0.05)
        for process in psutil.Process(running.pid).children(recursive=True):
            process.kill()


def state_of(out: Path) -> dict[str, Any]:
    """The state of a run."""
    return torch.load(out / STATE_FILE, weights_only=True)


def difference(first: Path, second: Path) -> float:
    """The largest difference of the weights of two runs."""
    return largest(state_of(first)["model"], state_of(second)["model"])


def largest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference of any two weights."""
    return max(float((first[name] - second[name]).abs().max()) for name in first)


if __name__ == "__main__":
    main()
