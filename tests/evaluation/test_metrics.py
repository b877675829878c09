"""The metrics, each against numbers worked by hand; LVE against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtalk.evaluation.metrics import (
    acceleration_ratio,
    closure_precision,
    closure_recall,
    correlation,
    diversity,
    emotional_vertex_error,
    facial_dynamics_deviation,
    facial_dynamics_deviation_mm,
    maximum_vertex_distance,
    maximum_vertex_error,
    squared_distance,
)


def vertices(frames: int = 6, count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, count, 3)).astype(np.float32)


def moving(*heights: float) -> np.ndarray:
    """One vertex on the y axis: ``[T, 1, 3]``."""
    return np.array([[[0.0, h, 0.0]] for h in heights])


def test_squared_distance_by_hand():
    found = squared_distance(np.array([[[1.0, 2.0, 2.0]]]), np.zeros((1, 1, 3)))
    assert found.tolist() == [[9.0]]


# Errors of position ------------------------------------------------------------------------------


def test_lve_of_a_known_offset():
    reference = np.zeros((2, 3, 3))
    predicted = reference.copy()
    predicted[:, :, 0] = 1  # everything is off by 1 mm ...
    predicted[0, 1] = [0, 3, 4]  # ... and one vertex in one frame by 5 mm
    assert maximum_vertex_error(predicted, reference) == (25 + 1) / 2
    assert maximum_vertex_distance(predicted, reference) == (5 + 1) / 2


@given(st.integers(0, 1000))
def test_lve_equals_torchmetrics(seed):
    multimodal = pytest.importorskip("torchmetrics.functional.multimodal")
    predicted, reference = vertices(seed=seed), vertices(seed=seed + 1)
    lips = [0, 2, 3]
    expected = multimodal.lip_vertex_error(
        torch.from_numpy(predicted), torch.from_numpy(reference), lips
    )
    found = maximum_vertex_error(predicted[:, lips], reference[:, lips])
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_eve_by_hand():
    reference = np.zeros((2, 3))
    predicted = np.array([[0.1, -0.5, 0.2], [0.0, 0.0, 0.3]])
    assert emotional_vertex_error(predicted, reference) == pytest.approx((0.25 + 0.09) / 2)


# Dynamics ----------------------------------------------------------------------------------------

NEUTRAL = np.zeros((1, 3))


def test_fdd_by_hand():
    # Squared displacements 0, 4 (std 2) against 1, 1 (std 0)
    reference, predicted = moving(0, 2), moving(1, -1)
    assert facial_dynamics_deviation(predicted, reference, NEUTRAL) == 2
    assert facial_dynamics_deviation(reference, predicted, NEUTRAL) == -2
    # distances 0, 2 (std 1)
    assert facial_dynamics_deviation_mm(predicted, reference, NEUTRAL) == 1


def test_fdd_is_measured_from_the_neutral_face():
    # From 1: squared displacements 1, 1 against 0, 4
    shifted = np.array([[0.0, 1.0, 0.0]])
    assert facial_dynamics_deviation(moving(1, -1), moving(0, 2), shifted) == -2


def test_fdd_is_a_mean_over_vertices():
    reference = np.concatenate([moving(0, 2), moving(0, 0), moving(0, 0), moving(0, 0)], axis=1)
    still = np.zeros_like(reference)
    neutral = np.zeros((4, 3))
    assert facial_dynamics_deviation(still, reference, neutral) == 2 / 4
    # too much here and too little there cancel: the figure is signed
    other = reference[:, ::-1]
    assert facial_dynamics_deviation(other, reference, neutral) == 0


def test_fdd_ignores_when_things_happen():
    late, early = moving(0, 0, 0, 3), moving(3, 0, 0, 0)
    assert facial_dynamics_deviation(late, early, NEUTRAL) == 0
    assert facial_dynamics_deviation_mm(late, early, NEUTRAL) == 0


def test_acceleration_by_hand():
    # Second differences: reference 2, 2 (mean 2); prediction -1, 2 (mean length 1.5)
    reference, predicted = moving(0, 1, 4, 9), moving(0, 1, 1, 3)
    assert acceleration_ratio(predicted, reference) == pytest.approx(1.5 / 2)
    assert acceleration_ratio(reference, reference) == 1
    assert acceleration_ratio(np.zeros_like(reference), reference) == 0


def test_acceleration_takes_lengths_in_space():
    reference = moving(0, 0, 1)
    predicted = np.array([[[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [[3.0, 0.0, 4.0]]])
    assert acceleration_ratio(predicted, reference) == 5


@pytest.mark.parametrize("reference", [moving(1), moving(1, 2), moving(1, 2, 3), moving(2, 2, 2)])
def test_acceleration_of_what_does_not_accelerate(reference):
    assert math.isnan(acceleration_ratio(reference, reference))


# Openings ----------------------------------------------------------------------------------------


def test_correlation_by_hand():
    # r = cov / (sd sd): deviations (-1, 0, 1) and (-1, 1, 0): 1 / 2
    reference, predicted = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 6.0])
    assert correlation(predicted, reference) == pytest.approx(0.5)
    assert correlation(3 * reference + 9, reference) == pytest.approx(1)
    assert correlation(-reference, reference) == pytest.approx(-1)


def test_correlation_is_undefined_where_the_reference_hardly_moves():
    swing = np.array([0.0, 0.6])  # std 0.3, the threshold itself
    assert math.isnan(correlation(swing, swing))
    assert correlation(swing, 1.01 * swing) == pytest.approx(1)
    assert math.isnan(correlation(swing, np.zeros(2)))
    assert correlation(swing, swing, moving=0.1) == pytest.approx(1)
    assert math.isnan(correlation(swing[:1], swing[:1]))


def test_correlation_of_a_static_prediction_is_0():
    assert correlation(np.full(3, 7.0), np.array([1.0, 2.0, 3.0])) == 0


@given(st.integers(0, 1000))
def test_correlation_is_numpys(seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(2, 20))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)


def test_closure_by_hand():
    # Reference closed (< 1) in frames 0, 1, 2; predicted nearly closed (< 2) in 0, 2 of them.
    reference = np.array([0.0, 0.9, -1.0, 1.0, 5.0])
    predicted = np.array([1.9, 2.0, 0.0, 0.5, 0.9])
    assert closure_recall(predicted, reference) == pytest.approx(2 / 3)
    # Predicted closed (< 1) in frames 2, 3, 4; reference nearly closed in 2, 3 of them.
    assert closure_precision(predicted, reference) == pytest.approx(2 / 3)


def test_closure_is_undefined_without_closures():
    wide, closed = np.array([3.0, 4.0]), np.array([0.0, 0.0])
    assert math.isnan(closure_recall(closed, wide))
    assert closure_precision(closed, wide) == 0
    assert closure_recall(wide, closed) == 0
    assert math.isnan(closure_precision(wide, closed))


# Diversity ---------------------------------------------------------------------------------------


def test_diversity_by_hand():
    # Heights 0, 1, 4: distances 1, 4, 3
    samples = np.stack([moving(h, h) for h in (0.0, 1.0, 4.0)])
    assert diversity(samples) == pytest.approx(8 / 3)


def test_diversity_is_a_mean_over_frames_and_vertices():
    samples = np.zeros((2, 2, 2, 3))
    samples[1, 0, 1] = [3, 0, 4]
    assert diversity(samples) == pytest.approx(5 / 4)
    assert diversity(np.stack([vertices()] * 3)) == 0


# All of them -------------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_a_perfect_prediction(seed):
    reference = vertices(seed=seed)
    neutral = vertices(1, seed=seed + 1)[0]
    assert maximum_vertex_error(reference, reference) == 0
    assert maximum_vertex_distance(reference, reference) == 0
    assert facial_dynamics_deviation(reference, reference, neutral) == 0
    assert facial_dynamics_deviation_mm(reference, reference, neutral) == 0
    assert acceleration_ratio(reference, reference) == 1
