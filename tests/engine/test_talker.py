"""The exported student against torch: seeds, labels, strengths, lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import speech, tiny_model
from hypothesis import given
from hypothesis import strategies as st

from dtalk import inference
from dtalk.engine.graph import Graph
from dtalk.engine.talker import GraphTalker
from dtalk.errors import CheckpointError, DataError
from dtalk.speech.audio import load_audio

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "speech" / "jfk.flac"
LABELS = [
    ({}, "inferred"),
    ({"identity": "grid-s1"}, "identity"),
    ({"emotion": "happy"}, "emotion"),
    ({"emotion": "angry", "emotion_strength": 1.0, "identity": "crema-1003"}, "both"),
    ({"emotion": "sad", "emotion_strength": 2.5, "temperature": 1.7}, "strong"),
    ({"emotion": "surprised", "emotion_strength": 0.0}, "none of it"),
    ({"emotion": "neutral", "emotion_strength": 3.0}, "neutral"),
    ({"temperature": 0.0}, "mean"),
]


@pytest.fixture(scope="module")
def shipped():
    """The model that ships, and its graph."""
    path = inference.model_path(None)
    if not inference.graph_path(path).is_file():
        pytest.skip(f"{path} has no graph beside it")
    return inference.load(), GraphTalker(Graph(inference.graph_path(path), threads=1))


@pytest.fixture(scope="module")
def tiny(exported):
    return tiny_model(), GraphTalker(Graph(exported, threads=1))


def test_the_shipped_graph_is_of_the_shipped_model(shipped):
    assert shipped[1].graph.is_of(inference.model_path(None))


@pytest.mark.parametrize("options", [o for o, _ in LABELS], ids=[name for _, name in LABELS])
def test_the_shipped_graph_gives_the_shipped_models_curves(options, shipped):
    waveform = load_audio(EXAMPLE)
    for seed, samples in ((0, 100_000), (7, 30_001), (2**62, 9000)):
        one, other = (t.animate(waveform[:samples], seed=seed, **options) for t in shipped)
        np.testing.assert_allclose(other.coefficients, one.coefficients, atol=1e-4)
        assert (other.identity, other.emotion) == (one.identity, one.emotion)
        for name in ("identity_confidence", "emotion_confidence"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-4)


@given(
    st.integers(1, 9000),
    st.integers(0, 2**63 - 1),
    st.sampled_from([None, "ann", "cat"]),
    st.sampled_from([None, "happy", "sad"]),
    st.floats(0, 5),
    st.floats(0, 3),
)
def test_any_clip_seed_label_and_strength(tiny, samples, seed, identity, emotion, strength, heat):
    arguments = (speech(samples), identity, emotion, seed, None, heat, strength)
    one, other = (talker.animate(*arguments) for talker in tiny)
    np.testing.assert_allclose(other.coefficients, one.coefficients, atol=1e-4)


@pytest.mark.parametrize("closes", [True, False])
def test_the_mouth_closes_in_silence_if_the_configuration_says_so(tiny, closes):
    sound = np.concatenate([speech(8000), np.zeros(16000, np.float32)])
    one, other = (
        talker.with_config(close_in_silence=closes).animate(sound).coefficients for talker in tiny
    )
    np.testing.assert_allclose(other, one, atol=1e-5)
    assert (other[-5:, 17] == 0).all() == closes


def test_equal_calls_give_equal_bytes(tiny):
    first, second = (tiny[1].animate(speech(5000), seed=1).coefficients for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert (tiny[1].animate(speech(5000), seed=2).coefficients != first).any()


@pytest.mark.parametrize("kind", ["identity", "emotion"])
def test_unknown_labels_are_refused_as_torch_refuses_them(tiny, kind):
    messages = []
    for talker in tiny:
        with pytest.raises(DataError) as caught:
            talker.animate(speech(100), **{kind: "nobody"})
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_what_is_fixed_in_a_graph_is_said(tiny):
    with pytest.raises(CheckpointError, match="takes 2 steps, which are fixed"):
        tiny[1].animate(speech(100), steps=3)
    with pytest.raises(CheckpointError, match="by ddim, not ancestral"):
        tiny[1].animate(speech(100), sampler="ancestral")
    tiny[1].animate(speech(100), steps=2, sampler="ddim")


def test_torchs_own_threads_are_left_alone(tiny):
    before = torch.get_num_threads()
    tiny[1].animate(speech(100))
    assert torch.get_num_threads() == before
