"""Who speaks, and how they feel, in a long sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from helpers import EMOTIONS, IDENTITIES, tiny_config

from dtalk.engine.graph import Found
from dtalk.engine.hearing import Heard, hear, spread
from dtalk.engine.windows import LAYOUT, Layout
from dtalk.speech.audio import first_sample
from dtalk.speech.measures import measure

SMALL = Layout(grid=48, window=168, step=96, takeover=24, fade=12)


@pytest.mark.parametrize("frames", [2281, 3000, 10_000, 18_000, 432_000])
def test_windows_are_spread_over_the_sound(frames: int) -> None:
    found, own = spread(frames)
    bounds = LAYOUT.bounds(frames)
    assert (found[0], found[-1]) == (bounds[0], bounds[-1])
    assert set(found) <= set(bounds)
    assert len(set(found)) == len(found) == len(own) == min(12, len(bounds))
    assert all(b <= first < last <= e for (b, e), (first, last) in zip(found, own))
    assert (own[0][0], own[-1][1]) == (0, frames)
    assert len(bounds) > 12 or all(one[1] == other[0] for one, other in pairwise(own))


@dataclass
class Ear:
    """Finds bob in loud windows, ann in others."""

    config = tiny_config()
    lengths: list[tuple[int, int]] = field(default_factory=list)

    def run(self, levelled, noise, voice, temperature) -> Found:
        self.lengths.append((len(levelled), len(noise)))
        who = np.eye(4, dtype=np.float32)[int(np.abs(levelled).max() > 0.05)]
        how = np.array([0.25, 0.75, 0], np.float32)
        return Found(
            np.zeros_like(noise), who, how, who, how, np.full((len(noise), 2), len(self.lengths))
        )


def test_windows_count_by_their_speech() -> None:
    """Windows at 0, 96 and 192 of 168 frames each; speech ends at frame 96."""
    sound = np.zeros(first_sample(360), np.float32)
    sound[: first_sample(96)] = 0.1 * np.tile([1, -1], first_sample(96) // 2)
    ear, measures = Ear(), measure([sound], 0)
    found, features = hear(ear, lambda: iter([sound]), measures, SMALL)
    assert ear.lengths == [(first_sample(168), 168)] * 3
    # 96 spoken frames against two windows that count as one frame each.
    assert found.identity.tolist() == pytest.approx([2 / 98, 96 / 98, 0, 0], abs=1e-6)
    assert found.emotion.tolist() == [0.25, 0.75, 0]
    # Windows take over at 126 and 222: 126 frames of feature 1, 96 of 2, 138 of 3.
    mean = (126 + 2 * 96 + 3 * 138) / 360
    variance = (126 + 4 * 96 + 9 * 138) / 360 - mean**2
    assert features.tolist() == pytest.approx([mean] * 2 + [variance**0.5] * 2, abs=1e-4)
    few, _ = hear(ear, lambda: iter([sound]), measures, SMALL, most=2)
    assert few.identity.tolist() == pytest.approx([1 / 97, 96 / 97, 0, 0], abs=1e-6)


def test_labels_are_those_named_else_those_found() -> None:
    rows = (np.array(row, np.float32) for row in ([0, 1, 0, 0], [0.3, 0.7, 0], [0.1, 0.9, 0, 0]))
    identity, emotion, likely = rows
    heard = Heard(identity, emotion, likely, emotion)
    face = np.zeros((1, 52), np.float32)
    config = tiny_config()
    found = heard.animation(config, face, None, None)
    assert (found.identity, found.emotion) == (IDENTITIES[1], EMOTIONS[1])
    assert found.identity_confidence == pytest.approx(0.9)
    assert found.emotion_confidence == pytest.approx(0.7)
    named = heard.animation(config, face, "cat", "happy")
    assert (named.identity, named.emotion) == ("cat", "happy")
    assert named.identity_confidence is named.emotion_confidence is None
