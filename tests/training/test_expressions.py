"""Prototypes of emotions over neutral faces."""

import numpy as np
import pytest

from dtalk.motion.arkit import ARKIT_NAMES, MIRROR
from dtalk.training.expressions import (
    CALM,
    EXCITED,
    PROTOTYPES,
    at_least_posed,
    intensity,
    posed,
    prototype,
)

NAMES = list(ARKIT_NAMES)


@pytest.mark.parametrize("emotion", PROTOTYPES)
def test_prototypes_are_symmetric_and_name_real_shapes(emotion):
    face = prototype(emotion)
    assert np.array_equal(face[list(MIRROR)], face)
    stems = {name.removesuffix("Left").removesuffix("Right") for name in ARKIT_NAMES}
    assert set(PROTOTYPES[emotion]) <= stems
    assert sum(face > 0) >= len(PROTOTYPES[emotion])


def test_the_prototype_of_a_smile_by_hand():
    face = prototype("happy")
    assert face[NAMES.index("mouthSmileLeft")] == face[NAMES.index("mouthSmileRight")]
    assert face[NAMES.index("mouthSmileLeft")] == np.float32(0.55)
    assert face[NAMES.index("jawOpen")] == face[NAMES.index("browInnerUp")] == 0


def test_strength_follows_the_voice():
    loud = np.concatenate([np.full(32000, 0.01), np.full(32000, 0.2)]).astype(np.float32)
    strength = intensity(loud, 120)
    assert strength[0] == pytest.approx(CALM + (EXCITED - CALM) * 0.05, abs=0.01)
    assert strength[-1] == pytest.approx(EXCITED, abs=0.01)
    assert np.all(np.diff(strength) >= -1e-6)
    assert intensity(np.zeros(16000, np.float32), 30).max() == pytest.approx(CALM)


def test_a_pose_keeps_what_is_there_and_stays_in_range():
    random = np.random.default_rng(0)
    face = random.uniform(0, 1, (60, 52)).astype(np.float32)
    sound = random.normal(0, 0.1, 32000).astype(np.float32)
    found = posed(face, sound, "surprised", np.random.default_rng(1))
    shown = prototype("surprised") > 0
    assert np.array_equal(found[:, ~shown], face[:, ~shown])
    assert np.all(found >= face - 1e-6)
    assert found.max() <= 1
    assert found.dtype == np.float32
    again = posed(face, sound, "surprised", np.random.default_rng(1))
    assert np.array_equal(found, again)


def test_a_pose_of_a_neutral_face_has_about_the_prototypes_strength():
    sound = np.full(48000, 0.1, np.float32)  # as loud everywhere: full strength
    brow = NAMES.index("browInnerUp")
    last = [
        posed(np.zeros((90, 52), np.float32), sound, "sad", np.random.default_rng(seed))[-1, brow]
        for seed in range(40)
    ]
    wanted = PROTOTYPES["sad"]["browInnerUp"] * EXCITED
    assert 0.84 * wanted <= min(last) < max(last) <= 1.16 * wanted


def test_motion_that_shows_an_emotion_already_is_left_alone():
    sound = np.full(48000, 0.1, np.float32)
    shown = at_least_posed(np.zeros((90, 52), np.float32), sound, "sad", np.random.default_rng(3))
    again = at_least_posed(shown, sound, "sad", np.random.default_rng(3))
    assert np.array_equal(again, shown)
    weak = at_least_posed(shown / 2, sound, "sad", np.random.default_rng(3))
    np.testing.assert_allclose(weak, shown, atol=1e-6)
