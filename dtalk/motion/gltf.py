"""Curves in glTF: animation for any asset whose morph targets bear ARKit names, and back.

Weights are LINEAR keys at the frames' centres, (k + 0.5) / fps. The turn of the head is a rotation
of the head's joint. Nothing else of the file is touched. In a VRM avatar expressions of those names
("perfect sync") count as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.errors import HeadError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import in_range
from dtalk.motion.curves import FPS, Motion, provenance, read_provenance
from dtalk.motion.gltf_joints import eye_nodes, head_node, to_angles, turned
from dtalk.motion.names import channel_of
from dtalk.utils.glb import READ_SUFFIXES, Glb, GlbError
from dtalk.utils.types import Array

FEWEST = 10  # ARKit targets: a model with fewer has no face that the curves could move
_CLOSE = 1e-4  # seconds: how far keys may lie from the frames' centres to be taken for them
_FASTEST = 1000.0  # frames per second
_LONGEST = 2_000_000  # frames: 18 hours at 30 a second

Targets = dict[int, Array]
"""For nodes, how much of each channel each target takes: [52, targets]."""


def find_targets(glb: Glb) -> Targets:
    """Find the nodes whose morph targets bear ARKit names, and how curves reach them.

    Raises:
        GlbError: the asset's meshes or nodes are not as glTF has them.
    """
    try:
        found = {node: _named(glb, mesh) for node, mesh in _mesh_nodes(glb)}
        named = channels_of(found)
        for channel, (node, target, weight) in _binds(glb):
            if node in found and not named[channel]:
                found[node][channel, target] = weight
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise GlbError("its meshes or nodes are damaged") from error
    return {node: table for node, table in found.items() if table.any()}


def channels_of(targets: Targets) -> npt.NDArray[np.bool_]:
    """Mark the channels that reach a target, [52]."""
    reached = np.zeros(len(ARKIT_NAMES), dtype=bool)
    for table in targets.values():
        reached |= table.any(axis=1)
    return reached


def missing_names(targets: Targets) -> list[str]:
    """List the ARKit names without a target.

    Raises:
        HeadError: fewer than ten have one.
    """
    reached = channels_of(targets)
    if reached.sum() < FEWEST:
        raise HeadError(
            f"{reached.sum()} of its morph targets bear ARKit names such as eyeBlinkLeft, "
            f"at least {FEWEST} are needed"
        )
    return [name for name, there in zip(ARKIT_NAMES, reached, strict=True) if not there]


def add_animation(
    glb: Glb,
    motion: Motion,
    targets: Targets,
    name: str = "",
    besides: Mapping[int, Array] = MappingProxyType({}),
) -> None:
    """Add an animation of the targets, of the head and, where meshes hang on them, of the eyes.

    It becomes the first, which programs show when they open the file. ``besides`` are weights
    [T, targets] of nodes, for targets that no curve moves.

    Raises:
        GlbError: the asset is damaged, or its buffer lies outside the file.
    """
    about = {"fps": motion.fps, **provenance(motion)}
    animation: dict[str, Any] = {"channels": [], "samplers": [], "extras": about}
    if name:
        animation["name"] = name
    asset = glb.content["asset"]
    kept = asset.get("extras")
    asset["extras"] = {**(kept if isinstance(kept, dict) else {}), "dtalk": about}
    times = ((np.arange(len(motion)) + 0.5) / motion.fps).astype(np.float32)
    keys = glb.add_accessor(times, bounds=True)
    for node, table in targets.items():
        weights = motion.coefficients @ table
        resting = ~table.any(axis=0)
        weights[:, resting] = _rest_weights(glb, node, table.shape[1])[resting]
        weights += besides.get(node, np.float32(0))
        _channel(
            glb, animation, keys, node, "weights", np.ravel(weights.astype(np.float32, copy=False))
        )
    for node, rotations in _rotations(glb, motion, targets).items():
        _channel(glb, animation, keys, node, "rotation", rotations)
    glb.content["animations"] = [animation, *glb.objects("animations")]


def animate_avatar(source: Path, motion: Motion, path: Path, name: str = "") -> list[str]:
    """Write an avatar with an animation added, and say what of the motion it cannot show.

    Raises:
        HeadError: no GLB, damaged, or fewer than ten targets with ARKit names.
    """
    glb, targets = load_avatar(source)
    lacking = missing_names(targets)
    notes = [f"lacks {len(lacking)} shapes: {', '.join(lacking)}"] if lacking else []
    try:
        if motion.head_rotation is not None and head_node(glb) is None:
            notes.append("has no joint called head, so its head does not turn")
        add_animation(glb, motion, targets, name)
        glb.save(path)
    except GlbError as error:
        raise HeadError(f"cannot use head {source}: {error}") from error
    return notes


def is_avatar(path: Path) -> bool:
    """Check whether a file is a GLB, glTF or VRM with enough targets of ARKit names."""
    if path.suffix.lower() not in READ_SUFFIXES:
        return False
    try:
        load_avatar(path)
    except HeadError:
        return False
    return True


def load_avatar(path: Path) -> tuple[Glb, Targets]:
    """Load a GLB, glTF or VRM and find its targets.

    Raises:
        HeadError: missing, damaged, or fewer than ten targets with ARKit names.
    """
    try:
        glb = Glb.load(path)
        targets = find_targets(glb)
        missing_names(targets)
    except OSError as error:
        raise HeadError(f"cannot read head {path}: {error.strerror or error}") from error
    except (GlbError, HeadError) as error:
        raise HeadError(f"cannot use head {path}: {error}") from error
    return glb, targets


# reading ----------------------------------------------------------------------------------------


def read_glb(path: Path) -> Motion:
    """Read the curves of a GLB: of its animations the first that moves the most ARKit targets.

    Keys elsewhere than at the centres of even frames are interpolated there.

    Raises:
        MotionError: without the path: no GLB, damaged, or no such animation.
        OSError: it cannot be read.
    """
    try:
        glb = Glb.load(path)
        targets = find_targets(glb)
        animation: dict[str, Any] = max(
            glb.objects("animations"), key=lambda one: _reach(one, targets), default={}
        )
        if not _reach(animation, targets):
            raise MotionError("no animation in it moves a target with an ARKit name")
        motion = _motion(glb, animation, _curves(glb, animation, targets))
    except (GlbError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        text = str(error) if isinstance(error, GlbError) else "its animation is damaged"
        raise MotionError(text) from error
    coefficients = in_range(path, motion.coefficients, range(len(ARKIT_NAMES)))
    return replace(motion, coefficients=coefficients)


Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Times [K], seconds, and values [K] or [K, 4]."""


def _reach(animation: Mapping[str, Any], targets: Targets) -> int:
    """Count the ARKit channels that an animation moves."""
    moved = [node for node, _ in _samplers(animation, "weights") if node in targets]
    return int(channels_of({node: targets[node] for node in moved}).sum())


def _curves(glb: Glb, animation: Mapping[str, Any], targets: Targets) -> dict[int, Curve]:
    """Read the curve of each ARKit channel that an animation moves."""
    curves: dict[int, Curve] = {}
    for node, sampler in _samplers(animation, "weights"):
        if node not in targets:
            continue
        table = targets[node]
        times, values = _keys(glb, sampler, table.shape[1])
        for channel in map(int, np.flatnonzero(table.any(axis=1))):
            target = int(table[channel].argmax())
            curves.setdefault(channel, (times, values[:, target] / table[channel, target]))
    return curves


def _motion(glb: Glb, animation: Mapping[str, Any], curves: dict[int, Curve]) -> Motion:
    extras = animation.get("extras")
    extras = extras if isinstance(extras, dict) else {}
    times = max((times for times, _ in curves.values()), key=len)
    fps = _frame_rate(times, extras.get("fps"))
    if times[-1] * fps > _LONGEST:
        raise GlbError("its animation is too long")
    frames = max(1, math.ceil(times[-1] * fps + _CLOSE)) if len(times) > 1 else 1
    coefficients = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    for channel, curve in curves.items():
        coefficients[:, channel] = _at_frames(curve, frames, fps)
    return Motion(
        coefficients,
        fps=fps,
        head_rotation=_head_rotation(glb, animation, frames, fps),
        **read_provenance(extras),
    )


def _frame_rate(times: npt.NDArray[np.float64], stated: Any) -> float:
    """Find the frame rate: as stated where the keys agree, else by the keys."""
    if len(times) < 2:
        return float(stated) if isinstance(stated, int | float) and stated > 0 else FPS
    step = float(np.median(np.diff(times)))
    if not 1 / _FASTEST <= step <= 1:
        raise GlbError(f"its keys lie {step:g} s apart")
    if isinstance(stated, int | float) and stated > 0 and abs(step - 1 / stated) < _CLOSE:
        return float(stated)
    rate = 1 / step
    return float(round(rate)) if abs(rate - round(rate)) < 0.01 * rate else round(rate, 3)


def _at_frames(curve: Curve, frames: int, fps: float) -> npt.NDArray[np.float64]:
    """Sample a curve at the frames' centres; its own values where its keys lie there."""
    times, values = curve
    centres = (np.arange(frames) + 0.5) / fps
    if len(times) == frames and np.abs(times - centres).max() < _CLOSE:
        return values
    columns = [np.interp(centres, times, column) for column in values.reshape(len(times), -1).T]
    return np.stack(columns, axis=-1).reshape(frames, *values.shape[1:])


def _head_rotation(glb: Glb, animation: Mapping[str, Any], frames: int, fps: float) -> Array | None:
    """Read yaw, pitch and roll [T, 3] of the head's joint; None where it does not turn."""
    node = head_node(glb)
    for turning, sampler in _samplers(animation, "rotation"):
        if turning == node:
            times, quaternions = _keys(glb, sampler, 4)
            return to_angles(glb, node, _at_frames((times, quaternions), frames, fps))
    return None


def _samplers(animation: Mapping[str, Any], path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Iterate over node and sampler of the channels of an animation that move ``path``."""
    for channel in animation.get("channels", ()):
        if channel["target"]["path"] == path and "node" in channel["target"]:
            yield channel["target"]["node"], animation["samplers"][channel["sampler"]]


def _keys(glb: Glb, sampler: Mapping[str, Any], width: int) -> Curve:
    """Read times [K] and values [K, width]; of cubic splines without their tangents."""
    times = glb.read(sampler["input"])[:, 0].astype(np.float64)
    values = glb.read(sampler["output"]).astype(np.float64).reshape(len(times), -1, width)
    if not len(times) or values.shape[1] not in (1, 3) or (np.diff(times) <= 0).any():
        raise GlbError("its keys do not fit its targets")
    return times, values[:, values.shape[1] // 2]


# inside -----------------------------------------------------------------------------------------


def _mesh_nodes(glb: Glb) -> Iterator[tuple[int, dict[str, Any]]]:
    """Iterate over the nodes that show a mesh with morph targets, and the mesh."""
    meshes = glb.objects("meshes")
    for index, node in enumerate(glb.objects("nodes")):
        if "mesh" in node and meshes[node["mesh"]]["primitives"][0].get("targets"):
            yield index, meshes[node["mesh"]]


def _named(glb: Glb, mesh: Mapping[str, Any]) -> Array:
    """Match the names of a mesh's targets with the channels, [52, targets]."""
    table = np.zeros((len(ARKIT_NAMES), len(mesh["primitives"][0]["targets"])), np.float32)
    for target, name in enumerate(target_names(glb, mesh)[: table.shape[1]]):
        channel = channel_of(name)
        if channel is not None and not table[channel].any():
            table[channel, target] = 1
    return table


def target_names(glb: Glb, mesh: Mapping[str, Any]) -> list[str]:
    """List the names of a mesh's targets.

    Older exporters put them at its first primitive, at each target, or at the accessors.
    """
    first = mesh["primitives"][0]
    for owner in (mesh, first):
        names = (owner.get("extras") or {}).get("targetNames")
        if isinstance(names, list):
            return [str(name) for name in names]
    return [_own_name(glb, target) for target in first["targets"]]


def _own_name(glb: Glb, target: Mapping[str, Any]) -> str:
    accessor = glb.objects("accessors")[target["POSITION"]] if "POSITION" in target else {}
    return str((target.get("extras") or {}).get("name") or accessor.get("name") or "")


Bind = tuple[int, int, float]
"""Node, target, weight."""


def _binds(glb: Glb) -> Iterator[tuple[int, Bind]]:
    """Iterate over channels and binds of a VRM's expressions of ARKit names."""
    extensions = glb.content.get("extensions") or {}
    old, new = extensions.get("VRM") or {}, extensions.get("VRMC_vrm") or {}
    for name, bind in (*_binds_of_vrm_0(glb, old), *_binds_of_vrm_1(new)):
        channel = channel_of(name)
        if channel is not None:
            yield channel, bind


def _binds_of_vrm_0(glb: Glb, vrm: Mapping[str, Any]) -> Iterator[tuple[str, Bind]]:
    """Iterate over the binds of VRM 0: weights up to 100, of meshes."""
    for group in vrm.get("blendShapeMaster", {}).get("blendShapeGroups", []):
        for bind in group.get("binds") or ():
            for node, entry in enumerate(glb.objects("nodes")):
                if entry.get("mesh") == bind["mesh"]:
                    yield str(group.get("name")), (node, bind["index"], bind["weight"] / 100)


def _binds_of_vrm_1(vrm: Mapping[str, Any]) -> Iterator[tuple[str, Bind]]:
    for name, expression in ((vrm.get("expressions") or {}).get("custom") or {}).items():
        for bind in expression.get("morphTargetBinds") or ():
            yield name, (bind["node"], bind["index"], bind["weight"])


def _rest_weights(glb: Glb, node: int, targets: int) -> Array:
    """Look up the weights of a node's targets outside any animation."""
    entry = glb.objects("nodes")[node]
    mesh = glb.objects("meshes")[entry["mesh"]]
    weights = np.asarray(entry.get("weights") or mesh.get("weights") or [0.0] * targets, np.float32)
    if weights.shape != (targets,):
        raise GlbError("its default weights do not fit its targets")
    return weights


def _rotations(glb: Glb, motion: Motion, targets: Targets) -> dict[int, Array]:
    """Compute rotations [T, 4] of the nodes of head and eyes that there are."""
    rotations: dict[int, Array] = {}
    head = head_node(glb)
    if head is not None and motion.head_rotation is not None:
        rotations[head] = turned(glb, head, motion.head_rotation)
    for node, angles in eye_nodes(glb, motion.coefficients, targets, channels_of(targets)).items():
        rotations[node] = turned(glb, node, angles)
    return rotations


def _channel(
    glb: Glb, animation: dict[str, Any], keys: int, node: int, path: str, values: Array
) -> None:
    sampler = {"input": keys, "output": glb.add_accessor(values), "interpolation": "LINEAR"}
    animation["samplers"].append(sampler)
    target = {"node": node, "path": path}
    animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": target})
