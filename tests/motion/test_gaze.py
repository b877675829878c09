from __future__ import annotations

import numpy as np
import pytest

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.gaze import eye_angles


@pytest.mark.parametrize(
    ("name", "angles"),
    [
        ("eyeLookOutLeft", [[0.6, 0], [0, 0]]),
        ("eyeLookInLeft", [[-0.6, 0], [0, 0]]),
        ("eyeLookOutRight", [[0, 0], [-0.6, 0]]),
        ("eyeLookInRight", [[0, 0], [0.6, 0]]),
        ("eyeLookDownLeft", [[0, 0.6], [0, 0]]),
        ("eyeLookUpRight", [[0, 0], [0, -0.45]]),
        ("eyeBlinkLeft", [[0, 0], [0, 0]]),
    ],
)
def test_each_curve(name, angles):
    """Outward is to the face's own left for its left eye, to its right for the other."""
    weights = np.zeros((3, 52))
    weights[1, ARKIT_NAMES.index(name)] = 1
    found = eye_angles(weights)
    np.testing.assert_allclose(found[1], angles, atol=1e-7)
    assert not found[[0, 2]].any()


def test_a_public_recording():
    """Curves and angles of one frame that Live Link Face recorded (calibrated), radians."""
    weights = np.zeros((1, 52))
    weights[0, ARKIT_NAMES.index("eyeLookInLeft")] = 0.0434639417
    assert -eye_angles(weights)[0, 0, 0] == pytest.approx(0.0240051281, abs=0.003)
