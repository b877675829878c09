"""``-``: standard input and output."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import run_dtalk

from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion


class Piped:
    """A run of the command line whose standard streams hold bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __call__(self, data: bytes, *arguments: object) -> tuple[int, bytes, str]:
        given, out, err = (io.TextIOWrapper(io.BytesIO(d), "utf-8") for d in (data, b"", b""))
        for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
            self._patch.setattr(sys, name, stream)
        status = run_dtalk(self._patch, *arguments)
        out.flush()
        err.flush()
        return status, out.buffer.getvalue(), err.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Piped:
    monkeypatch.chdir(tmp_path)
    return Piped(monkeypatch)


@pytest.fixture
def motion() -> Motion:
    return Motion(np.random.default_rng(0).random((4, 52)))


@pytest.mark.parametrize("suffix", [".npz", ".json", ".csv", ".glb"])
def test_motion_of_any_format_from_and_to_standard_streams(piped, motion, tmp_path, suffix):
    if suffix == ".glb":
        piped(b"", "convert", save(motion, "a.npz"), "-o", "a.glb")
    else:
        save(motion, f"a{suffix}")
    given = Path(f"a{suffix}").read_bytes()
    status, out, err = piped(given, "convert", "-", "-o", "-", "--format", "csv")
    assert (status, err) == (0, "")
    Path("b.csv").write_bytes(out)
    np.testing.assert_allclose(read_motion("b.csv").coefficients, motion.coefficients, atol=1e-6)


def save(motion: Motion, name: str) -> str:
    write_motion(motion, name)
    return name


def test_a_file_to_standard_output_and_back(piped, motion):
    save(motion, "a.npz")
    status, out, _ = piped(b"", "convert", "a.npz", "-o", "-", "--format", "json")
    assert status == 0
    assert out.startswith(b'{"exportFps"')
    status, _, _ = piped(out, "convert", "-", "-o", "b.csv")
    assert status == 0
    assert len(read_motion("b.csv")) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.npz", "b.npz", "-o", "-"), "-o - takes one file"),
        ((".", "-o", "-"), "-o - takes one file"),
        (("a.npz", "-o", "-", "--format", "csv", "--format", "json"), "-o - takes one file"),
        (("-", "-", "-o", "out"), "can be read once only"),
        (("a.npz", "-o", "-", "--json"), "--json writes to standard output"),
    ],
)
def test_what_cannot_go_through_a_pipe(piped, motion, arguments, words):
    save(motion, "a.npz")
    save(motion, "b.npz")
    status, out, err = piped(b"", "convert", *arguments)
    assert status == 1
    assert words in err
    assert out == b""


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02", b"PK\x03\x04cut", b"neither, nor"])
def test_what_comes_in_may_be_anything(piped, data):
    status, out, err = piped(data, "convert", "-", "-o", "-")
    assert (status, out) == (1, b"")
    assert len(err.splitlines()) == 1


def test_nothing_is_left_in_the_temporary_folder(piped, motion, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    save(motion, "a.npz")
    piped(Path("a.npz").read_bytes(), "convert", "-", "-o", "-")
    piped(b"", "convert", "-", "-o", "-")
    assert list((tmp_path / "temporary").iterdir()) == []
