"""What all tests share: fixed threads, reproducible examples, the optional shared data."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from flames import FullSize

    from dtalk.heads.flame_head import FlameHead
    from dtalk.heads.transfer.transfer import Transfer

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


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, here and in processes that the test starts.

    Where the tests run in the background SIGINT may be ignored, which processes inherit.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def plain_kernels() -> Iterator[None]:
    """Products by torch's own kernels instead of those that oneDNN makes for this processor.

    What is tested in bfloat16 is what dtalk does with it, and the same on every processor. oneDNN's
    convolutions with AMX have been wrong: https://github.com/pytorch/pytorch/pull/188426.
    """
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration")  # of GPUs that are not there
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@pytest.fixture(scope="session")
def full() -> FullSize:
    """A full-size head in FLAME's format, and the truth about it."""
    from flames import full_size

    return full_size()


@pytest.fixture(scope="session")
def flame_file(full: FullSize, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file, with chumpy's classes."""
    from flames import with_chumpy

    return with_chumpy(full.content, tmp_path_factory.mktemp("flame") / "FLAME.pkl")


@pytest.fixture(scope="session")
def heads_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where transfers are kept that several tests need: each takes seconds."""
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="session")
def flame_head(flame_file: Path, heads_cache: Path) -> FlameHead:
    """The head of :func:`flame_file`, loaded once for all tests."""
    from dtalk.heads.flame_head import FlameHead
    from dtalk.heads.load import load_head

    found = load_head(flame_file, cache=heads_cache)
    assert isinstance(found, FlameHead)
    return found


@pytest.fixture(scope="session")
def transferred(flame_head: FlameHead, heads_cache: Path) -> Transfer:
    """What was transferred to :func:`flame_head`."""
    from dtalk.heads.transfer.cache import transfer_to

    flame = flame_head.flame
    return transfer_to(flame.template, flame.faces, flame.eyeballs, heads_cache, lambda *_: None)


@pytest.fixture(scope="session")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of that model, with a copy of its file beside it."""
    from dtalk.engine.export import export_file

    place = tmp_path_factory.mktemp("graph") / "tiny.onnx"
    place.with_suffix(".safetensors").write_bytes(weights.read_bytes())
    export_file(weights, place)
    return place
