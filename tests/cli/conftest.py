"""Fixtures of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Result, heard_dtalk, write_data

from dtalk.cli.flags import Reporting, report_as


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _for_people() -> None:
    """Every test begins as a new process does, whatever a run in this one has chosen before."""
    report_as(Reporting())


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``dtalk`` with some arguments, in this process."""
    return lambda *arguments: heard_dtalk(monkeypatch, *arguments)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))
