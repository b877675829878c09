"""``dtalk export`` and ``--engine``, as a user meets them; and dtalk where torch is absent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from gl import needs_gl
from helpers import run_dtalk, speech, tiny_model

from dtalk.checkpoint import save_model
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import sys
for name in {absent}:
    sys.modules[name] = None  # whoever imports it gets an ImportError
from dtalk.cli.app import main
main()
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with a speech file and a model with its graph."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("hello.wav", speech(8000), 16000, subtype="FLOAT")
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(exported.with_suffix(suffix), f"model{suffix}")


def without_torch(
    *arguments: str, absent: Sequence[str] = ("torch",)
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT.format(absent=absent), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_export_writes_the_graph_beside_the_model(monkeypatch, capsys):
    Path("model.onnx").rename("first.onnx")
    assert run_dtalk(monkeypatch, "export", "model.safetensors") == 0
    assert capsys.readouterr().out == "model.onnx\n"
    assert Path("model.onnx").read_bytes() == Path("first.onnx").read_bytes()
    assert run_dtalk(monkeypatch, "export", "model.safetensors", "-o", "new/other.onnx") == 0
    assert Path("new/other.onnx").is_file()
    assert run_dtalk(monkeypatch, "export", "model.safetensors", "--external", "--force") == 0
    assert Path("model.onnx").stat().st_size < Path("first.onnx").stat().st_size
    capsys.readouterr()
    assert run_dtalk(monkeypatch, "info", "model.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "model.safetensors"


def test_a_graph_that_exists_is_kept_unless_forced(monkeypatch, capsys):
    Path("model.onnx").write_text("mine")
    assert run_dtalk(monkeypatch, "export", "model.safetensors") == 1
    assert "model.onnx exists already; add --force" in capsys.readouterr().err
    assert Path("model.onnx").read_text() == "mine"
    assert run_dtalk(monkeypatch, "export", "model.safetensors", "--force") == 0
    assert Path("model.onnx").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.safetensors"], "does not exist"),
        (["model.safetensors", "-o", "graph.npz"], "name it graph.onnx"),
        (["hello.wav", "-o", "new.onnx"], "cannot load hello.wav"),
        (["model.safetensors", "-o", "new.onnx", "--external"], "under the same name: model.onnx"),
    ],
)
def test_what_cannot_be_exported_is_one_line(arguments, message, monkeypatch, capsys):
    assert run_dtalk(monkeypatch, "export", *arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def animate(monkeypatch: pytest.MonkeyPatch, out: str, *arguments: str) -> np.ndarray:
    command = ["animate", "hello.wav", "-o", out, "--weights", "model.safetensors", *arguments]
    assert run_dtalk(monkeypatch, *command) == 0
    return read_motion(out).coefficients


def test_both_engines_give_the_same_curves(monkeypatch):
    torch = animate(monkeypatch, "torch.npz", "--engine", "torch", "--emotion", "sad")
    onnx = animate(monkeypatch, "onnx.npz", "--engine", "onnx", "--emotion", "sad")
    np.testing.assert_allclose(onnx, torch, atol=1e-5)
    # Which one it was shows in the last bits.
    assert (onnx != torch).any()
    assert (animate(monkeypatch, "auto.npz", "--emotion", "sad") == onnx).all()
    assert (animate(monkeypatch, "again.npz", "--engine", "onnx", "--emotion", "sad") == onnx).all()


@pytest.mark.parametrize(
    "arguments", [["--steps", "3"], ["--sampler", "ancestral"], ["--steps", "5", "--seed", "1"]]
)
def test_auto_takes_torch_for_what_the_graph_cannot_do(arguments, monkeypatch):
    auto = animate(monkeypatch, "auto.npz", *arguments)
    assert (animate(monkeypatch, "torch.npz", "--engine", "torch", *arguments) == auto).all()


def test_auto_takes_torch_where_the_graph_is_of_another_model(monkeypatch, capsys):
    save_model(tiny_model(seed=9), Path("model.safetensors"))
    auto = animate(monkeypatch, "auto.npz")
    assert (animate(monkeypatch, "torch.npz", "--engine", "torch") == auto).all()
    assert run_dtalk(monkeypatch, "animate", "hello.wav", "--weights", "model.safetensors",
                     "--engine", "onnx") == 1  # fmt: skip
    assert (
        "was made from another model.safetensors; dtalk export --force" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "onnx", "--steps", "3"], "takes 2 steps, which are fixed in a graph"),
        (["--engine", "onnx", "--sampler", "ancestral"], "by ddim, not ancestral"),
        (["--engine", "onnx", "--device", "auto"], "run on the CPU, not on auto"),
        (["--engine", "torch", "--weights", "model.onnx"], "runs on --engine onnx"),
        (["--emotion", "bored"], "unknown emotion 'bored'; this model knows: happy, sad"),
    ],
)
def test_what_an_engine_cannot_do_is_one_line(arguments, message, monkeypatch, capsys):
    command = ["animate", "hello.wav", "--weights", "model.safetensors", *arguments]
    assert run_dtalk(monkeypatch, *command) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_model_without_a_graph_says_so(monkeypatch, capsys):
    Path("model.onnx").unlink()
    command = ["animate", "hello.wav", "--weights", "model.safetensors"]
    assert run_dtalk(monkeypatch, *command, "--engine", "onnx") == 1
    assert "no graph beside it; make one with dtalk export" in capsys.readouterr().err
    assert run_dtalk(monkeypatch, *command) == 0


def test_animate_works_where_torch_is_absent(monkeypatch):
    done = without_torch("animate", "hello.wav", "--weights", "model.safetensors", "--threads", "1")
    assert done.stderr == ""
    assert done.returncode == 0
    expected = animate(monkeypatch, "here.npz", "--threads", "1")
    np.testing.assert_array_equal(read_motion("hello.npz").coefficients, expected)


@pytest.mark.parametrize("suffix", ["csv", "json", "npz"])
def test_curves_load_no_library_that_is_slow_to_load(suffix):
    """A cold start is most of the time that a clip takes."""
    slow = ("torch", "scipy", "trimesh", "pyrender", "transformers")
    arguments = ("--weights", "model.safetensors", "--format", suffix)
    done = without_torch("animate", "hello.wav", *arguments, absent=slow)
    assert done.returncode == 0, done.stderr


def test_live_works_where_torch_is_absent():
    done = without_torch("live", "hello.wav", "--weights", "model.safetensors")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 15


@pytest.mark.parametrize("suffix", ["csv", "json", "glb"])
def test_convert_works_where_torch_is_absent(suffix):
    write_motion(Motion(np.full((5, 52), 0.5, np.float32)), "face.npz")
    done = without_torch("convert", "face.npz", "-o", f"face.{suffix}")
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_allclose(read_motion(f"face.{suffix}").coefficients, 0.5, atol=1e-6)


@pytest.mark.parametrize("name", ["hello.wav", "model.safetensors", "model.onnx"])
def test_info_works_where_torch_is_absent(name):
    done = without_torch("info", name, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["file"] == name


def test_long_sounds_work_where_torch_is_absent():
    """At once they would fill the memory; the graph's windows need no torch either."""
    soundfile.write("long.wav", speech(16000 * 80), 16000)
    done = without_torch("animate", "long.wav", "--weights", "model.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_motion("long.npz")) == 2400


def test_a_graph_alone_is_a_model(monkeypatch):
    Path("model.safetensors").unlink()
    done = without_torch("animate", "hello.wav", "--weights", "model.onnx", "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert len(read_motion("hello.csv")) == 15


@needs_gl
def test_render_works_where_torch_is_absent():
    arguments = ("--weights", "model.safetensors", "--still", "0.2", "--size", "32")
    done = without_torch("render", "hello.wav", *arguments)
    assert done.returncode == 0, done.stderr
    assert Path("hello.png").is_file()


@pytest.mark.parametrize(
    "arguments", [["--steps", "3"], ["--engine", "torch"], ["--sampler", "ancestral"]]
)
def test_what_needs_torch_says_so_where_it_is_absent(arguments):
    done = without_torch("animate", "hello.wav", "--weights", "model.safetensors", *arguments)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: torch is not installed, but needed: ")
