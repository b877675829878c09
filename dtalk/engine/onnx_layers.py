"""Recurrent layers in exported graphs, with few nodes between a model's tensors and a layer's.

torch's exporter cuts every weight into its gates and joins them again in ONNX's order, a dozen
nodes a weight, each of which takes time whenever a session starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

_GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""Where ONNX's gates (update, reset, new; input, output, forget, cell) are among torch's."""
_OPTIONS = {"GRU": {"linear_before_reset_i": 1}, "LSTM": {}}
_OUTPUTS = {"GRU": 2, "LSTM": 3}  # the sequence, and the states at its end
_EACH = 4  # weights and biases of a direction


@contextmanager
def compact_recurrence(opset: int) -> Iterator[None]:
    """Export bidirectional GRU and LSTM networks, batch first and with biases, as here."""
    names = {kind: f"aten::{kind.lower()}" for kind in _GATES}
    for kind, name in names.items():
        register_custom_op_symbolic(name, _exporter(kind), opset)
    try:
        yield
    finally:
        for name in names.values():
            unregister_custom_op_symbolic(name, opset)


def _exporter(kind: str) -> Callable[..., Any]:
    """What torch calls for a network of one clip: values of the graph in, values out."""

    def export(graph: Any, inputs: Any, _: Any, parameters: Any, *rest: Any) -> tuple[Any, ...]:
        tensors = list(parameters.node().inputs())
        hidden = graph.op("Transpose", inputs, perm_i=[1, 0, 2])
        states: Sequence[Any] = ()
        for first in range(0, len(tensors), 2 * _EACH):
            hidden, *states = _layer(graph, kind, hidden, tensors[first : first + 2 * _EACH])
        return graph.op("Transpose", hidden, perm_i=[1, 0, 2]), *states

    return export


def _layer(graph: Any, kind: str, inputs: Any, tensors: list[Any]) -> tuple[Any, ...]:
    """One layer in both directions, time first: ``[T, 1, C]`` -> ``[T, 1, 2 H]``, and states."""
    ahead, back = tensors[:_EACH], tensors[_EACH:]
    weights = (
        _ordered(graph, kind, pair, [2, -1, _width(pair[0])]) for pair in list(zip(ahead, back))[:2]
    )
    biases = _ordered(graph, kind, (*ahead[2:], *back[2:]), [2, -1])
    outputs, *states = graph.op(
        kind,
        inputs,
        *weights,
        biases,
        outputs=_OUTPUTS[kind],
        hidden_size_i=_width(ahead[1]),
        direction_s="bidirectional",
        **_OPTIONS[kind],
    )
    beside = graph.op("Transpose", outputs, perm_i=[0, 2, 1, 3])
    return _reshaped(graph, beside, [0, 0, -1]), *states


def _ordered(graph: Any, kind: str, tensors: Sequence[Any], shape: Sequence[int]) -> Any:
    """Tensors of all gates one after another, each with its gates in ONNX's order."""
    joined = graph.op("Concat", *tensors, axis_i=0)
    gates = _GATES[kind]
    rows = _reshaped(graph, joined, [len(tensors), len(gates), -1])
    order = graph.op("Constant", value_t=torch.tensor(gates))
    return _reshaped(graph, graph.op("Gather", rows, order, axis_i=1), shape)


def _reshaped(graph: Any, value: Any, shape: Sequence[int]) -> Any:
    return graph.op("Reshape", value, graph.op("Constant", value_t=torch.tensor(shape)))


def _width(weight: Any) -> int:
    """The last dimension of a value of the graph."""
    sizes: list[int] = weight.type().sizes()
    return sizes[-1]
