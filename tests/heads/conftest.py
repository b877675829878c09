"""Fixtures of heads: the FLAME model in full size, made up, by shorter names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flames import FullSize

from dtalk.heads.flame_head import FlameHead


@pytest.fixture(scope="session")
def place(flame_file: Path) -> Path:
    return flame_file


@pytest.fixture(scope="session")
def cache(heads_cache: Path) -> Path:
    return heads_cache


@pytest.fixture(scope="session")
def head(flame_head: FlameHead) -> FlameHead:
    return flame_head


@pytest.fixture(scope="session")
def mesh(full: FullSize) -> tuple[np.ndarray, np.ndarray]:
    return full.content["v_template"], full.content["f"].astype(np.int64)
