"""Give every reader of dtalk damaged files: ``python examples/fuzz [COUNT] [NAME ...]``.

Each has to read a file or refuse it in one line (a ``DtalkError``), within 10 s of CPU and 1 GB.
COUNT files in all (10,000), in batches of a process each; names choose readers. Exit status 1 if
there is a fault. tests/examples/test_fuzz.py runs a few of the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.readers import readers
from fuzz.run import Tally, fuzz_apart

BATCH = 500
DEAR = 0.05  # files for readers that start a program, relative to others


def main() -> int:
    """Run, and print a line a reader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [r for r in readers() if not options.names or r.name in options.names]
    share = options.count / sum(DEAR if reader.dear else 1.0 for reader in chosen)
    total: Counter[str] = Counter()
    print(f"{'reader':10} {'files':>7} {'read':>7} {'refused':>8} {'faults':>7} {'s':>6}")
    for reader in chosen:
        wanted = round(share * (DEAR if reader.dear else 1.0)) + 1
        tally, began = Tally(), time.perf_counter()
        for start in range(0, wanted, BATCH):
            with tempfile.TemporaryDirectory() as folder:
                batch = min(BATCH, wanted - start)
                found = fuzz_apart(reader.name, batch, options.seed + start, Path(folder))
            tally.read += found.read
            tally.refused += found.refused
            tally.faults += found.faults
        total += Counter(read=tally.read, refused=tally.refused, faults=tally.faults.total())
        seconds = time.perf_counter() - began
        print(
            f"{reader.name:10} {tally.count:7} {tally.read:7} {tally.refused:8} "
            f"{tally.faults.total():7} {seconds:6.0f}",
            flush=True,
        )
        for fault, times in tally.faults.most_common(8):
            print(f"  {times} x {fault!a}", flush=True)
    print(f"{total.total()} files: " + ", ".join(f"{n} {what}" for what, n in total.items()))
    return int(total["faults"] > 0)


if __name__ == "__main__":
    sys.exit(main())
