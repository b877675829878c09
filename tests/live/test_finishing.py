"""Lips that meet in silence and lids that blink, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from streams import Mirror, in_blocks, quiet, syllables

from dtalk.live.finishing import Finishing, RunningBlinks
from dtalk.live.loudness import RunningLoudness
from dtalk.motion.arkit import LIDS, OPEN_LIDS, PARTING_CHANNELS
from dtalk.motion.idle import blinks

CONFIG = replace(Mirror.config, close_in_silence=False, blinks=False)
OTHERS = np.setdiff1d(np.arange(52), [*LIDS, *PARTING_CHANNELS])


def finished(frames: int, closes: bool, blinking: bool, sound: np.ndarray) -> np.ndarray:
    """A face whose curves are all at a half."""
    config = replace(CONFIG, close_in_silence=closes, blinks=blinking)
    finishing, loudness = Finishing(config, 6, 0), RunningLoudness()
    for block in in_blocks(sound):
        loudness.feed(block)
        finishing.feed(block, loudness)
    return finishing.finish(np.full((frames, 52), 0.5, np.float32))


def test_nothing_is_done_unless_the_configuration_says_so() -> None:
    assert np.all(finished(60, False, False, syllables(2)) == 0.5)


def test_lips_meet_where_nothing_stands_out_even_so() -> None:
    faces = finished(60, False, False, quiet(2))
    assert not faces[:, PARTING_CHANNELS].any()
    assert np.all(faces[:, [*OTHERS, *LIDS]] == 0.5)


def test_lips_meet_in_silence_and_nothing_else_moves() -> None:
    faces = finished(60, True, False, quiet(2))
    assert not faces[:, PARTING_CHANNELS].any()
    assert np.all(faces[:, [*OTHERS, *LIDS]] == 0.5)
    assert np.all(finished(20, True, False, syllables(2))[10:] == 0.5)


def test_lids_are_open_but_for_blinks() -> None:
    faces = finished(600, False, True, quiet(1))
    lids = faces[:, LIDS]
    assert np.all(lids[:, 0] == lids[:, 1])
    assert np.median(lids) == np.float32(OPEN_LIDS)
    assert lids.max() > 0.9
    assert np.all(faces[:, OTHERS] == 0.5)


def test_running_blinks_are_those_of_a_clip() -> None:
    running = RunningBlinks(3)
    found = [running.at(frame) for frame in range(900)]
    times = (np.arange(900) + 0.5) / 30
    expected = blinks(times, np.random.default_rng([3, 0xB11F]))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert 4 < np.count_nonzero(np.diff(np.array(found) > 0.5) > 0) / 2 < 30


def test_other_seeds_blink_at_other_times() -> None:
    one, other = ([RunningBlinks(seed).at(frame) for frame in range(300)] for seed in (1, 2))
    assert one != other


def test_speech_is_told_from_silence() -> None:
    finishing, loudness = Finishing(CONFIG, 6, 0), RunningLoudness()
    for block in in_blocks(syllables(1)):
        loudness.feed(block)
        finishing.feed(block, loudness)
    assert not finishing.spoken
    finishing.finish(np.zeros((10, 52), np.float32))
    assert finishing.spoken
