"""Compare a glb in Blender with `Head.deform`: shape names, key times and vertices.

Run it with a Python that has ``bpy`` (``pip install bpy``, Python 3.11):

    python examples/gltf/blender.py FOLDER [FPS] [PICTURE.png]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np


def main(folder: str, fps: str = "30", picture: str | None = None) -> None:
    """Import ``talk.glb`` at a frame rate, print what differs; draw a picture if asked to."""
    expected = np.load(Path(folder, "expected.npz"))
    scene = bpy.context.scene
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = int(fps)
    bpy.ops.import_scene.gltf(filepath=str(Path(folder, "talk.glb")))
    face = next(
        thing for thing in bpy.data.objects if thing.type == "MESH" and thing.data.shape_keys
    )
    names = [key.name for key in face.data.shape_keys.key_blocks][1:]
    shapes = [name for name in names if not name.startswith("corrective")]
    print(f"{len(shapes)} shapes, named as they should be: {shapes == list(expected['names'])}")
    print(f"{len(names) - len(shapes)} correctives")
    for time, vertices in zip(expected["times"], expected["vertices"]):
        frame = float(time) * scene.render.fps
        scene.frame_set(int(frame), subframe=frame - int(frame))
        apart = np.linalg.norm(_vertices(face) - vertices, axis=1).max() * 1000
        print(f"{time:.4f} s, frame {frame:.3f}: largest difference {apart:.5f} mm")
    print(f"key times at {fps} fps: {_key_error(face):.6f} ms off")
    if picture:
        _draw(scene, face, picture)


def _vertices(face: Any) -> Any:
    """Vertices as they are drawn, [V, 3], in glTF's axes."""
    shown = face.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = shown.to_mesh()
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    world = np.array(shown.matrix_world)
    places = flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
    return places[:, [0, 2, 1]] * (1, 1, -1)


def _key_error(face: Any) -> float:
    """The largest distance of a key from (k + 0.5) / fps of the motion, milliseconds."""
    action = face.data.shape_keys.animation_data.action
    curve = max(_curves(action), key=lambda c: len(c.keyframe_points))
    times = np.array([key.co[0] for key in curve.keyframe_points]) / bpy.context.scene.render.fps
    step = np.median(np.diff(times))
    rate = round(1 / step)
    return float(np.abs(times - (np.arange(len(times)) + 0.5) / rate).max() * 1000)


def _curves(action: Any) -> list[Any]:
    if hasattr(action, "layers") and action.layers:
        bags = action.layers[0].strips[0].channelbags
        return [curve for bag in bags for curve in bag.fcurves]
    return list(action.fcurves)


def _draw(scene: Any, face: Any, picture: str) -> None:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    places = _vertices(face)
    x, y, z = (places.min(axis=0) + places.max(axis=0)) / 2
    camera.location, camera.rotation_euler = (x, -z - 0.75, y), (np.pi / 2, 0, 0)
    camera.data.lens = 70
    scene.camera = camera
    light = bpy.data.objects.new("Light", bpy.data.lights.new("Light", "SUN"))
    light.rotation_euler, light.data.energy = (0.9, 0.2, 0.5), 3
    scene.collection.objects.link(light)
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.3, 0.3, 0.3)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 8, "CPU"
    scene.render.resolution_x = scene.render.resolution_y = 400
    scene.render.filepath = str(Path(picture).absolute())
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
