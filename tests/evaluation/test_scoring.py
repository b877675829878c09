"""One clip's figures on a head: known errors, from coefficients and from vertices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import JAW, smooth_motion

from dtalk.errors import DataError
from dtalk.evaluation.scoring import Geometry, Region, lip_errors, score, static_scores
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES, UPPER_FACE_NAMES

PUCKER = ARKIT_NAMES.index("mouthPucker")


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return Geometry(built_in())


# Geometry ----------------------------------------------------------------------------------------


def test_region_is_the_head_in_millimetres():
    head, motion = built_in(), smooth_motion(3)
    chosen = [5, 700, 1234]
    expected = head.deform(motion)[:, chosen] * 1000
    np.testing.assert_allclose(Region(head, chosen)(motion), expected, atol=1e-3)


def test_opening_and_width_are_distances_on_the_head(geometry):
    head, motion = built_in(), smooth_motion(3)
    moved = head.deform(motion) * 1000
    upper, lower = head.opening
    left, right = head.corners
    np.testing.assert_allclose(
        geometry.opening(motion), moved[:, upper, 1] - moved[:, lower, 1], atol=1e-3
    )
    np.testing.assert_allclose(
        geometry.width(motion), np.linalg.norm(moved[:, left] - moved[:, right], axis=1), atol=1e-3
    )


def test_the_mouth_opens_with_the_jaw_and_narrows_with_a_pucker(geometry):
    face = np.zeros((3, 52), np.float32)
    face[1, JAW], face[2, PUCKER] = 0.5, 1.0
    opening, width = geometry.opening(face), geometry.width(face)
    assert abs(opening[0]) < 1  # a neutral mouth is closed
    assert opening[1] > 5
    assert width[2] < width[0] - 3


# Scores of one clip ------------------------------------------------------------------------------


def opening_and_closing(frames: int = 40) -> np.ndarray:
    """A jaw that opens and closes, lips that round, a face that moves a little elsewhere."""
    motion = 0.1 * smooth_motion(frames)
    motion[:, JAW] = np.clip(np.sin(np.arange(frames) / 4), 0, 1) * 0.6
    motion[:, PUCKER] = 0.5 + 0.5 * np.sin(np.arange(frames) / 5)
    return motion


def test_a_reference_against_itself_is_perfect(geometry):
    reference = opening_and_closing()
    found = score(reference, reference, geometry)
    perfect = {"lve", "lve_mm", "eve", "eve_v", "fdd", "fdd_abs", "fdd_mm", "fdd_mm_abs"}
    assert {name for name, value in found.items() if value == 0} == perfect
    for name in found.keys() - perfect:
        assert found[name] == pytest.approx(1), name


def test_scores_of_a_known_error(geometry):
    """A jaw that hangs 0.1 too low: every figure from the head's own shape of the jaw."""
    head, reference = built_in(), 0.5 * smooth_motion(20)
    predicted = reference.copy()
    predicted[:, JAW] += 0.1
    found = score(predicted, reference, geometry)
    lips = 0.1 * np.linalg.norm(head.basis(head.lips)[JAW], axis=-1)
    upper = 0.1 * np.linalg.norm(head.basis(head.upper_face)[JAW], axis=-1)
    assert lips.max() > 1
    assert found["lve"] == pytest.approx(lips.max() ** 2, rel=1e-4)
    assert found["lve_mm"] == pytest.approx(lips.max(), rel=1e-4)
    assert found["eve_v"] == pytest.approx(upper.max() ** 2, abs=1e-4)
    assert found["eve"] == 0  # the jaw is no channel of the upper face
    assert found["acceleration"] == pytest.approx(1, abs=1e-3)
    assert found["opening_r"] == pytest.approx(1, abs=1e-3)


def test_eve_is_over_the_channels_of_the_upper_face(geometry):
    reference = 0.5 * smooth_motion(20)
    predicted = reference.copy()
    predicted[:, ARKIT_NAMES.index("browInnerUp")] += 0.3
    predicted[:, ARKIT_NAMES.index("eyeLookUpLeft")] += 0.9  # gaze is left out
    assert "eyeLookUpLeft" not in UPPER_FACE_NAMES
    assert score(predicted, reference, geometry)["eve"] == pytest.approx(0.09, rel=1e-4)


def test_absolute_deviations_are_those_of_the_clip(geometry):
    lively, calm = smooth_motion(20), 0.2 * smooth_motion(20)
    over, under = score(lively, calm, geometry), score(calm, lively, geometry)
    assert over["fdd"] < 0 < under["fdd"]
    assert over["fdd_mm"] < 0 < under["fdd_mm"]
    for found in (over, under):
        assert found["fdd_abs"] == abs(found["fdd"])
        assert found["fdd_mm_abs"] == abs(found["fdd_mm"])


def test_scores_of_a_static_face(geometry):
    reference = opening_and_closing()
    found = static_scores(reference, geometry)
    assert found == score(np.zeros_like(reference), reference, geometry)
    assert found["lve"] > 1
    assert found["fdd"] > 0
    assert found["acceleration"] == 0
    assert found["opening_r"] == found["rounding_r"] == 0
    assert found["closure_recall"] == 1  # a neutral mouth is closed: always, and rightly or not
    assert 0 < found["closure_precision"] < 1


# Vertices ----------------------------------------------------------------------------------------


def test_vertices_score_as_the_coefficients_that_make_them(geometry):
    """All but EVE, which is of coefficients; either side may be vertices."""
    head, reference, predicted = built_in(), opening_and_closing(), 0.5 * smooth_motion(40)
    expected = score(predicted, reference, geometry)
    moved, true = head.deform(predicted), head.deform(reference)
    for pair in ((moved, true), (moved, reference), (predicted, true)):
        found = score(pair[0], pair[1], geometry)
        assert math.isnan(found.pop("eve"))
        for name, value in found.items():
            assert value == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_a_known_offset_of_lip_vertices_is_its_square(geometry):
    """3 mm, 4 mm and 12 mm along the axes are 13 mm: LVE 169, whatever else moves."""
    reference = built_in().deform(opening_and_closing())
    predicted = reference.copy()
    predicted[:, built_in().lips] += np.float32([0.003, 0.004, 0.012])
    found = score(predicted, reference, geometry)
    assert found["lve"] == pytest.approx(169, rel=1e-3)
    assert found["lve_mm"] == pytest.approx(13, rel=1e-3)
    assert found["acceleration"] == pytest.approx(1, abs=1e-2)


def test_one_lip_vertex_in_one_frame_of_ten(geometry):
    reference = built_in().deform(opening_and_closing(10))
    predicted = reference.copy()
    predicted[4, built_in().lips[7], 1] += 0.01
    assert score(predicted, reference, geometry)["lve"] == pytest.approx(100 / 10, rel=1e-3)
    errors = lip_errors(predicted, reference, geometry)
    assert errors.shape == (10,)
    assert errors[4] == pytest.approx(10, rel=1e-3)
    assert np.delete(errors, 4).max() == 0


def test_a_static_face_in_vertices(geometry):
    reference = opening_and_closing()
    expected = static_scores(reference, geometry)
    found = static_scores(built_in().deform(reference), geometry)
    for name in found.keys() - {"eve"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize("shape", [(4, 51), (4, 53), (4, 100, 3), (4,), (4, 5, 3, 1)])
def test_what_is_no_face_of_this_head_is_refused(geometry, shape):
    count = len(built_in().vertices)
    with pytest.raises(DataError, match=rf"vertices \[T, {count}, 3\], not \[4"):
        score(np.zeros(shape, np.float32), opening_and_closing(4), geometry)
