"""Equations 4, 5, 6 and 15 and the vertex terms, with numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtalk.losses import (
    CONTRAST_WEIGHT,
    RECONSTRUCTION_WEIGHT,
    contrast,
    masked_mean,
    reconstruction,
    teacher_loss,
    velocity_error,
    vertex_error,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_masked_mean_by_hand():
    values = torch.tensor([[1.0, 2.0, 100.0], [6.0, 100.0, 100.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert masked_mean(values, mask).item() == 3  # (1 + 2 + 6) / 3: frames, not clips, count


def test_reconstruction_by_hand():
    # Frame errors (1 + 9) / 2 = 5 and (0 + 4) / 2 = 2; the third frame is padding.
    predicted = torch.tensor([[[1.0, 3.0], [5.0, 2.0], [9.0, 9.0]]])
    target = torch.tensor([[[0.0, 0.0], [5.0, 4.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert reconstruction(predicted, target, mask).item() == 3.5


@given(st.integers(0, 100))
def test_vertex_error_is_the_mean_squared_distance_of_the_vertices(seed):
    basis = normal(5, 7, 3, seed=seed)  # 5 channels move 7 vertices
    predicted, target = normal(2, 4, 5, seed=seed + 1), normal(2, 4, 5, seed=seed + 2)
    gram = basis.flatten(1) @ basis.flatten(1).T / 7
    moved = torch.einsum("btc,cvk->btvk", predicted, basis)
    wanted = torch.einsum("btc,cvk->btvk", target, basis)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = (moved - wanted).square().sum(-1).mean(-1)[mask].mean()
    torch.testing.assert_close(vertex_error(predicted, target, gram, mask), expected)


def test_velocity_error_by_hand():
    # One channel, one vertex that moves 2 mm per unit: gram = 4.
    predicted = torch.tensor([[[0.0], [1.0], [3.0], [50.0]]])  # velocities 1, 2, (47)
    target = torch.tensor([[[5.0], [5.0], [6.0], [6.0]]])  # velocities 0, 1, (0)
    mask = torch.tensor([[True, True, True, False]])
    found = velocity_error(predicted, target, torch.tensor([[4.0]]), mask)
    assert found.item() == 4 * (1 + 1) / 2  # a constant offset costs nothing


def test_velocity_error_of_single_frames_is_zero():
    one = torch.ones(2, 1, 3)
    found = velocity_error(one, 2 * one, torch.eye(3), torch.ones(2, 1, dtype=torch.bool))
    assert found.item() == 0


@pytest.mark.parametrize("loss", ["reconstruction", "vertex", "velocity"])
def test_padded_frames_change_nothing(loss):
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    gram = normal(4, 4, seed=9)
    gram = gram @ gram.T
    predicted, target = normal(2, 5, 4).requires_grad_(), normal(2, 5, 4, seed=1)
    other = predicted.detach().clone()
    other[~mask] = 1e6
    other.requires_grad_()

    def value(p, t):
        if loss == "reconstruction":
            return reconstruction(p, t, mask)
        return (vertex_error if loss == "vertex" else velocity_error)(p, t, gram, mask)

    plain, padded = value(predicted, target), value(other, target + 3 * ~mask[..., None])
    assert plain.item() > 0
    torch.testing.assert_close(padded, plain)
    plain.backward()
    padded.backward()
    assert predicted.grad is not None
    assert other.grad is not None
    assert (other.grad[~mask] == 0).all()
    torch.testing.assert_close(other.grad[mask], predicted.grad[mask])


def test_no_real_frame_gives_zero_with_a_gradient():
    predicted = normal(2, 3, 4).requires_grad_()
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    total = (
        reconstruction(predicted, predicted.detach() + 1, nothing)
        + vertex_error(predicted, predicted.detach() + 1, torch.eye(4).double(), nothing)
        + velocity_error(predicted, predicted.detach() * 2, torch.eye(4).double(), nothing)
    )
    assert total.item() == 0
    total.backward()
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_contrast_by_hand():
    # Similarities 1, 0, 0.6 over tau = 0.5: the positive's share is e^2 / (e^2 + e^0 + e^1.2).
    library = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    audio = torch.tensor([[1.0, 0.0]])
    found = contrast(audio, library, torch.tensor([0]), torch.tensor(0.5))
    expected = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(1.2)))
    assert expected == pytest.approx(0.4604, abs=1e-4)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_contrast_is_the_mean_over_clips_with_a_label():
    library = torch.eye(2)
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = contrast(audio, library, torch.tensor([0, -1, 1]), torch.tensor(1.0))
    first, third = math.log(1 + math.exp(0 - 1)), math.log(1 + math.exp(0.6 - 0.8))
    assert found.item() == pytest.approx((first + third) / 2, abs=1e-6)


def test_clips_without_a_label_get_no_gradient():
    audio = normal(3, 4).requires_grad_()
    contrast(audio, normal(5, 4, seed=1), torch.tensor([2, -1, 0]), torch.tensor(0.1)).backward()
    assert audio.grad is not None
    assert (audio.grad[1] == 0).all()
    assert (audio.grad[[0, 2]] != 0).all()


def test_contrast_without_any_label_is_zero_with_a_gradient():
    audio = normal(2, 4).requires_grad_()
    found = contrast(audio, normal(5, 4, seed=1), torch.tensor([-1, -1]), torch.tensor(0.1))
    assert found.item() == 0
    found.backward()
    assert audio.grad is not None
    assert (audio.grad == 0).all()


def test_contrast_pulls_towards_the_positive_and_away_from_the_rest():
    audio = torch.zeros(1, 3, requires_grad=True)
    contrast(audio, torch.eye(3), torch.tensor([1]), torch.tensor(0.5)).backward()
    assert audio.grad is not None
    # d/da = (softmax - one-hot) / tau = (1/3, 1/3 - 1, 1/3) / 0.5
    torch.testing.assert_close(audio.grad, torch.tensor([[2 / 3, -4 / 3, 2 / 3]]))


def test_teacher_loss_by_hand():
    rec, contrasts = torch.tensor(2.0), [torch.tensor(10.0), torch.tensor(30.0)]
    assert teacher_loss(rec, contrasts).item() == pytest.approx(2 + 0.007 * 40)
    assert teacher_loss(rec, contrasts, 0.5, 0.1).item() == pytest.approx(1 + 4)


def test_weights_are_the_papers():
    assert (RECONSTRUCTION_WEIGHT, CONTRAST_WEIGHT) == (1.0, 0.007)
