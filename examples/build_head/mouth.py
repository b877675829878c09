"""Teeth, gums and tongue. The source's teeth are smooth bands: they give place and motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from examples.build_head import colors
from examples.build_head.mesh import smoothstep, subdivide, triangulate
from examples.build_head.piece import Piece
from examples.build_head.source import LOWER_TEETH, TONGUE, UPPER_TEETH, Array, Ints, Source

MM = 1e-3
JAW_SHAPES = ("jawForward", "jawLeft", "jawOpen", "jawRight")

# A crown is a grid of rows from the root to the edge and one behind it, and columns across.
# Width of each row, and how far its middle bulges, as shares of the crown's own figures.
ROW_WIDTH = np.array([0.8611, 0.9027, 0.9405, 0.9712, 0.9920, 1.0010, 1.0013, 0.9012])
ROW_BULGE = np.array([0.75, 0.875, 0.9665, 1.0, 0.9665, 0.773, 0.4125, 0.0])
ROW_HEIGHT = np.array([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 0.97])
ROW_ROUND = np.array([0, 0, 0, 0, 0, 1 / 12, 1 / 10, 0])  # how much the corners stay back
ACROSS = np.linspace(-1, 1, 9)
BULGE = np.array([0, 0.726, 0.914, 0.986, 1, 0.986, 0.914, 0.726, 0])  # across a row
# Half the thickness of each tooth at its sides, and its bulge, mm, from the midline back.
SIDE_DEPTH = (1.1, 1.1, 1.5, 5.0, 6.0, 9.0, 9.0)
FRONT_DEPTH = (2.2, 2.2, 3.0, 5.0, 6.0, 9.0, 9.0)
BEHIND_ARCH = 2.98 * MM  # how far the crowns' backs stand behind the arch

GUM_COLUMNS = 40
GUM_OFFSETS = np.array([-1.2, -0.8, -1.2, -3.0, -5.0]) * MM
GUM_HEIGHTS = np.array([-0.165, -0.055, 0.0, 0.2475, 0.495])  # of a crown, away from its edge

TOOTH_SIDES, ROOT_END = 0.45, 0.45  # darkening at a crown's sides; where the gum's red ends

TONGUE_LOWER = 5.5 * MM  # to match the teeth, which stand lower than the source's
TONGUE_REACH, TONGUE_LIFT = 1.15, 7.5 * MM  # else it cuts through the lower lip


@dataclass(frozen=True)
class Jaw:
    """One row of teeth. The arch seen from above is |x| = spread (front - z) ** power, dm."""

    band: slice
    spread: float
    power: float
    back: float | None  # z where the arch ends, metres; None: at the band's end
    edge_drop: float  # how far the crowns' edge lies below the band's, metres
    direction: float  # of the crowns: -1 down, 1 up
    height: float
    widths: tuple[float, ...]  # mm, from the midline back
    heights: tuple[float, ...]  # as shares of ``height``


UPPER = Jaw(
    UPPER_TEETH, 0.40, 0.32, None, 3.2 * MM, -1.0, 10.4 * MM,
    (8.4, 6.6, 7.6, 7.0, 6.8, 9.6, 9.2), (1, 0.93, 1.02, 0.90, 0.85, 0.80, 0.75),
)  # fmt: skip
LOWER = Jaw(
    LOWER_TEETH, 0.42, 0.31, 0.0927, 7.5 * MM, 1.0, 9.2 * MM,
    (5.4, 5.9, 6.9, 7.1, 7.2, 10.6, 10.2), (0.96, 0.98, 1.03, 0.95, 0.92, 0.86, 0.82),
)  # fmt: skip


def teeth(jaw: Jaw, neutral: Array, shapes: Mapping[str, Array]) -> Piece:
    """Fourteen crowns and the gum. The upper ones never move, the lower ones with the jaw."""
    arch = _Arch(jaw, neutral[jaw.band])
    band_edge = neutral[jaw.band, 1].min() if jaw.direction < 0 else neutral[jaw.band, 1].max()
    root = band_edge - jaw.edge_drop - jaw.direction * jaw.height
    meshes = [mesh for k in range(len(jaw.widths)) for mesh in _crown_pair(jaw, arch, k, root)]
    meshes.append(_gum(jaw, arch, root))
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in meshes])
    vertices = np.concatenate([vertices for vertices, _, _ in meshes])
    faces = np.concatenate(
        [faces + start for (_, faces, _), start in zip(meshes, starts, strict=False)]
    )
    albedo = np.concatenate([albedo for _, _, albedo in meshes])
    moving = JAW_SHAPES if jaw.direction > 0 else ()
    fields = {
        name: _carried(neutral[jaw.band], shapes[name][jaw.band], vertices) for name in moving
    }
    return Piece("teeth", vertices, faces, albedo, fields)


def _carried(points: Array, moved: Array, others: Array) -> Array:
    """The affine map that best describes how ``points`` move, applied to ``others``."""
    system = np.column_stack([points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, moved, rcond=None)[0]
    return np.column_stack([others, np.ones(len(others))]) @ solution


class _Arch:
    """The curve on which the teeth stand, by its length from the midline."""

    def __init__(self, jaw: Jaw, band: Array) -> None:
        front, back = band[:, 2].max(), jaw.back if jaw.back is not None else band[:, 2].min()
        depth = np.linspace(0, 1, 4000) ** 3 * (front - back)  # dense in front, where it bends
        self._points = np.column_stack([jaw.spread * (10 * depth) ** jaw.power / 10, front - depth])
        steps = np.linalg.norm(np.diff(self._points, axis=0), axis=1)
        self._lengths = np.concatenate([[0], np.cumsum(steps)])
        self.length = float(self._lengths[-1])

    def at(self, length: Array) -> Array:
        """Points (x, z) of the left half, [N, 2]."""
        x, z = self._points.T
        return np.column_stack(
            [np.interp(length, self._lengths, x), np.interp(length, self._lengths, z)]
        )

    def tangent(self, length: Array, step: float = 0.2 * MM) -> Array:
        """Unit tangents, away from the midline, [N, 2]."""
        ahead = self.at(np.minimum(length + step, self.length))
        along = ahead - self.at(np.maximum(length - step, 0))
        return along / np.linalg.norm(along, axis=1, keepdims=True)


Mesh = tuple[Array, Ints, Array]  # vertices, faces, albedo


def _crown_pair(jaw: Jaw, arch: _Arch, k: int, root: float) -> list[Mesh]:
    """Crown ``k`` counted from the midline: the left one, then its mirror image."""
    scale = arch.length / (sum(jaw.widths) * MM)
    half = scale * jaw.widths[k] * MM / 2
    where = np.array([scale * MM * (sum(jaw.widths[:k]) + jaw.widths[k] / 2)])
    (x, z), (tx, tz) = arch.at(where)[0], arch.tangent(where)[0]
    along = half * ROW_WIDTH[:, None] * ACROSS
    sides = np.where(ROW_BULGE > 0, SIDE_DEPTH[k], 0)[:, None]
    inward = -SIDE_DEPTH[k] * MM - BEHIND_ARCH
    depth = inward + MM * (sides + FRONT_DEPTH[k] * ROW_BULGE[:, None] * BULGE)
    height = jaw.height * jaw.heights[k]
    up = height * (ROW_HEIGHT[:, None] - ROW_ROUND[:, None] * ACROSS**4)
    grid = np.stack(
        [x + along * tx - depth * tz, root + jaw.direction * up, z + along * tz + depth * tx],
        axis=-1,
    ).reshape(-1, 3)
    albedo = _crown_colors()
    flip = jaw.direction < 0
    shape = (len(ROW_WIDTH), len(ACROSS))
    left = (grid, _grid_faces(*shape, flip), albedo)
    return [left, (grid * [-1, 1, 1], _grid_faces(*shape, not flip), albedo)]


def _crown_colors() -> Array:
    """Ivory, darker at the sides, gum red at the root, [72, 3]."""
    rows, columns = len(ROW_WIDTH), len(ACROSS)
    down = np.repeat(np.append(ROW_HEIGHT[:-1], 0.6), columns)
    side = np.tile(np.abs(ACROSS), rows)
    ivory = colors.fill(rows * columns, colors.TOOTH)
    ivory *= (1 - TOOTH_SIDES * smoothstep(0.35, 1, side) ** 2)[:, None]
    return colors.blend(ivory, colors.GUM, smoothstep(ROOT_END, -0.1, down) * 0.75)


def _gum(jaw: Jaw, arch: _Arch, root: float) -> Mesh:
    lengths = np.linspace(-arch.length, arch.length, GUM_COLUMNS)
    side = np.sign(lengths)
    points, tangents = arch.at(np.abs(lengths)), arch.tangent(np.abs(lengths))
    offset = GUM_OFFSETS[:, None]
    x = side * (points[:, 0] - offset * tangents[:, 1])
    z = points[:, 1] + offset * tangents[:, 0]
    y = root - jaw.direction * jaw.height * GUM_HEIGHTS[:, None] * np.ones(GUM_COLUMNS)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    faces = _grid_faces(len(GUM_OFFSETS), GUM_COLUMNS, jaw.direction > 0)
    return vertices, faces, colors.fill(len(vertices), colors.GUM)


def _grid_faces(rows: int, columns: int, flip: bool) -> Ints:
    """Two triangles a cell of a grid, all first ones before all second ones."""
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b = number[:-1, :-1].ravel(), number[:-1, 1:].ravel()
    d, c = number[1:, :-1].ravel(), number[1:, 1:].ravel()
    if flip:
        a, b, c, d = d, c, b, a
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def tongue(source: Source, neutral: Array, shapes: Mapping[str, Array]) -> Piece:
    """The source's tongue, subdivided once and lowered."""
    inside = (source.quads >= TONGUE.start) & (source.quads < TONGUE.stop)
    quads = source.quads[inside.all(axis=1)] - TONGUE.start
    matrix, finer = subdivide(quads, TONGUE.stop - TONGUE.start)
    vertices = matrix @ neutral[TONGUE]
    vertices[:, 1] -= TONGUE_LOWER
    fields = {name: matrix @ shapes[name][TONGUE] for name in JAW_SHAPES}
    out = TONGUE_REACH * (matrix @ shapes["tongueOut"][TONGUE])
    out[:, 1] += TONGUE_LIFT * (out[:, 2] / out[:, 2].max()) ** 2  # most where it comes out most
    fields["tongueOut"] = out
    albedo = colors.fill(len(vertices), colors.TONGUE)
    return Piece("tongue", vertices, triangulate(finer, vertices), albedo, fields)
