"""One run writes an output, others are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtalk.errors import DtalkError
from dtalk.utils.claims import claimed


def test_a_claim_is_held_and_given_up(tmp_path: Path) -> None:
    outputs, locks = [tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "locks"
    with claimed(outputs, locks):
        again = claimed([tmp_path / "x" / ".." / "b.npz"], locks)
        with pytest.raises(DtalkError, match=r"another dtalk is writing .*b\.npz"), again:
            pass
        with claimed([tmp_path / "c.npz"], locks):
            pass
    with claimed(outputs, locks):
        pass
    assert not any(path.exists() for path in outputs)


def test_a_process_that_ended_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dtalk.utils.claims import claimed\n"
        "with claimed([Path(sys.argv[1])], Path(sys.argv[2])):\n    os._exit(7)\n"
    )
    place = [str(tmp_path / "a.npz"), str(tmp_path / "locks")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, *place], env=environment, check=False)
    assert done.returncode == 7
    with claimed([tmp_path / "a.npz"], tmp_path / "locks"):
        pass


def test_without_a_place_for_locks_nothing_is_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        with claimed([tmp_path / "a.npz"], tmp_path / "file" / "locks"):
            pass


def test_errors_of_the_block_come_through(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), claimed([tmp_path / "a"], tmp_path / "locks"):
        raise OSError("mine")
    assert list((tmp_path / "locks").iterdir()) == []
