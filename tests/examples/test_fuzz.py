"""A few damaged files of examples/fuzz: each is read, or refused in one line, within limits."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = (
    *("npz", "csv", "json", "glb", "etf", "beat", "vertices", "flame", "head", "avatar", "pickle"),
    *("mesh obj", "mesh ply", "mesh stl", "mesh off", "mesh gltf", "mesh glb"),
    *("model", "image", "clips", "recipe", "wav"),
)
FEW = {"model": 8, "wav": 8}


@pytest.fixture
def fuzz(monkeypatch):
    """The package of the script."""
    pytest.importorskip("resource", reason="measures memory as Unix does")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] == "fuzz"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused(fuzz, tmp_path, name):
    [reader] = [reader for reader in fuzz("fuzz.readers").readers() if reader.name == name]
    count = FEW.get(name, 40)
    tally = fuzz("fuzz.run").fuzz(reader, count, 7, tmp_path)
    assert dict(tally.faults) == {}
    assert tally.count == count


@pytest.mark.parametrize("name", [name for name in NAMES if name != "flame"])
def test_good_files_are_read(fuzz, tmp_path, name):
    """Damage to a file that no reader takes would show little. FLAME's are too small to be its."""
    [reader] = [reader for reader in fuzz("fuzz.readers").readers() if reader.name == name]
    for path in reader.make(tmp_path):
        assert reader.read(path) is not None


def test_every_reader_is_tried(fuzz):
    assert {reader.name for reader in fuzz("fuzz.readers").readers()} == {*NAMES, "mp3"}


def test_the_same_seed_gives_the_same_files(fuzz):
    mutate, data = fuzz("fuzz.mutate").mutate, bytes(range(256)) * 3

    def damaged(seed: int) -> bytes:
        return mutate(data, b"other" * 9, np.random.default_rng(seed))

    assert [damaged(k) for k in range(30)] == [damaged(k) for k in range(30)]
    assert len({damaged(k) for k in range(30)}) > 25


@pytest.mark.parametrize(
    ("raised", "fault"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (None, ""),
    ],
)
def test_faults_are_found(fuzz, tmp_path, raised, fault):
    """An error that is none of ours, a message of two lines, a process that dies."""
    run, readers = fuzz("fuzz.run"), fuzz("fuzz.readers")

    def read(path: Path) -> None:
        if raised is not None:
            raise raised

    def make(folder: Path):
        (folder / "good.bin").write_bytes(b"good")
        yield folder / "good.bin"

    tally = run.fuzz(readers.Reader("x", read, make), 3, 0, tmp_path)
    assert tally.faults.total() == (3 if fault else 0)
    assert all(fault in line for line in tally.faults)
