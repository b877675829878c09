"""Baked occlusion: how much of the sky each vertex sees, by depth maps from all sides.

It is what makes sockets, nostrils, ears and the mouth dark without any shadow at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtalk.rendering.context import import_pyrender, open_canvas
from examples.build_head.mesh import normals
from examples.build_head.source import Array, Ints

DIRECTIONS, PIXELS = 120, 640
DISTANCE, MARGIN = 3.0, 1.05  # metres; the cameras are far, so that rays are nearly parallel
BIAS = 1.2e-3  # metres by which a vertex may lie behind the surface that was drawn


def sky_shares(poses: Sequence[Array], faces: Ints) -> list[Array]:
    """For each pose [V, 3] the cosine-weighted share of the sky that is seen, [V], 0 to 1.

    Raises:
        RenderError: no OpenGL.
    """
    pyrender = import_pyrender()
    canvas = open_canvas(pyrender, PIXELS, PIXELS)
    try:
        return [_sky_share(pyrender, canvas, pose, faces) for pose in poses]
    finally:
        canvas.delete()


def _sky_share(pyrender: Any, canvas: Any, vertices: Array, faces: Ints) -> Array:
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = MARGIN * np.linalg.norm(vertices - middle, axis=1).max()
    half_angle = np.arcsin(radius / DISTANCE)
    scene = pyrender.Scene()
    # Backs throw shadows too, but pyrender's depth maps never show them: draw them as fronts.
    both = np.concatenate([faces, faces[:, ::-1]])
    scene.add(pyrender.Mesh([pyrender.Primitive(vertices, indices=both)]))
    camera = scene.add(
        pyrender.PerspectiveCamera(2 * half_angle, DISTANCE - radius, DISTANCE + radius)
    )
    surface = normals(vertices, faces)
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in _directions():
        pose = _look(middle, direction)
        scene.set_pose(camera, pose)
        depth = canvas.render(scene, pyrender.RenderFlags.DEPTH_ONLY)
        weight = np.maximum(surface @ direction, 0)
        total += weight
        seen += weight * _visible(vertices, pose, depth, half_angle)
    return seen / np.maximum(total, 1e-12)


def _directions() -> Array:
    """Evenly over the sphere, by the golden angle, [D, 3]."""
    k = np.arange(DIRECTIONS) + 0.5
    height = 1 - 2 * k / DIRECTIONS
    angle = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.column_stack([ring * np.cos(angle), height, ring * np.sin(angle)])


def _look(middle: Array, direction: Array) -> Array:
    """The pose of a camera in ``direction`` that looks back at ``middle``, [4, 4]."""
    right = np.cross([0.0, 1.0, 0.0], direction)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(direction, right), direction])
    pose[:3, 3] = middle + DISTANCE * direction
    return pose


def _visible(vertices: Array, pose: Array, depth: Array, half_angle: float) -> Array:
    """Whether each vertex is what the depth map shows in its place, [V] of 0 and 1."""
    local = (vertices - pose[:3, 3]) @ pose[:3, :3]
    far = -local[:, 2]
    scale = PIXELS / 2 / (np.tan(half_angle) * far)
    column = np.clip((PIXELS / 2 + local[:, 0] * scale).astype(int), 0, PIXELS - 1)
    row = np.clip((PIXELS / 2 - local[:, 1] * scale).astype(int), 0, PIXELS - 1)
    shown = depth[row, column]
    return np.asarray((shown == 0) | (far <= shown + BIAS), dtype=float)
