"""Whole sounds measured block by block."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import speech
from hypothesis import given
from hypothesis import strategies as st

from dtalk.errors import AudioError
from dtalk.motion.noise import noise_seed
from dtalk.speech.audio import AudioWarning, frame_count
from dtalk.speech.channels import ChannelWarning
from dtalk.speech.loudness import is_steady, levels_of
from dtalk.speech.measures import cut, measure, reading_again
from dtalk.speech.voice_activity import speaking


@given(st.integers(1, 40_000), st.sampled_from([1, 100, 1600, 4096, 50_000]))
def test_measures_are_those_of_the_whole_sound(samples: int, size: int) -> None:
    size = max(size, samples // 50)  # thousands of blocks would be slow
    sound = speech(samples) * np.float32(0.3)
    found = measure((sound[at : at + size] for at in range(0, samples, size)), 7)
    assert found.samples == samples
    assert found.frames == frame_count(samples)
    np.testing.assert_allclose(found.levels.gains, levels_of(sound).gains, rtol=1e-5)
    assert found.digest.noise_seed == noise_seed(sound, 7)
    assert found.steady == is_steady(sound)


NOISE = np.random.default_rng(0).standard_normal(48_123).astype(np.float32)


@pytest.mark.parametrize(
    ("sound", "steady"),
    [(0 * NOISE, True), (0 * NOISE[:5000], True), (0.01 * NOISE, True), (speech(48_123), False)],
    ids=["silence", "short silence", "noise", "speech"],
)
def test_in_what_is_steady_nobody_speaks(sound: np.ndarray, steady: bool) -> None:
    found = measure([sound[:30_000], sound[30_000:]], 0)
    assert found.steady == is_steady(sound) == steady
    assert found.spoken.any() != steady


def test_more_sound_than_is_measured_at_a_time() -> None:
    sound = speech(400_123)
    found = measure((sound[at : at + 777] for at in range(0, len(sound), 777)), 0)
    np.testing.assert_array_equal(found.levels.gains, levels_of(sound).gains)
    assert found.digest.noise_seed == noise_seed(sound, 0)
    frame = sound[1066 + 1600 * 200 : 1600 * 201]  # the third of its unit
    assert found.rms[602] == pytest.approx(frame.std(), rel=1e-5)


def test_speech_is_found_where_it_is_in_the_whole_clip() -> None:
    sound = np.concatenate([np.zeros(16000), speech(32000), np.zeros(16000)]).astype(np.float32)
    expected = speaking(sound, 120)
    assert 50 < expected.sum() < 70
    assert measure([0.1 * sound], 0).spoken.tolist() == expected.tolist()


@given(st.lists(st.integers(0, 30), max_size=9), st.integers(1, 7))
def test_cuts_are_slices(edges: list[int], size: int) -> None:
    rows = np.arange(30, dtype=np.float32)
    begins, ends = sorted(edges[: len(edges) // 2]), sorted(edges[len(edges) // 2 :])
    spans = [(min(b, e), e) for b, e in zip(begins, ends) if e]
    spans = [(max((b, *(s[0] for s in spans[:k]))), e) for k, (b, e) in enumerate(spans)]
    spans = [(b, e) for b, e in spans if b <= e]
    found = cut((rows[at : at + size] for at in range(0, 30, size)), spans)
    assert [part.tolist() for part in found] == [list(range(b, e)) for b, e in spans]


def test_a_sound_that_ends_too_soon() -> None:
    found = cut(iter([np.zeros(10, np.float32)]), [(0, 5), (3, 11)])
    assert len(next(found)) == 5
    with pytest.raises(AudioError, match="was changed while it was read"):
        next(found)


def test_what_is_odd_about_a_sound_is_said_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with reading_again():
            warnings.warn("cut off", AudioWarning, 1)
            warnings.warn("cancelled", ChannelWarning, 1)
            warnings.warn("another", UserWarning, 1)
        warnings.warn("cut off", AudioWarning, 1)
    assert [str(one.message) for one in caught] == ["another", "cut off"]
