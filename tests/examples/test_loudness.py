"""What examples/loudness.py makes of a clip."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("loudness")
    del sys.modules["loudness"]


def test_the_clip_is_where_it_is_said_to_be_at_the_level_it_is_said_to_have(script):
    clip = np.float32([0.0, 0.5, -0.25, 0.1])
    found = list(script.variants(clip))
    levels = dict(zip(script.LEVELS, found))
    assert np.abs(levels[0].samples).max() == 1
    assert np.abs(levels[-40].samples).max() == pytest.approx(0.01, rel=1e-3)
    offset, alike, softer, loud, after = found[len(levels) :]
    assert (offset.samples - script.OFFSET).max() == pytest.approx(0.3)
    peaks = [np.abs(v.samples[v.start :]).max() for v in (alike, softer, loud, after)]
    assert peaks == pytest.approx([1, 10 ** (-22 / 20), 1, 10 ** (-30 / 20)], rel=1e-3)
    assert len(after.samples) == after.start + len(clip) == 6 * 16000 + 4


def test_what_is_no_speech_is_as_loud_as_it_says(script):
    silence, loud, *_ = script.no_speech()
    assert not silence.samples.any()
    assert loud.samples.std() == pytest.approx(0.1, rel=0.01)
