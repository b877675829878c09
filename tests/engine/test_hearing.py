"""Who speaks, and how they feel, in a long sound."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers import EMOTIONS, IDENTITIES, tiny_config

from dtalk.engine.graph import Found
from dtalk.engine.hearing import Heard, hear, spread
from dtalk.engine.windows import LAYOUT, Layout
from dtalk.speech.audio import first_sample
from dtalk.speech.measures import measure

SMALL = Layout(grid=48, window=168, step=96, takeover=24, fade=12)  # listens to 72 frames at once


@pytest.mark.parametrize("frames", [2281, 3000, 10_000, 18_000, 432_000])
def test_windows_are_spread_over_the_sound(frames: int) -> None:
    found = spread(frames)
    assert found[0] == (0, 840)
    assert frames - found[-1][1] < LAYOUT.grid
    assert all(begin % LAYOUT.grid == 0 and end - begin == 840 for begin, end in found)
    assert len(set(found)) == len(found) == min(20, (frames - 840) // 720 + 1)


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
            np.zeros_like(noise), who, how, who, how, np.zeros((len(noise), 2), np.float32)
        )


def test_windows_count_by_their_speech() -> None:
    """Five windows of 72 frames at 0, 48, ... 192; speech ends at frame 96."""
    sound = np.zeros(first_sample(264), np.float32)
    sound[: first_sample(96)] = 0.1 * np.tile([1, -1], first_sample(96) // 2)
    ear, measures = Ear(), measure([sound], 0)
    found = hear(ear, lambda: iter([sound]), measures, SMALL)
    assert ear.lengths == [(first_sample(72), 72)] * 5
    # 72 and 48 spoken frames against three windows that count as one frame each.
    assert found.identity.tolist() == pytest.approx([3 / 123, 120 / 123, 0, 0], abs=1e-6)
    assert found.emotion.tolist() == [0.25, 0.75, 0]
    few = hear(ear, lambda: iter([sound]), measures, SMALL, most=2)
    assert few.identity.tolist() == pytest.approx([1 / 73, 72 / 73, 0, 0], abs=1e-6)


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
