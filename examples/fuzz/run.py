"""Readers given damaged files, one after another, in a process that may die."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dtalk.errors import DtalkError
from fuzz.mutate import mutate, mutate_member
from fuzz.readers import Reader, readers

SECONDS, MEMORY = 10.0, 1 << 30  # that a file may take
INSIDE = 0.5  # share of zipped files that are damaged behind their checksums


@dataclass
class Tally:
    """What came of a reader's files: read, refused, and faults with the seed of each."""

    read: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Number of files."""
        return self.read + self.refused + self.faults.total()


def fuzz(reader: Reader, count: int, seed: int, folder: Path) -> Tally:
    """Read ``count`` damaged files; the same for the same seed."""
    good = list(reader.make(folder))
    contents = [path.read_bytes() for path in good]
    tally, start = Tally(), _memory()
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        place, other = generator.integers(0, len(good), 2)
        path = folder / f"bad{good[place].suffix}"
        if path.suffix == ".npz" and generator.random() < INSIDE:
            path.write_bytes(mutate_member(contents[place], generator))
        else:
            path.write_bytes(mutate(contents[place], contents[other], generator))
        fault = _read(reader.read, path, tally)
        if _memory() - start > MEMORY:
            fault, start = "more than 1 GB", _memory()
        if fault:
            tally.faults[f"{reader.name} {number}: {fault}"] += 1
    return tally


def _read(read: Callable[[Path], object], path: Path, tally: Tally) -> str:
    """Read a file; what went wrong, else it is counted."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
            outcome = "read"
        except _known() as error:
            outcome = "" if "\n" in str(error) else "refused"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {str(error)[:80]} at {place.name}:{place.lineno}"
    if time.process_time() - began > SECONDS:
        return f"{time.process_time() - began:.0f} s"
    if not outcome:
        return "a message of several lines"
    setattr(tally, outcome, getattr(tally, outcome) + 1)
    return ""


def _known() -> tuple[type[Exception], ...]:
    """Errors on purpose: dtalk's own, and those of readers that others call and translate."""
    from dtalk.utils.arrays import ArrayFileError
    from dtalk.utils.glb import GlbError
    from dtalk.utils.images import ImageError

    return DtalkError, ArrayFileError, GlbError, ImageError


def _memory() -> int:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _in_child(reader: Reader, count: int, seed: int, folder: str, sender: object) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries print
    sender.send(fuzz(reader, count, seed, Path(folder)))  # type: ignore[attr-defined]


def fuzz_apart(name: str, count: int, seed: int, folder: Path) -> Tally:
    """The same in a process of its own: if it dies, that is a fault."""
    [reader] = [reader for reader in readers() if reader.name == name]
    receiver, sender = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(
        target=_in_child, args=(reader, count, seed, str(folder), sender)
    )
    process.start()
    sender.close()
    try:
        tally: Tally = receiver.recv()
    except EOFError:
        tally = Tally(faults=Counter([f"{name}: the process died, seed {seed}"]))
    process.join()
    return tally
