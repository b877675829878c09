from __future__ import annotations

import numpy as np
import pytest

from dtalk.heads import correctives as module
from dtalk.heads.correctives import CLOSE, Corrective, correctives
from dtalk.heads.eyes import RiggedHead
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion

FRAMES = 24


@pytest.fixture
def motion() -> Motion:
    random = np.random.default_rng(0)
    turn = random.uniform(-0.3, 0.3, (FRAMES, 3))
    return Motion(random.random((FRAMES, 52), dtype=np.float32), head_rotation=turn)


def off(head, motion: Motion, found: list[Corrective]) -> np.ndarray:
    """How far shapes and correctives are from the head, metres: [T, V]."""
    fields = head.deform(np.eye(52)).astype(float) - head.vertices
    shown = head.vertices + np.tensordot(motion.coefficients.astype(float), fields, 1)
    for one in found:
        shown[:, one.rows] += one.weights[:, None, None] * one.fields.astype(float)
    wanted = head.unturned(motion.coefficients, motion.head_rotation)
    return np.linalg.norm(shown - wanted, axis=2)


def test_a_linear_head_lacks_nothing(motion):
    assert correctives(built_in(), motion) == []
    assert off(built_in(), motion, []).max() < CLOSE


def test_eyes_lids_and_neck_come_close(flame_head, motion):
    assert off(flame_head, motion, []).max() > 1e-3
    assert off(flame_head, motion, correctives(flame_head, motion)).max() < 1.01 * CLOSE


def test_frames_in_pieces_share_components(flame_head, motion, monkeypatch):
    """Three of eight frames, of which the second and third repeat the first."""
    again = np.tile(motion.coefficients[:8], (3, 1))
    repeated = Motion(again, head_rotation=np.tile(motion.head_rotation[:8], (3, 1)))
    once = correctives(flame_head, Motion(again[:8], head_rotation=motion.head_rotation[:8]))
    monkeypatch.setattr(module, "_CHUNK", 8)
    assert len(correctives(flame_head, repeated)) == len(once)
    found = correctives(flame_head, motion)
    assert len(found) > len(once)
    assert off(flame_head, motion, found).max() < 1.01 * CLOSE


def test_weights_are_shares(flame_head, motion):
    """Blender cuts off what is below 0 or above 1."""
    for one in correctives(flame_head, motion):
        assert one.weights.shape == (FRAMES,)
        assert 0 <= one.weights.min() <= one.weights.max() <= 1
        assert one.fields.shape == (len(one.rows), 3)


def test_without_a_turn_the_skin_needs_none(flame_head, motion):
    straight = Motion(motion.coefficients)
    eyes = np.zeros(len(flame_head.vertices), dtype=bool)
    for eye in flame_head.eyes:
        eyes[eye.vertices] = eyes[eye.lids] = True
    for one in correctives(flame_head, straight):
        assert eyes[one.rows].all()


def test_a_face_at_rest_needs_none(flame_head):
    assert correctives(flame_head, Motion(np.zeros((3, 52)))) == []


def test_one_frame(flame_head):
    weights = np.zeros((1, 52))
    weights[0, ARKIT_NAMES.index("eyeBlinkLeft")] = 0.5
    motion = Motion(weights)
    found = correctives(flame_head, motion)
    assert found
    assert off(flame_head, motion, found).max() < 1.01 * CLOSE


def test_there_are_only_so_many(flame_head, motion, monkeypatch):
    every = off(flame_head, motion, [])
    monkeypatch.setattr(module, "MOST", 2)
    found = correctives(flame_head, motion)
    assert len(found) <= 3 * (2 + 1)  # of three parts, and what is on top of the lowest of each
    assert off(flame_head, motion, found).max() < every.max()


def test_a_mesh_without_eyes_is_linear(flame_head, motion):
    fields = {name: getattr(flame_head, name) for name in vars(built_in()) if name != "neck"}
    plain = RiggedHead(**{name: fields[name] for name in built_in().__dataclass_fields__})
    assert plain.linear
    assert correctives(plain, motion) == []
