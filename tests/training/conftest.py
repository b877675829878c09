"""Fixtures of training: data, large encoders, a teacher, speech."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import (
    FakeLarge,
    write_data,
)
from rounds import write_speech, write_teacher


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def large(monkeypatch) -> list[FakeLarge]:
    """Large encoders as they are loaded, by the folder ``ear``."""
    loaded: list[FakeLarge] = []

    def load(place, layers, device, precision):
        assert (place, precision) == ("ear", "float32")
        loaded.append(FakeLarge(layers=tuple(layers) or (5,), name="the ear"))
        return loaded[-1]

    monkeypatch.setattr("dtalk.training.starting.load_large_encoder", load)
    return loaded


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "slow.safetensors"
    return write_teacher(path, data, dropout=0.2)


@pytest.fixture
def spoken(tmp_path) -> Path:
    """Two files of speech, one in a folder below, and one that is none."""
    folder = tmp_path / "speech"
    write_speech(folder / "long.wav", 1.5)
    write_speech(folder / "deep" / "short.flac", 0.3, 1)
    (folder / "bad.wav").write_text("no sound")
    return folder
