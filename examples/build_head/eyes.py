"""Eyeballs with iris and pupil by vertex colour, and a glint that stays where the light is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.build_head import colors
from examples.build_head.mesh import smoothstep
from examples.build_head.piece import Piece
from examples.build_head.source import EYES, Array, Ints

SEGMENTS = 40
# Rings from the pupil outward, as distances from the axis (metres): doubled at the rim of the
# pupil and of the iris, so that colours change within a fraction of a millimetre.
PUPIL, IRIS = 0.0021, 0.0058
RINGS = np.array(
    [0.55 * PUPIL, 0.96 * PUPIL, 1.04 * PUPIL]
    + [IRIS * share for share in (0.45, 0.60, 0.75, 0.86, 0.955, 1.03)]
)
OPEN_END, WHITE_RINGS = 2.2, 12  # the ball ends at this angle (radians) behind the lids
STREAKS = 0.22  # how much the iris varies around its centre

# Turns at weight 1, degrees. The targets turn less, but the lids are made for these.
SIDEWAYS, UP, DOWN = 24.0, 16.0, 18.0

# Shadow that the lids throw on the white.
UPPER_SHADE, LOWER_SHADE = 0.55, 0.20
SHADE_FROM, SHADE_TO = 0.0005, 0.0055

GLINT_DIRECTION = np.array([0.17, 0.15, 1.0])
GLINT_RADIUS, GLINT_HEIGHT, GLINT_SIDES = 0.00075, 0.0006, 10
GLINT_COLOR = 3.0  # above white: it stays white in any light


@dataclass(frozen=True)
class Ball:
    """A sphere, metres."""

    center: Array
    radius: float


def fit_ball(points: Array) -> Ball:
    """The sphere through points, least squares: |p|^2 = 2 c p + (r^2 - |c|^2)."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    center = solution[:3]
    return Ball(center, float(np.sqrt(solution[3] + center @ center)))


def eyes(neutral: Array, random: np.random.Generator) -> tuple[Ball, list[Piece]]:
    """The left ball's sphere, and the pieces: left eye and glint, right eye and glint."""
    left = fit_ball(neutral[EYES[0]])
    streaks = 1 + STREAKS * random.uniform(-1, 1, (len(RINGS), SEGMENTS))
    pieces = []
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        ball = Ball(left.center * [sign, 1, 1], left.radius)
        pieces += [_eye(ball, side, streaks), _glint(ball)]
    return left, pieces


def _eye(ball: Ball, side: str, streaks: Array) -> Piece:
    angles = np.concatenate([np.arcsin(RINGS / ball.radius), _white_angles(ball.radius)])
    around = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS
    sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None]
    rings = np.stack(
        [sine * np.cos(around), sine * np.sin(around), cosine * np.ones(SEGMENTS)], axis=-1
    )
    offsets = ball.radius * np.concatenate([[[0, 0, 1]], rings.reshape(-1, 3)])
    albedo = _eye_colors(offsets, angles, streaks)
    fields = {name + side: offsets @ turn.T - offsets for name, turn in _turns(side).items()}
    return Piece("eye", ball.center + offsets, _ring_faces(len(angles)), albedo, fields)


def _white_angles(radius: float) -> Array:
    """Evenly from the iris to the open end."""
    return np.linspace(np.arcsin(RINGS[-1] / radius), OPEN_END, WHITE_RINGS + 1)[1:]


def _ring_faces(rings: int) -> Ints:
    """The pole's fan, then two triangles between neighbours on each pair of rings."""
    k = np.arange(SEGMENTS)
    after = (k + 1) % SEGMENTS
    fan = np.stack([np.zeros_like(k), 1 + k, 1 + after], axis=1)
    bands = []
    for ring in range(rings - 1):
        a, b = 1 + ring * SEGMENTS + k, 1 + ring * SEGMENTS + after
        c, d = a + SEGMENTS, b + SEGMENTS
        bands.append(np.stack([a, c, d, a, d, b], axis=1).reshape(-1, 3))
    return np.concatenate([fan, *bands])


def _turns(side: str) -> dict[str, Array]:
    """Rotations of the gaze; the left eye looks out toward +x."""
    out = SIDEWAYS if side == "Left" else -SIDEWAYS
    return {
        "eyeLookOut": _about(1, out),
        "eyeLookIn": _about(1, -out),
        "eyeLookUp": _about(0, -UP),
        "eyeLookDown": _about(0, DOWN),
    }


def _about(axis: int, degrees: float) -> Array:
    """Rotation about the x (0) or y (1) axis, right-handed, [3, 3]."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    i, j = ((1, 2), (2, 0))[axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = cosine
    turn[i, j], turn[j, i] = -sine, sine
    return turn


def _eye_colors(offsets: Array, angles: Array, streaks: Array) -> Array:
    """Per vertex: pole first, then ring by ring."""
    ring = np.concatenate([[0], 1 + np.repeat(np.arange(len(angles)), SEGMENTS)])
    albedo = _ring_colors(len(angles))[ring]
    varied = np.ones(len(offsets))
    first_iris = 1 + 2 * SEGMENTS
    iris = slice(first_iris, 1 + (len(RINGS) - 1) * SEGMENTS)
    varied[iris] = streaks[2:-1].ravel()
    albedo = albedo * varied[:, None]
    albedo = _redden_corners(albedo, offsets)
    return albedo * _lid_shade(offsets[:, 1])[:, None]


def _ring_colors(rings: int) -> Array:
    """Pole, pupil (2), iris from amber to blue (5), its dark rim, then white."""
    pupil, inner = colors.linear(colors.PUPIL), colors.linear(colors.IRIS_INNER)
    outer, rim = colors.linear(colors.IRIS), colors.linear(colors.IRIS_RIM)
    iris = [inner, 0.8 * inner + 0.2 * outer, 0.3 * inner + 0.7 * outer, outer, 0.85 * outer]
    white = [colors.linear(colors.SCLERA)] * (rings - 8)
    return np.array([pupil, pupil, pupil, *iris, rim, *white])


def _redden_corners(albedo: Array, offsets: Array) -> Array:
    radius = np.linalg.norm(offsets[0])
    sideways = np.abs(offsets[:, 0]) / radius
    in_sight = smoothstep(1.75, 1.6, np.arccos(np.clip(offsets[:, 2] / radius, -1, 1)))
    return colors.blend(albedo, colors.SCLERA_CORNER, smoothstep(0.55, 0.95, sideways) * in_sight)


def _lid_shade(height: Array) -> Array:
    """Factor by the height above the pupil, metres."""
    upper = UPPER_SHADE * smoothstep(SHADE_FROM, SHADE_TO, height)
    lower = LOWER_SHADE * smoothstep(SHADE_FROM, SHADE_TO, -height)
    return 1 - upper - lower


def _glint(ball: Ball) -> Piece:
    """A small bright disc above the ball. It does not turn: the light does not either."""
    toward = GLINT_DIRECTION / np.linalg.norm(GLINT_DIRECTION)
    right = np.cross([0, 1, 0], toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    middle = ball.center + (ball.radius + GLINT_HEIGHT) * toward
    angle = (np.arange(GLINT_SIDES) * 2 * np.pi / GLINT_SIDES)[:, None]
    rim = middle + GLINT_RADIUS * (np.cos(angle) * right + np.sin(angle) * up)
    k = np.arange(GLINT_SIDES)
    faces = np.stack([np.zeros_like(k), 1 + k, 1 + (k + 1) % GLINT_SIDES], axis=1)
    vertices = np.concatenate([[middle], rim])
    return Piece("glint", vertices, faces, np.full((len(vertices), 3), GLINT_COLOR), {})
