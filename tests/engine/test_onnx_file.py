"""What an ONNX file says of itself, and the places where it could name other files."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from dtalk.engine.onnx_file import read_onnx


def external(name: str, *locations: str) -> TensorProto:
    """A tensor whose numbers are in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for location in locations:
        tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="8")
    return tensor


def model(**graph: list) -> onnx.ModelProto:
    content = {"nodes": [], "initializer": [], **graph}
    made = helper.make_graph(content["nodes"], "g", [], [], content["initializer"])
    found = helper.make_model(made)
    helper.set_model_props(found, {"a": "b", "long": "x" * 300})
    return found


def test_metadata_and_locations():
    found = read_onnx(
        model(
            nodes=[helper.make_node("Add", ["one", "two"], ["three"])],
            initializer=[
                external("one", "a.safetensors"),
                helper.make_tensor("two", TensorProto.FLOAT, [2], [1, 2]),
            ],
        ).SerializeToString()
    )
    assert found.metadata == {"a": "b", "long": "x" * 300}
    assert found.locations == {"a.safetensors"}


def test_a_word_in_the_metadata_names_no_file():
    made = model()
    helper.set_model_props(made, {"note": "on location"})
    assert read_onnx(made.SerializeToString()).locations == set()


def test_every_location_counts_of_which_the_last_would_be_read():
    tensor = external("one", "a.safetensors", "/etc/passwd")
    assert read_onnx(model(initializer=[tensor]).SerializeToString()).locations == {
        "a.safetensors",
        "/etc/passwd",
    }
    # One pair with two values, as no library writes it: field 2 comes twice.
    pair = b"\x0a\x08location\x12\x01a\x12\x01b"
    written = b"\x6a" + bytes([len(pair)]) + pair
    graph = b"\x2a" + bytes([len(written)]) + written
    parsed = onnx.load_model_from_string(b"\x3a" + bytes([len(graph)]) + graph)
    assert parsed.graph.initializer[0].external_data[0].value == "b"
    assert read_onnx(b"\x3a" + bytes([len(graph)]) + graph).locations == {"a", "b"}


def in_a_node() -> onnx.ModelProto:
    return model(nodes=[helper.make_node("Constant", [], ["c"], value=external("v", "secret"))])


def in_a_subgraph() -> onnx.ModelProto:
    inner = helper.make_graph([], "inner", [], [], [external("v", "secret")])
    return model(nodes=[helper.make_node("If", ["c"], ["d"], then_branch=inner)])


def in_a_sparse_tensor() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add().values.CopyFrom(external("v", "secret"))
    return made


def in_a_function() -> onnx.ModelProto:
    made = model()
    node = helper.make_node("Constant", [], ["c"], value=external("v", "secret"))
    made.functions.add(name="f").node.append(node)
    return made


@pytest.mark.parametrize("made", [in_a_node, in_a_subgraph, in_a_sparse_tensor, in_a_function])
def test_files_named_elsewhere_are_refused(made):
    with pytest.raises(ValueError, match="outside its initializers"):
        read_onnx(made().SerializeToString())


@pytest.mark.parametrize(
    "data", [b"\x3a\x05ab", b"\x3b", b"\xff" * 20, b"\x3a\x02\x2a\x07", b"no model at all"]
)
def test_what_is_no_onnx_file_is_refused(data):
    with pytest.raises(ValueError, match=r"cut off|no ONNX file"):
        read_onnx(data)
