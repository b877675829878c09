"""Landmarks of a face: lips, eyes, chin and nose, found by geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dtalk.heads.head import PARTS, Head
from dtalk.heads.transfer.surface import Points, Skin, sphere, submesh, unit_vectors
from dtalk.utils.types import IntArray

# --- landmarks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """A skin with eyes: their centres, left and right, [2, 3], and their radius."""

    skin: Skin
    eyes: Points
    radius: float


def landmarks(face: Face) -> Points:
    """Find points that every face has, in one order for all; NaN where one is not found."""
    weights = face.skin.samples(3)
    points, normals = weights @ face.skin.vertices, unit_vectors(weights @ face.skin.normals())
    middle = face.eyes.mean(axis=0)
    points = points - middle
    nose = _extreme(points, (0, 0, 1), (-0.012, 0.012), (-0.06, -0.015))
    mouth = _slit(points, normals, nose)
    lower = mouth[0, 1] if np.isfinite(mouth[0, 1]) else nose[1] - 0.03
    chin = _extreme(points, (0, -0.5, 0.87), (-0.012, 0.012), (lower - 0.06, lower - 0.012))
    back = (-0.14, -0.05)
    ears = [
        _extreme(
            points, (side, 0, 0), tuple(sorted((0.03 * side, 0.13 * side))), (-0.05, 0.025), back
        )
        for side in (1, -1)
    ]
    found = np.stack((nose, *mouth, chin, *ears)) + middle
    return np.concatenate((found, face.eyes, face.eyes + np.array([0, 0, face.radius])))


def _extreme(
    points: Points, direction: Sequence[float], x: Any, y: Any, z: Any = (-np.inf, np.inf)
) -> Points:
    """Find the point inside a box that lies farthest in a direction."""
    limits = np.array([x, y, z])
    inside = points[((points > limits[:, 0]) & (points < limits[:, 1])).all(axis=1)]
    return inside[np.argmax(inside @ np.array(direction))] if len(inside) else np.full(3, np.nan)


def _slit(points: Points, normals: Points, nose: Points) -> Points:
    """Find the middle of the line between the lips, its left and its right end, [3, 3].

    There a surface that looks down lies close above one that looks up, not deep inside.
    """
    low = np.array([-0.045, nose[1] - 0.06, nose[2] - 0.05])
    high = np.array([0.045, nose[1] - 0.008, np.inf])
    near = ((points > low) & (points < high)).all(axis=1)
    points, normals = points[near], normals[near]
    above, below = points[normals[:, 1] < -0.5], points[normals[:, 1] > 0.5]
    missing = np.full((3, 3), np.nan)
    if not len(above) or not len(below):
        return missing
    squeeze = np.array([2.0, 1.0, 1.0])  # partners lie above each other
    apart, partner = cKDTree(below * squeeze).query(above * squeeze)
    pairs = (above + below[partner]) / 2
    front = cKDTree(points[:, :2]).query_ball_point(pairs[:, :2], 0.006)
    depth = np.array([points[around, 2].max() for around in front]) - pairs[:, 2]
    pairs = pairs[(apart < 0.005) & (depth < 0.009)]
    central = pairs[np.abs(pairs[:, 0]) < 0.006] if len(pairs) else pairs
    if not len(central):
        return missing
    middle = np.array([0, np.median(central[:, 1]), central[:, 2].max()])
    return np.stack((middle, pairs[np.argmax(pairs[:, 0])], pairs[np.argmin(pairs[:, 0])]))


def skin_of(head: Head) -> IntArray:
    """Get the indices of a head's skin vertices."""
    return np.flatnonzero(head.parts == PARTS.index("skin"))


def face_of(head: Head) -> Face:
    """Get the face of a head with eyeballs."""
    places = head.vertices.astype(np.float64)
    eyes = np.flatnonzero(head.parts == PARTS.index("eye"))
    balls = [eyes[places[eyes, 0] * side > 0] for side in (1, -1)]
    return Face(submesh(places, head.faces, skin_of(head)), *eye_centres(places, balls))


def eye_centres(places: Points, eyes: Sequence[IntArray]) -> tuple[Points, float]:
    """Compute the centres [2, 3] and mean radius of two eyeballs."""
    centres, radii = zip(*(sphere(places[ball]) for ball in eyes), strict=True)
    return np.stack(centres), float(np.mean(radii))
