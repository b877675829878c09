"""Graphs whose weights are the model's own file."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import speech, tiny_model

from dtalk.checkpoint import save_model
from dtalk.config import EngineOptions
from dtalk.engine.export import export_file
from dtalk.engine.external import (
    Place,
    StaleGraphError,
    check_weights,
    header_checksum,
    places,
    weights_of,
)
from dtalk.engine.graph import Graph
from dtalk.engine.talker import GraphTalker
from dtalk.errors import CheckpointError
from dtalk.inference import load_talker

HEADER = json.dumps(
    {
        "__metadata__": {"dtalk": "{}"},
        "a": {"dtype": "F16", "shape": [2, 1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [4, 8]},
    }
).encode()
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model of 16 bits and its graph, model.safetensors and model.onnx."""
    folder = tmp_path_factory.mktemp("external")
    save_model(tiny_model(hidden_width=32, experts=("news", "talks")), folder / "model.safetensors",
               half=True)  # fmt: skip
    export_file(folder / "model.safetensors", folder / "model.onnx", external=True)
    return folder


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A copy of that graph, beside a copy of that model."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model.onnx"


def animated(graph: Path) -> np.ndarray:
    return GraphTalker(Graph(graph, threads=1)).animate(speech(8000)).coefficients


def test_where_tensors_lie(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(FILE)
    first = 8 + len(HEADER)
    assert places(path) == {
        "a": Place("F16", (2, 1), first, 4),
        "b": Place("F32", (), first + 4, 4),
    }
    assert header_checksum(path) == f"{zlib.crc32(HEADER):08x}"
    path.write_bytes(FILE[:-8] + b"12345678")
    assert header_checksum(path) == f"{zlib.crc32(HEADER):08x}"


@pytest.mark.parametrize("content", [b"", b"abc", FILE[:20], b"\xff" * 30, bytes(8)])
def test_what_is_no_safetensors_file(content, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        header_checksum(path)


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {"shape": []}}', b"\xff\xfe"])
def test_what_is_no_header(header, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="no header of tensors"):
        places(path)


def test_it_is_small_and_gives_the_same_bytes(folder, tmp_path):
    external = folder / "model.onnx"
    stored = onnx.load(external, load_external_data=False).graph.initializer
    assert not any(tensor.raw_data for tensor in stored if tensor.name.startswith("model."))
    assert {tensor.data_type for tensor in stored if tensor.external_data} == {
        onnx.TensorProto.FLOAT16
    }
    export_file(folder / "model.safetensors", tmp_path / "whole.onnx")
    np.testing.assert_array_equal(animated(external), animated(tmp_path / "whole.onnx"))
    graph = Graph(external, threads=1)
    assert graph.files == [external, folder / "model.safetensors"]
    assert graph.is_of(folder / "model.safetensors")
    assert not graph.is_of(external)


def test_it_has_the_numbers_of_the_file_as_they_are(copy):
    """Of another training of the same model, say."""
    before, weights = animated(copy), weights_of(copy)
    content = bytearray(weights.read_bytes())
    place = places(weights)["decoder.output.2.bias"]
    content[place.offset : place.offset + place.length] = bytes(place.length)
    weights.write_bytes(content)
    assert np.abs(animated(copy) - before).max() > 0.001


def test_a_model_of_other_sizes_makes_it_stale(copy):
    save_model(tiny_model(hidden_width=16), weights_of(copy), half=True)
    with pytest.raises(StaleGraphError, match=r"made from another model\.safetensors; dtalk"):
        Graph(copy)
    talker = load_talker(EngineOptions(weights=weights_of(copy)))
    assert not isinstance(talker, GraphTalker)
    with pytest.raises(CheckpointError, match=r"cannot use --engine onnx: .* from another"):
        load_talker(EngineOptions(weights=copy))


def test_a_model_saved_anew_is_loaded_anew(copy):
    options = EngineOptions(weights=weights_of(copy), threads=1)
    first = load_talker(options)
    assert load_talker(options) is first
    content = weights_of(copy).read_bytes()
    weights_of(copy).write_bytes(content[:-64] + bytes(64))
    assert load_talker(options) is not first


def test_without_the_model_it_says_so(copy):
    weights_of(copy).unlink()
    with pytest.raises(CheckpointError, match=r"its weights, .*model\.safetensors, are not beside"):
        Graph(copy)


def test_under_another_name_it_is_refused(copy):
    other = copy.with_name("other.onnx")
    copy.rename(other)
    with pytest.raises(CheckpointError, match=r"only be in other\.safetensors, not in 'model"):
        Graph(other)


@pytest.mark.parametrize("place", ["../model.safetensors", "/etc/passwd", "model.onnx", ""])
def test_no_other_file_is_read(place, copy):
    hostile = onnx.load(copy, load_external_data=False)
    hostile.graph.initializer[-1].external_data[0].value = place
    copy.write_bytes(hostile.SerializeToString())
    with pytest.raises(CheckpointError, match=r"may only be in model\.safetensors") as caught:
        Graph(copy)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_cut_is_one_line(copy):
    weights = weights_of(copy)
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"cannot load .*model\.onnx") as caught:
        Graph(copy)
    assert "\n" not in str(caught.value)


def test_weights_of_another_graph():
    with pytest.raises(CheckpointError, match="not in 'b'"):
        check_weights(Path("a.onnx"), {"a.safetensors", "b"}, "")


@pytest.mark.parametrize("out", ["other.onnx", "elsewhere/model.onnx"])
def test_it_is_written_beside_its_model_only(out, folder, tmp_path):
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(
        CheckpointError, match=r"lies beside them, under the same name: .*model\.onnx"
    ):
        export_file(tmp_path / "model.safetensors", tmp_path / out, external=True)
