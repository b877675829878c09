"""Recurrent networks over padded batches, and both directions at once."""

from __future__ import annotations

import pytest
import torch
from recurrences import LENGTHS, PLAIN, data, kinds, pair
from torch import nn

from dtalk.nn import recurrent
from dtalk.nn.fast_rnn import FastGRU, FastLSTM
from dtalk.nn.recurrent import parallel_directions, run_recurrent


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("lengths", [[7, 7, 7], [7, 1, 4]])
@pytest.mark.parametrize("kind", [FastGRU, FastLSTM, nn.GRU, nn.LSTM])
def test_run_recurrent_equals_one_sequence_at_a_time(kind, lengths, training):
    torch.manual_seed(0)
    network = kind(5, 6, 2, batch_first=True, bidirectional=True, dtype=torch.float64)
    network.train(training)
    found = run_recurrent(network, data(), torch.tensor(lengths))
    assert found.shape == (3, 7, 12)
    reference = PLAIN.get(kind, kind)
    alone = reference(5, 6, 2, batch_first=True, bidirectional=True, dtype=torch.float64)
    alone.load_state_dict(network.state_dict())
    for row, length in enumerate(lengths):
        expected = alone(data()[row : row + 1, :length])[0][0]
        torch.testing.assert_close(found[row, :length], expected, atol=1e-12, rtol=1e-12)


@kinds
def test_run_recurrent_trains_through_the_fast_path_only(kind, monkeypatch):
    """In evaluation torch's own, faster forward pass is used."""
    _, fast = pair(kind, 1, False)
    calls: list[int] = []

    def counting(inputs, lengths):
        calls.append(len(inputs))
        return inputs

    monkeypatch.setattr(fast, "train_over", counting)
    run_recurrent(fast.eval(), data(), LENGTHS)
    assert not calls
    run_recurrent(fast.train(), data(), LENGTHS)
    assert calls == [3]


@kinds
def test_dropout_acts_between_layers_in_training_only(kind):
    torch.manual_seed(0)
    fast = kind(5, 6, 2, batch_first=True, dropout=0.5, dtype=torch.float64)
    first, second = (run_recurrent(fast, data(), LENGTHS) for _ in range(2))
    assert not torch.equal(first, second)
    fast.eval()
    first, second = (run_recurrent(fast, data(), LENGTHS) for _ in range(2))
    assert torch.equal(first, second)


# Inference, each direction in a thread ------------------------------------------------------------


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


FULL = torch.full((3,), 7)


@pytest.mark.parametrize("layers", [1, 3])
@kinds
def test_both_directions_at_once_equal_torch(kind, layers, two_threads, monkeypatch):
    ran: list[int] = []
    there = recurrent._elsewhere

    def elsewhere(network, inputs, layer):
        ran.append(layer)
        return there(network, inputs, layer)

    monkeypatch.setattr(recurrent, "_elsewhere", elsewhere)
    plain, fast = pair(kind, layers, True)
    with torch.inference_mode(), parallel_directions():
        assert torch.get_num_threads() == 1
        found = run_recurrent(fast.eval(), data(), FULL)
        torch.testing.assert_close(found, plain.eval()(data())[0], atol=1e-12, rtol=1e-12)
    assert ran == list(range(layers))
    assert torch.get_num_threads() == 2


@kinds
def test_padding_one_direction_and_one_thread_take_the_plain_way(kind, two_threads, monkeypatch):
    monkeypatch.setattr(recurrent, "_both_directions", None)  # not to be called
    one_way, both_ways = pair(kind, 1, False)[1].eval(), pair(kind, 1, True)[1].eval()
    with torch.inference_mode():
        run_recurrent(both_ways, data(), FULL)  # nobody asked for it
        with parallel_directions():
            run_recurrent(one_way, data(), FULL)
            run_recurrent(both_ways, data(), LENGTHS)
        torch.set_num_threads(1)
        with parallel_directions():
            run_recurrent(both_ways, data(), FULL)


def test_threads_are_given_back_after_an_error(two_threads):
    network = pair(FastGRU, 1, True)[1].eval()
    with torch.inference_mode():
        with pytest.raises(RuntimeError), parallel_directions():
            run_recurrent(network, data()[..., :4], FULL)  # too narrow
        assert torch.get_num_threads() == 2
        with parallel_directions(), parallel_directions():  # one in the other
            run_recurrent(network, data(), FULL)
        assert torch.get_num_threads() == 2
