"""What a model costs: how it is counted. How long it takes is not asserted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import tiny_model

from dtalk.checkpoint import save_model
from dtalk.evaluation.benchmark import (
    BATCH,
    BATCH_RUNS,
    RUNS,
    WARM_UP,
    animation_seconds,
    batch_seconds,
    cost,
    machine,
    made_up_speech,
    parameters,
)


class Clock:
    """Every animation takes as long as the next number says."""

    def __init__(self, seconds: list[float]) -> None:
        self.times = [0.0]
        for taken in seconds:
            start = self.times[-1] + 1000.0  # between two animations
            self.times += [start, start + taken]
        self.times = self.times[1:]

    def __call__(self) -> float:
        return self.times.pop(0)


def test_the_median_of_the_warm_runs_counts(monkeypatch):
    seconds = [100.0] * WARM_UP + [1.0 + k / RUNS for k in range(RUNS)]
    monkeypatch.setattr("dtalk.evaluation.benchmark.time.perf_counter", Clock(seconds))
    median, frames = animation_seconds(tiny_model(), made_up_speech(0.2))
    assert median == pytest.approx(1.0 + (RUNS - 1) / 2 / RUNS)
    assert frames == 6


def test_cost(tmp_path, monkeypatch):
    model = tiny_model()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    alone, together = WARM_UP + RUNS, WARM_UP + BATCH_RUNS
    seconds = [0.5] * alone + [0.1] * alone + [2.0] * together
    monkeypatch.setattr("dtalk.evaluation.benchmark.time.perf_counter", Clock(seconds))
    found = cost(model, path, steps=1, seconds=0.5)
    count = sum(value.numel() for value in model.parameters())
    assert found.parameters == count
    assert found.megabytes == pytest.approx(count * 4 / 1e6)
    assert found.disk_megabytes == path.stat().st_size / 1e6
    assert found.seconds == pytest.approx(0.5)
    assert found.frames_per_second == pytest.approx(15 / 0.5)
    assert found.short_seconds == pytest.approx(0.1)
    assert found.batch_frames_per_second == pytest.approx(8 * 15 / 2.0)
    assert (found.device, found.threads) == ("cpu", torch.get_num_threads())


class Large:
    """A large encoder of 1,000 parameters that counts how often it works."""

    name, fingerprint, layers, width, precision = "large", "abc", (2,), 4, "float32"
    parameters = 1000

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, waveform):
        import torch

        self.calls += 1
        return torch.zeros(max(1, round(len(waveform) / 16000 * 30)), self.width)


def test_a_large_encoder_counts_and_works_every_time(tmp_path):
    from dtalk.speech.feature_cache import FeatureCache

    model = tiny_model(encoder="large", layer=(2,), large_width=4, large_fingerprint="abc", steps=1)
    own, large = parameters(model), Large()
    cache = FeatureCache(large, tmp_path / "cache")  # type: ignore[type-var]
    model.attach(cache)
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    found = cost(model, path, seconds=0.1)
    assert found.parameters == own + 1000
    assert found.disk_megabytes == (path.stat().st_size + 4000) / 1e6
    assert large.calls == 2 * (WARM_UP + RUNS) + BATCH * (WARM_UP + BATCH_RUNS)
    assert model.large_source is cache
    assert not (tmp_path / "cache").exists()


def test_made_up_speech_is_the_same_every_time():
    found = made_up_speech(0.25)
    assert found.shape == (4000,)
    assert found.dtype == np.float32
    assert np.array_equal(found, made_up_speech(0.25))
    assert 0.01 < found.std() < 1


def test_a_batch_holds_every_clip_at_once(monkeypatch):
    model, sizes = tiny_model(), []
    heard = model.encoder.forward

    def counted(inputs, lengths):
        sizes.append(len(inputs))
        return heard(inputs, lengths)

    monkeypatch.setattr(model.encoder, "forward", counted)
    assert batch_seconds(model, made_up_speech(0.2)) > 0
    assert sizes == [BATCH] * (WARM_UP + BATCH_RUNS)


def test_what_it_was_measured_on_is_told():
    found = machine()
    assert found["threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__
    assert {"processor", "cores", "system", "python", "dtalk", "precision"} <= found.keys()
