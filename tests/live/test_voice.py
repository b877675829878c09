"""The voice of a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streams import NOBODY

from dtalk.config import AnimationOptions, ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.voice import Voice, as_found
from dtalk.live.voice import RunningVoice, neutral_of, voice_of

CONFIG = ModelConfig(("ann", "bob"), ("happy", "neutral"), emotion_strength=3.0)


def found(identity: list[float], emotion: list[float]) -> Found:
    heard = (np.array(identity, np.float32), np.array(emotion, np.float32))
    return Found(np.zeros((1, 52)), *heard, *heard, np.zeros((1, 2)))


def test_the_first_window_decides_for_itself() -> None:
    voice = RunningVoice(NOBODY).now
    assert not voice.identity.any()
    assert not voice.emotion.any()
    assert voice.share.tolist() == [1]


def test_windows_are_averaged_until_the_memory_is_full() -> None:
    voice = RunningVoice(NOBODY)
    voice.add(found([1, 0, 0], [0, 1]), 1)
    assert voice.now.identity.tolist() == [1, 0, 0]
    voice.add(found([0, 1, 0], [1, 0]), 3)
    assert voice.now.identity.tolist() == [0.25, 0.75, 0]
    assert voice.now.emotion.tolist() == [[0.75, 0.25]]


def test_an_emotion_that_is_not_probable_enough_is_neutral() -> None:
    neutral = np.array([0, 1, 0], np.float32)
    voice = RunningVoice(as_found(CONFIG), neutral, 0.5)
    voice.add(found([1, 0, 0], [0.4, 0.3, 0.3]), 1)
    assert voice.now.emotion.tolist() == [[0, 1, 0]]
    voice.add(found([1, 0, 0], [0.5, 0.25, 0.25]), 1)
    assert voice.now.emotion.tolist() == [[0.25, 0.625, 0.125]]


def test_where_there_is_no_neutral_emotions_are_as_found() -> None:
    assert neutral_of(replace(CONFIG, emotions=("happy",))) is None
    neutral = neutral_of(CONFIG)
    assert neutral is not None
    assert neutral.tolist() == [0, 1, 0]
    voice = RunningVoice(as_found(CONFIG), None, 0.5)
    voice.add(found([1, 0, 0], [0.5, 0.25, 0.25]), 1)
    assert voice.now.emotion.tolist() == [[0.5, 0.25, 0.25]]


def test_later_the_last_seconds_count() -> None:
    voice = RunningVoice(NOBODY)
    for _ in range(1000):
        voice.add(found([1, 0, 0], [0, 1]), 1)
    for _ in range(120):  # four seconds
        voice.add(found([0, 0, 1], [0, 1]), 1)
    assert voice.now.identity[2] == pytest.approx(1 - (1 - 1 / 120) ** 120, abs=1e-4)
    assert voice.now.identity.sum() == pytest.approx(1, abs=1e-4)


def test_what_the_user_says_stays() -> None:
    chosen = Voice(
        np.array([0, 1, 0], np.float32),
        np.array([[1, 0], [0, 1]], np.float32),
        np.array([-1, 2], np.float32),
    )
    voice = RunningVoice(chosen)
    voice.add(found([1, 0, 0], [1, 0]), 5)
    assert voice.now.identity.tolist() == [0, 1, 0]
    assert voice.now.emotion.tolist() == [[1, 0], [0, 1]]
    assert voice.now.share.tolist() == [-1, 2]


def test_what_is_not_named_is_found() -> None:
    voice = voice_of(CONFIG, AnimationOptions())
    assert not voice.identity.any()
    assert not voice.emotion.any()


def test_what_is_named_is_chosen() -> None:
    voice = voice_of(CONFIG, AnimationOptions(identity="bob", emotion="happy", emotion_strength=2))
    assert voice.identity.tolist() == [0, 1, 0]
    assert voice.emotion.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert voice.share.tolist() == [2, -1]
