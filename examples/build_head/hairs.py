"""Brows and lashes: single hairs, each bound to the skin or to the source's lash cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from examples.build_head import colors
from examples.build_head.piece import Piece
from examples.build_head.source import Array, Ints, Source

MM = 1e-3

# Brows: the middle line from nose to temple (mm sideways, mm above the eye), and along it
# half the width, the direction of the hairs (degrees from outward, up) and their length.
BROW_X = np.array([10.5, 20.0, 31.0, 41.0, 49.0, 56.5])
BROW_Y = np.array([16.0, 17.8, 20.0, 20.8, 19.0, 13.8])
BROW_HALF_WIDTH = np.array([2.4, 3.0, 3.3, 2.8, 1.9, 0.5])
BROW_ANGLE = np.array([64.0, 44.0, 26.0, 5.0, -12.0, -27.0])
BROW_LENGTH = np.array([5.6, 6.6, 7.9, 8.0, 7.0, 4.5])
BROW_HAIRS, BROW_HAIR_WIDTH = 260, 0.6 * MM
BROW_FAN = 11.0  # degrees by which hairs at the rim lean back to the middle line
BROW_LENGTH_SPREAD, BROW_ANGLE_SPREAD, BROW_COLOR_SPREAD = 0.2, 6.0, 0.3
ROOT_LIFT, TIP_LIFT = 0.4 * MM, 1.0 * MM


def brows(
    skin_vertices: Array,
    skin_faces: Ints,
    skin_normals: Array,
    skin_fields: Mapping[str, Array],
    eye_height: float,
    random: np.random.Generator,
) -> Piece:
    """Both brows; the right one is the left one's mirror image, bound to its own side."""
    root, tip = _brow_lines(eye_height, random)
    shade = 1 + BROW_COLOR_SPREAD * random.uniform(-1, 1, BROW_HAIRS)
    skin = _Surface(skin_vertices, skin_faces, skin_normals)
    bound, places = [], []
    for sign in (1.0, -1.0):
        matrix, vertices = _bound_hairs(skin, root * [sign, 1], tip * [sign, 1])
        bound.append(matrix)
        places.append(vertices)
    binding = sparse.vstack(bound)
    vertices = np.concatenate(places)
    fields = {name: binding @ field for name, field in skin_fields.items()}
    albedo = np.repeat(np.tile(shade, 2), 3)[:, None] * colors.linear(colors.BROW)
    faces = np.arange(len(vertices)).reshape(-1, 3)[:, ::-1]
    return Piece("brow", vertices, faces, albedo, fields)


def brow_shadow(vertices: Array, eye_height: float) -> Array:
    """How much of the skin's tint under the brows falls on each vertex, 0 to 1, [V]."""
    x, y = np.abs(vertices[:, 0]) / MM, (vertices[:, 1] - eye_height) / MM
    offset = np.abs(y - np.interp(x, BROW_X, BROW_Y)) / (np.interp(x, BROW_X, BROW_HALF_WIDTH) + 2)
    along = np.clip((x - BROW_X[0] + 3) / 5, 0, 1) * np.clip((BROW_X[-1] + 6 - x) / 8, 0, 1)
    in_front = vertices[:, 2] > 0.08
    return np.asarray(np.clip(1.2 - offset, 0, 1) * along * in_front)


def _brow_lines(eye_height: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Roots and tips of the left brow seen from the front, metres, [260, 2] each."""
    x = random.uniform(BROW_X[0], BROW_X[-1], BROW_HAIRS)
    across = random.triangular(-1, 0, 1, BROW_HAIRS)  # densest along the middle line
    angle = np.interp(x, BROW_X, BROW_ANGLE) - BROW_FAN * across
    angle += random.normal(0, BROW_ANGLE_SPREAD, BROW_HAIRS)
    length = np.interp(x, BROW_X, BROW_LENGTH)
    length *= 1 + BROW_LENGTH_SPREAD * random.uniform(-1, 1, BROW_HAIRS)
    y = np.interp(x, BROW_X, BROW_Y) + across * np.interp(x, BROW_X, BROW_HALF_WIDTH)
    root = np.column_stack([x, y])
    turn = np.deg2rad(angle)
    tip = root + length[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    return root * MM + [0, eye_height], tip * MM + [0, eye_height]


class _Surface:
    """The skin, to be hit along z from the front."""

    def __init__(self, vertices: Array, faces: Ints, normals: Array) -> None:
        self.vertices, self.normals = vertices, normals
        near = vertices[faces][:, :, 2].min(axis=1) > 0.07  # the face, not the back of the head
        self._faces = faces[near]
        self._corners = vertices[self._faces]

    def bind(self, points: Array) -> sparse.csr_array:
        """Weights of skin vertices for the foremost surface point above each (x, y), [N, V]."""
        rows = []
        for point in points:
            weights = _barycentric(self._corners[:, :, :2], point)
            hit = (weights >= -1e-9).all(axis=1)
            depth = np.where(hit, (weights * self._corners[:, :, 2]).sum(axis=1), -np.inf)
            best = int(depth.argmax())
            rows.append((self._faces[best], weights[best]))
        columns = np.array([face for face, _ in rows])
        values = np.array([weight for _, weight in rows])
        place = (np.repeat(np.arange(len(points)), 3), columns.ravel())
        return sparse.csr_array((values.ravel(), place), (len(points), len(self.vertices)))


def _barycentric(triangles: Array, point: Array) -> Array:
    """Weights of a point for triangles in the plane, [F, 3, 2] -> [F, 3]; nan: no area."""
    a, b, c = (triangles[:, k] for k in range(3))
    u, v, w = b - a, c - a, point - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / area
        third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / area
    return np.stack([1 - second - third, second, third], axis=1)


def _bound_hairs(skin: _Surface, root: Array, tip: Array) -> tuple[sparse.csr_array, Array]:
    """One triangle a hair: root left, root right, tip. Weights [3 N, V], places [3 N, 3]."""
    at_root, at_tip = skin.bind(root), skin.bind(tip)
    start = at_root @ skin.vertices + ROOT_LIFT * _unit(at_root @ skin.normals)
    end = at_tip @ skin.vertices + TIP_LIFT * _unit(at_tip @ skin.normals)
    across = _unit(np.cross(end - start, at_root @ skin.normals))
    half = BROW_HAIR_WIDTH / 2 * across
    vertices = np.stack([start - half, start + half, end], axis=1).reshape(-1, 3)
    order = np.arange(3 * len(root)).reshape(3, -1).T.ravel()
    return sparse.vstack([at_root, at_root, at_tip]).tocsr()[order], vertices


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


# --- lashes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lashes:
    """One row of lashes; the source has it as a card: a grid of 5 rows from lid to tips."""

    group: str
    hairs: int
    length: float  # share of the card's
    width: float  # at the root, metres
    away: float  # moved off the eye's centre, metres


LASH_ROWS = (
    Lashes("eyelashes-1", 26, 0.38, 0.44 * MM, 0.4 * MM),  # lower
    Lashes("eyelashes-2", 52, 0.52, 0.68 * MM, 0.7 * MM),  # upper
)
LASH_LENGTH_SPREAD, LASH_PLACE_SPREAD = 0.15, 0.3
LASH_TAPER = 0.7  # width in the middle; the tip is a point
LASH_FACES = np.array([[0, 1, 3], [0, 3, 2], [2, 3, 4]])


def lashes(
    source: Source,
    neutral: Array,
    shapes: Mapping[str, Array],
    eye_center: Array,
    random: np.random.Generator,
) -> list[Piece]:
    """Left lower, left upper, right lower, right upper."""
    left = [_Row(source, neutral, lashes, eye_center, random) for lashes in LASH_ROWS]
    return [row.piece(shapes, mirror) for mirror in (None, source.mirror) for row in left]


class _Row:
    """One row of the left eye; its mirror image serves the right one."""

    def __init__(
        self,
        source: Source,
        neutral: Array,
        row: Lashes,
        eye_center: Array,
        random: np.random.Generator,
    ) -> None:
        grid = card_grid(source, f"helper-l-{row.group}", neutral, eye_center)
        count = grid.shape[1]
        step = (count - 3) / (row.hairs - 1)  # the outermost columns of the card are bent
        place = 1 + step * np.arange(row.hairs)
        place += step * LASH_PLACE_SPREAD * random.uniform(-1, 1, row.hairs)
        length = row.length * (1 + LASH_LENGTH_SPREAD * random.uniform(-1, 1, row.hairs))
        self._matrix = _lash_matrix(grid, np.clip(place, 1, count - 2), length, len(neutral))
        self._vertices = self._matrix @ neutral + _widths(self._matrix @ neutral, row.width)
        self._vertices += row.away * _unit(self._vertices - eye_center)
        self._color = colors.LASH if row.length > 0.5 else (60, 42, 36)

    def piece(self, shapes: Mapping[str, Array], mirror: Ints | None) -> Piece:
        """The left row, or with the source's mirror map the right one."""
        flip = np.ones(3) if mirror is None else np.array([-1.0, 1.0, 1.0])
        fields = {name: self._matrix @ field for name, field in shapes.items()}
        if mirror is not None:
            fields = {name: self._matrix @ (field[mirror] * flip) for name, field in shapes.items()}
        hairs = np.arange(len(self._vertices) // 5)[:, None]
        faces = np.concatenate([5 * hairs + triangle for triangle in LASH_FACES])
        albedo = colors.fill(len(self._vertices), self._color)
        return Piece("lash", self._vertices * flip, faces, albedo, fields)


def _lash_matrix(grid: Ints, place: Array, length: Array, count: int) -> sparse.csr_array:
    """Root, root, middle, middle, tip of each hair as means of card vertices, [5 N, V]."""
    column = place.astype(int)
    share = place - column
    root, middle, tip = (_between(grid[row], column, share, count) for row in (0, 2, 4))
    shorter = sparse.diags_array(length)
    to_middle = root + shorter @ (middle - root)
    to_tip = root + shorter @ (tip - root)
    stacked = sparse.vstack([root, root, to_middle, to_middle, to_tip]).tocsr()
    return stacked[np.arange(5 * len(place)).reshape(5, -1).T.ravel()]


def _between(row: Ints, column: Ints, share: Array, count: int) -> sparse.csr_array:
    hairs = np.arange(len(column))
    place = (np.concatenate([hairs, hairs]), np.concatenate([row[column], row[column + 1]]))
    values = np.concatenate([1 - share, share])
    return sparse.csr_array((values, place), (len(column), count))


def _widths(centers: Array, width: float) -> Array:
    """Offsets that turn each hair's doubled centre line into a ribbon, [5 N, 3]."""
    hairs = centers.reshape(-1, 5, 3)
    roots = hairs[:, 0]
    along_lid = _unit(np.gradient(roots, axis=0))
    half = np.array([-1, 1, -LASH_TAPER, LASH_TAPER, 0]) * width / 2
    return (half[None, :, None] * along_lid[:, None, :]).reshape(-1, 3)


def card_grid(source: Source, group: str, vertices: Array, eye_center: Array) -> Ints:
    """The card's vertices as a grid, [5, columns]; row 0 is the one nearest the eye."""
    inside = np.isin(np.arange(len(vertices)), source.group(group))
    quads = source.quads[inside[source.quads].all(axis=1)]
    start = int(np.flatnonzero(np.bincount(quads.ravel()) == 1)[0])
    grid = _walk_grid(quads.tolist(), start)
    if grid.shape[0] > grid.shape[1]:
        grid = grid.T
    distance = np.linalg.norm(vertices[grid] - eye_center, axis=-1).mean(axis=1)
    return grid if distance[0] < distance[-1] else grid[::-1]


def _walk_grid(quads: list[list[int]], corner: int) -> Ints:
    """Lay a sheet of quads out as a grid, beginning at one of its corners."""
    left = [list(quad) for quad in quads]
    first = next(quad for quad in left if corner in quad)
    k = first.index(corner)
    row = _walk_border(left, corner, first[(k + 1) % 4])
    grid = [row]
    while left:
        below: list[int] = []
        for a, b in pairwise(row):
            quad = next(q for q in left if a in q and b in q)
            left.remove(quad)
            next_to_a, next_to_b = _opposite(quad, a, b)
            below = below or [next_to_a]
            below.append(next_to_b)
        row = below
        grid.append(row)
    return np.array(grid)


def _walk_border(quads: list[list[int]], corner: int, second: int) -> list[int]:
    """Along the sheet's border until its next corner."""
    uses = np.bincount(np.array(quads).ravel())
    row = [corner, second]
    while uses[row[-1]] != 1:
        row.append(_next_on_border(quads, row[-2], row[-1]))
    return row


def _next_on_border(quads: list[list[int]], before: int, here: int) -> int:
    around = [quad for quad in quads if here in quad]
    neighbours = [quad[(quad.index(here) + side) % 4] for quad in around for side in (1, 3)]
    once = [v for v in neighbours if neighbours.count(v) == 1 and v != before]
    return once[0]


def _opposite(quad: list[int], a: int, b: int) -> tuple[int, int]:
    """The quad's other two corners: the one beside ``a``, the one beside ``b``."""
    i, j = quad.index(a), quad.index(b)
    step = 1 if (i + 3) % 4 == j else -1
    return quad[(i + step) % 4], quad[(j - step) % 4]
