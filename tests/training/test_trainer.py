"""Training: over-fitting, exact resume, interruption, conditioning, batches, what is written."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from helpers import (
    JAW,
    WIDTHS,
    FakeLarge,
    Recorder,
    large_model,
    loaded_clip,
    same,
    smooth_motion,
    speech,
    tiny_config,
    tiny_model,
    training_config,
    write_clip,
    write_data,
    write_index,
)
from safetensors import safe_open
from safetensors.torch import load_file

from dtalk import config as config_module
from dtalk.checkpoint import load_model, read_description, save_model
from dtalk.data.clips import labels_of
from dtalk.diffusion import time_grid
from dtalk.errors import CheckpointError, DataError
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.model import Library
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.speech.feature_cache import FeatureCache
from dtalk.training.batches import LARGE_VARIANTS, UNLABELLED_VARIANTS, BatchMaker, shares
from dtalk.training.objective import (
    Grams,
    condition,
    losses_of,
    motion_errors,
    region_gram,
    weighted,
)
from dtalk.training.starting import MINIMUM_STD, load_compatible, statistics
from dtalk.training.trainer import (
    BEST_FILE,
    FINAL_RATE,
    LOG_FILE,
    MODEL_FILE,
    STATE_FILE,
    WARM_UP,
    Average,
    Trainer,
    learning_rate,
    load_data,
)
from dtalk.utils.devices import device_of


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def train(config, observer: Recorder | None = None) -> Trainer:
    trainer = Trainer(config, observer or Recorder(), "dtalk train")
    trainer.run()
    return trainer


def state_of(out: Path) -> dict:
    return torch.load(out / STATE_FILE, weights_only=True)


# A run -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of three updates, validated after two and at the end."""
    out = tmp_path_factory.mktemp("run") / "deep" / "er"
    observer = Recorder()
    trainer = train(training_config(data, out, updates=3, validate_every=2), observer)
    return trainer, observer, out


def test_a_run_writes_what_it_says(finished):
    _, _, out = finished
    assert sorted(file.name for file in out.iterdir()) == sorted(
        [MODEL_FILE, BEST_FILE, STATE_FILE, LOG_FILE]
    )


def test_a_run_tells_its_observer(finished):
    _, observer, _ = finished
    assert observer.updates == [1, 2, 3]
    assert all(math.isfinite(loss) and loss > 0 for loss in observer.losses)
    assert observer.loads == [(n, 10) for n in range(1, 11)]
    assert [update for update, _ in observer.tables] == [2, 3]
    tables = observer.tables[0][1]
    assert set(tables) == {"all", "a", "b", "seen speakers", "unseen speakers"}
    assert tables["all"]["lve"] > 0
    assert tables["all"]["identity_top1"] in (0, 1)
    assert tables["all"]["emotion_top1"] in (0, 1)


def test_metrics_are_logged_line_by_line(finished):
    _, observer, out = finished
    start, *entries = [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]
    assert start == {"update": 0, "command": "dtalk train"}
    assert [entry["update"] for entry in entries] == [2, 3]
    assert entries[0]["losses"]["total"] == observer.losses[1]
    for entry, (_, tables) in zip(entries, observer.tables):
        assert entry["validation"]["all"]["lve"] == tables["all"]["lve"]


def test_the_model_file_holds_the_average_and_says_how_it_was_made(finished, data):
    trainer, _, out = finished
    model = load_model(out / MODEL_FILE)
    assert same(dict(model.state_dict()), trainer.average.weights)
    assert model.config == tiny_config()
    description = read_description(out / MODEL_FILE)
    assert description["command"] == "dtalk train"
    assert description["update"] == 3
    assert description["settings"]["updates"] == 3
    assert str(data) not in json.dumps(description)  # no paths of this machine


def test_the_best_model_is_that_of_the_best_validation(finished):
    _, observer, out = finished
    scores = {update: tables["all"]["lve"] for update, tables in observer.tables}
    description = read_description(out / BEST_FILE)
    assert description["update"] == min(scores, key=scores.__getitem__)
    assert description["validation"]["all"]["lve"] == min(scores.values())


def test_the_model_knows_the_data(finished, data):
    trainer, _, _ = finished
    clips = load_data(trainer.config, Recorder()).train
    assert (trainer.model.config.identities, trainer.model.config.emotions) == labels_of(
        clip.clip for clip in clips
    )
    mean, std, _ = statistics(clips)
    assert torch.equal(trainer.model.mean, mean)
    assert torch.equal(trainer.model.std, std)


def test_training_is_deterministic(data, tmp_path):
    config = training_config(data, tmp_path / "a", model={**WIDTHS, "dropout": 0.2})
    train(config)
    train(dataclasses.replace(config, out=tmp_path / "b"))
    train(dataclasses.replace(config, out=tmp_path / "c", seed=1))
    first, again, other = (load_file(tmp_path / name / MODEL_FILE) for name in "abc")
    assert same(first, again)
    assert not same(first, other)


def test_validation_does_not_disturb_training(data, tmp_path):
    config = training_config(data, tmp_path / "a", updates=3, model={**WIDTHS, "dropout": 0.2})
    train(config)
    often = dataclasses.replace(config, out=tmp_path / "b", validate_every=1, save_minutes=0)
    train(often)
    first, second = (state_of(tmp_path / name) for name in "ab")
    for part in ("model", "average", "optimizer"):
        assert same(first[part], second[part]), part


# Learning ----------------------------------------------------------------------------------------


def trainer_of(data: Path, out: Path, **changes) -> Trainer:
    return Trainer(training_config(data, out, **changes), Recorder())


def test_the_loss_falls_when_one_batch_is_learned(data, tmp_path, monkeypatch):
    monkeypatch.setattr("dtalk.training.trainer.WARM_UP", 1)
    wider = {**WIDTHS, "hidden_width": 24, "encoder_width": 24}
    settings = {"updates": 120, "learning_rate": 0.01, "batch_frames": 30, "augment": 0.0}
    trainer = trainer_of(data, tmp_path, **settings, model=wider)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    history = [trainer.step(batch) for _ in range(120)]
    for name in history[0]:
        first, last = (np.mean([h[name] for h in part]) for part in (history[:8], history[-8:]))
        assert last < 0.5 * first, name
    assert history[0]["coefficients"] == pytest.approx(1, abs=0.5)  # standardised motion
    assert history[0]["identity"] > 0.5


def test_the_total_is_equation_15(data, tmp_path):
    weights = {"lip_weight": 2.0, "upper_weight": 1.5, "velocity_weight": 3.0, "guide_weight": 0.5}
    trainer = trainer_of(data, tmp_path, **weights)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    found = losses_of(
        trainer.model, batch, trainer.grams, torch.Generator().manual_seed(0), trainer.config
    )
    parts = {name: value.item() for name, value in found.items()}
    rec = parts["coefficients"] + 2 * parts["lips"] + 1.5 * parts["upper_face"]
    rec += 3 * parts["velocity"] + 0.5 * parts["guide"]
    expected = rec + 0.007 * (parts["identity"] + parts["emotion"])
    assert parts["total"] == pytest.approx(expected, rel=1e-6)
    assert all(value > 0 for value in parts.values())


def test_the_parts_of_the_loss_are_those_of_the_face(data, tmp_path, monkeypatch):
    """Each from the vertices it is named after; the guide is weighed like the prediction."""
    weights = {"lip_weight": 2.0, "upper_weight": 1.5, "velocity_weight": 3.0}
    trainer = trainer_of(data, tmp_path, **weights, label_share=1.0, retrieval_share=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    model, moving = trainer.model, len(batch.target)
    error = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(model.decoder, "forward", lambda *_: batch.target + error)
    monkeypatch.setattr(model.decoder.guide, "forward", lambda *_: batch.target - 0.5 * error)
    generator = torch.Generator().manual_seed(0)
    found = losses_of(model, batch, trainer.grams, generator, trainer.config)
    errors = [row[:n] for row, n in zip(error, batch.lengths[:moving].tolist())]
    head, variance = built_in(), torch.from_numpy(covariance_of(trainer)).double()

    def cost(region, moved) -> float:
        basis = torch.from_numpy(head.basis(region)).double()
        still = torch.einsum("cvk,cd,dvk->", basis, variance, basis)
        moved = torch.cat(moved).double() * model.std
        errors = torch.einsum("tc,cvk->tvk", moved, basis).square().sum((1, 2))
        return float((errors / still).mean())

    expected = {
        "coefficients": float(torch.cat(errors).square().mean()),
        "lips": cost(head.lips, errors),
        "upper_face": cost(head.upper_face, errors),
        "velocity": cost(head.lips, [row.diff(dim=0) for row in errors]),
    }
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(float(value), rel=1e-4), name
    whole = sum(
        float(expected[name]) * weight
        for name, weight in zip(expected, (1.0, *weights.values()), strict=True)
    )
    assert found["guide"].item() == pytest.approx(0.25 * whole, rel=1e-4)


def covariance_of(trainer: Trainer) -> np.ndarray:
    clips = load_data(trainer.config, Recorder()).train
    frames = [c.coefficients for c in clips if c.coefficients is not None]
    return np.cov(np.concatenate(frames), rowvar=False)


@pytest.mark.parametrize(
    ("draw", "steps"),
    [
        (None, [0, 0, 1, 1, 2, 2]),
        (0.0, [0, 0, 1, 1, 2, 2]),
        (1 - 2**-24, [0, 1, 1, 2, 2, 2]),  # rounded up to the next step, but never past the last
    ],
)
def test_training_sees_the_times_of_the_sampler(data, tmp_path, monkeypatch, draw, steps):
    """All of them in every batch, as evenly as it goes; also at the ends of what is drawn."""
    trainer = trainer_of(data, tmp_path, model={**WIDTHS, "steps": 3}, batch_frames=1000)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    assert len(batch.target) == 6
    seen = []
    plain = trainer.model.decoder.forward

    def noting(noisy, time, *rest):
        seen.extend(time.tolist())
        return plain(noisy, time, *rest)

    monkeypatch.setattr(trainer.model.decoder, "forward", noting)
    if draw is not None:
        monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, draw))
    generator = torch.Generator().manual_seed(0)
    losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    grid = time_grid(3, shift=trainer.model.config.noise_shift)[:-1].tolist()
    assert sorted(seen, reverse=True) == [grid[step] for step in steps]


def gradients_of(trainer: Trainer, batch) -> dict[str, torch.Tensor | None]:
    trainer.model.zero_grad()
    parts = losses_of(
        trainer.model, batch, trainer.grams, torch.Generator().manual_seed(0), trainer.config
    )
    parts["total"].backward()
    return {
        name: None if p.grad is None else p.grad.clone()
        for name, p in trainer.model.named_parameters()
    }


def test_clips_without_motion_teach_the_personalizer_only(data, tmp_path):
    """Other sound in a clip without motion: what the decoder learns stays the same."""
    trainer = trainer_of(data, tmp_path, augment=0.0, label_share=1.0, retrieval_share=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    moving = len(batch.target)
    assert len(batch.inputs) == moving + 2
    torch.manual_seed(0)
    changed = [*batch.inputs[:moving], *(torch.randn_like(x) for x in batch.inputs[moving:])]
    plain = gradients_of(trainer, batch)
    other = gradients_of(trainer, dataclasses.replace(batch, inputs=changed))
    of_motion = ("decoder.", "personalizer.integrator.")
    of_sound = ("encoder.", "personalizer.identity.enc", "personalizer.emotion.enc")
    for name, gradient in plain.items():
        assert gradient is not None, name
        if name.startswith(of_motion):
            assert gradient.abs().max() > 0, name
            assert torch.equal(gradient, other[name]), name
        if name.startswith(of_sound):
            assert not torch.equal(gradient, other[name]), name


def test_retrieval_is_not_trained_through_the_reconstruction(data, tmp_path):
    """With no weight on the contrast nothing moves what finds entries in the sound."""
    trainer = trainer_of(data, tmp_path, contrast_weight=0.0, label_share=0.0, retrieval_share=1.0)
    source = trainer.batches(0)
    found = gradients_of(trainer, next(source))
    source.close()
    for name, gradient in found.items():
        if "encode_audio" in name or "encode_entry" in name or "temperature" in name:
            assert gradient is None or gradient.abs().max() == 0, name
    entries = found["personalizer.identity.entries"]
    assert entries is not None
    assert entries.abs().max() > 0  # but the entries themselves are


def heard(trainer: Trainer, batch, monkeypatch) -> tuple[dict[str, float], torch.Tensor]:
    """The losses, and the features that the decoder was given."""
    seen = []
    plain = trainer.model.decoder.forward

    def noting(noisy, time, features, *rest):
        seen.append(features.detach())
        return plain(noisy, time, features, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.model.decoder, "forward", noting)
        generator = torch.Generator().manual_seed(0)
        parts = losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    return {name: value.item() for name, value in parts.items()}, seen[0]


def test_a_share_of_the_clips_is_learned_without_their_sound(data, tmp_path, monkeypatch):
    found = {}
    for share in (0.0, 0.5, 1.0):
        settings = {"batch_frames": 1000, "audio_dropout": share, "augment": 0.0}
        trainer = trainer_of(data, tmp_path, **settings)
        source = trainer.batches(0)
        found[share] = heard(trainer, next(source), monkeypatch)
        source.close()
    (hearing, features), (_, some), (deaf, none) = found.values()
    assert (features.abs().amax((1, 2)) > 0).all()
    assert none.shape == features.shape
    assert none.abs().max() == 0
    kept = some.abs().amax((1, 2)) > 0
    assert 0 < kept.sum() < len(kept) == 6
    assert torch.equal(some[kept], features[kept])  # as a whole or not at all
    for name in ("identity", "emotion"):
        assert deaf[name] == hearing[name]  # retrieval still listens
    for name in ("coefficients", "lips", "guide"):
        assert deaf[name] != hearing[name]


def test_without_sound_the_motion_teaches_the_encoder_nothing(data, tmp_path):
    settings = {"label_share": 1.0, "retrieval_share": 0.0, "contrast_weight": 0.0}
    for share, learns in ((1.0, False), (0.0, True)):
        trainer = trainer_of(data, tmp_path, audio_dropout=share, **settings)
        source = trainer.batches(0)
        found = gradients_of(trainer, next(source))
        source.close()
        for name, gradient in found.items():
            if name.startswith("encoder."):
                assert (gradient is not None and bool(gradient.abs().max() > 0)) is learns, name
        entries = found["personalizer.emotion.entries"]
        assert entries is not None
        assert entries.abs().max() > 0


def test_padding_changes_no_loss(data, tmp_path):
    """More padding in the targets: the same losses and the same gradients."""
    trainer = trainer_of(data, tmp_path, augment=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    generator = torch.Generator().manual_seed(0)
    junk = batch.target.clone()
    for row, length in enumerate(batch.lengths[: len(junk)].tolist()):
        junk[row, length:] = 50.0
    assert not torch.equal(junk, batch.target)
    plain = losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    generator.manual_seed(0)
    padded = losses_of(
        trainer.model,
        dataclasses.replace(batch, target=junk),
        trainer.grams,
        generator,
        trainer.config,
    )
    for name, value in plain.items():
        torch.testing.assert_close(padded[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_either_precision_learns(data, tmp_path, precision):
    observer = Recorder()
    trainer = train(training_config(data, tmp_path, precision=precision), observer)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert all(math.isfinite(loss) for loss in observer.losses)
    initial = Trainer(dataclasses.replace(trainer.config, out=tmp_path / "x"), Recorder()).model
    moved = [
        not torch.equal(p, q) for p, q in zip(trainer.model.parameters(), initial.parameters())
    ]
    assert all(moved)


def test_bfloat16_comes_close_to_float32(data, tmp_path):
    totals = []
    for precision in ("float32", "bfloat16"):
        trainer = trainer_of(data, tmp_path, precision=precision)
        source = trainer.batches(0)
        totals.append(trainer.step(next(source))["total"])
        source.close()
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    assert totals[1] != totals[0]


def test_training_without_any_label(tmp_path):
    folder = write_data(tmp_path / "data", labelled=False)
    observer = Recorder()
    trainer = train(training_config(folder, tmp_path / "run"), observer)
    assert trainer.model.config.identities == trainer.model.config.emotions == ()
    assert all(math.isfinite(loss) for loss in observer.losses)
    assert "seen speakers" not in observer.tables[0][1]
    assert load_model(tmp_path / "run" / MODEL_FILE).config.identities == ()


def test_training_without_sound_only_or_validation_clips(tmp_path):
    rows = [
        {**write_clip(tmp_path / "data", name, 10, seed), "set": "a", "split": "train"}
        for seed, name in enumerate("abc")
    ]
    write_index(tmp_path / "data", rows)
    observer = Recorder()
    train(training_config(tmp_path / "data", tmp_path / "run", validate_every=1), observer)
    assert observer.updates == [1, 2]
    assert observer.tables == []
    assert load_model(tmp_path / "run" / MODEL_FILE)


def strict_json(text: str):
    """As json, not Python, defines it: without NaN and infinities."""

    def refuse(constant: str):
        raise ValueError(f"{constant} is no json")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def undefined(tmp_path) -> Path:
    """A run whose validation clips only move the jaw: a tracker that sees the mouth alone."""
    folder = write_data(tmp_path / "data")
    for name in ("va", "vb"):
        motion = np.zeros((10, 52), np.float32)
        motion[:, JAW] = smooth_motion(10)[:, JAW]
        write_motion(Motion(motion), folder / f"{name}.npz")
    observer = Recorder()
    train(training_config(folder, tmp_path / "run"), observer)
    assert [update for update, _ in observer.tables] == [2]
    assert math.isnan(observer.tables[0][1]["all"]["eve_of_static"])
    return tmp_path / "run"


def test_undefined_figures_are_null_in_the_log(undefined):
    _, *entries = [strict_json(line) for line in (undefined / LOG_FILE).read_text().splitlines()]
    assert entries[0]["validation"]["all"]["eve_of_static"] is None
    assert entries[0]["validation"]["all"]["lve"] > 0


def test_undefined_figures_are_null_in_the_best_model(undefined):
    with safe_open(undefined / BEST_FILE, framework="pt") as file:
        description = strict_json(file.metadata()["dtalk"])
    assert description["validation"]["all"]["eve_of_static"] is None


def test_every_step_has_its_own_learning_rate(data, tmp_path):
    trainer = trainer_of(data, tmp_path, updates=500)
    source = trainer.batches(0)
    for update in range(3):
        trainer.step(next(source))
        expected = learning_rate(update, trainer.config)
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [expected]
    source.close()


def test_an_existing_run_is_refused_before_any_data_is_read(finished, data, tmp_path):
    _, _, out = finished
    for config, error, told in (
        (training_config(data, out), DataError, r"training\.pt exists: add --resume"),
        (training_config(data, tmp_path, resume=True), CheckpointError, "nothing to resume"),
    ):
        observer = Recorder()
        with pytest.raises(error, match=told):
            Trainer(config, observer)
        assert observer.loads == []


@pytest.mark.parametrize("largest", [0.01, 1e9])
def test_a_gradient_is_cut_to_the_largest_norm(data, tmp_path, monkeypatch, largest):
    """That of all weights together, the helpers' included, before the optimiser sees it."""
    helpers = {"helper": torch.nn.Linear(2, 1)}
    config = training_config(data, tmp_path, clip_gradient=largest)
    trainer = Trainer(config, Recorder(), helpers=helpers)
    weights = [*trainer.model.parameters(), *helpers["helper"].parameters()]
    given = [torch.full_like(w, 0.5) for w in weights]
    seen: list[torch.Tensor | None] = []
    plain = sum(float(g.square().sum()) for g in given) ** 0.5

    def losses(*_):
        return {"total": sum((g * w).sum() for g, w in zip(given, weights))}

    monkeypatch.setattr(trainer, "losses", losses)
    monkeypatch.setattr(trainer.optimizer, "step", lambda: seen.extend(w.grad for w in weights))
    trainer.step(None)
    for gradient, wanted in zip(seen, given, strict=True):
        torch.testing.assert_close(gradient, wanted * min(1, largest / plain))


def test_weights_decay(data, tmp_path, monkeypatch):
    """Where nothing is learned each weight shrinks by rate times decay in an update, no more."""
    helper = torch.nn.Linear(2, 1)
    config = training_config(data, tmp_path, weight_decay=0.25, learning_rate=0.1)
    trainer = Trainer(config, Recorder(), helpers={"helper": helper})
    weights = [*trainer.model.parameters(), *helper.parameters()]
    before = [w.detach().clone() for w in weights]
    monkeypatch.setattr(trainer, "losses", lambda *_: {"total": sum(0 * w.sum() for w in weights)})
    trainer.step(None)
    rate = learning_rate(0, config)
    for weight, was in zip(weights, before, strict=True):
        torch.testing.assert_close(weight.detach(), was * (1 - 0.25 * rate))
    assert any(not torch.equal(w, was) for w, was in zip(weights, before))


def test_only_a_better_model_becomes_the_best(data, tmp_path):
    trainer = trainer_of(data, tmp_path)
    trainer.best = 0.0
    trainer.validate({})
    assert not (tmp_path / BEST_FILE).exists()
    trainer.best = math.inf
    trainer.validate({})
    assert (tmp_path / BEST_FILE).exists()
    assert 0 < trainer.best < math.inf


# Resuming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 3])
def test_resuming_is_exact(data, tmp_path, at):
    """Five updates at once, and with an interruption: the same to the last bit."""
    whole = training_config(
        data, tmp_path / "whole", updates=5, model={**WIDTHS, "dropout": 0.2}, validate_every=2
    )
    train(whole)
    parts = dataclasses.replace(whole, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        train(parts, Recorder(interrupt_after=at))
    assert state_of(parts.out)["update"] == at
    observer = Recorder()
    train(dataclasses.replace(parts, resume=True), observer)
    assert observer.updates == list(range(at + 1, 6))
    assert any(f"after update {at}" in line for line in observer.notes)
    first, second = state_of(whole.out), state_of(parts.out)
    for name in ("update", "best", "model", "average", "optimizer"):
        assert same(first[name], second[name]), name
    assert same(load_file(whole.out / MODEL_FILE), load_file(parts.out / MODEL_FILE))


def test_seconds_are_added_up(data, tmp_path):
    config = training_config(data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(config, Recorder(interrupt_after=1))
    before = state_of(tmp_path)["seconds"]
    train(dataclasses.replace(config, resume=True))
    assert state_of(tmp_path)["seconds"] > before > 0


def test_seconds_an_update_are_those_of_this_run(data, tmp_path, monkeypatch):
    """After resuming, the updates before do not make it look faster."""
    config = training_config(data, tmp_path, updates=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, Recorder(interrupt_after=3))
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("dtalk.training.trainer.time.monotonic", lambda: next(clock))
    observer = Recorder()
    train(dataclasses.replace(config, resume=True, save_minutes=1e9), observer)
    assert observer.seconds[0] >= 100


def test_an_interruption_leaves_a_model_and_a_state(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(training_config(data, tmp_path, updates=50), Recorder(interrupt_after=2))
    assert load_model(tmp_path / MODEL_FILE)
    assert state_of(tmp_path)["update"] == 2
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def interrupting(trainer: Trainer, update: int, monkeypatch) -> None:
    """Let ctrl-C be pressed (twice) in the middle of an update: the weights are moved, their
    average is not."""
    plain = trainer.optimizer.step

    def step(*arguments):
        result = plain(*arguments)
        if trainer.update == update - 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(trainer.optimizer, "step", step)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("at", [1, 3])
def test_an_interrupt_is_held_until_the_update_is_done(data, tmp_path, monkeypatch, at):
    config = training_config(data, tmp_path / "whole", updates=5, model={**WIDTHS, "dropout": 0.2})
    train(config)
    parts = dataclasses.replace(config, out=tmp_path / "parts")
    observer = Recorder()
    trainer = Trainer(parts, observer, "dtalk train")
    interrupting(trainer, at, monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert signal.getsignal(signal.SIGINT) is before
    assert observer.updates == list(range(1, at + 1))
    assert state_of(parts.out)["update"] == at
    assert load_model(parts.out / MODEL_FILE)
    train(dataclasses.replace(parts, resume=True))
    first, second = state_of(config.out), state_of(parts.out)
    for name in ("model", "average", "optimizer"):
        assert same(first[name], second[name]), name


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_does_not_cut_validation_or_saving_short(data, tmp_path, monkeypatch):
    """All of what belongs to an update is done, and what is written is whole."""
    config = training_config(data, tmp_path, updates=5, validate_every=2, save_minutes=0)
    observer = Recorder()
    trainer = Trainer(config, observer)
    interrupting(trainer, 2, monkeypatch)
    plain, saves = trainer.save, []

    def save():
        saves.append(trainer.update)
        if trainer.update == 2:
            signal.raise_signal(signal.SIGINT)
        plain()

    monkeypatch.setattr(trainer, "save", save)
    monkeypatch.setattr(
        "dtalk.training.trainer.time.monotonic", iter(range(0, 10**6, 100)).__next__
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert saves == [1, 2, 2]
    assert [update for update, _ in observer.tables] == [2]
    assert state_of(tmp_path)["update"] == trainer.update == 2
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.usefixtures("ctrl_c")
def test_handlers_of_interrupts_are_restored_after_a_run(data, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    seen = []

    class Curious(Recorder):
        def updated(self, *arguments):
            super().updated(*arguments)
            seen.append(signal.getsignal(signal.SIGINT))

    train(training_config(data, tmp_path), Curious())
    assert signal.getsignal(signal.SIGINT) is before
    assert before not in seen
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_training_in_a_thread_leaves_signals_alone(data, tmp_path):
    """Only the main thread may handle them."""
    before, seen = signal.getsignal(signal.SIGINT), []

    class Curious(Recorder):
        def updated(self, *arguments):
            super().updated(*arguments)
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=train, args=(training_config(data, tmp_path), Curious()))
    thread.start()
    thread.join()
    assert seen == [before, before]
    assert state_of(tmp_path)["update"] == 2


def test_an_error_in_an_observer_still_saves(data, tmp_path):
    class Failing(Recorder):
        def updated(self, update, *rest):
            if update == 2:
                raise RuntimeError("no more disk for the log")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="no more disk"):
        train(training_config(data, tmp_path, updates=5), Failing())
    assert state_of(tmp_path)["update"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_an_output_folder_that_cannot_be(data, tmp_path):
    (tmp_path / "file").write_text("")
    observer = Recorder()
    with pytest.raises(DataError, match=r"cannot write to .*file"):
        train(training_config(data, tmp_path / "file" / "run"), observer)
    assert observer.updates == []


def test_an_existing_run_is_not_overwritten(finished, data):
    trainer, _, out = finished
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(DataError, match="--resume"):
        train(trainer.config)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_resuming_what_is_finished_changes_no_weight(finished):
    trainer, _, out = finished
    before = state_of(out)
    observer = Recorder()
    train(dataclasses.replace(trainer.config, resume=True), observer)
    assert observer.updates == []
    assert same(before["model"], state_of(out)["model"])


def test_resuming_without_a_state(data, tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing to resume: .*training.pt does not exist"):
        train(training_config(data, tmp_path, resume=True))


@pytest.fixture
def interrupted(data, tmp_path):
    config = training_config(data, tmp_path / "run", updates=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, Recorder(interrupt_after=1))
    return dataclasses.replace(config, resume=True)


def refused(config, match: str) -> None:
    before = {file.name: file.read_bytes() for file in config.out.iterdir()}
    with pytest.raises(CheckpointError, match=match) as error:
        train(config)
    assert "\n" not in str(error.value)
    assert {file.name: file.read_bytes() for file in config.out.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 5e-4}, "learning_rate was 0.001, is 0.0005"),
        ({"updates": 9, "seed": 7}, "seed was 0, is 7, updates was 4, is 9"),
        ({"model": {**WIDTHS, "layers": 1}}, "model was"),
        ({"sets": ("a",)}, "sets was"),
    ],
)
def test_resuming_with_other_settings_names_them(interrupted, change, message):
    refused(dataclasses.replace(interrupted, **change), message)


@pytest.mark.parametrize("change", [{"save_minutes": 9.0}, {"device": "auto"}])
def test_places_and_devices_may_change(interrupted, change):
    if change.get("device") == "auto" and device_of("auto").type != "cpu":
        pytest.skip("another device's sums differ")
    trainer = train(dataclasses.replace(interrupted, **change))
    assert trainer.update == 4


def test_resuming_a_run_of_an_earlier_version(interrupted):
    """Its state holds settings by other names."""
    path = interrupted.out / STATE_FILE
    state = torch.load(path, weights_only=True)
    settings = json.loads(state["config"])
    settings["deaf_share"] = settings.pop("audio_dropout")
    settings["match_share"] = settings.pop("retrieval_share")
    settings["model"]["rest"] = True
    torch.save({**state, "config": json.dumps(settings)}, path)
    train(dataclasses.replace(interrupted, model={**interrupted.model, "close_in_silence": True}))
    refused(interrupted, "other settings: model was .*close_in_silence")


def test_resuming_from_moved_data(interrupted, tmp_path):
    moved = write_data(tmp_path / "elsewhere")
    assert train(dataclasses.replace(interrupted, data=moved)).update == 4


@pytest.mark.parametrize("rename", [{"ann": "eve"}, {"ann": ""}])
def test_resuming_with_other_labels_is_refused(interrupted, tmp_path, rename):
    """Entries of the libraries would be another's, or would not fit."""
    other = write_data(tmp_path / "other")
    index = other / "clips.csv"
    text = index.read_text()
    for old, new in rename.items():
        text = text.replace(f",{old},", f",{new},")
    index.write_text(text)
    refused(
        dataclasses.replace(interrupted, data=other),
        r"cannot resume from .*: other settings: identities was \['ann', 'bob', 'cat'\], is \["
        + ("'bob', 'cat', 'eve'\\]$" if rename["ann"] else "'bob', 'cat'\\]$"),
    )


def test_resuming_with_other_emotions_is_refused(interrupted, tmp_path):
    """As many, and so of the same shapes."""
    other = write_data(tmp_path / "other")
    index = other / "clips.csv"
    index.write_text(index.read_text().replace(",sad,", ",afraid,"))
    refused(
        dataclasses.replace(interrupted, data=other),
        r"emotions was \['happy', 'sad'\], is \['afraid', 'happy'\]$",
    )


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 not a zip"])
def test_a_damaged_state_is_refused(interrupted, content):
    (interrupted.out / STATE_FILE).write_bytes(content)
    refused(interrupted, "cannot resume from .*training.pt: damaged or foreign")


@pytest.mark.parametrize("state", [{}, [1, 2], {"update": 1, "config": "{}"}])
def test_a_foreign_state_is_refused(interrupted, state):
    torch.save(state, interrupted.out / STATE_FILE)
    refused(interrupted, "cannot resume from")


def test_a_truncated_state_is_refused(interrupted):
    path = interrupted.out / STATE_FILE
    path.write_bytes(path.read_bytes()[:-2000])
    refused(interrupted, "cannot resume from .*training.pt: damaged or foreign")


# Fine-tuning -------------------------------------------------------------------------------------


def entries_of(model, kind: str) -> dict[str, torch.Tensor]:
    """Tokens by label, the unknown as the empty one."""
    library = getattr(model.personalizer, kind)
    return dict(zip((*library.labels, ""), library.entries.detach().clone(), strict=True))


def pair_of_models(**changes):
    """A source and a model to start from it: labels in another order, one gone, one new."""
    source = tiny_model(1, identities=("ann", "bob", "cat"), emotions=("happy", "sad"))
    source.mean.copy_(torch.linspace(0.1, 0.2, 52))
    source.std.copy_(torch.linspace(0.3, 0.4, 52))
    names = {"identities": ("cat", "dan", "ann"), "emotions": ("sad", "afraid", "happy")}
    return source, tiny_model(2, **{**names, **changes})


def test_adopt_takes_all_weights_and_the_entries_of_equal_labels():
    source, model = pair_of_models()
    theirs = {name: value.clone() for name, value in source.state_dict().items()}
    fresh = {kind: entries_of(model, kind) for kind in ("identity", "emotion")}
    load_compatible(model, source)
    for name, value in model.state_dict().items():
        if not name.endswith(".entries"):
            assert torch.equal(value, theirs[name]), name
    for kind, new in (("identity", "dan"), ("emotion", "afraid")):
        found, known = entries_of(model, kind), entries_of(source, kind)
        for label, entry in found.items():
            assert torch.equal(entry, fresh[kind][label] if label == new else known[label]), label
        assert not torch.equal(found[""], fresh[kind][""])
    assert same(theirs, dict(source.state_dict()))  # the source stays as it was
    assert all(p.requires_grad for p in model.parameters())


def test_an_adopted_model_is_no_view_of_its_source():
    source, model = pair_of_models()
    load_compatible(model, source)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(1)
    assert same(before, dict(source.state_dict()))


def test_an_adopted_model_animates_as_its_source_does():
    """By label, in whatever order: the face of the source."""
    source, model = pair_of_models()
    load_compatible(model, source)
    sound = speech(4000)
    for identity, emotion in (("ann", "sad"), ("cat", "happy")):
        first, second = (m.animate(sound, identity, emotion).coefficients for m in (source, model))
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("empty", ["source", "model"])
def test_adopt_with_a_library_without_labels(empty):
    labelled, bare = tiny_model(1), tiny_model(2, identities=(), emotions=())
    source, model = (bare, labelled) if empty == "source" else (labelled, bare)
    before = entries_of(model, "identity")
    load_compatible(model, source)
    after = entries_of(model, "identity")
    assert torch.equal(after.pop(""), entries_of(source, "identity")[""])
    assert all(torch.equal(entry, before[label]) for label, entry in after.items())
    assert torch.equal(model.decoder.guide.heard.weight, source.decoder.guide.heard.weight)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_width": 11},
        {"encoder_width": 13},
        {"feature_width": 9},
        {"tokens": 4},
        {"token_width": 8},
        {"contrast_width": 9},
        {"step_width": 10},
        {"layers": 3},
        {"layers": 1},
        {"encoder": "cnn", "layers": 1},
    ],
)
def test_adopt_refuses_another_network(change):
    source, model = pair_of_models(**change)
    with pytest.raises(CheckpointError, match=r"cannot start from .*; give the same settings"):
        load_compatible(model, source)


@pytest.mark.parametrize("change", [{"encoder": "cnn"}, {"encoder": "cnn", "encoder_width": 14}])
def test_adopt_leaves_an_encoder_of_another_kind_as_it_is(change):
    source, model = pair_of_models(**change)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    theirs = source.state_dict()
    load_compatible(model, source)
    for name, value in model.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
        elif not name.endswith(".entries"):
            assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize(
    ("mine", "theirs", "adopted"),
    [
        ({"name": "hub/ear"}, {"name": "ear"}, True),
        ({"fingerprint": "beef"}, {}, False),
        ({"layers": (3, 4)}, {}, False),
        ({"fingerprint": "beef", "width": 9}, {}, False),
    ],
)
def test_adopt_knows_a_large_encoder_by_its_weights(mine, theirs, adopted):
    """Not by its name: the same one lies in a folder here and on the hub there."""
    source, model = (large_model(n, FakeLarge(**of)) for n, of in ((1, theirs), (2, mine)))
    source.encoder.mean.fill_(0.5)
    before = model.encoder.output.weight.clone()
    load_compatible(model, source)
    assert torch.equal(model.encoder.output.weight, source.encoder.output.weight) is adopted
    assert torch.equal(model.encoder.output.weight, before) is not adopted
    assert bool((model.encoder.mean == 0.5).all()) is adopted


def test_adopt_leaves_residual_blocks_that_the_source_lacks():
    source, model = tiny_model(1), tiny_model(2, encoder_blocks=2)
    before = {k: v.clone() for k, v in model.state_dict().items() if ".blocks." in k}
    load_compatible(model, source)
    after = model.state_dict()
    assert len(before) == 16
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(after["encoder.output.weight"], source.encoder.output.weight)
    with pytest.raises(CheckpointError, match=r"encoder.blocks.0.* differs"):
        load_compatible(source, model)


def test_adopt_names_the_source_and_the_first_difference():
    source, model = pair_of_models(hidden_width=11)
    source.name = "direct"
    with pytest.raises(CheckpointError, match=r"start from direct: decoder\.recurrent\.\w+ diff"):
        load_compatible(model, source)


@pytest.fixture
def base(tmp_path) -> Path:
    """A model of two of the data's speakers and another, with figures of its own."""
    model = tiny_model(7, identities=("cat", "eve", "ann"), emotions=("sad",))
    model.mean.copy_(torch.linspace(0.1, 0.2, 52))
    model.std.copy_(torch.linspace(0.3, 0.4, 52))
    save_model(model, tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


def test_fine_tuning_starts_from_the_model(data, tmp_path, base):
    trainer = trainer_of(data, tmp_path / "run", init=base)
    fresh, source = trainer_of(data, tmp_path / "fresh"), load_model(base)
    assert trainer.model.config == fresh.model.config
    expected = fresh.model
    load_compatible(expected, source)
    assert same(dict(trainer.model.state_dict()), dict(expected.state_dict()))
    assert same(trainer.average.weights, dict(expected.state_dict()))
    assert torch.equal(trainer.model.mean, torch.linspace(0.1, 0.2, 52))
    assert not torch.equal(
        entries_of(trainer.model, "identity")["bob"], entries_of(source, "identity")["eve"]
    )


def test_fine_tuning_weighs_errors_as_the_model_is_standardised(data, tmp_path, base):
    """Scaled by the model's own deviations, in units of what the new data do."""
    trainer = trainer_of(data, tmp_path / "run", init=base)
    covariance = torch.from_numpy(covariance_of(trainer)).float()
    spread = (torch.linspace(0.1, 0.2, 52), torch.linspace(0.3, 0.4, 52))
    expected = Grams.of(built_in(), *spread, covariance, torch.device("cpu"))
    for name, tensor in vars(expected).items():
        torch.testing.assert_close(getattr(trainer.grams, name), tensor)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    motion = trainer.model.denormalise(batch.target[0, : batch.lengths[0]])
    standardised = (motion - torch.linspace(0.1, 0.2, 52)) / torch.linspace(0.3, 0.4, 52)
    torch.testing.assert_close(
        standardised, batch.target[0, : batch.lengths[0]], atol=1e-5, rtol=1e-5
    )


def test_fine_tuning_goes_on_from_what_was_learned(data, tmp_path, monkeypatch):
    """The first loss is that of the model as it was, the weights in the end are new."""
    monkeypatch.setattr("dtalk.training.trainer.WARM_UP", 1)
    first = Recorder()
    config = training_config(data, tmp_path / "first", updates=40, learning_rate=0.01, augment=0.0)
    train(config, first)
    init = tmp_path / "first" / MODEL_FILE
    config, observer = training_config(data, tmp_path / "run", init=init, augment=0.0), Recorder()
    trainer = Trainer(config, observer)
    source = trainer.batches(0)
    expected = losses_of(
        load_model(init).train(),
        next(source),
        trainer.grams,
        torch.Generator().manual_seed(0),
        config,
    )
    source.close()
    trainer.run()
    assert observer.losses[0] == pytest.approx(expected["total"].item(), rel=1e-6)
    assert observer.losses[0] < 0.9 * first.losses[0]
    assert not same(load_file(init), load_file(tmp_path / "run" / MODEL_FILE))
    description = read_description(tmp_path / "run" / MODEL_FILE)
    assert str(tmp_path) not in json.dumps(description["settings"])  # no paths of this machine
    assert trainer.update == 2


@pytest.mark.parametrize(
    "named",
    [
        True,
        False,
    ],
)
def test_fine_tuning_is_resumed_exactly(data, tmp_path, base, named):
    """Whether the model to start from is named again or not, or gone."""
    whole = training_config(data, tmp_path / "whole", updates=4, init=base)
    train(whole)
    parts = dataclasses.replace(whole, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        train(parts, Recorder(interrupt_after=2))
    train(dataclasses.replace(parts, resume=True, init=base if named else None))
    first, second = state_of(whole.out), state_of(parts.out)
    for name in ("model", "average", "optimizer"):
        assert same(first[name], second[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {**WIDTHS, "hidden_width": 12}}, "cannot start from .*decoder.recurrent"),
        ({"init": Path("none.safetensors")}, "cannot load none.safetensors: it does not exist"),
    ],
)
def test_fine_tuning_from_what_does_not_fit(data, tmp_path, base, change, message):
    with pytest.raises(CheckpointError, match=message) as error:
        train(training_config(data, tmp_path / "run", **{"init": base, **change}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


# Data --------------------------------------------------------------------------------------------


def test_load_data(data, tmp_path):
    observer = Recorder()
    loaded = load_data(training_config(data, tmp_path), observer)
    assert sorted(c.clip.name for c in loaded.train) == [
        "a0", "a1", "a2", "a3", "b0", "b1", "x0", "x1",
    ]  # fmt: skip
    assert sorted(c.clip.name for c in loaded.validation) == ["va", "vb"]
    assert observer.notes == []


def test_load_data_of_some_sets(data, tmp_path):
    some = load_data(training_config(data, tmp_path, sets=("a", "x")), Recorder())
    assert {c.clip.set for c in some.train} == {"a", "x"}
    rest = load_data(training_config(data, tmp_path, without_sets=("a",)), Recorder())
    assert {c.clip.set for c in rest.train} == {"b", "x"}
    assert [c.clip.name for c in rest.validation] == ["vb"]
    with pytest.raises(DataError, match="no such set: z"):
        load_data(training_config(data, tmp_path, sets=("z",)), Recorder())


def test_load_data_names_what_it_leaves_out(tmp_path):
    folder = write_data(tmp_path / "data")
    (folder / "a1.npz").write_bytes(b"broken")
    observer = Recorder()
    clips = load_data(training_config(folder, tmp_path), observer).train
    assert "a1" not in {c.clip.name for c in clips}
    assert len(observer.notes) == 1
    assert observer.notes[0].startswith("left out: a1:")


def test_load_data_without_motion_to_learn_from(data, tmp_path):
    with pytest.raises(DataError, match="no clip with motion in its train split"):
        load_data(training_config(data, tmp_path, sets=("x",)), Recorder())


def test_statistics_by_hand():
    first, second = loaded_clip("a", 2), loaded_clip("b", 2)
    assert first.coefficients is not None
    assert second.coefficients is not None
    for clip, values in ((first, (0.0, 0.2)), (second, (0.4, 0.6))):
        clip.coefficients[:] = 0.5
        clip.coefficients[:, JAW] = values
    mean, std, covariance = statistics([first, loaded_clip("c", 2, moving=False), second])
    assert mean[JAW].item() == pytest.approx(0.3)
    assert std[JAW].item() == pytest.approx(math.sqrt(0.2 / 3))  # of a sample of four
    assert covariance[JAW, JAW].item() == pytest.approx(0.2 / 3)
    assert mean[0].item() == 0.5
    assert std[0].item() == pytest.approx(MINIMUM_STD)  # it never moves
    assert (mean.shape, std.shape, covariance.shape) == ((52,), (52,), (52, 52))


def test_region_gram_by_hand():
    """Two channels move two vertices: the first by (3, 0, 4) and 0, the second by (0, 0, 1) each.

    Squared lengths 25 and 2, their product 4; variances 4 and 1, covariance 1, so predicting the
    mean costs 4 * 25 + 2 * 1 * 4 + 1 * 2 = 110 mm^2.
    """
    basis = np.zeros((52, 2, 3), np.float32)
    basis[5, 0], basis[7] = (3, 0, 4), (0, 0, 1)
    std, covariance = torch.ones(52), torch.eye(52)
    std[5], std[7] = 2.0, 1.0
    covariance[5, 5], covariance[5, 7], covariance[7, 5] = 4.0, 1.0, 1.0
    gram = region_gram(basis, std, covariance)
    expected = torch.zeros(52, 52)
    expected[5, 5], expected[7, 7] = 4 * 25 / 110, 2 / 110
    expected[5, 7] = expected[7, 5] = 2 * 4 / 110
    torch.testing.assert_close(gram, expected)


@pytest.mark.parametrize("region", ["lips", "upper_face"])
def test_region_gram_is_the_error_of_the_vertices(region):
    """The squared distances of a region's vertices, in units of their variance in the data."""
    clip = loaded_clip("a", 200)
    assert clip.coefficients is not None
    mean, std, covariance = statistics([clip])
    basis = torch.from_numpy(built_in().basis(getattr(built_in(), region)))
    gram = region_gram(basis.numpy(), std, covariance)
    torch.testing.assert_close(gram, gram.T)
    deviation = torch.from_numpy(clip.coefficients) - mean
    moved = torch.einsum("tc,cvk->tvk", deviation, basis).square().sum((1, 2))
    still = moved.sum() / 199  # the variance is that of a sample
    for scale in (1.0, 0.5):
        standardised = scale * deviation / std
        cost = ((standardised @ gram) * standardised).sum(-1)
        torch.testing.assert_close(cost, scale**2 * moved / still, rtol=1e-4, atol=1e-6)
        assert cost.mean().item() == pytest.approx(scale**2 * 199 / 200, rel=1e-4)


def test_grams_are_those_of_the_two_regions():
    mean, std, covariance = statistics([loaded_clip("a", 200)])
    head, device = built_in(), torch.device("cpu")
    grams = Grams.of(head, mean, std, covariance, device)
    assert torch.equal(grams.lips, region_gram(head.basis(head.lips), std, covariance))
    assert torch.equal(grams.upper_face, region_gram(head.basis(head.upper_face), std, covariance))
    brow = ARKIT_NAMES.index("browInnerUp")
    assert grams.lips[brow].abs().max() == 0
    assert grams.upper_face[brow, brow] > 0
    assert grams.lips[JAW, JAW] > grams.upper_face[JAW, JAW] > 0


def opening_clip() -> tuple[Grams, torch.Tensor, torch.Tensor]:
    """Grams of a clip, its standardised coefficients ``[1, T, 52]``, the mouth's opening in mm."""
    clip = loaded_clip("a", 200)
    assert clip.coefficients is not None
    mean, std, covariance = statistics([clip])
    grams = Grams.of(built_in(), mean, std, covariance, torch.device("cpu"))
    standardised = (torch.from_numpy(clip.coefficients) - mean) / std
    opening = torch.from_numpy(Geometry(built_in()).opening(clip.coefficients))
    return grams, standardised[None], opening


def test_lips_are_closed_below_a_millimetre():
    grams, standardised, opening = opening_clip()
    torch.testing.assert_close(
        (standardised @ grams.parting + grams.ajar)[0], opening, atol=1e-3, rtol=1e-4
    )
    sure = (opening - 1).abs() > 0.01
    assert 0 < (opening < 1).sum() < 200
    assert torch.equal(grams.closed(standardised)[0, sure], (opening < 1)[sure])


def test_closure_counts_closed_frames_alone():
    """Twice the deviation from the mean: the opening is off by as much as it deviates itself."""
    grams, standardised, opening = opening_clip()
    mask = torch.ones(1, 200, dtype=torch.bool)
    closed = grams.closed(standardised)
    errors = motion_errors(2 * standardised, standardised, grams, mask, closed)
    deviation = opening - opening.mean()
    off = deviation[closed[0]].square().mean() / deviation.square().sum() * 199
    assert errors["closure"].item() == pytest.approx(off.item(), rel=1e-3)
    changed = standardised + 5 * ~closed[..., None]
    assert motion_errors(changed, standardised, grams, mask, closed)["closure"] == 0
    config = config_module.TrainingConfig(Path("d"), Path("o"), closure_weight=3)
    plain = dataclasses.replace(config, closure_weight=0)
    difference = weighted(errors, config) - weighted(errors, plain)
    assert difference.item() == pytest.approx(3 * errors["closure"].item())


def test_a_region_that_never_moves_in_the_data_does_not_undo_training():
    """Clips in which nothing moves but the brows, or nothing at all."""
    clip = loaded_clip("a", 30)
    assert clip.coefficients is not None
    brow = ARKIT_NAMES.index("browInnerUp")
    for moving in ([brow], []):
        still = np.zeros_like(clip.coefficients)
        still[:, moving] = clip.coefficients[:, moving]
        spread = statistics([dataclasses.replace(clip, coefficients=still)])
        grams = Grams.of(built_in(), *spread, torch.device("cpu"))
        assert torch.isfinite(grams.lips).all()
        assert torch.isfinite(grams.upper_face).all()


# Batches -----------------------------------------------------------------------------------------


def first_batches(maker: BatchMaker, start: int, count: int) -> list:
    source = maker(start)
    found = [next(source) for _ in range(count)]
    source.close()
    return found


def equal_batches(first, second) -> bool:
    return same(
        {f.name: getattr(first, f.name) for f in dataclasses.fields(first)},
        {f.name: getattr(second, f.name) for f in dataclasses.fields(second)},
    )


def test_batches_do_not_depend_on_where_a_run_starts(data, tmp_path):
    config = training_config(data, tmp_path, augment=1.0)
    clips = load_data(config, Recorder()).train
    maker = BatchMaker(clips, tiny_model(), config)
    whole = first_batches(maker, 0, 6)  # two epochs
    for start in (1, 4):
        later = first_batches(BatchMaker(clips, tiny_model(), config), start, 6 - start)
        assert all(map(equal_batches, whole[start:], later))
    other = first_batches(
        BatchMaker(clips, tiny_model(), dataclasses.replace(config, seed=1)), 0, 1
    )
    assert not equal_batches(whole[0], other[0])


def test_every_update_varies_its_clips_anew(tmp_path):
    config = training_config(tmp_path, tmp_path, augment=1.0)
    found = first_batches(BatchMaker([loaded_clip("a", 30)], tiny_model(), config), 0, 6)
    assert len({batch.inputs[0].numpy().tobytes() for batch in found}) == 6


def test_an_epoch_of_batches_holds_every_clip(data, tmp_path):
    config = training_config(data, tmp_path, balance=1.0, augment=0.0)
    clips = load_data(config, Recorder()).train
    model = tiny_model()
    batches = first_batches(BatchMaker(clips, model, config), 0, 2)
    moving = [c for c in clips if c.coefficients is not None]
    assert sum(len(batch.target) for batch in batches) == len(moving) == 6
    found = {}
    for batch in batches:
        assert len(batch.inputs) == len(batch.lengths) == len(batch.target) + 2
        assert len(batch.identity) == len(batch.emotion) == len(batch.inputs)
        assert batch.target.shape[1] * len(batch.target) <= 45
        for target, length in zip(batch.target, batch.lengths):
            found[float(target[0, JAW])] = model.denormalise(target[:length]).numpy()
        # Sound only: speaker cat, sad
        assert batch.identity[-2:].tolist() == [2, 2]
        assert batch.emotion[-2:].tolist() == [1, 1]
    for clip in moving:
        key = float(model.normalise(torch.from_numpy(clip.coefficients))[0, JAW])
        np.testing.assert_allclose(found[key], clip.coefficients, atol=1e-6)


def test_labels_that_the_model_does_not_know_are_unknown(data, tmp_path):
    config = training_config(data, tmp_path)
    clips = load_data(config, Recorder()).train
    model = tiny_model(identities=("ann",), emotions=())
    batch = first_batches(BatchMaker(clips, model, config), 0, 1)[0]
    assert set(batch.identity.tolist()) <= {0, -1}
    assert set(batch.emotion.tolist()) == {-1}


def test_long_clips_of_sound_only_are_cut(tmp_path):
    sound = loaded_clip("long", 400, moving=False)
    config = training_config(tmp_path, tmp_path, augment=0.0)
    maker = BatchMaker([loaded_clip("a", 10), sound], tiny_model(), config)
    batch = first_batches(maker, 0, 1)[0]
    assert batch.lengths.tolist() == [10, 240]


def seen_versions(maker: BatchMaker, model, name: str, updates: int) -> set[bytes]:
    """Every version of a speaker's clips in as many updates, as bytes of sound and motion."""
    found = set()
    for batch in first_batches(maker, 0, updates):
        for row, inputs in enumerate(batch.inputs):
            if batch.identity[row] == model.config.identities.index(name):
                moved = batch.target[row, : batch.lengths[row]] if row < len(batch.target) else None
                motion = b"" if moved is None else moved.numpy().tobytes()
                found.add(inputs.numpy().tobytes() + motion)
    return found


def test_shares_by_hand():
    """Sets of 4 and 1: 2 to 1 with a balance of a half, each clip alike with 1."""
    clips = [loaded_clip(f"a{n}", set="a", moving=False) for n in range(4)]
    clips.append(loaded_clip("b", set="b", moving=False))
    np.testing.assert_allclose(shares(clips, 0.5), [1 / 6] * 4 + [1 / 3])
    np.testing.assert_allclose(shares(clips, 1.0), [0.2] * 5)
    assert shares(clips[:4], 0.5) is None
    assert shares([], 0.5) is None


def test_sets_of_sound_only_are_balanced(tmp_path):
    """As often from a set of one clip as from one of nine, with a balance of 0."""
    sounds = [loaded_clip(f"s{n}", 9, n, set="speech", moving=False) for n in range(9)]
    clips = [loaded_clip("m", 12), *sounds, loaded_clip("r", 9, 77, speaker="cat", moving=False)]
    config = training_config(tmp_path, tmp_path, balance=0.0, audio_only_batch=1, augment=0.0)
    batches = first_batches(BatchMaker(clips, tiny_model(), config), 0, 200)
    lone = sum(batch.identity[1].item() == 2 for batch in batches)
    assert 70 <= lone <= 130  # 100 +- 7 expected


def test_speech_that_is_only_heard_has_fewer_versions(tmp_path):
    heard = loaded_clip("h", 12, 5, set="speech", speaker="cat", moving=False)
    spoken = loaded_clip("h", 12, 5, set="speech", speaker="bob")
    config = training_config(tmp_path, tmp_path, augment=1.0, variants=5, audio_only_batch=1)
    model = tiny_model()
    maker = BatchMaker([spoken, heard], model, config)
    found = [len(seen_versions(maker, model, name, 60)) for name in ("bob", "cat")]
    assert found == [5, UNLABELLED_VARIANTS]


@pytest.mark.parametrize("moving", [True, False])
def test_a_clip_has_as_many_versions_as_asked_for(tmp_path, moving):
    """The same ones in every run, whatever other clips there are and however they are drawn."""
    ours = [loaded_clip("one", 12, speaker="ann", moving=moving)]
    others = [loaded_clip(f"o{seed}", 14, seed, speaker="bob") for seed in range(1, 4)]
    others += [loaded_clip("x", 20, 9, speaker="cat", moving=False)]
    # As they are drawn beside a clip with motion; else there would be no batch.
    config = training_config(tmp_path, tmp_path, augment=1.0, variants=3, audio_only_batch=1)
    model = tiny_model()
    first = seen_versions(BatchMaker(ours + others[:1], model, config), model, "ann", 40)
    again = seen_versions(BatchMaker(ours + others[:1], model, config), model, "ann", 40)
    beside = seen_versions(BatchMaker(others + ours, model, config), model, "ann", 60)
    assert len(first) == 3
    assert first == again == beside
    endless = dataclasses.replace(config, variants=0)
    assert len(seen_versions(BatchMaker(ours + others[:1], model, endless), model, "ann", 20)) > 8
    reseeded = dataclasses.replace(config, seed=1)
    other = seen_versions(BatchMaker(ours + others[:1], model, reseeded), model, "ann", 40)
    assert len(other) == 3
    assert not other & first


def test_versions_of_two_clips_differ(tmp_path):
    """Also where the sound is the same: another name, another set."""
    clips = [
        loaded_clip("one", 12, speaker="ann"),
        loaded_clip("two", 12, speaker="bob"),
        loaded_clip("one", 12, speaker="cat", set="t"),
    ]
    config, model = training_config(tmp_path, tmp_path, augment=1.0, variants=2), tiny_model()
    maker = BatchMaker(clips, model, config)
    found = [seen_versions(maker, model, name, 30) for name in ("ann", "bob", "cat")]
    assert [len(versions) for versions in found] == [2, 2, 2]
    assert len(set.union(*found)) == 6


def test_few_versions_are_for_models_that_hear_through_a_large_encoder(tmp_path):
    """If nothing else is asked for: their features are kept, and must come again."""
    clip, config = loaded_clip("one", 12), training_config(tmp_path, tmp_path, augment=1.0)
    small, large = tiny_model(), large_model()
    updates = 6 * LARGE_VARIANTS
    counts = {}
    for name, maker in {
        "small": BatchMaker([clip], small, config),
        "large": BatchMaker([clip], large, config),
        "taught": BatchMaker([clip], small, config, large),
        "asked": BatchMaker([clip], large, dataclasses.replace(config, variants=0)),
    }.items():
        counts[name] = len(seen_versions(maker, small, "ann", updates))
    assert counts["large"] == counts["taught"] == LARGE_VARIANTS == 8
    assert counts["small"] == counts["asked"] == updates


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"augment": 1.0, "variants": 0}, 0),
        ({"augment": 1.0, "variants": 2}, 2),
        ({"augment": 0.0, "variants": 0}, 1),
    ],
)
def test_features_are_kept_of_sounds_that_come_again(tmp_path, settings, kept):
    """Of changed versions without end each is heard once only."""
    model = large_model(attached=False)
    model.attach(FeatureCache(FakeLarge(), tmp_path / "cache"))
    config = training_config(tmp_path, tmp_path, **settings)
    first_batches(BatchMaker([loaded_clip("one", 12)], model, config), 0, 12)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == kept


def test_batches_hold_what_the_first_teacher_hears(tmp_path):
    """Beside what the model hears, of the very same sound; labels are the teacher's."""
    clips = [loaded_clip(f"c{seed}", 10 + seed, seed) for seed in range(3)]
    clips.append(loaded_clip("x", 20, 7, speaker="cat", moving=False))
    teacher = large_model(identities=("zoe", "cat", "ann"))
    student = tiny_model(identities=(), emotions=())
    config = training_config(tmp_path, tmp_path, augment=0.0, batch_frames=1000)
    (batch,) = first_batches(BatchMaker(clips, student, config, teacher), 0, 1)
    assert len(batch.large) == len(batch.inputs) == 4
    sounds = {clip.frames: torch.from_numpy(clip.waveform) for clip in clips}
    for row, length in enumerate(batch.lengths.tolist()):
        assert torch.equal(batch.large[row], FakeLarge()(sounds[length].numpy()))
        assert torch.equal(batch.inputs[row], student.encoder.prepare(sounds[length]))
    assert batch.identity.tolist() == [2, 2, 2, 1]
    (alone,) = first_batches(BatchMaker(clips, student, config), 0, 1)
    assert alone.large == []
    assert alone.identity.tolist() == [-1] * 4


def test_changed_versions_are_heard_alike_by_both(tmp_path):
    teacher, student = large_model(), tiny_model()
    config = training_config(tmp_path, tmp_path, augment=1.0)
    sounds = []

    class Listening(FakeLarge):
        def __call__(self, waveform):
            sounds.append(waveform.copy())
            return super().__call__(waveform)

    teacher.encoder.source = Listening()
    maker = BatchMaker([loaded_clip("one", 12)], student, config, teacher)
    for sound, batch in zip(sounds, first_batches(maker, 0, 3)):
        assert torch.equal(batch.inputs[0], student.encoder.prepare(torch.from_numpy(sound)))
        assert torch.equal(batch.large[0], FakeLarge()(sound))


# Conditioning ------------------------------------------------------------------------------------


def conditioned(labels: list[int], choice: list[float], label_share=0.5, retrieval_share=0.3):
    torch.manual_seed(0)
    library = Library(("ann", "bob"), tiny_config())
    audio = torch.randn(len(labels), 16)
    shares = label_share, retrieval_share
    found = condition(library, audio, torch.tensor(labels), torch.tensor(choice), *shares)
    return found, torch.nn.functional.pad(library.match(audio), (0, 1))


def test_condition_by_label_by_match_or_unknown():
    choice = [0.0, 0.49, 0.51, 0.79, 0.81, 0.99]
    found, match = conditioned([1] * 6, choice)
    label, unknown = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    expected = torch.stack([label, label, match[2], match[3], unknown, unknown])
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad  # retrieval learns from the contrast alone


def test_a_clip_without_a_label_is_matched_in_its_place():
    found, match = conditioned([-1] * 3, [0.2, 0.6, 0.9])
    expected = torch.stack([match[0], match[1], torch.tensor([0.0, 0.0, 1.0])])
    torch.testing.assert_close(found, expected)


def test_condition_without_labels_in_the_library():
    library = Library((), tiny_config())
    choice = torch.tensor([0.0, 0.6, 0.95])
    found = condition(library, torch.randn(3, 16), torch.tensor([-1] * 3), choice, 0.5, 0.4)
    assert found.tolist() == [[1.0]] * 3


# Without a library, and with a large encoder -----------------------------------------------------


@pytest.mark.parametrize("part", ["identity", "emotion"])
def test_training_without_a_library(data, tmp_path, part):
    observer = Recorder()
    trainer = train(training_config(data, tmp_path, without=(part,)), observer)
    config = trainer.model.config
    assert config.identities == (() if part == "identity" else ("ann", "bob", "cat"))
    assert config.emotions == (() if part == "emotion" else ("happy", "sad"))
    assert load_model(tmp_path / MODEL_FILE).config == config
    entry = json.loads((tmp_path / LOG_FILE).read_text().splitlines()[-1])
    assert entry["losses"][part] == 0
    assert entry["losses"][{"identity": "emotion", "emotion": "identity"}[part]] > 0


@pytest.fixture
def large(monkeypatch) -> list[FakeLarge]:
    """Large encoders as they are loaded, by the folder ``ear``."""
    loaded: list[FakeLarge] = []

    def load(place, layers, device, precision):
        assert (place, precision) == ("ear", "float32")
        loaded.append(FakeLarge(layers=tuple(layers) or (5,), name="the ear"))
        return loaded[-1]

    monkeypatch.setattr("dtalk.training.starting.load_large_encoder", load)
    return loaded


def large_settings(tmp_path, out: str, **changes):
    model = {**WIDTHS, "encoder": "ear", **changes.pop("model", {})}
    return {"out": tmp_path / out, "cache": tmp_path / "cache", "model": model, **changes}


def test_training_through_a_large_encoder(data, tmp_path, large):
    settings = large_settings(tmp_path, "run", model={"layer": (2, 4)})
    trainer = train(training_config(data, **settings))
    config = trainer.model.config
    assert (config.encoder, config.layer) == ("the ear", (2, 4))
    assert (config.large_width, config.large_fingerprint) == (6, "f00d")
    assert trainer.model.large_encoder is large[0]
    assert len(large) == 1
    model = load_model(tmp_path / "run" / MODEL_FILE)
    assert model.config == config
    model.attach(large[0])
    assert np.isfinite(model.animate(speech(3000)).coefficients).all()
    described = read_description(tmp_path / "run" / MODEL_FILE)["settings"]["model"]
    # Whoever trains elsewhere may have it in another folder: its weights count.
    assert (described["encoder"], described["layer"]) == ("f00d", [2, 4])


def test_features_of_a_large_encoder_are_standardised(data, tmp_path, large):
    trainer = Trainer(training_config(data, **large_settings(tmp_path, "run")), Recorder())
    encoder = trainer.model.encoder
    assert isinstance(encoder, AdaptedEncoder)
    heard = [FakeLarge()(clip.waveform) for clip in trainer.data.train]
    frames = torch.cat(heard).half().float()  # as the cache keeps them
    torch.testing.assert_close(encoder.mean, frames.mean(0))
    torch.testing.assert_close(encoder.std, frames.std(0))
    assert not torch.equal(encoder.mean, torch.zeros(6))


def test_a_large_encoder_is_never_trained_but_its_adapter_is(data, tmp_path, large):
    config = training_config(data, **large_settings(tmp_path, "run"), updates=3)
    before = Trainer(dataclasses.replace(config, out=tmp_path / "x"), Recorder()).model
    after = train(config).model
    first, second = before.state_dict(), after.state_dict()
    assert [k for k in first if "encoder." in k[:8]] == [
        f"encoder.{name}" for name in ("mean", "std", "output.weight", "output.bias")
    ]
    for name in ("mean", "std", "output.weight", "output.bias"):
        fixed = torch.equal(first[f"encoder.{name}"], second[f"encoder.{name}"])
        assert fixed is (name in ("mean", "std")), name


def test_resuming_through_a_large_encoder_is_exact(data, tmp_path, large):
    whole = training_config(data, **large_settings(tmp_path, "whole"), updates=4)
    train(whole)
    parts = dataclasses.replace(whole, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        train(parts, Recorder(interrupt_after=2))
    train(dataclasses.replace(parts, resume=True))
    first, second = state_of(whole.out), state_of(parts.out)
    for name in ("model", "average", "optimizer"):
        assert same(first[name], second[name]), name


def test_resuming_with_another_large_encoder_is_refused(data, tmp_path, large, monkeypatch):
    config = training_config(data, **large_settings(tmp_path, "run"), updates=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, Recorder(interrupt_after=1))
    resumed = dataclasses.replace(config, resume=True)
    refused(dataclasses.replace(resumed, model={**config.model, "layer": (1,)}), "model was")
    other = FakeLarge(layers=(5,), name="the ear", fingerprint="beef")
    monkeypatch.setattr("dtalk.training.starting.load_large_encoder", lambda *_: other)
    refused(resumed, "model was")


# Rates, averages, devices ------------------------------------------------------------------------


def test_learning_rate_by_hand():
    config = training_config(Path("data"), Path("out"), updates=1000, learning_rate=0.01)
    assert learning_rate(0, config) == pytest.approx(0.01 / WARM_UP)
    middle = 0.01 * (FINAL_RATE + (1 - FINAL_RATE) / 2)
    assert learning_rate(500, config) == pytest.approx(middle)
    assert learning_rate(1000, config) == pytest.approx(0.01 * FINAL_RATE)
    assert learning_rate(5000, config) == pytest.approx(0.01 * FINAL_RATE)
    rates = [learning_rate(update, config) for update in range(1000)]
    top = int(np.argmax(rates))
    assert top == WARM_UP - 1
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()


def test_average_by_hand():
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(5.0)
    average.update(model, 1)  # early on the memory is short: decay 2 / 11
    assert average.weights["weight"].item() == pytest.approx(2 / 11 + 5 * 9 / 11)
    average.weights["weight"].fill_(1.0)
    average.update(model, 1000)
    assert average.weights["weight"].item() == pytest.approx(0.9 + 0.5)


def test_average_is_no_view_of_the_model():
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight.add_(1)
    assert average.weights["weight"].item() == before


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_devices_there_are(name):
    assert isinstance(device_of(name), torch.device)


def test_the_cpu_is_the_cpu():
    assert device_of("cpu") == torch.device("cpu")


def test_a_device_whose_package_is_not_installed(monkeypatch):
    """As torch says it of some kinds of device."""

    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'torch_hpu'\nInstall it")

    monkeypatch.setattr(torch, "zeros", missing)
    with pytest.raises(DataError, match=r"^cannot use device 'hpu': No module named 'torch_hpu';"):
        device_of("hpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:999", "cpu:x", "hpu"])
def test_devices_there_are_not(name):
    with pytest.raises(DataError, match=f"cannot use device '{name}'.*--device auto") as error:
        device_of(name)
    assert "\n" not in str(error.value)


# Settings ----------------------------------------------------------------------------------------

CLASSES = (
    config_module.AnimationOptions,
    config_module.RuntimeOptions,
    config_module.ModelConfig,
    config_module.TrainingConfig,
    config_module.DistillationConfig,
)
# What a command asks for in another way, or the data or the large encoder say.
UNDOCUMENTED = {
    *("identities", "emotions", "data", "out", "teacher", "init", "model"),
    *("large_width", "large_fingerprint"),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_setting_has_help_and_a_default_within_its_limits(kind):
    hints = get_type_hints(kind)
    documented = [field for field in dataclasses.fields(kind) if "help" in field.metadata]
    undocumented = {field.name for field in dataclasses.fields(kind)} - {
        field.name for field in documented
    }
    assert undocumented <= UNDOCUMENTED
    for field in documented:
        help_, choices = field.metadata["help"], field.metadata["choices"]
        least, most = field.metadata["least"], field.metadata["most"]
        assert help_.strip() == help_ != "", field.name
        chosen = field.default if isinstance(field.default, tuple) else (field.default,)
        assert not choices or set(chosen) <= set(choices), field.name
        if hints[field.name] in (int, float):
            assert least <= field.default, field.name
            assert most is None or field.default <= most, field.name


def test_limits_by_hand():
    limits = {
        field.name: (field.metadata["least"], field.metadata["most"])
        for kind in CLASSES[:3]
        for field in dataclasses.fields(kind)
        if "least" in field.metadata
    }
    assert limits["steps"] == (1, None)
    assert limits["threads"] == (1, 1024)
    assert limits["temperature"] == limits["emotion_strength"] == (0, None)
    assert limits["seed"] == (0, 2**63 - 1)
    assert limits["dropout"] == (0, 0.99)


def test_the_largest_seed_of_a_training_run_can_be_used(data, tmp_path):
    field = {f.name: f for f in dataclasses.fields(config_module.TrainingConfig)}["seed"]
    observer = Recorder()
    train(training_config(data, tmp_path, updates=1, seed=field.metadata["most"]), observer)
    assert math.isfinite(observer.losses[0])


def test_a_manner_is_frozen_and_automatic():
    assert config_module.AnimationOptions() == config_module.DEFAULT_OPTIONS
    assert config_module.DEFAULT_OPTIONS.identity == config_module.DEFAULT_OPTIONS.emotion == "auto"
    assert config_module.DEFAULT_OPTIONS.temperature == 1
    assert (
        config_module.DEFAULT_OPTIONS.steps
        is config_module.DEFAULT_OPTIONS.emotion_strength
        is None
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config_module.DEFAULT_OPTIONS.seed = 1  # type: ignore[misc]
