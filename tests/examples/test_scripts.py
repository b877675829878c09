"""The scripts in examples/: every one explains itself, with all that it imports."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
# The peers' own adapters run in an environment without dtalk; test_peers.py has the rest.
SCRIPTS = [*FOLDER.glob("*.py"), FOLDER / "build_head" / "build_head.py"]


def test_there_are_scripts():
    assert len(SCRIPTS) > 6


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses look for types
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 0
    assert f"usage: {path.name}" in capsys.readouterr().out
