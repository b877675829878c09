"""Two ranks on this machine train as one process does."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Recorder, distillation_config, loaded_clip, tiny_model, training_config
from helpers import write_data as write
from safetensors.torch import load_file
from training.ranks import SETTINGS, STOP, UPDATES

from dtalk.checkpoint import save_model
from dtalk.evaluation import benchmark
from dtalk.training import distillation
from dtalk.training.batches import BatchMaker, Share
from dtalk.training.distributed import gathered, joined, launched, rank, ranks, share
from dtalk.training.trainer import LOG_FILE, MODEL_FILE, STATE_FILE, Trainer

TOLERANCE = 1e-4  # float32, added up in another order
TESTS = Path(__file__).resolve().parents[1]


def train(config, observer=None) -> Trainer:
    trainer = Trainer(config, observer or Recorder())
    trainer.run()
    return trainer


@dataclass
class Runs:
    """One folder of runs: by this process, and by two ranks."""

    folder: Path
    started: dict[str, torch.Tensor]
    alone: dict[str, torch.Tensor]
    by_rank: list[dict[str, Any]]


def start(arguments: list[str], ranks: int = 2) -> subprocess.CompletedProcess:
    """Run ``python -m torch.distributed.run`` on this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*launcher, f"--nproc-per-node={ranks}", *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    folder = tmp_path_factory.mktemp("ranks")
    write(folder / "data", sound_only=3)
    save_model(tiny_model(), folder / "teacher.safetensors")
    alone = Trainer(training_config(folder / "data", folder / "one", **SETTINGS), Recorder())
    started = {name: value.clone() for name, value in alone.model.state_dict().items()}
    alone.run()
    stopped = training_config(folder / "data", folder / "alone", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, Recorder(interrupt_after=STOP))
    done = start([str(TESTS / "training" / "ranks.py"), str(folder)])
    assert done.returncode == 0, done.stderr[-3000:]
    found = [torch.load(folder / f"rank{n}.pt", weights_only=True) for n in range(2)]
    return Runs(folder, started, alone.model.state_dict(), found)


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_two_ranks_end_where_one_process_does(runs):
    assert largest_difference(runs.alone, runs.by_rank[0]["weights"]) < TOLERANCE


def test_the_comparison_is_of_weights_that_have_moved(runs):
    """By far more than the difference allowed."""
    assert largest_difference(runs.alone, runs.started) > 20 * TOLERANCE


@pytest.mark.parametrize("run", ["weights", "resumed", "alone_first", "student"])
def test_ranks_are_equal_to_the_last_bit(runs, run):
    first, second = (found[run] for found in runs.by_rank)
    assert equal(first, second)


def test_a_signal_to_one_rank_stops_all_at_the_same_update(runs):
    assert [found["stopped"] for found in runs.by_rank] == [STOP, STOP]


def test_a_stopped_run_goes_on_exactly_with_as_many_ranks(runs):
    assert equal(runs.by_rank[0]["resumed"], runs.by_rank[0]["weights"])


def test_a_run_of_one_process_goes_on_with_two(runs):
    """To rounding, as what an update does depends on its number alone."""
    assert largest_difference(runs.alone, runs.by_rank[0]["alone_first"]) < TOLERANCE


def test_a_run_of_two_goes_on_with_one(runs, tmp_path):
    shutil.copytree(runs.folder / "parts", tmp_path / "parts")
    config = training_config(runs.folder / "data", tmp_path / "parts", **SETTINGS, resume=True)
    state = torch.load(tmp_path / "parts" / STATE_FILE, weights_only=True)
    assert state["update"] == UPDATES
    assert equal(train(config).model.state_dict(), runs.by_rank[0]["resumed"])


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def test_rank_0_alone_writes_the_log_and_it_says_what_one_process_says(runs):
    alone, together = entries(runs.folder / "one"), entries(runs.folder / "whole")
    assert [entry["update"] for entry in together] == [UPDATES]
    for mine, theirs in zip(alone, together):
        assert theirs["losses"] == pytest.approx(mine["losses"], abs=1e-4)
        assert theirs["retrieval"] == mine["retrieval"]
        for row, scores in mine["validation"].items():
            assert theirs["validation"][row] == pytest.approx(scores, rel=2e-3, abs=2e-3)


def test_ranks_distil_as_one_process_does(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(distillation, "cost", functools.partial(benchmark.cost, seconds=0.1))
    data = runs.folder / "data"
    config = distillation_config(data, tmp_path / "student", runs.folder / "teacher.safetensors")
    config = dataclasses.replace(config, speech=(data,), steps=1, updates=2)
    alone = distillation.distil(config, Recorder()).state_dict()
    assert largest_difference(alone, runs.by_rank[0]["student"]) < TOLERANCE
    written = load_file(runs.folder / "student" / MODEL_FILE)
    assert equal(written, runs.by_rank[0]["student"])


def test_gathered_rows_and_their_gradients(runs):
    """The mean over two ranks of a gradient twice as large is the gradient."""
    for found, expected in zip(runs.by_rank, ([[2.0], [6.0]], [[4.0]])):
        assert found["gathered"]["whole"].tolist() == [[2.0], [3.0], [4.0]]
        assert found["gathered"]["gradient"].tolist() == expected


def test_flags_and_counts_over_ranks(runs):
    for found in runs.by_rank:
        assert found["any"] == [True, False]
        assert [float(count) for count in found["count"]] == [0.5, 0.5]


def test_a_failed_rank_ends_all_with_its_message(tmp_path):
    data = write(tmp_path / "data")
    arguments = ["--data", str(data), "--out", str(tmp_path / "out"), "--device", "cuda:7"]
    done = start(["-m", "dtalk", "train", *arguments, "--updates", "1"])
    assert done.returncode == 1
    assert "cannot use device 'cuda:7'" in done.stderr
    assert "error: rank" in done.stderr
    assert not (tmp_path / "out").exists()


# In one process ----------------------------------------------------------------------------------


def test_one_process_is_rank_0_of_1(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not launched()
    with joined("cpu") as device:
        assert (device, rank(), ranks()) == ("cpu", 0, 1)
        assert share([3, 4, 5]) == [3, 4, 5]
    rows = torch.tensor([[1.0], [2.0]])
    assert gathered(rows, torch.tensor([1, 0]), 3).tolist() == [[2.0], [1.0], [0.0]]


def test_shares_of_a_batch():
    """Five clips with motion and two of sound only, over two ranks."""
    assert Share.of(5, 7, 0, 2).rows == [0, 2, 4, 5]
    assert Share.of(5, 7, 1, 2).rows == [1, 3, 6]
    assert Share.of(5, 7, 1, 2).moving_rows() == [1, 3]


def test_a_batch_with_fewer_faces_than_ranks_is_everybody_s():
    assert Share.of(1, 3, 0, 2).rows == Share.of(1, 3, 1, 2).rows == [0, 1, 2]


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_makes_of_its_clips_what_one_process_makes(number, monkeypatch):
    clips = [loaded_clip(f"{i}", 8 + i, i, split="train") for i in range(4)]
    clips += [loaded_clip(f"x{i}", 9 + i, i, split="train", moving=False) for i in range(3)]
    config = training_config(Path("data"), Path("run"), batch_frames=1000, audio_only_batch=3)
    model = tiny_model()
    whole = next(BatchMaker(clips, model, config)(0))
    monkeypatch.setattr("dtalk.training.batches.rank", lambda: number)
    monkeypatch.setattr("dtalk.training.batches.ranks", lambda: 2)
    part = next(BatchMaker(clips, model, config)(0))
    rows = part.share.rows
    assert len(rows) in (3, 4)
    assert all(np.array_equal(part.inputs[i], whole.inputs[row]) for i, row in enumerate(rows))
    assert part.lengths.tolist() == whole.lengths[rows].tolist()
    for index, row in enumerate(part.share.moving_rows()):
        length = int(part.lengths[index])
        assert torch.equal(part.target[index, :length], whole.target[row, :length])
