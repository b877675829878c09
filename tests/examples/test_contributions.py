"""What the script leaves out of a model, and how it splits the variance of p."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny_model, write_data

from dtalk.checkpoint import save_model

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "contributions.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("contributions", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_linear_prior_alone(script):
    model = tiny_model()
    alone = script.without(model, "output", "linear")
    generator = torch.Generator().manual_seed(1)
    noisy, features = (torch.randn(2, 9, n, generator=generator) for n in (52, 8))
    embedding, lengths = torch.randn(2, 8, generator=generator), torch.tensor([9, 9])
    with torch.no_grad():
        found = alone.decoder(noisy, torch.tensor([0.5, 1.0]), features, embedding, lengths)
        whole = model.decoder(noisy, torch.tensor([0.5, 1.0]), features, embedding, lengths)
        assert torch.equal(found, model.decoder.guide(features, embedding, lengths))
    assert not torch.allclose(found, whole)  # the model itself keeps its parts


def test_shares_of_an_embedding_of_the_identity_alone(script):
    model = tiny_model()
    with torch.no_grad():
        for part in (
            model.personalizer.integrator.values[-1].weight,
            model.personalizer.integrator.values[-1].bias,
        ):
            part.zero_()
    identity, emotion = script.shares_of_p(model)
    assert identity == pytest.approx(1)
    assert emotion == pytest.approx(0, abs=1e-6)


def test_shares_are_parts_of_a_whole(script):
    identity, emotion = script.shares_of_p(tiny_model())
    assert 0 < emotion < 1
    assert 0 < identity < 1
    assert identity + emotion <= 1 + 1e-6


@pytest.mark.parametrize(("part", "place"), [("identity", 0), ("emotion", 1)])
def test_a_part_that_is_not_known(script, part, place):
    model = tiny_model()
    features, lengths = torch.randn(2, 9, 8), torch.tensor([9, 4])
    with torch.no_grad():
        found = script.unaware_of(model, part).infer_weights(features, lengths)
        plain = model.infer_weights(features, lengths)
    assert found[place].tolist() == [[0] * (found[place].shape[1] - 1) + [1]] * 2
    assert torch.equal(found[1 - place], plain[1 - place])


def test_experts_in_equal_shares(script):
    model = tiny_model(experts=("news", "talks"))
    guide = script.with_experts_alike(model).decoder.guide
    with torch.no_grad():
        assert guide.choose(torch.randn(1, 16)).softmax(-1).tolist() == [[0.5, 0.5]]
        assert model.decoder.guide.choose(torch.ones(1, 16)).softmax(-1).tolist() != [[0.5, 0.5]]


def test_a_row_for_every_change(script, tmp_path, monkeypatch, capsys):
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    data = write_data(tmp_path / "data")
    arguments = ["--data", str(data), "--weights", str(tmp_path / "tiny.safetensors")]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments])
    script.main()
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.startswith("2 clips")
    assert [row[:26].strip() for row in rows] == [*script.CHANGES, "ancestral sampling"]
    assert len({row[26:] for row in rows}) > len(rows) // 2
    assert last.startswith("variance of p: identity ")
