"""Lay a motion file of dtalk onto a character in Blender: csv or json, on its own shape keys.

In Blender: select the character's face, open this file in the text editor, set ``FILE``, run it.
Without Blender's window, for a check (``pip install bpy``, Python 3.11):

    python examples/gltf/blender_curves.py talk.csv character.glb OUT.npz

The shape keys may be called ``eyeBlinkLeft``, ``EyeBlinkLeft`` or ``eyeBlink_L``. Keys lie at the
scene's frame rate wherever the file's time says, between whole frames too.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

FILE = "talk.csv"

Table = tuple[list[str], Any, Any]
"""Names of curves, times [T] in seconds, values [T, names]."""


def read(path: Path) -> Table:
    """Read a csv of Live Link Face or a json of Audio2Face."""
    return read_json(path) if path.suffix == ".json" else read_csv(path)


def read_json(path: Path) -> Table:
    """Row k is (k + 0.5) / ``exportFps`` after the start."""
    content = json.loads(path.read_text(encoding="utf-8"))
    values = np.array(content["weightMat"])
    times = (np.arange(len(values)) + 0.5) / content["exportFps"]
    return content["facsNames"], times, values


def read_csv(path: Path) -> Table:
    """The time code counts 60ths of a second, from the start of the row's frame."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    ticks = [_ticks(row[0]) for row in rows]
    starts = (np.array(ticks) - ticks[0]) / 60
    half = np.median(np.diff(starts)) / 2 if len(starts) > 1 else 0.0
    return header[2:], starts + half, np.array([row[2:] for row in rows], float)


def _ticks(stamp: str) -> float:
    hours, minutes, seconds, frame = stamp.split(":")
    return 60.0 * (3600 * int(hours) + 60 * int(minutes) + int(seconds)) + float(frame)


def plain(name: str) -> str:
    """Spell a name of a curve or shape key so that both can be compared."""
    name = name.lower().replace("_", "")
    for side in ("left", "right"):
        if name.endswith(side):
            return name.removesuffix(side) + side[0]
    return name


def lay(table: Table, face: Any) -> int:
    """Key the shape keys of ``face`` that have a curve, and return how many."""
    names, times, values = table
    shapes = face.data.shape_keys
    own = {plain(key.name): key for key in shapes.key_blocks[1:]}
    scene = bpy.context.scene
    frames = times * (scene.render.fps / scene.render.fps_base)
    shapes.animation_data_clear()
    found = [(own[plain(name)], column) for column, name in enumerate(names) if plain(name) in own]
    for key, column in found:
        key.value = 0.0
        key.keyframe_insert("value", frame=float(frames[0]))
        _fill(_curve(shapes, key), frames, values[:, column])
    scene.frame_end = max(scene.frame_end, int(np.ceil(frames[-1])))
    return len(found)


def _curve(shapes: Any, key: Any) -> Any:
    """The curve of a shape key, which has one; actions have layers from Blender 4.4 on."""
    action, path = shapes.animation_data.action, key.path_from_id("value")
    if getattr(action, "layers", None):
        bags = action.layers[0].strips[0].channelbags
        return next(curve for bag in bags for curve in bag.fcurves if curve.data_path == path)
    return action.fcurves.find(path)


def _fill(curve: Any, frames: Any, values: Any) -> None:
    points = curve.keyframe_points
    points.add(len(frames) - len(points))
    points.foreach_set("co", np.stack((frames, values), axis=1).ravel())
    for point in points:
        point.interpolation = "LINEAR"
    curve.update()


def check(source: str, character: str, out: str) -> None:
    """Import a character, lay curves onto it, and write what Blender makes of them."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=character)
    face = next(o for o in bpy.data.objects if o.type == "MESH" and o.data.shape_keys)
    table = read(Path(source))
    print(f"{lay(table, face)} shape keys have curves")
    scene, keys = bpy.context.scene, face.data.shape_keys.key_blocks[1:]
    shown = []
    for time in table[1]:
        frame = float(time) * scene.render.fps
        scene.frame_set(int(frame), subframe=frame - int(frame))
        shown.append([key.value for key in keys])
    np.savez(out, names=[key.name for key in keys], times=table[1], values=shown)


if __name__ == "__main__":
    if bpy.app.background:
        check(*sys.argv[1:])
    else:
        print(lay(read(Path(bpy.path.abspath(FILE))), bpy.context.object), "shape keys have curves")
