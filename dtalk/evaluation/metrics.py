"""The metrics of speech-driven faces, as pure functions of arrays.

Vertices are ``[T, V, 3]`` in millimetres, openings and other distances ``[T]`` in millimetres,
coefficients ``[T, C]``. e(t, v) is the squared Euclidean distance at vertex v in frame t. Every
function scores one clip; tables are means over clips.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dtalk.utils.types import Floats

Better = Literal["lower", "higher", "one"]
"""Which values of a figure are better; "one" is for ratios that should be 1."""

MOVING_OPENING = 0.3  # mm: a reference whose opening varies less has no correlation to speak of
CLOSED, NEARLY_CLOSED = 1.0, 2.0  # mm


def squared_distance(predicted: Floats, reference: Floats) -> Floats:
    """Compute e(t, v) of ``[T, V, 3]`` twice: ``[T, V]`` mm^2."""
    return np.square(predicted - reference).sum(-1)


def maximum_vertex_error(predicted: Floats, reference: Floats) -> float:
    """Compute LVE: the mean over frames of the largest e over the vertices, mm^2.

    LVE on lip vertices (FaceFormer's line of work; torchmetrics' ``lip_vertex_error``), EVE-v on
    upper-face vertices.
    """
    return float(squared_distance(predicted, reference).max(-1).mean())


def maximum_vertex_distance(predicted: Floats, reference: Floats) -> float:
    """Compute LVE-mm: :func:`maximum_vertex_error` with the distance itself, mm."""
    return float(np.sqrt(squared_distance(predicted, reference).max(-1)).mean())


def emotional_vertex_error(predicted: Floats, reference: Floats) -> float:
    """Compute EVE: the mean over frames of the largest squared error of upper-face ``[T, C]``.

    On coefficients, as the paper measures it.
    """
    return float(np.square(predicted - reference).max(-1).mean())


def facial_dynamics_deviation(predicted: Floats, reference: Floats, neutral: Floats) -> float:
    """Compute FDD, mm^2, signed: reference minus prediction of each vertex' motion, averaged.

    A vertex' motion is the standard deviation over time of its squared displacement from
    ``neutral`` ``[V, 3]``. Source: CodeTalker (Xing et al., 2023), equation of FDD and its code.
    """
    moved = squared_distance(reference, neutral).std(0) - squared_distance(predicted, neutral).std(
        0
    )
    return float(moved.mean())


def facial_dynamics_deviation_mm(predicted: Floats, reference: Floats, neutral: Floats) -> float:
    """Compute FDD with the distance instead of its square, mm, signed."""
    reference_std = np.sqrt(squared_distance(reference, neutral)).std(0)
    predicted_std = np.sqrt(squared_distance(predicted, neutral)).std(0)
    return float((reference_std - predicted_std).mean())


def correlation(predicted: Floats, reference: Floats, moving: float = MOVING_OPENING) -> float:
    """Compute Pearson's r over time of two distances ``[T]``; NaN if the reference hardly moves.

    A prediction that does not move at all has r = 0.
    """
    predicted = predicted.astype(np.float64) - predicted.mean()
    reference = reference.astype(np.float64) - reference.mean()
    if reference.std() <= moving:
        return float("nan")
    if predicted.std() < 1e-6:
        return 0.0
    return float((predicted * reference).mean() / (predicted.std() * reference.std()))


def closure_recall(predicted: Floats, reference: Floats) -> float:
    """Compute the share of closed frames of the reference ``[T]`` that are predicted nearly closed.

    NaN where the reference never closes.
    """
    closed = reference < CLOSED
    return float((predicted[closed] < NEARLY_CLOSED).mean()) if closed.any() else float("nan")


def closure_precision(predicted: Floats, reference: Floats) -> float:
    """Compute the share of predicted closures that are nearly closed in the reference."""
    return closure_recall(reference, predicted)


def acceleration_ratio(predicted: Floats, reference: Floats) -> float:
    """Compute the mean length of the second difference over time, prediction over reference.

    1 is natural, less is over-smoothed, more is jitter; NaN where the reference does not
    accelerate or the clip has fewer than three frames.
    """
    if len(reference) < 3:
        return float("nan")
    natural = _mean_acceleration(reference)
    return _mean_acceleration(predicted) / natural if natural > 0 else float("nan")


def _mean_acceleration(vertices: Floats) -> float:
    return float(np.linalg.norm(np.diff(vertices, 2, axis=0), axis=-1).mean())


def diversity(samples: Floats) -> float:
    """Compute the mean distance of a vertex between two samples: ``[N, T, V, 3]``, mm, N >= 2."""
    pairs = [(a, b) for a in range(len(samples)) for b in range(a)]
    distances = [np.sqrt(squared_distance(samples[a], samples[b])).mean() for a, b in pairs]
    return float(np.mean(distances))


def loss(value: float, better: Better) -> float:
    """A key that sorts better values first."""
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]
