"""What has to be drawn again: rectangles worked out by hand, and whole pictures compared."""

from __future__ import annotations

import numpy as np
import pytest

from dtalk.rendering.redraw import Box, Redraw

# Clip space is world space: x and y from -1 to 1 fill the picture, of which y points up.
CAMERA = np.eye(4, dtype=np.float32)
TRIANGLES = np.array([[0, 1, 2], [3, 4, 5]])
CORNERS = np.array(
    [[-0.8, 0.8, 0], [-0.4, 0.8, 0], [-0.8, 0.4, 0], [0.2, -0.2, 0], [0.6, -0.2, 0], [0.2, -0.6, 0]]
)


def vertices(**moved: tuple[float, float]) -> np.ndarray:
    """Two triangles with white corners; ``v4=(0.7, 0)`` puts the fifth there."""
    values = np.ones((6, 6), dtype=np.float32)
    values[:, :3] = CORNERS
    for name, place in moved.items():
        values[int(name[1:]), :2] = place
    return values


def near(found: Box | None, wanted: Box) -> bool:
    """Whether a box is right to rounding: up to two pixels larger on each side, and even."""
    assert found is not None
    assert all(side % 2 == 0 for side in (found.left, found.top, found.right, found.bottom))
    less = wanted.left - found.left, wanted.top - found.top
    more = found.right - wanted.right, found.bottom - wanted.bottom
    return all(0 <= pixels <= 2 for pixels in (*less, *more))


def redraw() -> Redraw:
    return Redraw(TRIANGLES, CAMERA, 100, 200)


def test_first_the_whole_picture_then_nothing() -> None:
    one = redraw()
    assert one.box(vertices()) == Box(0, 0, 100, 200)
    assert one.box(vertices()) is None


def test_around_the_triangle_before_and_after_it_moved() -> None:
    """x of 0.2, 0.6 and 0.7 is at 60, 80 and 85 pixels; y of 0, -0.2 and -0.6 at 100, 120, 160."""
    one = redraw()
    one.box(vertices())
    assert near(one.box(vertices(v4=(0.7, 0.0))), Box(59, 99, 86, 161))


def test_a_colour_that_changes_is_drawn() -> None:
    one = redraw()
    one.box(vertices())
    painted = vertices()
    painted[1, 5] = 0.5
    assert near(one.box(painted), Box(9, 19, 31, 61))


def test_it_compares_with_the_last_vertices_even_if_their_memory_is_used_again() -> None:
    one, values = redraw(), vertices()
    one.box(values)
    values[0, 0] = -0.9
    assert one.box(values) is not None


@pytest.mark.parametrize("place", [(5.0, 5.0), (-3.0, 0.9)])
def test_what_moves_outside_is_cut(place: tuple[float, float]) -> None:
    one = redraw()
    one.box(vertices())
    box = one.box(vertices(v0=place))
    assert box is not None
    assert box.left >= 0 <= box.top
    assert box.right <= 100
    assert box.bottom <= 200


def test_nothing_to_draw_outside() -> None:
    away = {f"v{k}": (3.0 + k, 3.0) for k in range(3)}
    one = redraw()
    one.box(vertices(**away))
    moved = vertices(**away)
    moved[0, 0] = 9.0
    assert one.box(moved) is None


def test_behind_the_camera_all_is_drawn() -> None:
    """A vertex behind the camera has no place in the picture."""
    camera = CAMERA.copy()
    camera[3] = [0, 0, -1, 0]  # depth is -z
    one = Redraw(TRIANGLES, camera, 100, 200)
    assert one.box(vertices()) == Box(0, 0, 100, 200)
    assert one.box(vertices()) == Box(0, 0, 100, 200)


def test_boxes() -> None:
    box = Box(1, 2, 5, 10)
    assert box.size == (4, 8)
    assert box.scaled(3) == Box(3, 6, 15, 30)
    assert box.united(None) == box
    assert box.united(Box(0, 4, 3, 12)) == Box(0, 2, 5, 12)
