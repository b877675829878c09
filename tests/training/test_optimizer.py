"""Optimisers: Muon against torch's own, what each part of a model is updated by, resuming."""

import dataclasses

import pytest
import torch
from helpers import training_config
from torch import nn

from dtalk.config import ModelConfig
from dtalk.model import DiffusionTalker
from dtalk.training import optimizer as optimizer_module
from dtalk.training.optimizer import Muon, Optimizers, make_optimizer, orthogonalised

SIZE = ModelConfig(("anna", "ben"), ("happy",), encoder_width=16, feature_width=8, hidden_width=6)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrix = random(*shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    assert found.shape == matrix.shape
    inner = u.T @ found @ v.T
    torch.testing.assert_close(inner, inner.diagonal().diag(), atol=1e-4, rtol=0)
    assert inner.diagonal().min() > 0.6
    assert inner.diagonal().max() < 1.25


def test_muon_counts_in_the_precision_of_products(monkeypatch):
    found = []

    def seen(matrix: torch.Tensor) -> torch.Tensor:
        direction = orthogonalised(matrix)
        found.append(direction.dtype)
        return direction

    monkeypatch.setattr(optimizer_module, "orthogonalised", seen)
    for precision in ("float32", "bfloat16"):
        weight = nn.Parameter(random(4, 3))
        weight.grad = random(4, 3)
        Muon([weight], 0.1, 0.0, precision).step()
        assert weight.dtype == torch.float32
    assert found == [torch.float32, torch.bfloat16]


def test_nothing_stays_nothing():
    assert not orthogonalised(torch.zeros(3, 5)).any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_five_updates_are_those_of_torchs_muon(precision):
    """Which counts in bfloat16: to a few hundredths of an update."""
    start, gradients = random(12, 5), [random(12, 5) + k for k in range(5)]
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = Muon([mine], 0.1, 0.3, precision)
    judge = torch.optim.Muon([theirs], 0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        before = theirs.detach().clone()
        for weight, optimizer in ((mine, ours), (theirs, judge)):
            weight.grad = gradient.clone()
            optimizer.step()
        change = (theirs - before).square().mean().sqrt()
        assert (mine - theirs).abs().max() < 0.2 * change
    assert (mine - start).square().mean().sqrt() > 10 * (mine - theirs).square().mean().sqrt()


def test_a_matrix_without_a_gradient_stays():
    weight = nn.Parameter(random(3, 3))
    before = weight.detach().clone()
    Muon([weight], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight, before)


def trained(*modules: nn.Module) -> list[nn.Parameter]:
    return [w for module in modules for w in module.parameters() if w.requires_grad]


def test_adamw_has_all_weights(tmp_path):
    model, helpers = DiffusionTalker(SIZE), nn.ModuleDict({"one": nn.Linear(2, 2)})
    optimizer = make_optimizer(model, trained(model, helpers), training_config(tmp_path, tmp_path))
    assert isinstance(optimizer, torch.optim.AdamW)
    found = [w for group in optimizer.param_groups for w in group["params"]]
    assert {id(w) for w in found} == {id(w) for w in [*model.parameters(), *helpers.parameters()]}


def muon_of(model: nn.Module, helpers: nn.Module, folder) -> Optimizers:
    config = dataclasses.replace(training_config(folder, folder), optimizer="muon")
    found = make_optimizer(model, trained(model, helpers), config)
    assert isinstance(found, Optimizers)
    return found


def test_muon_has_the_matrices_of_encoder_and_gru_and_adamw_the_rest(tmp_path):
    model, helpers = DiffusionTalker(SIZE), nn.ModuleDict({"one": nn.Linear(2, 2)})
    model.encoder.output.weight.requires_grad_(False)
    matrices, rest = (group["params"] for group in muon_of(model, helpers, tmp_path).param_groups)
    names = {id(w): n for n, w in model.named_parameters()}
    hidden = {names[id(w)] for w in matrices}
    assert {"encoder.recurrent.weight_hh_l0", "decoder.recurrent.weight_ih_l0_reverse"} <= hidden
    assert all(n.startswith(("encoder.", "decoder.recurrent.")) for n in hidden)
    assert {w.ndim for w in matrices} == {2}
    assert "encoder.output.weight" not in hidden
    both = [*matrices, *rest]
    assert len(both) == len({id(w) for w in both})
    assert {id(w) for w in both} == {id(w) for w in trained(model, helpers)}


def test_a_state_goes_on_to_the_same_weights(tmp_path):
    def stepped(model, optimizer, seed):
        optimizer.zero_grad()
        torch.manual_seed(seed)
        for weight in model.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()

    models = [DiffusionTalker(SIZE) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    first, second = (muon_of(model, nn.ModuleDict(), tmp_path) for model in models)
    stepped(models[0], first, 1)
    torch.save({"model": models[0].state_dict(), "optimizer": first.state_dict()}, tmp_path / "s")
    state = torch.load(tmp_path / "s", weights_only=True)
    models[1].load_state_dict(state["model"])
    second.load_state_dict(state["optimizer"])
    for model, optimizer in zip(models, (first, second)):
        stepped(model, optimizer, 2)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_gradients_are_cleared(tmp_path):
    model = DiffusionTalker(SIZE)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    muon_of(model, nn.ModuleDict(), tmp_path).zero_grad()
    assert all(weight.grad is None for weight in model.parameters())
