"""The skin's colours: areas of the face, lips, cavities, hair, a little unevenness."""

from __future__ import annotations

import numpy as np

from examples.build_head import colors
from examples.build_head.hairs import brow_shadow
from examples.build_head.mesh import smoothstep
from examples.build_head.skin import Skin, hair_mask
from examples.build_head.source import Array

NOSE_TIP = 5054  # base vertex

# Soft round areas: centre on the left side (x, y from the eyes, z), radius, strength; metres.
CHEEK_CENTER, CHEEK_RADIUS, CHEEK_SHARE = np.array([0.042, -0.036, 0.118]), 0.022, 0.42
NOSE_RADIUS, NOSE_SHARE = 0.012, 0.35
SOCKET_FROM_EYE, SOCKET_RADIUS, SOCKET_SHARE = np.array([0, 0, 0.012]), 0.018, 0.45
EAR_SHARE, LIP_SHARE, BROW_SHARE = 0.45, 0.85, 0.40

MOTTLE, MOTTLE_WAVES = 0.010, 24
HAIR_MOTTLE = 0.06
SHORTEST_WAVE, LONGEST_WAVE = 0.02, 0.08


def skin_colors(
    skin: Skin, vertices: Array, eye_center: Array, random: np.random.Generator
) -> Array:
    """Linear RGB, [S, 3], without occlusion. ``eye_center`` is the left one."""
    albedo = colors.fill(len(vertices), colors.SKIN)
    albedo = colors.blend(albedo, colors.CHEEK, CHEEK_SHARE * _cheeks(vertices, eye_center))
    nose = vertices[int(np.flatnonzero(skin.origin == NOSE_TIP)[0])]
    albedo = colors.blend(albedo, colors.NOSE_TIP, NOSE_SHARE * _soft(vertices, nose, NOSE_RADIUS))
    albedo = colors.blend(albedo, colors.EAR, EAR_SHARE * skin.masks["ears"])
    socket = _soft(_folded(vertices), eye_center + SOCKET_FROM_EYE, SOCKET_RADIUS)
    albedo = colors.blend(albedo, colors.EYE_SOCKET, SOCKET_SHARE * socket)
    shadow = BROW_SHARE * brow_shadow(vertices, float(eye_center[1]))
    albedo = albedo * (1 - shadow)[:, None]
    albedo = colors.blend(albedo, colors.LIP, LIP_SHARE * skin.masks["lips"])
    albedo = colors.blend(albedo, colors.EYE_CAVITY, skin.masks["eye_cavity"])
    albedo = colors.blend(albedo, colors.MOUTH_CAVITY, _mouth_inside(skin))
    waves = _waves(vertices, random)
    albedo = albedo * (1 + MOTTLE * waves)[:, None]
    hair = colors.fill(len(vertices), colors.HAIR) * (1 + HAIR_MOTTLE * waves)[:, None]
    share = hair_mask(vertices, skin.masks["ears"])[:, None]
    return albedo * (1 - share) + hair * share


def _mouth_inside(skin: Skin) -> Array:
    """The cavity, but not the lips' seam, where both meet."""
    return np.asarray(smoothstep(0.5, 1.0, skin.masks["mouth_cavity"]))


def _cheeks(vertices: Array, eye_center: Array) -> Array:
    below_eyes = np.array([0, eye_center[1], 0])
    return _soft(_folded(vertices), CHEEK_CENTER + below_eyes, CHEEK_RADIUS)


def _folded(vertices: Array) -> Array:
    """Both sides laid on the left one."""
    return np.asarray(np.abs(vertices * [1, 0, 0]) + vertices * [0, 1, 1])


def _soft(vertices: Array, center: Array, radius: float) -> Array:
    """A bell of height 1 around a point, [V]."""
    squared = ((vertices - center) ** 2).sum(axis=1)
    return np.asarray(np.exp(-squared / (2 * (0.6 * radius) ** 2)))


def _waves(vertices: Array, random: np.random.Generator) -> Array:
    """Smooth noise of unit strength: plane waves in random directions."""
    directions = random.normal(size=(MOTTLE_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = random.uniform(SHORTEST_WAVE, LONGEST_WAVE, MOTTLE_WAVES)
    phases = random.uniform(0, 2 * np.pi, MOTTLE_WAVES)
    folded = _folded(vertices)
    waves = np.sin(folded @ (directions * (2 * np.pi / lengths)[:, None]).T + phases)
    return np.asarray(waves.sum(axis=1) / np.sqrt(MOTTLE_WAVES / 2))
