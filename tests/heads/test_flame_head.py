"""FLAME heads: posed as published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flames import (
    SKIN,
    FullSize,
    published,
)
from rigs import weights_of
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.eyes import gaze
from dtalk.heads.flame import Flame
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.load import load_head
from dtalk.motion.arkit import ARKIT_NAMES

# --- skinning -----------------------------------------------------------------------------------


def test_the_neutral_head_is_the_template(head: FlameHead, full: FullSize) -> None:
    np.testing.assert_allclose(head.deform(np.zeros(52)), full.content["v_template"], atol=2e-7)
    np.testing.assert_array_equal(head.faces, full.content["f"])


def test_identity_moves_the_template_as_published(place: Path, cache: Path, full: FullSize) -> None:
    betas = (0.5, -1.0, 0.2)
    shaped = load_head(place, betas, cache=cache)
    expected, joints = published(full.content, np.array(betas), np.zeros(0), np.zeros((5, 3)))
    np.testing.assert_allclose(shaped.deform(np.zeros(52)), expected, atol=1e-6)
    assert isinstance(shaped, FlameHead)
    np.testing.assert_allclose(shaped.joints, joints, atol=1e-6)
    assert shaped.betas == betas


def test_head_and_eyes_turn_as_published(head: FlameHead, full: FullSize) -> None:
    """Neck and eye joints against skinning written out joint by joint; the shapes moved before."""
    row = weights_of(eyeLookOutLeft=0.7, eyeLookUpRight=0.5, eyeLookInRight=0.4, jawOpen=0.3)
    angles = np.array([0.3, -0.2, 0.1])
    lids_only = replace(head, eyes=())
    content = full.content | {"posedirs": full.content["posedirs"].copy()}
    content["posedirs"][:, :, 9:] = 0  # the lids' own shapes stand in for these
    turn = Rotation.from_euler("YXZ", angles).as_rotvec()
    pose = np.array([[0, 0, 0], turn, [0, 0, 0], *gaze(row[None])[0]])
    moved = lids_only.deform(row) - head.vertices
    expected, _ = published(content, np.zeros(0), np.zeros(0), pose, moved)
    found = head.deform(row, angles)
    np.testing.assert_allclose(found[SKIN:], expected[SKIN:], atol=1e-5)
    untouched = np.setdiff1d(np.arange(SKIN), np.concatenate([eye.lids for eye in head.eyes]))
    np.testing.assert_allclose(found[untouched], expected[untouched], atol=1e-5)


def test_a_clip_is_frame_by_frame(head: FlameHead) -> None:
    rng = np.random.default_rng(0)
    clip, turns = rng.random((4, 52), dtype=np.float32), rng.normal(scale=0.2, size=(4, 3))
    together = head.deform(clip, turns)
    for frame, row, turn in zip(together, clip, turns, strict=True):
        np.testing.assert_allclose(head.deform(row, turn), frame, atol=1e-6)
    assert head.deform(np.zeros((0, 52))).shape == (0, 5023, 3)
    with pytest.raises(HeadError, match=r"must be \[52\] or \[T, 52\]"):
        head.deform(np.zeros(51))


def test_the_jaw_is_not_doubled(head: FlameHead, full: FullSize) -> None:
    """The jaw's joint has no say: its share given to the neck, all stays as it is."""
    moved = head.deform(weights_of(jawOpen=1))
    shares = head.flame.weights.copy()
    shares[:, 1] += shares[:, 2]
    shares[:, 2] = 0
    without = replace(head, flame=replace(head.flame, weights=shares))
    np.testing.assert_array_equal(without.deform(weights_of(jawOpen=1)), moved)
    drop = np.linalg.norm(moved - head.vertices, axis=1)
    truth = np.linalg.norm(full.fields[ARKIT_NAMES.index("jawOpen")], axis=1)
    chin = truth > 0.9 * truth.max()
    assert chin.sum() > 10
    np.testing.assert_allclose(drop[chin].mean(), truth[chin].mean(), rtol=0.1)


# --- another template, masks, the cache ---------------------------------------------------------


def test_its_own_template_changes_nothing(head: FlameHead) -> None:
    again = head.with_template(head.vertices)
    rows = np.random.default_rng(0).random((3, 52), dtype=np.float32)
    np.testing.assert_allclose(again.deform(rows), head.deform(rows), atol=2e-6)


def test_a_larger_template_moves_farther(head: FlameHead) -> None:
    larger = head.with_template(1.2 * head.vertices + np.float32(0.1))
    row = weights_of(mouthSmileLeft=1, jawOpen=0.5, browInnerUp=1)
    moved = larger.deform(row) - larger.vertices
    np.testing.assert_allclose(moved, 1.2 * (head.deform(row) - head.vertices), atol=2e-5)


@pytest.mark.parametrize("template", [np.zeros((5022, 3)), np.zeros(5023)])
def test_templates_of_another_size_are_refused(head: FlameHead, template: np.ndarray) -> None:
    with pytest.raises(HeadError, match=r"a template must be \[5023, 3\]"):
        head.with_template(template)


def test_flame_keeps_single_precision(head: FlameHead) -> None:
    flame: Flame = head.flame
    for array in (flame.template, flame.shapes, flame.pose, flame.weights, flame.regressor):
        assert array.dtype == np.float32
