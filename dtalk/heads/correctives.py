"""Corrective targets: what 52 linear shapes lack of a head whose eyes turn and lids slide.

They belong to one motion. What the shapes lack in its frames is written as a sum of principal
components, as many as it takes to come within `CLOSE` of the head in every frame. Eyeballs, lids
and the rest of the skin have components of their own, so that each moves few vertices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtalk.heads.eyes import RiggedHead
from dtalk.heads.head import Head
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.utils.types import Array, IntArray

Floats = npt.NDArray[np.float64]

CLOSE = 8e-6  # metres that a vertex may be off
MOST = 256  # components of one part: programs keep every target in memory
_CHUNK = 512  # frames at once
_NOTHING = 1e-14  # square metres over all vertices: below it there is no component


@dataclass(frozen=True)
class Corrective:
    """One target: displacements ``fields`` [N, 3], metres, of the vertices ``rows`` [N].

    ``weights`` [T], of each frame, are between 0 and 1: some programs cut off others.
    """

    rows: IntArray
    fields: Array
    weights: Array


def correctives(head: Head, motion: Motion) -> list[Corrective]:
    """Find the targets that a head lacks in a motion; none for a linear head."""
    if head.linear:
        return []
    parts = [_Part(rows) for rows in _rows(head)]
    for lacking in _lacking(head, motion):
        for part in parts:
            part.add(lacking[:, part.rows])
    return [target for part in parts for target in part.targets()]


def _rows(head: Head) -> Iterator[IntArray]:
    """Iterate over the vertices of eyeballs, of lids and of the rest."""
    eyes = head.eyes if isinstance(head, RiggedHead) else ()
    part = np.zeros(len(head.vertices), dtype=int)
    for eye in eyes:
        part[eye.lids] = 1
        part[eye.vertices] = 2
    for number in (2, 1, 0):
        yield np.flatnonzero(part == number)


def _lacking(head: Head, motion: Motion) -> Iterator[Floats]:
    """Iterate over what the shapes lack, [frames, V, 3], a few frames at a time."""
    rest = head.vertices.astype(float)
    fields = head.deform(np.eye(len(ARKIT_NAMES))) - rest
    for start in range(0, len(motion), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        weights = motion.coefficients[chosen]
        turn = motion.head_rotation
        wanted = head.unturned(weights, None if turn is None else turn[chosen])
        yield wanted - rest - np.tensordot(weights.astype(float), fields, 1)


class _Part:
    """Orthonormal components of what some vertices lack, and the frames' weights."""

    def __init__(self, rows: IntArray) -> None:
        self.rows = rows
        self._components = np.zeros((0, 3 * len(rows)))
        self._weights: list[Floats] = []

    def add(self, lacking: Floats) -> None:
        """Take in frames [n, N, 3]: components are added until all are close."""
        frames = lacking.reshape(len(lacking), -1)
        known = frames @ self._components.T
        left = frames - known @ self._components
        new = _principal(left, MOST - len(self._components))
        self._components = np.concatenate((self._components, new))
        self._weights.append(np.hstack((known, left @ new.T)))

    def targets(self) -> Iterator[Corrective]:
        """Iterate over a target with the lowest weights of all, then what comes on top of them."""
        count = len(self._components)
        if not count:
            return
        weights = np.concatenate(
            [np.pad(some, ((0, 0), (0, count - some.shape[1]))) for some in self._weights]
        )
        lowest, widths = weights.min(axis=0), np.ptp(weights, axis=0)
        yield self._target(lowest @ self._components, np.ones(len(weights)))
        shares = (weights - lowest) / np.maximum(widths, np.finfo(float).tiny)
        for component, width, share in zip(self._components, widths, shares.T, strict=True):
            yield self._target(width * component, share)

    def _target(self, field: Floats, weights: Floats) -> Corrective:
        moved = field.reshape(-1, 3).astype(np.float32)
        return Corrective(self.rows, moved, weights.astype(np.float32))


def _principal(frames: Floats, most: int) -> Floats:
    """Find the fewest principal components [n, 3 N] that come close to all frames [T, 3 N]."""
    squares, sides = np.linalg.eigh(frames @ frames.T)
    some = np.flatnonzero(squares > _NOTHING)[::-1][:most]
    components = sides[:, some].T @ frames / np.sqrt(squares[some, None])

    def close(count: int) -> bool:
        kept = components[:count]
        left = (frames - frames @ kept.T @ kept).reshape(len(frames), -1, 3)
        return bool((left * left).sum(axis=2).max(initial=0.0) <= CLOSE * CLOSE)

    return components[: bisect_left(range(len(components)), True, key=close)]
