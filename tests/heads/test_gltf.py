from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from node import ROOT, assert_valid, needs, node, validate
from scipy.spatial.transform import Rotation

from dtalk.heads.gltf import head_glb, write_glb
from dtalk.heads.head import Head, built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.gltf import read_glb
from dtalk.utils.glb import Glb


def talk(frames: int = 20, fps: float = 30) -> Motion:
    random = np.random.default_rng(0)
    return Motion(
        random.random((frames, 52)),
        fps=fps,
        audio="talk.wav",
        emotion="happy",
        head_rotation=random.uniform(-0.4, 0.4, (frames, 3)),
    )


def played(glb: Glb, frame: int) -> np.ndarray:
    """Vertices [V, 3] as the specification has them: targets first, then the skin."""
    [mesh], [animation] = glb.content["meshes"], glb.content["animations"]
    [primitive] = mesh["primitives"]
    sampled = {
        channel["target"]["path"]: glb.read(animation["samplers"][channel["sampler"]]["output"])
        for channel in animation["channels"]
    }
    weights = sampled["weights"].reshape(-1, len(primitive["targets"]))[frame]
    places = glb.read(primitive["attributes"]["POSITION"]).astype(float)
    for weight, target in zip(weights, primitive["targets"]):
        places += weight * glb.read(target["POSITION"])
    joints = glb.read(primitive["attributes"]["JOINTS_0"])
    shares = glb.read(primitive["attributes"]["WEIGHTS_0"]).astype(float)
    origin = np.array(glb.content["nodes"][2]["translation"])
    turn = Rotation.from_quat(sampled["rotation"][frame])
    of_head = np.where(joints == 1, shares, 0).sum(axis=1)[:, None]
    return of_head * (turn.apply(places - origin) + origin) + (1 - of_head) * places


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("glb")
    write_glb(talk(), path / "talk.glb", name="talk")
    return path


class TestBuiltIn:
    def test_vertices_are_those_of_the_head(self, folder):
        glb, motion = Glb.load(folder / "talk.glb"), talk()
        assert motion.head_rotation is not None
        for frame in (0, 7, 13, 19):
            wanted = built_in().deform(motion.coefficients[frame], motion.head_rotation[frame])
            off = np.linalg.norm(played(glb, frame) - wanted, axis=1)
            assert off.max() < 1e-5  # metres

    def test_names_and_layout(self, folder):
        glb = Glb.load(folder / "talk.glb")
        [mesh] = glb.content["meshes"]
        assert mesh["extras"]["targetNames"] == list(ARKIT_NAMES)
        assert len(mesh["primitives"]) == 1
        targets = mesh["primitives"][0]["targets"]
        assert len(targets) == 52
        accessors = glb.content["accessors"]
        for target in targets:
            assert set(target) == {"POSITION", "NORMAL"}
            assert all("sparse" in accessors[index] for index in target.values())

    def test_size(self, folder):
        assert (folder / "talk.glb").stat().st_size < 3.2e6

    def test_normals_of_targets(self, folder):
        """At weight 1 base and target make normals of length 1 but for what is left out."""
        glb = Glb.load(folder / "talk.glb")
        primitive = glb.content["meshes"][0]["primitives"][0]
        normals = glb.read(primitive["attributes"]["NORMAL"])
        for target in primitive["targets"]:
            length = np.linalg.norm(normals + glb.read(target["NORMAL"]), axis=1)
            assert np.abs(length - 1).max() < 0.005

    def test_where_it_came_from(self, folder):
        about = Glb.load(folder / "talk.glb").content["asset"]["extras"]["dtalk"]
        assert about == {"fps": 30, "audio": "talk.wav", "emotion": "happy"}

    def test_curves_come_back_exactly(self, folder):
        found = read_glb(folder / "talk.glb")
        np.testing.assert_array_equal(found.coefficients, talk().coefficients)
        assert found.head_rotation is not None
        np.testing.assert_allclose(found.head_rotation, talk().head_rotation, atol=1e-6)

    def test_same_motion_same_bytes(self, folder):
        write_glb(talk(), folder / "again.glb", name="talk")
        assert (folder / "again.glb").read_bytes() == (folder / "talk.glb").read_bytes()

    def test_a_clip_leaves_the_head_of_the_next_alone(self):
        before = len(head_glb(built_in()).binary)
        assert "animations" not in head_glb(built_in()).content
        assert len(head_glb(built_in()).binary) == before

    def test_the_validator_finds_nothing(self, folder):
        needs("gltf-validator")
        assert_valid(folder / "talk.glb")
        report = validate(folder / "talk.glb")["info"]
        assert report["hasMorphTargets"]
        assert report["hasSkins"]
        assert report["animationCount"] == 1

    def test_three_js_sees_the_same(self, folder):
        assert max(seen_by_three(folder, built_in())) < 0.01


def seen_by_three(folder: Path, head: Head) -> list[float]:
    """How far ``talk.glb`` in three.js is from the head at four times, mm."""
    needs("three")
    motion, frames = talk(), [1, 6, 12, 18]
    assert motion.head_rotation is not None
    vertices = head.deform(motion.coefficients[frames], motion.head_rotation[frames])
    (folder / "expected.bin").write_bytes(vertices.astype("<f4").tobytes())
    (folder / "times.txt").write_text(",".join(str((k + 0.5) / 30) for k in frames))
    shown = node(str(ROOT / "examples/gltf/three.mjs"), str(folder))
    assert "52 shapes, eyeBlinkLeft ... tongueOut" in shown
    apart = [float(found) for found in re.findall(r"difference ([\d.]+) mm", shown)]
    assert len(apart) == 4
    return apart


def test_one_frame_of_a_still_head_is_valid(tmp_path):
    needs("gltf-validator")
    write_glb(Motion(np.zeros((1, 52))), tmp_path / "a.glb")
    assert_valid(tmp_path / "a.glb")
    assert read_glb(tmp_path / "a.glb").head_rotation is None


@pytest.fixture(scope="module")
def flame_folder(flame_head, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("flame_glb")
    write_glb(talk(), path / "talk.glb", flame_head)
    return path


class TestFlame:
    """Eyes that turn, lids that slide over them and a neck with correctives of its own."""

    def test_vertices_are_those_of_the_head(self, flame_folder, flame_head):
        glb, motion = Glb.load(flame_folder / "talk.glb"), talk()
        assert motion.head_rotation is not None
        for frame in (0, 7, 13, 19):
            wanted = flame_head.deform(motion.coefficients[frame], motion.head_rotation[frame])
            assert np.linalg.norm(played(glb, frame) - wanted, axis=1).max() < 1e-5  # metres

    def test_the_52_come_first(self, flame_folder):
        [mesh] = Glb.load(flame_folder / "talk.glb").content["meshes"]
        names = mesh["extras"]["targetNames"]
        count = len(mesh["primitives"][0]["targets"])
        assert names[:52] == list(ARKIT_NAMES)
        assert names[52:] == [f"corrective{k + 1}" for k in range(count - 52)]
        assert len(mesh["weights"]) == count > 52

    def test_curves_come_back_exactly(self, flame_folder):
        found = read_glb(flame_folder / "talk.glb")
        np.testing.assert_array_equal(found.coefficients, talk().coefficients)

    def test_the_validator_finds_nothing(self, flame_folder):
        needs("gltf-validator")
        assert_valid(flame_folder / "talk.glb")

    def test_three_js_sees_the_same(self, flame_folder, flame_head):
        assert max(seen_by_three(flame_folder, flame_head)) < 0.01

    def test_a_still_face_has_52_targets(self, flame_head, tmp_path):
        write_glb(Motion(np.zeros((2, 52))), tmp_path / "a.glb", flame_head)
        [mesh] = Glb.load(tmp_path / "a.glb").content["meshes"]
        assert len(mesh["primitives"][0]["targets"]) == 52
