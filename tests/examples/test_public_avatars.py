"""Avatars that other people made, where their packages are installed.

npm install --no-save gltf-validator three @needle-tools/facefilter, pip install openfacefx
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import smooth_motion
from node import MODULES, ROOT, needs, node, validate

from dtalk.heads.avatar import AvatarHead
from dtalk.heads.load import load_head
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.motion.gltf import animate_avatar, read_glb
from dtalk.utils.glb import Glb
from examples.gltf import expected

FRAMES = 12


def raccoon() -> Path:
    """MediaPipe's raccoon, compressed by meshopt, as Needle's face filter has it."""
    assets = "@needle-tools/facefilter/unity/Runtime/Assets"
    if not (MODULES / assets).is_dir():
        pytest.skip("npm install --no-save @needle-tools/facefilter")
    return MODULES / assets / "Racoon.glb"


def facecap() -> Path:
    """The face of three.js's example, with animations and weights of its own."""
    spec = importlib.util.find_spec("openfacefx")
    if spec is None or spec.origin is None:
        pytest.skip("pip install openfacefx")
    return Path(spec.origin).parent / "studio_web" / "assets" / "facecap.glb"


@pytest.fixture(params=[raccoon, facecap])
def avatar(request) -> Path:
    return request.param()


def test_the_validator_finds_nothing_that_the_avatar_had_not(avatar, tmp_path):
    needs("gltf-validator")
    assert animate_avatar(avatar, Motion(smooth_motion(FRAMES)), tmp_path / "talk.glb") == []
    before, after = (validate(path)["issues"] for path in (avatar, tmp_path / "talk.glb"))
    assert after["messages"] == before["messages"]


def test_three_js_shows_the_shapes(avatar, tmp_path):
    needs("three")
    pytest.importorskip("meshopt")
    write_motion(Motion(smooth_motion(FRAMES)), tmp_path / "a.npz")
    expected.main(str(tmp_path / "a.npz"), str(tmp_path), str(avatar))
    told = node(str(ROOT / "examples/gltf/three.mjs"), str(tmp_path))
    assert "52 shapes" in told
    apart = [float(found) for found in re.findall(r"difference ([\d.]+) mm", told)]
    assert len(apart) == 4
    assert max(apart) < 0.01


def test_its_mesh_stays_and_curves_come_back(avatar, tmp_path):
    motion = Motion(smooth_motion(FRAMES))
    animate_avatar(avatar, motion, tmp_path / "talk.glb")
    before, after = Glb.load(avatar), Glb.load(tmp_path / "talk.glb")
    assert after.binary[: len(before.binary)] == before.binary
    assert after.content["meshes"] == before.content["meshes"]
    np.testing.assert_array_equal(read_glb(tmp_path / "talk.glb").coefficients, motion.coefficients)


@pytest.mark.filterwarnings("ignore:head .* compressed by KTX2")
def test_it_is_drawn_with_its_own_shapes(avatar, tmp_path):
    pytest.importorskip("meshopt")
    head = load_head(avatar, cache=tmp_path)
    assert isinstance(head, AvatarHead)
    assert head.missing == ()
    moved = np.abs(head.deform(np.eye(52)) - head.vertices).max(axis=(1, 2))
    assert (moved > 1e-4).sum() >= 44  # metres; eyes may be meshes of their own
