"""Training: over-fitting, exact resume, interruption, what is written."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
from pathlib import Path

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
    training_config,
    write_clip,
    write_data,
    write_index,
)
from runs import first_batches, state_of, train, trainer_of
from safetensors import safe_open
from safetensors.torch import load_file

from dtalk.checkpoint import load_model, read_description
from dtalk.data.clips import labels_of
from dtalk.data.index import read_index
from dtalk.errors import CheckpointError, DataError, DtalkError
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.speech.feature_cache import FeatureCache
from dtalk.training import hearing_emotions
from dtalk.training.batches import BatchMaker
from dtalk.training.config import TrainingConfig
from dtalk.training.starting import statistics
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


@pytest.mark.usefixtures("plain_kernels")
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


@pytest.mark.usefixtures("plain_kernels")
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


@pytest.mark.parametrize(("at", "optimizer"), [(1, "adamw"), (3, "adamw"), (2, "muon")])
def test_resuming_is_exact(data, tmp_path, at, optimizer):
    """Five updates at once, and with an interruption: the same to the last bit."""
    settings = {"model": {**WIDTHS, "dropout": 0.2}, "validate_every": 2, "optimizer": optimizer}
    whole = training_config(data, tmp_path / "whole", updates=5, **settings)
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


@pytest.mark.parametrize("experts", [("a", "c"), ("a", "x"), ("b+x", "a"), ("x+a",), ("a+",)])
def test_an_expert_of_no_set_with_motion_is_refused_before_clips_are_read(data, tmp_path, experts):
    observer = Recorder()
    config = training_config(data, tmp_path, model={**WIDTHS, "experts": experts})
    name = next(n for n in "+".join(experts).split("+") if n not in ("a", "b"))
    with pytest.raises(DataError, match=f"^--experts: no such set: {name}; there are a, b$"):
        load_data(config, observer)
    assert observer.loads == []


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


def linear_settings(data: Path, tmp_path: Path, out: str, **changes):
    experts = tuple({clip.set: None for clip in read_index(data) if clip.motion is not None})[:2]
    settings = large_settings(tmp_path, out, model={"experts": experts}, linear_start=True)
    return training_config(data, **{**settings, **changes})


def test_a_linear_start_keeps_the_projection_the_experts_and_their_choice(data, tmp_path, large):
    config = linear_settings(data, tmp_path, "run")
    before = Trainer(dataclasses.replace(config, out=tmp_path / "x"), Recorder()).model
    first, second = before.state_dict(), train(config).model.state_dict()
    guide = "decoder.guide"
    for name in ("encoder.output", f"{guide}.choose", f"{guide}.heard", f"{guide}.constant"):
        for kind in ("weight", "bias"):
            fixed = torch.equal(first[f"{name}.{kind}"], second[f"{name}.{kind}"])
            assert fixed is (name != f"{guide}.constant"), (name, kind)


def test_refit_fits_the_prior_of_the_model_it_starts_from(data, tmp_path, large):
    train(linear_settings(data, tmp_path, "first"))
    source = load_model(tmp_path / "first" / MODEL_FILE)
    for refit in (False, True):
        config = linear_settings(
            data, tmp_path, f"{refit}", init=tmp_path / "first" / MODEL_FILE, refit=refit
        )
        model = Trainer(config, Recorder()).model
        for part in ("guide.heard", "output.0"):
            name = f"decoder.{part}.weight"
            fixed = torch.equal(model.state_dict()[name], source.state_dict()[name])
            assert fixed is not (refit and "guide" in part), name


def test_emotion_channels_are_learned_before_the_prior_is_fitted(
    data, tmp_path, large, monkeypatch
):
    monkeypatch.setattr(hearing_emotions, "UPDATES", 2)
    monkeypatch.setattr(hearing_emotions, "HEARING_UPDATES", 2)
    train(linear_settings(data, tmp_path, "first"))
    before = load_model(tmp_path / "first" / MODEL_FILE).state_dict()
    config = linear_settings(
        data, tmp_path, "second", init=tmp_path / "first" / MODEL_FILE, emotion_channels=3
    )
    after = Trainer(config, Recorder()).model.state_dict()
    name = "encoder.output.weight"
    changed = (after[name] != before[name]).any(1)
    assert changed.tolist() == [False] * (len(changed) - 3) + [True] * 3
    name = "decoder.guide.heard.weight"
    assert not torch.equal(after[name], before[name])


def test_hearing_emotions_is_all_that_is_learned_anew(data, tmp_path, large, monkeypatch):
    monkeypatch.setattr(hearing_emotions, "HEARING_UPDATES", 2)
    train(linear_settings(data, tmp_path, "first"))
    before = load_model(tmp_path / "first" / MODEL_FILE).state_dict()
    config = linear_settings(
        data, tmp_path, "second", init=tmp_path / "first" / MODEL_FILE, hear_emotions=True
    )
    after = Trainer(config, Recorder()).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    emotion = "personalizer.emotion."
    assert f"{emotion}encode_audio.0.weight" in changed
    assert all(name.startswith(emotion) for name in changed)
    assert f"{emotion}entries" not in changed


@pytest.mark.parametrize(
    "setting", [{"refit": True}, {"hear_emotions": True}, {"emotion_channels": 8}]
)
def test_refit_and_emotion_channels_want_a_model_to_start_from(data, tmp_path, setting):
    flag = next(iter(setting)).replace("_", "-")
    with pytest.raises(DtalkError, match=f"--{flag} is for a model to start from"):
        training_config(data, tmp_path, **setting)


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


def test_the_largest_seed_of_a_training_run_can_be_used(data, tmp_path):
    field = {f.name: f for f in dataclasses.fields(TrainingConfig)}["seed"]
    observer = Recorder()
    train(training_config(data, tmp_path, updates=1, seed=field.metadata["most"]), observer)
    assert math.isfinite(observer.losses[0])
