"""Joints of a glTF asset that turn: the head's and the eyes', found by role or by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.gaze import eye_angles
from dtalk.utils.glb import Glb, GlbError
from dtalk.utils.types import Array

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

AXES = "YXZ"  # yaw, pitch, roll, right-handed about y, x and z: see dtalk.heads.head.turns
_HEAD = re.compile(r"(.*[:_\-. ])?head")  # Head, mixamorig:Head, J_Bip_C_Head, DEF-head
_SIDES = ("left", "right")
_EYES = {
    side: re.compile(rf"(.*[:_\-. ])?({side}_?eye|eye_?{side}|{side[0]}_eye|eye_{side[0]})")
    for side in _SIDES
}
_LOOKS = [channel for channel, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")]


def head_node(glb: Glb) -> int | None:
    """Find the joint that turns the head: as a VRM says, else a skin's joint called head."""
    bone = _bones(glb).get("head")
    if bone is not None:
        return bone
    return next((node for node in _joints(glb) if _HEAD.fullmatch(_name(glb, node))), None)


def eye_nodes(
    glb: Glb,
    coefficients: npt.ArrayLike,
    targets: Collection[int],
    reached: npt.NDArray[np.bool_],
) -> dict[int, Array]:
    """Find the nodes of eyes that no target moves, and their yaw, pitch and roll [T, 3].

    That is a node which holds an eyeball's mesh without targets, or, in a model without eyeLook
    targets, an eye's joint.
    """
    angles = eye_angles(coefficients)
    found = {}
    for side, name in enumerate(_SIDES):
        node = _eye(glb, name, targets, bool(reached[_LOOKS].any()))
        if node is not None:
            found[node] = np.pad(angles[:, side], ((0, 0), (0, 1)))
    return found


def _eye(glb: Glb, side: str, targets: Collection[int], looks: bool) -> int | None:
    bone = None if looks else _bones(glb).get(f"{side}Eye")
    if bone is not None:
        return bone
    joints = _joints(glb)
    for node in range(len(glb.objects("nodes"))):
        if not _EYES[side].fullmatch(_name(glb, node)):
            continue
        below = [inner for inner in descendants(glb, node) if "mesh" in glb.objects("nodes")[inner]]
        plain = bool(below) and not any(inner in targets for inner in below)
        if _is_pivot(glb, node, below) if plain else (node in joints and not looks):
            return node
    return None


def turned(glb: Glb, node: int, angles: npt.ArrayLike) -> Array:
    """Compute local rotations [T, 4] of a node for yaw, pitch and roll [T, 3] of the model.

    The node is given its translation, rotation and scale instead of a matrix, which an animation
    demands.
    """
    from scipy.spatial.transform import Rotation

    above = _above(glb, node)
    own = _as_trs(glb, node)
    turns = Rotation.from_euler(AXES, np.asarray(angles, np.float64))
    return _continuous((above.inv() * turns * above * own).as_quat())


def to_angles(glb: Glb, node: int | None, quaternions: npt.ArrayLike) -> Array:
    """Invert `turned`: [T, 4] -> yaw, pitch and roll [T, 3]."""
    from scipy.spatial.transform import Rotation

    if node is None:
        raise GlbError("it has no head to turn")
    above, own = _above(glb, node), _as_trs(glb, node)
    turns = above * Rotation.from_quat(quaternions) * own.inv() * above.inv()
    return turns.as_euler(AXES).astype(np.float32)


def _continuous(quaternions: npt.NDArray[np.float64]) -> Array:
    """Remove jumps of sign, for which some players would turn a long way."""
    flips = np.sign((quaternions[1:] * quaternions[:-1]).sum(axis=1))
    signs = np.cumprod(np.concatenate(([1.0], np.where(flips < 0, -1.0, 1.0))))
    return (quaternions * signs[:, None]).astype(np.float32)


def _above(glb: Glb, node: int) -> Rotation:
    """Compute the rotation from a node's parent to where the face looks along +z."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.identity()
    for parent in _ancestors(glb, node):
        rotation = _rotation(glb.objects("nodes")[parent]) * rotation
    if "VRM" in (glb.content.get("extensions") or {}):  # VRM 0 looks along -z
        return Rotation.from_euler("Y", 180, degrees=True) * rotation
    return rotation


def _ancestors(glb: Glb, node: int) -> Iterator[int]:
    """Iterate over the parents of a node, the nearest first."""
    parents = {
        child: parent
        for parent, entry in enumerate(glb.objects("nodes"))
        for child in entry.get("children") or ()
    }
    seen = {node}
    while (parent := parents.get(node)) is not None:
        if parent in seen:
            raise GlbError("its nodes are their own parents")
        seen.add(parent)
        yield parent
        node = parent


def descendants(glb: Glb, node: int) -> list[int]:
    """List a node and all its descendants."""
    found, waiting = [], [node]
    while waiting:
        found.append(waiting.pop())
        if len(found) > len(glb.objects("nodes")):
            raise GlbError("its nodes are their own parents")
        waiting += glb.objects("nodes")[found[-1]].get("children") or ()
    return found


def _is_pivot(glb: Glb, node: int, meshes: list[int]) -> bool:
    """Check whether the meshes below a node, or its own, lie around its origin."""
    for mesh_node in meshes:
        centre, radius = _ball(glb, mesh_node)
        steps = [mesh_node, *_ancestors(glb, mesh_node)]
        for inner in steps[: steps.index(node)]:
            entry = glb.objects("nodes")[inner]
            scale = np.abs(np.asarray(entry.get("scale", (1, 1, 1)), float))
            moved = _rotation(entry).apply(centre * scale)
            centre = moved + np.asarray(entry.get("translation", (0, 0, 0)), float)
            radius *= scale.max()
        if np.linalg.norm(centre) > radius:
            return False
    return True


def _ball(glb: Glb, node: int) -> tuple[npt.NDArray[np.float64], float]:
    """Compute middle and half size of the box around a node's mesh, by accessors' bounds."""
    mesh = glb.objects("meshes")[glb.objects("nodes")[node]["mesh"]]
    places = [part["attributes"]["POSITION"] for part in mesh["primitives"]]
    bounds = [glb.objects("accessors")[place] for place in places]
    least = np.min([accessor["min"] for accessor in bounds], axis=0).astype(float)
    most = np.max([accessor["max"] for accessor in bounds], axis=0).astype(float)
    if any(accessor.get("normalized") for accessor in bounds):
        largest = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}[bounds[0]["componentType"]]
        least, most = least / largest, most / largest
    return (least + most) / 2, float((most - least).max() / 2)


def _rotation(entry: dict[str, Any]) -> Rotation:
    from scipy.spatial.transform import Rotation

    if "matrix" in entry:
        return _parts(entry)[1]
    return Rotation.from_quat(entry.get("rotation", (0, 0, 0, 1)))


def _parts(entry: dict[str, Any]) -> tuple[npt.NDArray[np.float64], Rotation, npt.NDArray[Any]]:
    """Decompose a node's matrix into translation, rotation and scale."""
    from scipy.spatial.transform import Rotation

    matrix = np.asarray(entry["matrix"], float).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale[0] = -scale[0]
    return matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3] / scale), scale


def _as_trs(glb: Glb, node: int) -> Rotation:
    """Look up a node's rotation; a matrix is replaced by translation, rotation and scale."""
    entry = glb.objects("nodes")[node]
    if "matrix" in entry:
        translation, rotation, scale = _parts(entry)
        del entry["matrix"]
        entry["translation"], entry["scale"] = translation.tolist(), scale.tolist()
        entry["rotation"] = rotation.as_quat().tolist()
    return _rotation(entry)


def _bones(glb: Glb) -> dict[str, int]:
    """Look up the nodes of a VRM's humanoid by the role they have."""
    extensions = glb.content.get("extensions") or {}
    bones = (extensions.get("VRMC_vrm") or {}).get("humanoid", {}).get("humanBones", {})
    if bones:
        return {role: bone["node"] for role, bone in bones.items()}
    old = (extensions.get("VRM") or {}).get("humanoid", {}).get("humanBones", [])
    return {bone["bone"]: bone["node"] for bone in old}


def _joints(glb: Glb) -> list[int]:
    """List the nodes that skins hang on."""
    return sorted({node for skin in glb.objects("skins") for node in skin["joints"]})


def _name(glb: Glb, node: int) -> str:
    return str(glb.objects("nodes")[node].get("name", "")).lower()
