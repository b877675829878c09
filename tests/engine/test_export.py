"""Exported graphs: what they hold, any length, and models that cannot be exported."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import large_model, speech, tiny_model

from dtalk.checkpoint import KEY, load_model, read_description, save_model
from dtalk.engine.export import export_file
from dtalk.engine.graph import INPUTS, OUTPUTS, Graph
from dtalk.engine.talker import GraphTalker
from dtalk.errors import CheckpointError, DtalkError

LENGTHS = (1, 100, 533, 534, 801, 2400, 16000, 20321)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder_blocks": 2, "close_in_silence": False},
        {"encoder": "cnn", "retrieval": "hard"},
        {"layers": 1, "temperature": 0.3, "upper_temperature": 2.0, "noise_shift": 1.0},
        {"identities": (), "emotions": ()},
        {"experts": ("news", "talks", "plays")},
        {"encoder": "whisper", "bottom_width": 64, "encoder_depth": 1, "blinks": True},
        {"encoder": "whisper", "bottom_width": 64, "encoder_depth": 1, "blocks_at_face_rate": True},
        {"encoder": "hubert", "bottom_width": 8, "open_set": True},
    ],
    ids=["mel", "cnn", "one layer", "no labels", "experts", "whisper", "face", "hubert"],
)
def test_a_graph_animates_as_its_model_for_any_length(changes, tmp_path):
    model = tiny_model(seed=3, **changes)
    save_model(model, tmp_path / "model.safetensors")
    export_file(tmp_path / "model.safetensors", tmp_path / "model.onnx")
    talker = GraphTalker(Graph(tmp_path / "model.onnx", threads=1))
    for samples in LENGTHS:
        expected = model.animate(speech(samples), seed=samples)
        found = talker.animate(speech(samples), seed=samples)
        np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)
        assert (found.identity, found.emotion) == (expected.identity, expected.emotion)
        assert found.emotion_confidence == pytest.approx(expected.emotion_confidence, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_unrolled(steps, weights, tmp_path):
    export_file(weights, tmp_path / "graph.onnx", steps)
    graph = Graph(tmp_path / "graph.onnx", threads=1)
    assert graph.steps == steps
    expected = tiny_model().animate(speech(4000), steps=steps)
    found = GraphTalker(graph).animate(speech(4000), steps=steps)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)


@pytest.mark.parametrize("at_face_rate", [False, True])
def test_a_bottom_hears_long_clips_in_windows(at_face_rate, tmp_path):
    sizes = {"bottom_width": 64, "encoder_depth": 1, "hidden_width": 4}
    model = tiny_model(encoder="whisper", blocks_at_face_rate=at_face_rate, **sizes)
    save_model(model, tmp_path / "model.safetensors")
    export_file(tmp_path / "model.safetensors", tmp_path / "model.onnx")
    talker = GraphTalker(Graph(tmp_path / "model.onnx", threads=1))
    for seconds in (28.0, 31.5):  # one window, and two
        sound = speech(round(seconds * 16000))
        expected, found = model.animate(sound), talker.animate(sound)
        np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)


def test_numbers_of_16_bits_stay_so(tmp_path):
    model = tiny_model(hidden_width=32)
    save_model(model, tmp_path / "half.safetensors", half=True)
    save_model(model, tmp_path / "whole.safetensors")
    for name in ("half", "whole"):
        export_file(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.onnx")
    assert any(
        stored.data_type == onnx.TensorProto.FLOAT16
        for stored in onnx.load(tmp_path / "half.onnx").graph.initializer
    )
    assert not any(
        stored.data_type == onnx.TensorProto.FLOAT16
        for stored in onnx.load(tmp_path / "whole.onnx").graph.initializer
    )
    expected = load_model(tmp_path / "half.safetensors").animate(speech(5000))
    found = GraphTalker(Graph(tmp_path / "half.onnx", threads=1)).animate(speech(5000))
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)


def test_it_describes_itself(exported):
    loaded = onnx.load(exported)
    assert [value.name for value in loaded.graph.input] == list(INPUTS)
    assert [value.name for value in loaded.graph.output] == list(OUTPUTS)
    assert [entry.key for entry in loaded.metadata_props] == [KEY]
    graph = Graph(exported, threads=1)
    origin = exported.with_suffix(".safetensors")
    about = {"steps": 2, "weights": f"{zlib.crc32(origin.read_bytes()):08x}"}
    assert graph.description == read_description(origin) | {"graph": about}
    assert graph.is_of(origin)
    assert not any(node.doc_string for node in loaded.graph.node)  # which would name source files


def test_the_same_model_gives_the_same_bytes(weights, exported, tmp_path):
    export_file(weights, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_a_model_with_a_large_encoder_is_refused(tmp_path):
    save_model(large_model(), tmp_path / "teacher.safetensors")
    with pytest.raises(CheckpointError, match="large speech encoder cannot be exported"):
        export_file(tmp_path / "teacher.safetensors", tmp_path / "teacher.onnx")
    assert not (tmp_path / "teacher.onnx").exists()


@pytest.mark.parametrize("name", ["graph", "graph.npz", "graph.onnx.txt"])
def test_only_onnx_is_written(name, weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"name it .*\.onnx"):
        export_file(weights, tmp_path / name)


def test_without_onnx_it_says_what_to_install(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("dtalk.engine.export.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"pip install 'dtalk\[export\]'"):
        export_file(weights, tmp_path / "graph.onnx")


def test_a_place_that_cannot_be_written(weights, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DtalkError, match="cannot write"):
        export_file(weights, Path(tmp_path / "file" / "graph.onnx"))
