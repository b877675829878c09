"""Gaze: the angles of the eyes from the eight eyeLook curves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array

# Radians at weight 1, by regression on two public recordings of Live Link Face, which hold both the
# curves and the angles: 34 degrees sideways, 34 down, 26 up.
SIDEWAYS, DOWNWARD, UPWARD = 0.6, 0.6, 0.45


def eye_angles(coefficients: npt.ArrayLike) -> Array:
    """Compute yaw and pitch of both eyes, left first, radians: [T, 52] -> [T, 2, 2].

    Positive angles look to the face's own left, and down.
    """
    weights = np.asarray(coefficients, dtype=np.float32)

    def channel(name: str) -> Array:
        column: Array = weights[:, ARKIT_NAMES.index(name)]
        return column

    angles = []
    for side, outward in (("Left", 1), ("Right", -1)):
        yaw = outward * SIDEWAYS * (channel(f"eyeLookOut{side}") - channel(f"eyeLookIn{side}"))
        down, up = channel(f"eyeLookDown{side}"), channel(f"eyeLookUp{side}")
        angles.append(np.stack((yaw, DOWNWARD * down - UPWARD * up), axis=1))
    return np.stack(angles, axis=1).astype(np.float32)
