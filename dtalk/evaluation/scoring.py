"""Scores of one clip: predicted face against tracked face, on a given head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtalk.errors import DataError
from dtalk.evaluation import metrics
from dtalk.heads.head import MILLIMETRES, Head
from dtalk.motion.arkit import ARKIT_NAMES, UPPER_FACE_CHANNELS
from dtalk.utils.types import Array, IntArray

Scores = dict[str, float]


class Region:
    """Some vertices of a head, in millimetres."""

    def __init__(self, head: Head, indices: Sequence[int] | IntArray) -> None:
        self.indices = np.asarray(indices)
        self.neutral = head.vertices[self.indices] * np.float32(MILLIMETRES)
        self.basis = head.basis(indices)

    def __call__(self, face: Array) -> Array:
        """Compute positions ``[T, N, 3]``, mm, of ``[T, 52]`` or of vertices ``[T, V, 3]``, m."""
        if face.ndim == 3:
            return face[:, self.indices] * np.float32(MILLIMETRES)
        return self.neutral + np.tensordot(face, self.basis, axes=1)


@dataclass(frozen=True)
class FaceMeasurements:
    """Measurements of one clip that the metrics need.

    lips and upper_face ``[T, N, 3]`` mm; opening and width ``[T]`` mm; coefficients of the upper
    face ``[T, C]``, None where a face is known by its vertices alone.
    """

    lips: Array
    upper_face: Array
    opening: Array
    width: Array
    coefficients: Array | None


class Geometry:
    """Geometry of a head that the metrics need: lips, upper face, mouth opening and width.

    A face is given as coefficients ``[T, 52]`` or as the head's vertices ``[T, V, 3]`` in metres.
    """

    def __init__(self, head: Head) -> None:
        self.vertices = len(head.vertices)
        self.lips = Region(head, head.lips)
        self.upper_face = Region(head, head.upper_face)
        self._landmarks = Region(head, [*head.opening, *head.corners])

    def opening(self, face: Array) -> Array:
        """Measure the vertical distance of the inner lips ``[T]``, mm; negative if they overlap."""
        points = self._landmarks(face)
        return points[:, 0, 1] - points[:, 1, 1]

    def width(self, face: Array) -> Array:
        """Measure the distance of the mouth corners ``[T]``, mm."""
        points = self._landmarks(face)
        return np.linalg.norm(points[:, 2] - points[:, 3], axis=-1)

    def measure(self, face: Array) -> FaceMeasurements:
        """Measure a face given as coefficients ``[T, 52]`` or vertices ``[T, V, 3]``.

        Raises:
            DataError: neither 52 coefficients nor as many vertices as the head has.
        """
        expected = {2: (len(ARKIT_NAMES),), 3: (self.vertices, 3)}
        if face.shape[1:] != expected.get(face.ndim):
            raise DataError(
                f"a face is coefficients [T, {len(ARKIT_NAMES)}] or the head's vertices "
                f"[T, {self.vertices}, 3], not {list(face.shape)}"
            )
        coefficients = face[:, UPPER_FACE_CHANNELS] if face.ndim == 2 else None
        return FaceMeasurements(
            self.lips(face),
            self.upper_face(face),
            self.opening(face),
            self.width(face),
            coefficients,
        )


def score(predicted: Array, reference: Array | FaceMeasurements, geometry: Geometry) -> Scores:
    """Compute every metric of one clip, from two faces of as many frames.

    EVE is not a number where either is known by its vertices alone.
    """
    face, true = geometry.measure(predicted), _measured(reference, geometry)
    neutral = geometry.upper_face.neutral
    fdd = metrics.facial_dynamics_deviation(face.upper_face, true.upper_face, neutral)
    fdd_mm = metrics.facial_dynamics_deviation_mm(face.upper_face, true.upper_face, neutral)
    eve = float("nan")
    if face.coefficients is not None and true.coefficients is not None:
        eve = metrics.emotional_vertex_error(face.coefficients, true.coefficients)
    return {
        "lve": metrics.maximum_vertex_error(face.lips, true.lips),
        "lve_mm": metrics.maximum_vertex_distance(face.lips, true.lips),
        "eve": eve,
        "eve_v": metrics.maximum_vertex_error(face.upper_face, true.upper_face),
        "fdd": fdd,
        "fdd_abs": abs(fdd),
        "fdd_mm": fdd_mm,
        "fdd_mm_abs": abs(fdd_mm),
        "opening_r": metrics.correlation(face.opening, true.opening),
        "rounding_r": metrics.correlation(face.width, true.width),
        "closure_recall": metrics.closure_recall(face.opening, true.opening),
        "closure_precision": metrics.closure_precision(face.opening, true.opening),
        "acceleration": metrics.acceleration_ratio(face.lips, true.lips),
    }


def static_scores(reference: Array | FaceMeasurements, geometry: Geometry) -> Scores:
    """Compute :func:`score` of a face that stays neutral."""
    frames = len(_measured(reference, geometry).opening)
    return score(np.zeros((frames, len(ARKIT_NAMES)), np.float32), reference, geometry)


def lip_errors(predicted: Array, reference: Array | FaceMeasurements, geometry: Geometry) -> Array:
    """Compute the largest distance of a lip vertex from its place in each frame ``[T]``, mm."""
    true = _measured(reference, geometry).lips
    return np.sqrt(metrics.squared_distance(geometry.lips(predicted), true).max(-1))


def _measured(face: Array | FaceMeasurements, geometry: Geometry) -> FaceMeasurements:
    return face if isinstance(face, FaceMeasurements) else geometry.measure(face)
