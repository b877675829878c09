"""Graph files: what is refused, and what the inputs mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import speech

from dtalk.checkpoint import KEY
from dtalk.engine.external import StaleGraphError
from dtalk.engine.graph import Graph
from dtalk.engine.voice import Voice
from dtalk.errors import CheckpointError
from dtalk.motion.noise import standard_normal


@pytest.fixture(scope="module")
def graph(exported) -> Graph:
    return Graph(exported, threads=1)


def noise(frames: int = 15) -> np.ndarray:
    return standard_normal(0, frames)


def test_what_comes_out(graph):
    found = graph.run(speech(8000), noise())
    assert found.coefficients.shape == (15, 52)
    assert found.coefficients.dtype == np.float32
    assert 0 <= found.coefficients.min() <= found.coefficients.max() <= 1
    for weights, count in ((found.identity, 4), (found.emotion, 3)):
        assert weights.shape == (count,)
        assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.emotion_probability, found.emotion, atol=1e-6)
    np.testing.assert_allclose(found.identity_probability, found.identity, atol=1e-6)


def test_weights_as_found_are_the_default(graph):
    inferred = graph.run(speech(8000), noise())
    given = graph.run(
        speech(8000),
        noise(),
        Voice(inferred.identity, inferred.emotion[None], np.ones(1, np.float32)),
    )
    np.testing.assert_allclose(given.coefficients, inferred.coefficients, atol=1e-6)


def test_predictions_are_summed_by_their_shares(graph):
    """Two halves of the same prediction are that prediction; two of different ones lie between."""
    one, other = np.eye(3, dtype=np.float32)[[0, 1]]
    who = np.array([0, 1, 0, 0], np.float32)

    def run(rows, shares):
        voice = Voice(who, np.stack(rows), np.array(shares, np.float32))
        return graph.run(speech(8000), noise(), voice, temperature=0).coefficients

    first, second = run([one], [1]), run([other], [1])
    np.testing.assert_allclose(run([one, one], [0.5, 0.5]), first, atol=1e-6)
    assert abs(first - second).max() > 1e-4
    # Without temperature it is the first prediction, which is linear in the shares.
    np.testing.assert_allclose(
        run([one, other], [0.25, 0.75]), 0.25 * first + 0.75 * second, atol=1e-5
    )


def test_temperature_scales_the_way_from_the_mean(graph):
    at = [
        graph.run(speech(8000), noise(), temperature=value).coefficients
        for value in (0.0, 0.5, 1.0)
    ]
    assert abs(at[2] - at[0]).max() > 1e-3
    np.testing.assert_allclose(at[1], (at[0] + at[2]) / 2, atol=1e-5)


def test_equal_inputs_give_equal_bytes(graph):
    first, second = (graph.run(speech(8000), noise()).coefficients for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_a_cut_file_is_refused_in_one_line(size, exported, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"cannot load .*cut\.onnx") as caught:
        Graph(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        Graph(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="is a folder"):
        Graph(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "no dtalk model"),
        ({KEY: "{"}, "cannot load"),
        ({KEY: '{"format_version": 99}'}, "format version 99"),
    ],
)
def test_foreign_metadata_is_refused(change, message, exported, tmp_path):
    loaded = onnx.load(exported)
    onnx.helper.set_model_props(loaded, change)
    onnx.save(loaded, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match=message):
        Graph(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("about", [None, [], {}, {"steps": "2"}])
def test_a_graph_that_does_not_say_its_steps_is_refused(about, exported, tmp_path):
    loaded = onnx.load(exported)
    description = json.loads(loaded.metadata_props[0].value) | {"graph": about}
    onnx.helper.set_model_props(loaded, {KEY: json.dumps(description)})
    onnx.save(loaded, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="not a graph that dtalk exported"):
        Graph(tmp_path / "other.onnx")


def test_a_graph_with_other_inputs_is_refused(exported, tmp_path):
    loaded = onnx.load(exported)
    loaded.graph.input.append(
        onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])
    )
    onnx.save(loaded, tmp_path / "other.onnx")
    with pytest.raises(StaleGraphError, match="exported by another dtalk"):
        Graph(tmp_path / "other.onnx")


def test_the_runtime_keeps_no_account_of_its_use(exported, tmp_path):
    """Since 1.29 it sends its use to its makers, and begins with an id in two places."""
    code = "import sys; from dtalk.engine.graph import Graph; Graph(sys.argv[1])"
    places = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "TEMP", "XDG_CACHE_HOME")}
    environment = {**os.environ, **places, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-c", code, str(exported)]
    subprocess.run(command, env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_without_onnxruntime_it_says_what_to_do(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match="onnxruntime"):
        Graph(exported)
