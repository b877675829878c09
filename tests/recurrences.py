"""Recurrent networks that several test files use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dtalk.nn.fast_rnn import FastGRU, FastLSTM

LENGTHS = torch.tensor([7, 1, 4])


PLAIN = {FastGRU: nn.GRU, FastLSTM: nn.LSTM}

kinds = pytest.mark.parametrize("kind", list(PLAIN))


def pair(kind, layers: int, bidirectional: bool, dtype: torch.dtype = torch.float64):
    """A network of torch's and ours with the same weights, both in training mode."""
    torch.manual_seed(layers)
    options = {"batch_first": True, "bidirectional": bidirectional, "dtype": dtype}
    plain, fast = PLAIN[kind](5, 6, layers, **options), kind(5, 6, layers, **options)
    fast.load_state_dict(plain.state_dict())
    return plain, fast


def data(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 7, 5, generator=generator, dtype=dtype)
