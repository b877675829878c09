"""The fast GRU and LSTM: torch's own, in outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recurrences import LENGTHS, PLAIN, data, kinds, pair
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dtalk.nn.fast_rnn import FastGRU, FastLSTM, reversal


def packed(network: nn.RNNBase, inputs: Tensor, lengths: Tensor) -> Tensor:
    """The reference: torch's packing, zeros in padded frames."""
    sequence = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs = network(sequence)[0]
    return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0]


def real(lengths: Tensor, frames: int) -> Tensor:
    return (torch.arange(frames) < lengths[:, None])[..., None]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@kinds
def test_training_equals_torch_in_outputs_and_all_gradients(kind, layers, bidirectional):
    plain, fast = pair(kind, layers, bidirectional)
    mask = real(LENGTHS, 7)
    ours, theirs = data().requires_grad_(), data().requires_grad_()
    found, expected = fast.train_over(ours, LENGTHS) * mask, packed(plain, theirs, LENGTHS)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    # A weight for every output, so that no frame and no channel cancels another.
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(4)).double()
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-12, rtol=1e-10)
    gradients = dict(fast.named_parameters())
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(
            gradients[name].grad, parameter.grad, atol=1e-12, rtol=1e-10, msg=name
        )


@kinds
def test_what_lies_in_padded_frames_reaches_nothing(kind):
    _, fast = pair(kind, 2, True)
    mask = real(LENGTHS, 7)
    inputs = data()
    found = fast.train_over(inputs, LENGTHS) * mask
    other = fast.train_over(torch.where(mask, inputs, torch.tensor(1e3).double()), LENGTHS) * mask
    assert torch.equal(found, other)


@pytest.mark.parametrize("bidirectional", [False, True])
@kinds
def test_parameters_are_interchangeable_with_torchs(kind, bidirectional):
    plain, fast = pair(kind, 2, bidirectional)
    assert list(fast.state_dict()) == list(plain.state_dict())
    back = PLAIN[kind](5, 6, 2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    back.load_state_dict(fast.state_dict())
    assert torch.equal(back(data())[0], plain(data())[0])


def test_dropout_leaves_a_single_layer_alone():
    with pytest.warns(UserWarning, match="dropout"):
        fast = FastGRU(5, 6, 1, batch_first=True, dropout=0.5, dtype=torch.float64)
    assert torch.equal(fast.train_over(data(), LENGTHS), fast.train_over(data(), LENGTHS))


@pytest.mark.usefixtures("plain_kernels")
@kinds
def test_bfloat16_products_come_close(kind):
    """Within 5 %: a rounding is within 0.4 %, and of several frames errors add up."""
    plain, fast = pair(kind, 2, True, torch.float32)
    inputs = data(torch.float32)
    mask = real(LENGTHS, 7)
    expected = packed(plain, inputs, LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        found = fast.train_over(inputs, LENGTHS)
    assert found.dtype == torch.float32  # the state itself is kept in full
    assert 0 < (found * mask - expected).norm() < 0.05 * expected.norm()
    (found * mask).sum().backward()
    expected.sum().backward()
    for ours, theirs in zip(fast.parameters(), plain.parameters()):
        assert ours.grad is not None
        assert ours.grad.dtype == torch.float32
        assert theirs.grad is not None
        assert (ours.grad - theirs.grad).norm() < 0.05 * theirs.grad.norm()


class Trained(nn.Module):
    """``train_over`` as a module, for functional_call."""

    def __init__(self, network: FastGRU | FastLSTM) -> None:
        super().__init__()
        self.network: FastGRU | FastLSTM = network

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return self.network.train_over(inputs, lengths) * real(lengths, inputs.shape[1])


@pytest.mark.parametrize("bidirectional", [False, True])
@kinds
def test_gradcheck(kind, bidirectional):
    torch.manual_seed(1)
    fast = kind(2, 3, 1, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    module, lengths = Trained(fast), torch.tensor([3, 1])
    names = [name for name, _ in module.named_parameters()]

    def run(inputs, *values):
        return torch.func.functional_call(module, dict(zip(names, values)), (inputs, lengths))

    inputs = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(run, (inputs, *values))


def test_reversal_by_hand():
    expected = torch.tensor([[2, 0, 1], [1, 1, 0], [0, 2, 2]])  # [T, B]
    assert torch.equal(reversal(torch.tensor([3, 1, 2]), 3), expected)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_reversal_is_its_own_inverse(lengths):
    index = reversal(torch.tensor(lengths), 9)
    torch.testing.assert_close(index.gather(0, index), torch.arange(9)[:, None].expand_as(index))
