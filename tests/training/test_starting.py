"""Starting points: statistics by hand, and weights of other models."""

from __future__ import annotations

import dataclasses
import json
import math
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
    speech,
    tiny_model,
    training_config,
)
from runs import covariance_of, state_of, train, trainer_of
from safetensors.torch import load_file

from dtalk.checkpoint import load_model, read_description, save_model
from dtalk.errors import CheckpointError
from dtalk.heads.head import built_in
from dtalk.training.objective import (
    Grams,
    losses_of,
)
from dtalk.training.starting import MINIMUM_STD, load_compatible, statistics
from dtalk.training.trainer import (
    MODEL_FILE,
    Trainer,
)

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


@pytest.mark.parametrize("change", [{"hidden_width": 11}, {"layers": 1}, {}])
def test_a_gru_of_another_size_may_be_left_as_it_is(change):
    source, model = pair_of_models(**change)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_compatible(model, source, other_gru=True)
    for name, value in model.state_dict().items():
        if not name.endswith(".entries"):
            own = bool(change) and name.startswith(("decoder.recurrent", "decoder.output"))
            assert torch.equal(value, (before if own else source.state_dict())[name]), name


def test_a_layer_that_the_source_does_not_take_adds_nothing_yet():
    """Layers 3 and 5 of three channels each; then 5, 4 and 3, of which only 4 is new."""
    source = large_model(1, FakeLarge(layers=(3, 5), width=6))
    source.encoder.mean.copy_(torch.arange(6.0))
    source.encoder.std.copy_(torch.arange(1.0, 7.0))
    model = large_model(2, FakeLarge(layers=(5, 4, 3), width=9))
    model.encoder.mean.fill_(7)
    load_compatible(model, source)
    assert model.encoder.mean.tolist() == [3, 4, 5, 7, 7, 7, 0, 1, 2]
    assert model.encoder.std.tolist() == [4, 5, 6, 1, 1, 1, 1, 2, 3]
    third, fifth = torch.randn(2, 5, 3)
    noise = torch.full((5, 3), 1e3)
    lengths = torch.tensor([5])
    torch.testing.assert_close(
        model.encoder.features(torch.cat([fifth, noise, third], 1)[None], lengths, lengths),
        source.encoder.features(torch.cat([third, fifth], 1)[None], lengths, lengths),
    )


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
        ({"layers": (1, 2)}, {}, False),
        ({"layers": (3, 4), "fingerprint": "beef"}, {}, False),
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


@torch.no_grad()
def test_experts_are_copied_by_their_names():
    source = tiny_model(experts=("news", "talks"))
    model = tiny_model(seed=1, experts=("talks", "plays"))
    before = {k: v.clone() for k, v in model.decoder.guide.state_dict().items()}
    load_compatible(model, source)
    guide, other = model.decoder.guide, source.decoder.guide
    assert torch.equal(guide.heard.weight[:52], other.heard.weight[52:])
    assert torch.equal(guide.heard.bias[:52], other.heard.bias[52:])
    assert torch.equal(guide.choose.weight[0], other.choose.weight[1])
    assert torch.equal(guide.choose.bias[0], other.choose.bias[1])
    assert torch.equal(guide.heard.weight[52:], before["heard.weight"][52:])
    assert torch.equal(guide.choose.weight[1], before["choose.weight"][1])
    assert torch.equal(guide.constant.weight, other.constant.weight)


def test_a_model_without_experts_takes_none_with_them():
    with pytest.raises(CheckpointError, match="differs; give the same settings"):
        load_compatible(tiny_model(), tiny_model(experts=("news", "talks")))
