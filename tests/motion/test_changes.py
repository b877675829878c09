from __future__ import annotations

import numpy as np

from dtalk.motion.changes import changed, made_of
from dtalk.motion.curves import Motion
from dtalk.motion.idle import add_idle_motion
from dtalk.motion.options import CurveOptions
from dtalk.motion.resample import resample_motion


def motion() -> Motion:
    values = np.random.default_rng(0).random((60, 52))
    return Motion(values, emotion="sad", emotion_confidence=0.5)


def test_nothing_is_changed_unless_asked_for():
    before = motion()
    assert changed(before, CurveOptions()) is before


def test_rate_first_then_idle_motion():
    found = changed(motion(), CurveOptions(fps=60, idle_motion=True), 3)
    wanted = add_idle_motion(resample_motion(motion(), 60), 3)
    np.testing.assert_array_equal(found.coefficients, wanted.coefficients)
    assert (found.fps, len(found)) == (60, 120)
    assert found.notes == "blinks and head motion are sampled from seed 3, not from the sound"


def test_summed_up():
    made = made_of(motion(), ["note"])
    assert (made.frames, made.seconds, made.notes) == (60, 2, ("note",))
    assert made.about == {"emotion": "sad", "emotion_confidence": 0.5}
