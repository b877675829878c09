"""How examples/kills.py looks at what a run leaves."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dtalk

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def script(monkeypatch):
    pytest.importorskip("imageio_ffmpeg", reason="no imageio-ffmpeg")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("kills")
    del sys.modules["kills"]


def written(folder: Path, suffix: str) -> Path:
    """A whole output of a kind."""
    path = folder / f"out{suffix}"
    if suffix == ".safetensors":
        save_file({"weights": torch.ones(1000)}, path)
    elif suffix == ".pt":
        torch.save({"weights": torch.ones(1000)}, path)
    else:
        dtalk.write_motion(dtalk.Motion(np.full((9, 52), 0.5, np.float32)), path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".safetensors", ".pt"])
def test_half_a_file_is_not_whole(script, tmp_path, suffix):
    path = written(tmp_path, suffix)
    assert script.is_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 - 7])
    assert not script.is_whole(path)


def test_a_run_is_waited_for_until_it_writes_or_ends(script, tmp_path):
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); sys.stdin.read()"
    command = [sys.executable, "-c", write, str(tmp_path / ".dtalk-1.npz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        script.wait_for_file(process, tmp_path)
        assert [path.name for path in script.files_in(tmp_path)] == [".dtalk-1.npz"]
        assert process.poll() is None
        process.kill()
    (tmp_path / ".dtalk-1.npz").unlink()
    script.wait_for_file(process, tmp_path)
    assert not script.files_in(tmp_path)
