"""Eyes: they turn, and the lids close over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flames import (
    FullSize,
)
from rigs import BALLS, weights_of
from scipy.spatial.transform import Rotation

from dtalk.heads.eyes import gaze, seen
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES


@pytest.mark.parametrize(
    ("name", "side", "axis", "degrees"),
    [
        ("eyeLookOutLeft", "Left", "Y", 24),
        ("eyeLookInLeft", "Left", "Y", -24),
        ("eyeLookOutRight", "Right", "Y", -24),
        ("eyeLookInRight", "Right", "Y", 24),
        ("eyeLookUpLeft", "Left", "X", -16),
        ("eyeLookDownRight", "Right", "X", 18),
    ],
)
def test_eyes_turn_about_their_joints(
    head: FlameHead, name: str, side: str, axis: str, degrees: float
) -> None:
    ball, joint = BALLS[side], head.joints[3 if side == "Left" else 4]
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    expected = (head.vertices[ball] - joint) @ turn.T + joint
    moved = head.deform(weights_of(**{name: 1}))
    np.testing.assert_allclose(moved[ball], expected, atol=1e-6)
    other = BALLS["Right" if side == "Left" else "Left"]
    np.testing.assert_allclose(moved[other], head.vertices[other], atol=1e-7)


def test_looking_left_turns_both_eyes_to_the_left(head: FlameHead) -> None:
    poses = gaze(weights_of(eyeLookOutLeft=1, eyeLookInRight=1)[None])[0]
    np.testing.assert_allclose(poses, [[0, np.deg2rad(24), 0]] * 2, atol=1e-7)


# --- lids ---------------------------------------------------------------------------------------


def test_seen_by_hand() -> None:
    """An octahedron, before it a square that hides its upper half, or nothing, or all."""
    ball = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5],
                      [0, 3, 5]])  # fmt: skip

    def count(low: float, depth: float) -> int:
        plate = np.array([[-2, low, depth], [2, low, depth], [2, 2, depth], [-2, 2, depth]])
        both = np.concatenate((faces, [[6, 7, 8], [6, 8, 9]]))
        return seen(np.concatenate((ball, plate)), both, np.arange(6))

    everything = 1 + 4 + 4  # the tip, the edges' and the faces' middles before the centre
    assert count(1.5, 2) == everything
    assert count(-2, -2) == everything
    assert count(-2, 2) == 0
    assert count(0.01, 2) == everything - 1 - 2  # an edge and two faces lie above


def turned(head: FlameHead, degrees: float, **values: float) -> np.ndarray:
    """Vertices of an expression, seen from the side."""
    turn = Rotation.from_euler("Y", degrees, degrees=True).as_matrix().astype(np.float32)
    return head.deform(weights_of(**values)) @ turn.T


@pytest.mark.parametrize("degrees", [-30, 0, 30])
@pytest.mark.parametrize("side", ["Left", "Right"])
def test_closed_lids_leave_nothing_of_the_eye_to_be_seen(
    head: FlameHead, side: str, degrees: float
) -> None:
    def visible(blink: float) -> int:
        values = {f"eyeBlink{side}": blink}
        return seen(turned(head, degrees, **values), head.faces, BALLS[side])

    assert visible(0) > 300
    assert 0 < visible(0.5) < visible(0)
    assert visible(0.9) == 0
    assert visible(1) == 0


@pytest.mark.parametrize(
    "neutral",
    [
        {"eyeWideLeft": 1.0, "eyeWideRight": 1.0},
        {"eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4},
        {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "jawOpen": 0.2},
    ],
)
def test_lids_close_whatever_the_neutral_face(
    head: FlameHead, full: FullSize, neutral: dict[str, float]
) -> None:
    """A subject's own template, carried anew and by `with_template`."""
    template = full.content["v_template"] + np.einsum(
        "k,kvc->vc", weights_of(**neutral), full.fields
    )
    flame = replace(head.flame, template=template.astype(np.float32))
    from dtalk.heads.flame_head import flame_head
    from dtalk.heads.transfer.transfer import transfer

    anew = flame_head(flame, transfer(built_in(), template, flame.faces, flame.eyeballs))
    for other in (anew, head.with_template(template)):
        closed = other.deform(weights_of(eyeBlinkLeft=1, eyeBlinkRight=1))
        for ball in BALLS.values():
            assert seen(closed, head.faces, ball) == 0


def test_lids_never_enter_the_eyeball(head: FlameHead) -> None:
    rng = np.random.default_rng(3)
    clip = np.zeros((60, 52), dtype=np.float32)
    eyes = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith("eye")]
    clip[:, eyes] = rng.random((60, len(eyes)))
    moved = head.deform(clip)
    for eye, side in zip(head.eyes, BALLS):
        assert len(eye.lids) > 100
        radius = np.linalg.norm(head.vertices[BALLS[side]] - eye.centre, axis=1).max()
        before = np.linalg.norm(head.vertices[eye.lids] - eye.centre, axis=1)
        after = np.linalg.norm(moved[:, eye.lids] - eye.centre, axis=2)
        assert (after > np.minimum(before, radius) - 1e-6).all()
