"""Small avatars, made up: a few triangles with named morph targets, on a skeleton if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.glb import Glb

MESH, HIPS, HEAD, LEFT, RIGHT = range(5)  # nodes


def avatar(names: Sequence[str] = ARKIT_NAMES) -> Glb:
    """A mesh with one target a name, the node of which is the only one."""
    glb = Glb()
    places = np.arange(9, dtype=np.float32).reshape(3, 3)
    targets = [{"POSITION": glb.add_accessor(places * k, bounds=True)} for k in range(len(names))]
    attributes = {"POSITION": glb.add_accessor(places, bounds=True)}
    mesh = {
        "primitives": [{"attributes": attributes, "targets": targets}],
        "extras": {"targetNames": list(names)},
    }
    glb.add("nodes", {"name": "Body", "mesh": glb.add("meshes", mesh)})
    glb.content["scene"] = glb.add("scenes", {"nodes": [MESH]})
    return glb


def with_skeleton(glb: Glb, hips: dict[str, Any] | None = None, head: str = "Head") -> Glb:
    """The avatar on a skin of hips, head and eyes; ``hips`` are added to that node."""
    glb.add("nodes", {"name": "Hips", "children": [HEAD], **(hips or {})})
    turned = [0.0, 0.0, float(np.sin(0.2)), float(np.cos(0.2))]
    glb.add("nodes", {"name": head, "children": [LEFT, RIGHT], "rotation": turned})
    glb.add("nodes", {"name": "LeftEye"})
    glb.add("nodes", {"name": "RightEye"})
    glb.content["scenes"][0]["nodes"].append(HIPS)
    glb.add("skins", {"joints": [HIPS, HEAD, LEFT, RIGHT]})
    return glb


def as_vrm0(glb: Glb, names: Sequence[str] = ARKIT_NAMES, share: float = 100) -> Glb:
    """The avatar with VRM 0 expressions of these names, one a target in their order."""
    groups = [
        {"name": name, "binds": [{"mesh": 0, "index": index, "weight": share}]}
        for index, name in enumerate(names)
    ]
    bones = [{"bone": "head", "node": HEAD}, {"bone": "leftEye", "node": LEFT}]
    vrm = {"blendShapeMaster": {"blendShapeGroups": groups}, "humanoid": {"humanBones": bones}}
    glb.content["extensions"] = {"VRM": vrm}
    return glb


def as_vrm1(glb: Glb, names: Sequence[str] = ARKIT_NAMES, share: float = 1) -> Glb:
    """The same for VRM 1."""
    custom = {
        name: {"morphTargetBinds": [{"node": MESH, "index": index, "weight": share}]}
        for index, name in enumerate(names)
    }
    bones = {"head": {"node": HEAD}}
    vrm = {"expressions": {"preset": {}, "custom": custom}, "humanoid": {"humanBones": bones}}
    glb.content["extensions"] = {"VRMC_vrm": vrm}
    return glb
