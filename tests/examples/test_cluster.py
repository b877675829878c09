"""The scripts of examples/cluster: a worker killed in the middle; what a cluster costs, by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cluster"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module; it may import the others."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_a_worker_is_killed_and_every_clip_is_made(tmp_path, monkeypatch, weights, capsys):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    tests = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", tests)
    script = load("killed_worker", monkeypatch)
    assert script.compare(tmp_path, 9, 0.3, str(weights)) == 0
    told = capsys.readouterr().out
    assert "9 outputs have the same bytes, 0 do not" in told
    assert "9 done, 1 failed" in told
    assert "(exit status -9)" in told or sys.platform == "win32"


def test_the_table_of_costs_by_hand(monkeypatch):
    """An hour takes 360 s of a core, so a clip of 10 s takes 1 s; a task waits for 0.25 s."""
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    script = load("cost", monkeypatch)
    work = script.Work("animate", 360.0, 36e6, 7.2e6)
    scheduler = script.Scheduler(latency=0.25, busiest=0.01)
    # 864,000 tasks of 1.25 s on 10 cores: 108,000 s; 24 hours and more for 100 MB an hour read.
    words = script.table_row(work, scheduler, 10, 10.0, 2400.0).split()
    assert words == ["10", "1.2", "20.0", "%", "0.8", "0.2", "cores", "47.5", "s"]
    # 1,000 cores ask for a task every 1.25 ms, and get one every 10: 8,640 s.
    words = script.table_row(work, scheduler, 1000, 10.0, 2400.0).split()
    limit = ["client,", "scheduler"]
    assert words == ["1000", "0.1", "90.0", "%", "10.0", "2.0", *limit, "100.0", "s"]
