"""Noise: torch's own numbers from numpy's generator."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from helpers import speech
from hypothesis import given
from hypothesis import strategies as st

from dtalk.model import clip_noise
from dtalk.motion.noise import blink_generator, noise_seed, normal_blocks, standard_normal


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 13, 300, 331])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32 + 5, 2**56 - 1])
def test_the_numbers_are_torchs(frames, seed):
    expected = torch.randn(frames, 52, generator=torch.Generator().manual_seed(seed))
    found = standard_normal(seed, frames)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=3e-6, rtol=1e-5)


@given(st.integers(0, 2**63 - 1), st.integers(1, 2000))
def test_a_clip_starts_from_the_models_noise(seed, samples):
    waveform = speech(samples)
    expected = clip_noise(waveform, 3, seed, 1, "ddim")[0]
    found = standard_normal(noise_seed(waveform, seed), 3)
    np.testing.assert_allclose(found, expected.numpy(), atol=3e-6, rtol=1e-5)


def test_the_seed_is_a_digest_of_the_users_seed_and_the_sound():
    waveform = np.array([0.5, -1], np.float32)
    text = (3).to_bytes(8, "little") + waveform.tobytes()
    assert noise_seed(waveform, 3) == int.from_bytes(hashlib.sha256(text).digest()[:7], "little")
    assert noise_seed(waveform, 3) == noise_seed(waveform[::-1].copy()[::-1], 3)  # not contiguous
    assert noise_seed(waveform, -1) == noise_seed(waveform, 2**64 - 1)
    assert len({noise_seed(waveform, 3), noise_seed(waveform, 4), noise_seed(-waveform, 3)}) == 3


def test_blinks_are_from_another_part_of_the_digest():
    first, second = (blink_generator(speech(100), seed).random(3) for seed in (0, 1))
    assert (blink_generator(speech(100), 0).random(3) == first).all()
    assert (first != second).any()


@pytest.mark.parametrize("frames", [4, 8, 100])
def test_blocks_are_one_stream(frames):
    blocks = list(itertools.islice(normal_blocks(11, frames), 3))
    assert [block.shape for block in blocks] == [(frames, 52)] * 3
    np.testing.assert_array_equal(np.concatenate(blocks), standard_normal(11, 3 * frames))


def test_a_stream_is_a_clips_noise_but_for_its_last_frame():
    """A clip of 5 frames ends in half a group, for which torch draws its last 16 numbers anew."""
    stream, clip = next(normal_blocks(2, 8))[:5], standard_normal(2, 5)
    np.testing.assert_array_equal(stream[:4], clip[:4])
    np.testing.assert_array_equal(stream[4, :36], clip[4, :36])
    assert (stream[4, 36:] != clip[4, 36:]).any()


@pytest.mark.parametrize("frames", [1, 6])
def test_blocks_of_broken_groups_are_refused(frames):
    with pytest.raises(ValueError, match="a multiple of 4 frames"):
        next(normal_blocks(0, frames))


def test_it_is_standard_normal():
    found = standard_normal(5, 4000)
    assert abs(found.mean()) < 0.01
    assert found.std() == pytest.approx(1, abs=0.01)
    correlation = np.corrcoef(found.T) - np.eye(52)
    assert abs(correlation).max() < 0.08
