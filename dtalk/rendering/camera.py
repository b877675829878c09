"""The camera: its place before a head, and its projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtalk.errors import RenderError
from dtalk.heads.head import Head, built_in
from dtalk.rendering.lighting import unit
from dtalk.utils.types import Array

PLACES = {"front": 0.0, "three-quarter": 35.0}
"""Named cameras: degrees around the head, to the character's left."""

# From the point midway between the mouth corners, metres and degrees, for the built-in head. A head
# that is higher from mouth to crown is seen from further away, within limits.
TARGET_FROM_MOUTH = (0.0, 0.059, -0.073)
CAMERA_FROM_TARGET = (0.0, 0.010, 1.190)
FIELD_OF_VIEW = 13.2
NEAR, FAR = 0.3, 3.0
NEAREST, FURTHEST = 0.8, 1.5


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera that looks at a head.

    Attributes:
        pose: camera to world, [4, 4].
        to_picture: world to clip space, [4, 4].
        turn: rotation [3, 3] from the camera at the front to this one; lamps follow it.
    """

    pose: Array
    to_picture: Array
    turn: Array


def camera_at(head: Head, place: str, yaw: float, width: int, height: int) -> Camera:
    """Make the camera at one of `PLACES`, ``yaw`` degrees further to the character's left (+x).

    Raises:
        RenderError: no such place, or a yaw that is not finite.
    """
    turn = _about_y(yaw_of(place, yaw))
    pose = turn @ _pose_at(CAMERA_FROM_TARGET)
    pose[:3, 3] = scale_of(head) * (pose[:3, 3] + TARGET_FROM_MOUTH) + mouth_of(head)
    seen = _projection(width, height) @ np.linalg.inv(pose)
    return Camera(pose, seen.astype(np.float32), turn[:3, :3])


def yaw_of(place: str, yaw: float) -> float:
    """How far around the head a camera stands, radians; see `camera_at`.

    Raises:
        RenderError: no such place, or a yaw that is not finite.
    """
    if place not in PLACES:
        raise RenderError(f"unknown camera {place!r}; there are {', '.join(PLACES)}")
    if not np.isfinite(yaw):
        raise RenderError(f"yaw must be a number of degrees, got {yaw}")
    return float(np.deg2rad(PLACES[place] + yaw))


def scale_of(head: Head) -> float:
    """How much further away than from the built-in head the camera stands."""
    return float(np.clip(_height(head) / _height(built_in()), NEAREST, FURTHEST))


def mouth_of(head: Head) -> Array:
    """The point midway between the mouth corners, [3]."""
    middle: Array = head.vertices[list(head.corners)].mean(axis=0)
    return middle


def _height(head: Head) -> float:
    """Measure from the mouth to the crown, metres."""
    return float(head.vertices[:, 1].max() - mouth_of(head)[1])


def _projection(width: int, height: int) -> Array:
    """Compute the projection from camera space to clip space, [4, 4], as OpenGL has it."""
    # The face must fit across a tall picture too.
    half = np.tan(np.deg2rad(FIELD_OF_VIEW) / 2) * max(1.0, height / width)
    matrix = np.zeros((4, 4), dtype=np.float32)
    matrix[0, 0], matrix[1, 1] = height / (width * half), 1 / half
    matrix[2, 2:] = np.array([FAR + NEAR, 2 * FAR * NEAR]) / (NEAR - FAR)
    matrix[3, 2] = -1
    return matrix


def _pose_at(position: tuple[float, float, float]) -> Array:
    """Compute the pose of a camera at ``position`` that looks at the origin, y up."""
    backward = unit(position)
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :4] = np.stack((right, np.cross(backward, right), backward, position), axis=1)
    return pose


def _about_y(angle: float) -> Array:
    turn = np.eye(4, dtype=np.float32)
    turn[0, 0] = turn[2, 2] = np.cos(angle)
    turn[0, 2] = np.sin(angle)
    turn[2, 0] = -np.sin(angle)
    return turn
