"""Landmarks of the built-in head."""

from __future__ import annotations

import numpy as np

from dtalk.heads.head import built_in
from dtalk.heads.transfer.landmarks import face_of, landmarks

# --- its parts ----------------------------------------------------------------------------------


def test_landmarks_of_the_built_in_head() -> None:
    """Found by geometry alone, they lie where the head's file says mouth and corners are."""
    own = built_in()
    nose, mouth, left, right, chin, *ears = landmarks(face_of(own))[:7]
    corners = own.vertices[list(own.corners)]
    assert np.abs((left - corners[0])[:2]).max() < 0.002
    assert np.abs((right - corners[1])[:2]).max() < 0.002
    assert np.abs((mouth - own.vertices[list(own.opening)].mean(axis=0))[:2]).max() < 0.002
    assert nose[2] == own.vertices[:, 2].max()
    assert chin[1] < mouth[1] - 0.02
    np.testing.assert_allclose(ears[0], ears[1] * [-1, 1, 1], atol=0.001)
