"""Recurrent layers over padded batches, with both directions at once where that is faster."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dtalk.nn.fast_rnn import PARAMETERS, FastTraining


def run_recurrent(network: nn.RNNBase, inputs: Tensor, lengths: Tensor) -> Tensor:
    """Run a batch-first GRU or LSTM over ``[B, T, C]``; the backward direction starts at each end.

    What comes out of padded frames is of no meaning.
    """
    on_cpu = inputs.device.type == "cpu"  # elsewhere torch's own is the fast one
    if isinstance(network, FastTraining) and network.training and on_cpu:
        return network.train_over(inputs, lengths)
    if bool((lengths == inputs.shape[1]).all()):
        parallel = _mode.parallel and on_cpu and network.bidirectional
        return _both_directions(network, inputs) if parallel else network(inputs)[0]
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    total = inputs.shape[1]
    return pad_packed_sequence(network(packed)[0], batch_first=True, total_length=total)[0]


class _Mode(threading.local):
    parallel = False


_mode = _Mode()


@contextmanager
def parallel_directions() -> Iterator[None]:
    """Run the two directions of recurrent networks at once, for inference of one clip.

    Every other operation then runs in one thread: they are small, and threads that wait for their
    next share of one would keep the second direction from its core. Nothing changes where torch
    has one thread, and no number changes but by rounding.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    _mode.parallel = True
    try:
        yield
    finally:
        _mode.parallel = False
        torch.set_num_threads(threads)


def _both_directions(network: nn.RNNBase, inputs: Tensor) -> Tensor:
    """Run both directions at once, the backward one in a second thread."""
    hidden = inputs
    for layer in range(network.num_layers):
        backward = _second_thread().submit(_elsewhere, network, hidden, layer)
        forward = _direction(network, hidden, layer, "")
        hidden = torch.cat([forward, backward.result()], -1)
    return hidden


@cache
def _second_thread() -> ThreadPoolExecutor:
    """The second thread, kept since a new thread's first products are slow."""
    return ThreadPoolExecutor(1)


if hasattr(os, "register_at_fork"):  # a forked process has no threads but the one that forked
    os.register_at_fork(after_in_child=_second_thread.cache_clear)


def _elsewhere(network: nn.RNNBase, inputs: Tensor, layer: int) -> Tensor:
    """Run the backward direction, in a thread without the caller's autograd modes."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        return _direction(network, inputs.flip(1), layer, "_reverse").flip(1)


def _direction(network: nn.RNNBase, inputs: Tensor, layer: int, suffix: str) -> Tensor:
    """Run one layer in one direction, over frames in the order given."""
    weights = [getattr(network, f"{kind}_l{layer}{suffix}") for kind in PARAMETERS]
    start = inputs.new_zeros(1, len(inputs), network.hidden_size)
    rest = (weights, True, 1, 0.0, False, False, True)  # biases, 1 layer, ..., batch first
    if isinstance(network, nn.LSTM):
        return torch.lstm(inputs, (start, start), *rest)[0]
    return torch.gru(inputs, start, *rest)[0]
