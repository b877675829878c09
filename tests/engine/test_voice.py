"""What a graph is told of labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dtalk.config import ModelConfig
from dtalk.engine.voice import chosen_voice
from dtalk.errors import DataError

CONFIG = ModelConfig(("ann", "bob"), ("happy", "neutral"), emotion_strength=3.0)


def test_without_labels_all_is_found() -> None:
    voice = chosen_voice(CONFIG)
    assert voice.identity.tolist() == [0, 0, 0]
    assert voice.emotion.tolist() == [[0, 0, 0]]
    assert voice.share.tolist() == [1]


def test_labels_are_weights() -> None:
    voice = chosen_voice(CONFIG, "bob", "happy", 1)
    assert voice.identity.tolist() == [0, 1, 0]
    assert voice.emotion.tolist() == [[1, 0, 0]]
    assert voice.share.tolist() == [1]


@pytest.mark.parametrize(("strength", "shares"), [(None, [3, -2]), (2.5, [2.5, -1.5]), (0, [0, 1])])
def test_a_named_emotion_is_measured_from_neutral(strength, shares) -> None:
    voice = chosen_voice(CONFIG, None, "happy", strength)
    assert voice.emotion.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert voice.share.tolist() == shares


def test_neutral_has_no_strength() -> None:
    voice = chosen_voice(CONFIG, None, "neutral", 5.0)
    assert (voice.emotion.tolist(), voice.share.tolist()) == ([[0, 1, 0]], [1])


def test_or_from_unknown_where_there_is_no_neutral() -> None:
    config = replace(CONFIG, emotions=("happy",))
    assert chosen_voice(config, None, "happy").emotion.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("labels", [("cat", None), (None, "bored")])
def test_labels_that_are_not_in_the_library_are_refused(labels) -> None:
    with pytest.raises(DataError, match="this model knows"):
        chosen_voice(CONFIG, *labels)
