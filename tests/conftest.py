"""What all tests share: fixed threads, reproducible examples, the optional shared data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Read by torch and numpy when they are first imported, which is after this file: the order of
# float sums, and so the last bits, depend on the number of threads.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# The same examples in every run, and no failure because a machine is slow.
settings.register_profile("dtalk", derandomize=True, deadline=None, database=None)
settings.load_profile("dtalk")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recorded speech and motion beside the repository; not in every checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data" / "clips.csv").is_file():
        pytest.skip(f"no data: {folder} does not hold data/clips.csv")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model as a file."""
    # Imported here: what this file imports would be loaded before the threads are set.
    from helpers import tiny_model

    from dtalk.checkpoint import save_model

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny_model(), path)
    return path
