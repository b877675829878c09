"""A head and its motion as glTF: 52 named morph targets, a neck that turns, an animation.

One primitive, whose vertex colours carry the looks, since Unity and Unreal are strict about morph
targets over several. Displacements are sparse accessors, normals included. Eyes that turn and
lids that slide, on heads that shapes were transferred to, take corrective targets after the 52.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.heads.correctives import Corrective, correctives
from dtalk.heads.head import Head, built_in
from dtalk.heads.normals import VertexNormals
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.gltf import add_animation
from dtalk.utils.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Glb
from dtalk.utils.types import Array, Floats
from dtalk.version import __version__

SMALLEST_MOVE = 2e-6  # metres: displacements below it are left out
SMALLEST_CORRECTION = 1e-7  # likewise: there may be hundreds
SMALLEST_TURN = 2e-3  # of a normal of length 1, likewise
_ROUGHNESS = 0.6  # of skin, teeth and eyes alike
_SHARE = np.iinfo(np.uint16).max
_FACE, _NECK, _HEAD = 0, 1, 2  # nodes
_NOWHERE = np.zeros(1, dtype=np.intp), np.zeros((1, 3), dtype=np.float32)


def write_glb(motion: Motion, path: Path, head: Head | None = None, name: str = "") -> None:
    """Write a head (the built-in one if None) that speaks; ``name`` is the animation's.

    Raises:
        OSError: the place cannot be written.
    """
    head = built_in() if head is None else head
    glb = copy.deepcopy(head_glb(head))
    lacking = correctives(head, motion)
    _add_correctives(glb, lacking)
    targets = {_FACE: np.eye(len(ARKIT_NAMES), len(ARKIT_NAMES) + len(lacking), dtype=np.float32)}
    own = np.zeros((len(motion), len(ARKIT_NAMES) + len(lacking)), dtype=np.float32)
    for number, one in enumerate(lacking, len(ARKIT_NAMES)):
        own[:, number] = one.weights
    add_animation(glb, motion, targets, name, {_FACE: own})
    glb.save(path)


@lru_cache(maxsize=1)
def head_glb(head: Head) -> Glb:
    """Build a head without motion: one mesh with 52 targets, on a skin of neck and head.

    Kept for the next clip of a batch: copy it before changing it.
    """
    glb = Glb()
    glb.content["asset"]["generator"] = f"dtalk {__version__}"
    primitive = _primitive(glb, head)
    joint = _skin(glb, head, primitive)
    mesh = {
        "name": "Face",
        "primitives": [primitive],
        "weights": [0.0] * len(ARKIT_NAMES),
        "extras": {"targetNames": list(ARKIT_NAMES)},
    }
    glb.add("nodes", {"name": "Face", "mesh": glb.add("meshes", mesh), "skin": 0})
    glb.add("nodes", {"name": "Neck", "children": [_HEAD]})
    glb.add("nodes", {"name": "Head", "translation": joint.astype(float).tolist()})
    glb.content["scene"] = glb.add("scenes", {"nodes": [_FACE, _NECK]})
    return glb


def _primitive(glb: Glb, head: Head) -> dict[str, Any]:
    """Add triangles, attributes and targets of the mesh."""
    normals_of = VertexNormals(head)
    normals = normals_of(head.vertices)
    faces = head.faces.astype(np.uint16 if len(head.vertices) < _SHARE else np.uint32)
    colors = np.ones((len(head.vertices), 4))
    colors[:, :3] = np.clip(head.colors, 0, 1)  # above 1 is a glint
    material = {
        "name": "Face",
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": _ROUGHNESS},
        "doubleSided": True,  # brows and lashes are flat cards
    }
    return {
        "attributes": {
            "POSITION": glb.add_accessor(head.vertices, ARRAY_BUFFER, bounds=True),
            "NORMAL": glb.add_accessor(normals, ARRAY_BUFFER),
            "COLOR_0": glb.add_accessor(_shares(colors), ARRAY_BUFFER, normalized=True),
        },
        "indices": glb.add_accessor(faces.ravel(), ELEMENT_ARRAY_BUFFER),
        "material": glb.add("materials", material),
        "targets": [
            {
                "POSITION": _sparse(glb, moved - head.vertices, SMALLEST_MOVE),
                "NORMAL": _sparse(glb, normals_of(moved) - normals, SMALLEST_TURN),
            }
            for moved in map(head.deform, np.eye(len(ARKIT_NAMES), dtype=np.float32))
        ],
    }


def _sparse(glb: Glb, change: Array, smallest: float) -> int:
    rows = np.flatnonzero(np.abs(change).max(axis=1) >= smallest)
    rows = rows if len(rows) else np.zeros(1, dtype=np.intp)  # an accessor has at least one
    return glb.add_sparse(len(change), rows, change[rows])


def _add_correctives(glb: Glb, lacking: Sequence[Corrective]) -> None:
    """Append targets that are no shapes of the face; normals stay as the 52 have them."""
    [mesh] = glb.objects("meshes")
    [primitive] = mesh["primitives"]
    count = glb.objects("accessors")[primitive["attributes"]["POSITION"]]["count"]
    still = glb.add_sparse(count, *_NOWHERE) if lacking else 0
    for number, one in enumerate(lacking, 1):
        rows = np.abs(one.fields).max(axis=1) >= SMALLEST_CORRECTION
        moved = glb.add_sparse(count, one.rows[rows], one.fields[rows])
        primitive["targets"].append({"POSITION": moved, "NORMAL": still})
        mesh["weights"].append(0.0)
        mesh["extras"]["targetNames"].append(f"corrective{number}")


def _skin(glb: Glb, head: Head, primitive: dict[str, Any]) -> Array:
    """Hang the mesh on joints of neck and head, and return the place of the head's, [3]."""
    joint, share = head.neck
    weights = np.zeros((len(share), 4), dtype=np.uint16)
    weights[:, 0] = np.rint(share * _SHARE)
    weights[:, 1] = _SHARE - weights[:, 0]
    joints = np.zeros((len(share), 4), dtype=np.uint8)
    joints[:, 0] = weights[:, 0] > 0  # a joint without weight must be the first
    weights[weights[:, 0] == 0] = (_SHARE, 0, 0, 0)
    primitive["attributes"] |= {
        "JOINTS_0": glb.add_accessor(joints, ARRAY_BUFFER),
        "WEIGHTS_0": glb.add_accessor(weights, ARRAY_BUFFER, normalized=True),
    }
    binding = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    binding[1, 3, :3] = -joint  # columns first, as glTF has matrices
    matrices = glb.add_accessor(binding.reshape(2, 16))
    glb.add("skins", {"joints": [_NECK, _HEAD], "inverseBindMatrices": matrices})
    return joint


def _shares(values: Floats) -> npt.NDArray[np.uint16]:
    return np.rint(values * _SHARE).astype(np.uint16)
