from __future__ import annotations

import numpy as np
import pytest
from avatars import HEAD, HIPS, LEFT, MESH, RIGHT, as_vrm0, avatar, with_skeleton
from scipy.spatial.transform import Rotation

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.gltf import channels_of, find_targets
from dtalk.motion.gltf_joints import eye_nodes, head_node, turned
from dtalk.utils.glb import Glb, GlbError

BLINDLY = [name for name in ARKIT_NAMES if not name.startswith("eyeLook")]


def looking_left(frames: int = 2) -> np.ndarray:
    weights = np.zeros((frames, 52))
    weights[:, ARKIT_NAMES.index("eyeLookOutLeft")] = 1
    weights[:, ARKIT_NAMES.index("eyeLookInRight")] = 1
    return weights


def eyes_of(glb: Glb) -> dict[int, object]:
    targets = find_targets(glb)
    found = eye_nodes(glb, looking_left(), targets, channels_of(targets))
    return {node: pytest.approx(angles[0]) for node, angles in found.items()}


def world(glb: Glb, node: int, local: np.ndarray) -> Rotation:
    """Of a node below the hips, its own rotation being ``local``."""
    hips = Rotation.from_quat(glb.content["nodes"][HIPS].get("rotation", [0, 0, 0, 1]))
    return hips * Rotation.from_quat(local)


class TestHead:
    @pytest.mark.parametrize("name", ["Head", "head", "mixamorig:Head", "J_Bip_C_Head", "DEF-head"])
    def test_by_name(self, name):
        assert head_node(with_skeleton(avatar(), head=name)) == HEAD

    @pytest.mark.parametrize("name", ["HeadTop_End", "Forehead", "Neck", ""])
    def test_other_names(self, name):
        assert head_node(with_skeleton(avatar(), head=name)) is None

    def test_only_joints(self):
        glb = avatar()
        glb.add("nodes", {"name": "Head"})
        assert head_node(glb) is None

    @pytest.mark.parametrize(
        ("angles", "forward"),
        [
            ([0, 0, 0], [0, 0, 1]),
            ([np.pi / 2, 0, 0], [1, 0, 0]),  # yaw: to its own left
            ([0, np.pi / 2, 0], [0, -1, 0]),  # pitch: down
            ([0, 0, 1.0], [0, 0, 1]),  # roll
        ],
    )
    @pytest.mark.parametrize("hips", [[0, 0, 0, 1], [0.5, -0.5, 0.5, 0.5], [0.6, 0, 0, 0.8]])
    def test_turns_are_those_of_the_model_whatever_its_joints(self, angles, forward, hips):
        glb = with_skeleton(avatar(), {"rotation": hips})
        rest = world(glb, HEAD, glb.content["nodes"][HEAD]["rotation"])
        [local] = turned(glb, HEAD, [angles])
        moved = world(glb, HEAD, local) * rest.inv()
        np.testing.assert_allclose(moved.apply([0, 0, 1]), forward, atol=1e-6)

    def test_a_vrm_0_looks_the_other_way(self):
        glb = as_vrm0(with_skeleton(avatar()))
        rest = world(glb, HEAD, glb.content["nodes"][HEAD]["rotation"])
        [local] = turned(glb, HEAD, [[np.pi / 2, 0, 0]])
        moved = world(glb, HEAD, local) * rest.inv()
        np.testing.assert_allclose(moved.apply([0, 0, -1]), [-1, 0, 0], atol=1e-6)

    def test_no_jumps_of_sign(self):
        glb = with_skeleton(avatar())
        quaternions = turned(glb, HEAD, np.linspace(0, 9, 50)[:, None] * [1, 0, 0])
        assert ((quaternions[1:] * quaternions[:-1]).sum(axis=1) > 0).all()


class TestEyes:
    def test_joints_turn_where_no_target_does(self):
        angles = [0.6, 0, 0]
        assert eyes_of(with_skeleton(avatar(BLINDLY))) == {LEFT: angles, RIGHT: angles}
        assert eyes_of(with_skeleton(avatar())) == {}

    @pytest.mark.parametrize(("centre", "turns"), [(0.0, True), (5.0, False)])
    def test_eyeballs_without_targets_turn_about_their_middle(self, centre, turns):
        glb = avatar()
        ball = np.array([[-1, -1, -1], [1, 1, 1]], np.float32) + np.float32(centre)
        mesh = {"primitives": [{"attributes": {"POSITION": glb.add_accessor(ball, bounds=True)}}]}
        ball_node = glb.add("nodes", {"mesh": glb.add("meshes", mesh)})
        eye = glb.add("nodes", {"name": "grp_eyeLeft", "children": [ball_node]})
        assert list(eyes_of(glb)) == ([eye] if turns else [])

    def test_eyeballs_with_targets_of_their_own_do_not(self):
        glb = avatar()
        glb.content["nodes"][MESH]["name"] = "EyeLeft"
        assert eyes_of(glb) == {}


@pytest.mark.parametrize("children", [[HIPS], [HEAD, HIPS]])
def test_nodes_that_are_their_own_parents(children):
    glb = with_skeleton(avatar())
    glb.content["nodes"][HEAD]["children"] = children
    with pytest.raises(GlbError, match="own parents"):
        turned(glb, HEAD, [[0, 0, 0]])
