"""The camera: what it frames, by numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dtalk.errors import RenderError
from dtalk.heads.head import built_in
from dtalk.rendering.camera import CAMERA_FROM_TARGET, FIELD_OF_VIEW, TARGET_FROM_MOUTH, camera_at

MOUTH = built_in().vertices[list(built_in().corners)].mean(axis=0)
TARGET = MOUTH + np.array(TARGET_FROM_MOUTH)


def seen(point: np.ndarray, width: int = 100, height: int = 100, yaw: float = 0) -> np.ndarray:
    """Where a point is in the picture, -1 to 1 from left to right and bottom to top, and depth."""
    clip = camera_at(built_in(), "front", yaw, width, height).to_picture @ np.append(point, 1)
    return clip[:3] / clip[3]


def test_the_target_is_in_the_middle() -> None:
    for yaw in (0, 35, -120):
        np.testing.assert_allclose(seen(TARGET, yaw=yaw)[:2], 0, atol=1e-5)


def test_the_character_s_left_is_right_in_the_picture() -> None:
    assert seen(TARGET + np.array([0.05, 0, 0]))[0] > 0.3
    assert seen(TARGET + np.array([0, 0.05, 0]))[1] > 0.3
    assert seen(TARGET + np.array([0, 0, 0.05]))[2] < seen(TARGET)[2] < 1


def test_the_field_of_view() -> None:
    """At the target's distance the picture is 2 d tan(13.2 / 2) = 0.2754 m high."""
    distance = np.linalg.norm(CAMERA_FROM_TARGET)
    half = distance * np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    assert 2 * half == pytest.approx(0.2754, abs=1e-4)
    for size, across in (((100, 100), half), ((200, 100), 2 * half), ((100, 200), half)):
        assert seen(TARGET + np.array([across, 0, 0]), *size)[0] == pytest.approx(1, abs=1e-4)


def test_walking_to_the_left_ear() -> None:
    camera = camera_at(built_in(), "front", 90, 100, 100)
    position = camera.pose[:3, 3] - TARGET
    np.testing.assert_allclose(position, [1.19, 0.01, 0], atol=1e-6)
    np.testing.assert_allclose(camera.turn @ [0, 0, 1], [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(("scale", "seen_from"), [(1.25, 1.25), (0.9, 0.9), (3.0, 1.5), (0.1, 0.8)])
def test_larger_heads_are_seen_from_further_away(scale: float, seen_from: float) -> None:
    """So they look the same, unless they are giants or dwarfs."""
    larger = replace(built_in(), vertices=MOUTH + np.float32(scale) * (built_in().vertices - MOUTH))
    target = MOUTH + seen_from * np.array(TARGET_FROM_MOUTH)
    position = camera_at(larger, "front", 0, 64, 64).pose[:3, 3]
    np.testing.assert_allclose((position - target) / seen_from, CAMERA_FROM_TARGET, atol=1e-5)


def test_named_places() -> None:
    aside = camera_at(built_in(), "three-quarter", 5, 64, 64)
    walked = camera_at(built_in(), "front", 40, 64, 64)
    np.testing.assert_array_equal(aside.pose, walked.pose)


def test_places_that_are_none() -> None:
    with pytest.raises(RenderError, match="unknown camera 'behind'; there are front, three-quart"):
        camera_at(built_in(), "behind", 0, 64, 64)
    for yaw in (np.nan, np.inf):
        with pytest.raises(RenderError, match="yaw must be a number of degrees"):
            camera_at(built_in(), "front", yaw, 64, 64)
