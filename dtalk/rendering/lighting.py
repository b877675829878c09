"""Lighting of a head's vertices, in numpy, so that triangles can be drawn unshaded.

With a software rasteriser that is several times faster than shading every pixel, and it allows what
pyrender's shader lacks: wrapped skin light, rims, a sky.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.heads.head import PARTS, Head
from dtalk.heads.normals import incidence
from dtalk.utils.types import Array

GAMMA = 2.2

# Light: directions from the face, linear RGB. The key wraps around the cheek, red furthest,
# which is what light scattered under the skin does.
KEY_DIRECTION, KEY_COLOR = (0.62, 0.62, 1.0), (0.860, 0.820, 0.765)
KEY_WRAP = (0.33, 0.20, 0.15)
FILL_DIRECTION, FILL_COLOR = (-1.0, 0.1, 0.75), (0.150, 0.172, 0.195)
SKY, GROUND = (0.225, 0.245, 0.265), (0.165, 0.128, 0.112)
RIMS = (((-0.80, 0.55, -0.9), 1.7), ((0.95, 0.35, -0.9), 1.0))
SKIN_GLOSS, LIP_GLOSS, TEETH_GLOSS, TONGUE_GLOSS = 0.070, 0.13, 0.25, 0.12
# Baked occlusion darkens the cavities: skin darker than this (linear) hardly shines.
GLOSSY_ALBEDO = 0.25


class Light:
    """The lights: vertex colours of a deformed head, in sRGB.

    Args:
        head: whose albedo (colours with baked occlusion), parts and triangles are lit.
        camera_pose: camera to world, [4, 4]; highlights and rims depend on it.
        turn: rotation [3, 3] of the lamps, so that they follow the camera around the head.

    Inside, arrays are [3, V]: rows are contiguous.
    """

    def __init__(self, head: Head, camera_pose: Array, turn: Array) -> None:
        self._eye = camera_pose[:3, 3:4]
        self._key: Array = turn @ unit(KEY_DIRECTION)
        self._fill = turn @ unit(FILL_DIRECTION)
        self._rims = [(turn @ unit(direction), power) for direction, power in RIMS]
        self._albedo = np.ascontiguousarray(head.colors.T)
        self._soft_gloss, self._hard_gloss = gloss(head)
        self._is_hair = is_hair(head)
        self._corners = tuple(np.ascontiguousarray(corner) for corner in head.faces.T)
        self._incidence = incidence(head)

    def shade(self, vertices: Array) -> tuple[Array, Array]:
        """Shade positions [V, 3]: sRGB [V, 3], 0 to 1, and normals [V, 3]."""
        positions = np.ascontiguousarray(vertices.T)
        view = _normalised(self._eye - positions)
        normal = self._normals(positions)
        facing = (normal * view).sum(axis=0)
        # Hairs are flat cards seen from both sides: light the side that is seen.
        normal *= np.where(self._is_hair & (facing < 0), np.float32(-1), np.float32(1))
        linear = self._albedo * self._diffuse(normal, np.abs(facing))
        linear += self._highlight(normal, view)
        np.clip(linear, 0, 1, out=linear)
        srgb: Array = np.power(linear, np.float32(1 / GAMMA))
        return np.ascontiguousarray(srgb.T), np.ascontiguousarray(normal.T)

    def _normals(self, positions: Array) -> Array:
        a, b, c = (positions.take(corner, axis=1) for corner in self._corners)
        # One axis at a time: faster than a product with [F, 3].
        summed = [self._incidence @ axis for axis in _cross(b - a, c - a)]
        return _normalised(np.stack(summed))

    def _diffuse(self, normal: Array, facing: Array) -> Array:
        key, fill = self._key @ normal, self._fill @ normal
        wrap = _column(KEY_WRAP)
        light: Array = np.maximum((key + wrap) / (1 + wrap), 0) * _column(KEY_COLOR)
        light += np.maximum(fill, 0) * _column(FILL_COLOR)
        light += _column(GROUND) + (_column(SKY) - _column(GROUND)) * (0.5 + 0.5 * normal[1])
        away = 1 - np.minimum(facing, 1)
        grazing = away * away * away
        for direction, power in self._rims:
            light += np.float32(power) * np.maximum(direction @ normal, 0) * grazing
        return light

    def _highlight(self, normal: Array, view: Array) -> Array:
        """Compute Blinn's highlight of the key light, with exponents 20 and 40."""
        half = _normalised(view + self._key[:, None])
        cosine = np.maximum((half * normal).sum(axis=0), 0)
        soft = cosine**20
        shine: Array = self._soft_gloss * soft + self._hard_gloss * soft * soft
        return shine


def gloss(head: Head) -> tuple[Array, Array]:
    """Strength of the soft (skin, lips) and of the hard highlight (teeth, tongue), [V]."""
    soft = np.where(head.parts == PARTS.index("skin"), SKIN_GLOSS, 0.0)
    soft[head.lips] = LIP_GLOSS
    hard = np.where(head.parts == PARTS.index("teeth"), TEETH_GLOSS, 0.0)
    hard[head.parts == PARTS.index("tongue")] = TONGUE_GLOSS
    lit = np.clip(head.colors.max(axis=1) / GLOSSY_ALBEDO, 0, 1) ** 2
    return (soft * lit).astype(np.float32), (hard * lit).astype(np.float32)


def _cross(a: Array, b: Array) -> Array:
    """Compute the cross product of [3, N]; numpy's own is 2.5 times slower."""
    return np.stack(
        (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    )


def _normalised(vectors: Array) -> Array:
    length = np.sqrt((vectors * vectors).sum(axis=0))
    unit: Array = vectors / np.maximum(length, np.float32(1e-12))
    return unit


def unit(vector: tuple[float, float, float]) -> Array:
    """Normalise a vector [3]."""
    array = np.array(vector, dtype=np.float32)
    unit: Array = array / np.float32(np.linalg.norm(array))
    return unit


def _column(values: tuple[float, float, float]) -> Array:
    return np.array(values, dtype=np.float32)[:, None]


def is_hair(head: Head) -> npt.NDArray[np.bool_]:
    """Find vertices [V] of flat cards that are seen from both sides: brows and lashes."""
    return np.isin(head.parts, (PARTS.index("brow"), PARTS.index("lash")))
