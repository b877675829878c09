"""Colours, given as sRGB 0 to 255 and used as linear RGB 0 to 1, and how they mix."""

from __future__ import annotations

import numpy as np

from examples.build_head.source import Array

Rgb = tuple[int, int, int]

SKIN, CHEEK, NOSE_TIP, EAR = (208, 160, 138), (214, 128, 104), (208, 122, 100), (208, 128, 106)
EYE_SOCKET, LIP = (186, 124, 104), (184, 104, 98)
MOUTH_CAVITY, EYE_CAVITY = (112, 40, 40), (190, 110, 100)
SCLERA, SCLERA_CORNER = (214, 208, 204), (210, 178, 170)
IRIS, IRIS_INNER, IRIS_RIM, PUPIL = (92, 118, 128), (128, 112, 82), (38, 46, 52), (9, 8, 8)
TOOTH, GUM, TONGUE = (226, 214, 192), (170, 88, 86), (180, 92, 90)
HAIR, BROW, LASH = (52, 38, 30), (84, 58, 45), (28, 20, 18)


def linear(color: Rgb) -> Array:
    """sRGB 0 to 255 -> linear 0 to 1 (IEC 61966-2-1), [3]."""
    value = np.array(color) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def blend(below: Array, color: Rgb, share: Array) -> Array:
    """Paint ``color`` over colours [N, 3] with opacity ``share`` [N]."""
    return below + (linear(color) - below) * share[:, None]


def fill(count: int, color: Rgb) -> Array:
    """``count`` vertices of one colour, [count, 3]."""
    return np.tile(linear(color), (count, 1))
