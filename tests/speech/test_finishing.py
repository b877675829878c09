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
