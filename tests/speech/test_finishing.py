"""Finishing of samples: lips in silence, lids in blinks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers import speech, tiny_config

from dtalk.motion.arkit import LIDS, OPEN_LIDS, PARTING_CHANNELS
from dtalk.speech.finishing import finished, with_blinks

FACE = np.full((300, 52), 0.5, np.float32)
SOUND = np.concatenate([speech(32000), np.zeros(128000, np.float32)])


def test_lids_are_open_but_for_blinks_of_both():
    found = with_blinks(FACE, SOUND, 0)
    assert (found[:, LIDS[0]] == found[:, LIDS[1]]).all()
    lids = found[:, LIDS[0]]
    assert set(lids[lids <= OPEN_LIDS].tolist()) == {np.float32(OPEN_LIDS)}
    shut = lids > 0.9
    assert 1 <= (np.diff(shut.astype(int)) == 1).sum() <= 8  # blinks in ten seconds
    others = np.delete(np.arange(52), LIDS)
    np.testing.assert_array_equal(found[:, others], FACE[:, others])


def test_blinks_are_the_seeds_and_the_sounds():
    first = with_blinks(FACE, SOUND, 0)
    np.testing.assert_array_equal(with_blinks(FACE, SOUND, 0), first)
    assert (with_blinks(FACE, SOUND, 1) != first).any()
    assert (with_blinks(FACE, -SOUND, 0) != first).any()


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("blinks", [False, True])
def test_only_what_the_configuration_says(closes, blinks):
    config = dataclasses.replace(tiny_config(), close_in_silence=closes, blinks=blinks)
    found = finished(FACE, SOUND, 0, config)
    assert (found[-1, PARTING_CHANNELS] == (0 if closes else 0.5)).all()
    assert ((found[:, LIDS] == FACE[:, LIDS]).all()) == (not blinks)
    assert (FACE == 0.5).all()


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("decibels", [-200, -80, -20])
def test_the_mouth_rests_in_silence_and_steady_noise(closes, decibels):
    """The rest of the face does as it did."""
    noise = np.random.default_rng(0).standard_normal(160000) * 10 ** (decibels / 20)
    config = dataclasses.replace(tiny_config(), close_in_silence=closes, blinks=False)
    found = finished(FACE, noise.astype(np.float32), 0, config)
    assert not found[:, PARTING_CHANNELS].any()
    others = np.delete(np.arange(52), PARTING_CHANNELS)
    np.testing.assert_array_equal(found[:, others], FACE[:, others])


def test_a_voice_over_steady_noise_moves_the_mouth():
    """Three seconds of voice in ten of noise, as loud as it: what stands out is heard."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(160000).astype(np.float32)
    sound[80000:128000] += speech(48000)
    config = dataclasses.replace(tiny_config(), close_in_silence=False, blinks=False)
    np.testing.assert_array_equal(finished(FACE, sound, 0, config), FACE)
