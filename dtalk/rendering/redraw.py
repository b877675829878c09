"""Redrawing: the part of a picture that vertices which moved can have changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtalk.utils.types import Array, IntArray

# Pixels around what moved: edges are smoothed, and a wireframe's lines have a width.
_MARGIN = 1
_STEP = 2  # boxes lie on a grid of so many pixels, as the colours of a video do


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture: pixels from its left and top, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    def scaled(self, factor: int) -> Box:
        """Scale the rectangle to a picture ``factor`` times as large."""
        return Box(*(factor * side for side in (self.left, self.top, self.right, self.bottom)))

    def united(self, other: Box | None) -> Box:
        """Find the smallest rectangle around both."""
        if other is None:
            return self
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


class Redraw:
    """Compares vertices with those before, and finds where in the picture that shows.

    Args:
        triangles: int [F, 3], of the vertices.
        to_picture: world to clip space, [4, 4].
        width, height: of the picture, pixels.
    """

    def __init__(self, triangles: IntArray, to_picture: Array, width: int, height: int) -> None:
        self._corners = [np.ascontiguousarray(corner) for corner in triangles.T]
        self._to_picture = to_picture[[0, 1, 3]]
        self._whole = Box(0, 0, width, height)
        self._values: Array | None = None
        self._places: Array | None = None

    def box(self, values: Array) -> Box | None:
        """Find what changes with these vertices, [V, 3 or more], positions first; None: nothing.

        Whatever lies outside is the same picture, to the last bit.
        """
        before, places_before = self._values, self._places
        places = self._projected(values[:, :3])
        self._values, self._places = values.copy(), places
        if before is None or places is None or places_before is None:
            return self._whole
        shown = self._shown(_differ(values, before))
        # take() leaves rows contiguous, along which minima are found ten times as fast.
        both = [array.take(shown, axis=1) for array in (places_before, places)]
        return self._around(np.concatenate(both, axis=1))

    def _projected(self, positions: Array) -> Array | None:
        """Compute places in the picture, pixels [2, V]; None if one is not before the camera."""
        x, y, depth = (self._to_picture[:, :3] @ positions.T) + self._to_picture[:, 3:]
        if not (depth > 0).all():
            return None
        width, height = self._whole.size
        return np.stack(((0.5 + 0.5 * x / depth) * width, (0.5 - 0.5 * y / depth) * height))

    def _shown(self, moved: npt.NDArray[np.bool_]) -> IntArray:
        """Find the vertices of all triangles of which a corner moved."""
        a, b, c = (moved.take(corner) for corner in self._corners)
        touched = a | b | c
        shown = np.zeros_like(moved)
        for corner in self._corners:
            shown[corner[touched]] = True
        return np.flatnonzero(shown)

    def _around(self, places: Array) -> Box | None:
        """Find the rectangle around places [2, N], cut at the picture's sides; None if outside."""
        if not places.size:
            return None
        most = np.array(self._whole.size)
        first = _STEP * np.floor((places.min(axis=1) - _MARGIN) / _STEP)
        last = _STEP * np.ceil((places.max(axis=1) + _MARGIN) / _STEP)
        low, high = np.clip(first, 0, most), np.clip(last, 0, most)
        if (low >= high).any():
            return None
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _differ(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Find rows that differ in any bit; numpy compares rows of few columns slowly."""
    columns = (np.ascontiguousarray(array).view(np.uint32).T for array in (a, b))
    first, second = columns
    return np.logical_or.reduce([x != y for x, y in zip(first, second)])
