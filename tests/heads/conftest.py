"""Fixtures of heads: a FLAME model in full size, made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flames import (
    FullSize,
    full_size,
    with_chumpy,
)

from dtalk.heads.flame_head import FlameHead
from dtalk.heads.load import load_head


@pytest.fixture(scope="session")
def full() -> FullSize:
    return full_size()


@pytest.fixture(scope="session")
def place(full: FullSize, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full-size file, with chumpy's classes."""
    return with_chumpy(full.content, tmp_path_factory.mktemp("flame") / "FLAME.pkl")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def head(place: Path, cache: Path) -> FlameHead:
    found = load_head(place, cache=cache)
    assert isinstance(found, FlameHead)
    return found


@pytest.fixture(scope="session")
def mesh(full: FullSize) -> tuple[np.ndarray, np.ndarray]:
    return full.content["v_template"], full.content["f"].astype(np.int64)
