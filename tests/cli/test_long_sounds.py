"""Sounds of several windows on the command line; the windows are made small."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import run_dtalk, speech

from dtalk import inference
from dtalk.engine import graph, windows
from dtalk.engine.windows import Layout
from dtalk.motion.files import read_motion

LAYOUT = Layout(grid=48, window=168, step=96, takeover=24, fade=12)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a sound of 300 frames, which are three windows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "LAYOUT", LAYOUT)
    soundfile.write("long.wav", speech(160_000), 16000, subtype="PCM_16")


@pytest.fixture
def model(exported: Path) -> str:
    return str(exported.with_suffix(".safetensors"))


def test_every_format_has_the_same_curves(model, monkeypatch):
    formats = [f"--format={name}" for name in ("npz", "csv", "json", "glb")]
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model, *formats) == 0
    expected = read_motion("long.npz").coefficients
    assert expected.shape == (300, 52)
    for suffix in ("csv", "json", "glb"):
        found = read_motion(f"long.{suffix}").coefficients
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_programs_are_told_of_damage_first_and_then_of_progress(model, monkeypatch, capsys):
    whole = Path("long.wav").read_bytes()
    Path("long.wav").write_bytes(whole[:-32_000])
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model, "--json") == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["type"] for event in events] == [
        *("start", "warning", "progress", "progress", "progress", "success")
    ]
    assert [event["value"] for event in events[2:5]] == [0.35, 0.5, 1.0]  # 96, 144 and 270 of 270
    assert "is damaged or cut off: 9.00 s of it are used" in events[1]["reason"]
    assert json.loads(out)["frames"] == 270


def test_people_are_warned_once(model, monkeypatch, capsys):
    Path("long.wav").write_bytes(Path("long.wav").read_bytes()[:-32_000])
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model) == 0
    assert capsys.readouterr().err == (
        "warning: long.wav is damaged or cut off: 9.00 s of it are used\n"
    )


def test_from_standard_input_to_standard_output(model, monkeypatch, capfdbinary):
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model) == 0
    expected = Path("long.npz").read_bytes()
    capfdbinary.readouterr()
    given = io.TextIOWrapper(io.BytesIO(Path("long.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", given)
    taken = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", taken)
    arguments = ("-", "-o", "-", "--format", "npz", "--weights", model)
    assert run_dtalk(monkeypatch, "animate", *arguments) == 0
    Path("out.npz").write_bytes(taken.buffer.getvalue())  # type: ignore[attr-defined]
    found = read_motion("out.npz").coefficients
    assert len(expected) > 1000
    np.testing.assert_array_equal(found, read_motion("long.npz").coefficients)


def test_ctrl_c_leaves_nothing(model, monkeypatch, tmp_path):
    """In the second window: neither beside the input nor among the system's temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    seen: list[list[Path]] = []
    run = graph.Graph.run

    def interrupted(self, levelled, noise, *rest):
        if len(noise) == LAYOUT.window:
            seen.append(list(temporary.iterdir()))
            if len(seen) == 2:
                raise KeyboardInterrupt
        return run(self, levelled, noise, *rest)

    monkeypatch.setattr(graph.Graph, "run", interrupted)
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model) == 130
    assert len(seen) == 2
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.wav", "temporary"]


def test_a_full_disk_is_one_line(model, monkeypatch, capsys):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(windows, "TemporaryFile", Full)
    assert run_dtalk(monkeypatch, "animate", "long.wav", "--weights", model) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == "error: cannot write a temporary file: No space left on device"
