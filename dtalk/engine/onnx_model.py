"""From a traced graph to the file that is written: fewer nodes, and the weights as they are stored.

What torch traces has thousands of nodes that compute shapes; a session would fold them whenever it
starts. Here ONNX Runtime folds once what no weight takes part in. The weights come from the
checkpoint's bytes, copied or named; those of 16 bits are widened when a session starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dtalk.engine.external import Place, places
from dtalk.engine.graph import onnxruntime_module
from dtalk.errors import CheckpointError

if TYPE_CHECKING:
    import onnx

PREFIX = "model."
"""Of the names of weights: what a traced module calls the model."""
_TYPES = {"F16": "FLOAT16", "BF16": "BFLOAT16", "F32": "FLOAT"}
_MOVES = {"Concat", "Flatten", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def simplified(traced: bytes) -> onnx.ModelProto:
    """Fold what can be folded without the weights, which become inputs."""
    import onnx

    model = onnx.load_model_from_string(traced)
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(stored.name, stored.data_type, list(stored.dims))
        for stored in model.graph.initializer
    )
    del model.graph.initializer[:]
    runtime = onnxruntime_module()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # on any machine the same bytes
    # What ONNX Runtime calls basic is valid wherever ONNX is.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with TemporaryDirectory() as folder:
        written = Path(folder, "graph.onnx")
        options.optimized_model_filepath = str(written)
        runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        model = onnx.load(written)
    del model.opset_import[1:]  # those of ONNX Runtime's own
    for node in model.graph.node:  # which would name places on this machine, and take space
        node.ClearField("name")
        node.ClearField("doc_string")
    return model


def attach_weights(model: onnx.ModelProto, checkpoint: Path, external: bool) -> None:
    """Give a simplified model its weights: the numbers, or where they lie in the checkpoint.

    Raises:
        CheckpointError: the checkpoint has numbers of another kind than 16 or 32 bits.
    """
    graph, found = model.graph, places(checkpoint)
    data = b"" if external else checkpoint.read_bytes()
    given = [value for value in graph.input if not value.name.startswith(PREFIX)]
    names = [value.name for value in graph.input if value.name.startswith(PREFIX)]
    del graph.input[:]
    graph.input.extend(given)
    for name in names:
        place = found[name.removeprefix(PREFIX)]
        stored = graph.initializer.add(name=name, dims=place.shape, data_type=_type(place))
        if external:
            _name_place(stored, checkpoint.name, place)
        else:
            stored.raw_data = data[place.offset : place.offset + place.length]
    short = {name for name in names if found[name.removeprefix(PREFIX)].dtype != "F32"}
    nodes = list(_widening(graph.node, short))
    del graph.node[:]
    graph.node.extend(nodes)


def _type(place: Place) -> int:
    from onnx import TensorProto

    if place.dtype not in _TYPES:
        raise CheckpointError(f"cannot export numbers of the type {place.dtype}")
    return TensorProto.DataType.Value(_TYPES[place.dtype])


def _name_place(stored: onnx.TensorProto, file: str, place: Place) -> None:
    """Say where a tensor's numbers lie."""
    stored.data_location = stored.EXTERNAL
    about = {"location": file, "offset": str(place.offset), "length": str(place.length)}
    for key, value in about.items():
        stored.external_data.add(key=key, value=value)


def _widening(nodes: Iterable[onnx.NodeProto], short: set[str]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those that widen what is ``short``: after all moves, which then cost half."""
    from onnx import TensorProto, helper

    short, wide = set(short), dict[str, str]()
    for node in nodes:
        moved = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in _MOVES and short.issuperset(moved):
            short.update(node.output)
        for place, name in enumerate(node.input):
            if name in short and node.output[0] not in short:
                if name not in wide:
                    wide[name] = f"{name}.wide"
                    yield helper.make_node("Cast", [name], [wide[name]], to=TensorProto.FLOAT)
                node.input[place] = wide[name]
        yield node
