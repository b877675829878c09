"""Heads of avatars that bring the 52 shapes with them: GLB and VRM files with ARKit targets.

The face is laid onto the built-in one by where each shape moves it, so that camera and light fit.
Shapes that the avatar lacks are transferred from the built-in head.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from dtalk.errors import HeadError
from dtalk.heads.eyes import Eye, RiggedHead
from dtalk.heads.gltf_mesh import Surface, has_ktx2, read_surface
from dtalk.heads.head import PARTS, HeadWarning, built_in, shapes_from_fields
from dtalk.heads.mesh import Similarity, umeyama
from dtalk.heads.transfer.cache import transfer_to
from dtalk.heads.transfer.surface import NORMAL_LENGTH, Skin, facing_outwards, sphere
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.gltf import channels_of, load_avatar
from dtalk.motion.gltf_joints import descendants, eye_nodes
from dtalk.utils.glb import GlbError
from dtalk.utils.types import Array, IntArray, Progress

Floats = npt.NDArray[np.float64]

# The built-in head reaches so many times as far from the middle of what its shapes move as they do:
# what is further away, such as an avatar's body, is left out.
REACH = 2.2
FEWEST_LANDMARKS = 4  # of which places a head is laid by
_LANDMARKS = [
    channel
    for channel, name in enumerate(ARKIT_NAMES)
    if not name.startswith(("eyeLook", "tongue"))
]


@dataclass(frozen=True, eq=False)
class AvatarHead(RiggedHead):
    """A head with shapes of its own: `RiggedHead`, and

    Attributes:
        missing: names of the shapes it lacks.
        transferred: whether those came from the built-in head; else they do nothing.
    """

    missing: tuple[str, ...] = ()
    transferred: bool = False


def load_avatar_head(path: Path, folder: Path, progress: Progress) -> AvatarHead:
    """Load the head of an avatar; see `dtalk.heads.load_head`.

    Raises:
        HeadError: no GLB, damaged, or fewer than ten targets with ARKit names.
    """
    glb, targets = load_avatar(path)
    reached = channels_of(targets)
    try:
        surface = _outwards(read_surface(glb).merged(), path)
        if has_ktx2(glb):
            colours = (
                "its textures are compressed by KTX2, which is not read: other colours are used"
            )
            warnings.warn(f"head {path}: {colours}", HeadWarning, stacklevel=2)
        turning = eye_nodes(glb, np.zeros((1, len(ARKIT_NAMES))), targets, reached)
        eyes = [descendants(glb, node) for node in turning]
        return _head(surface, reached, eyes, folder, progress)
    except (GlbError, HeadError) as error:
        raise HeadError(f"cannot use head {path}: {error}") from error


def _outwards(surface: Surface, path: Path) -> Surface:
    """Turn round what is inside out; what is seen from both sides does not tell."""
    solid = ~surface.flat[surface.faces].any(axis=1)
    faces = surface.faces.copy()
    faces[solid] = facing_outwards(surface.vertices, surface.faces[solid])
    if (faces == surface.faces).all():
        return surface
    warnings.warn(f"head {path} is inside out: it is turned", HeadWarning, stacklevel=3)
    return replace(surface, faces=faces)


def _head(
    surface: Surface,
    reached: npt.NDArray[np.bool_],
    eyes: Sequence[Sequence[int]],
    folder: Path,
    progress: Progress,
) -> AvatarHead:
    onto = _placed(surface)
    surface = surface.subset(_near(surface))
    vertices = onto(surface.vertices)
    fields = onto.scale * surface.fields @ onto.rotation.T
    missing = tuple(name for name, there in zip(ARKIT_NAMES, reached, strict=True) if not there)
    borrowed = _transferred(vertices, surface.faces, missing, folder, progress)
    if borrowed is not None:
        fields[~reached] = borrowed[~reached]
    parts = np.where(surface.flat, PARTS.index("brow"), PARTS.index("skin")).astype(np.uint8)
    near = cKDTree(vertices)
    own = built_in()

    def nearest(indices: npt.ArrayLike) -> IntArray:
        return np.asarray(near.query(own.vertices[np.asarray(indices)])[1], dtype=np.int64)

    upper, lower = nearest(own.opening).tolist()
    left, right = nearest(own.corners).tolist()
    return AvatarHead(
        vertices=vertices.astype(np.float32),
        faces=surface.faces.astype(np.int64),
        colors=_colors(surface, vertices, eyes),
        shapes=shapes_from_fields(fields),
        lips=np.unique(nearest(own.lips)),
        upper_face=np.unique(nearest(own.upper_face)),
        opening=(upper, lower),
        corners=(left, right),
        parts=parts,
        eyes=_eyeballs(surface, vertices, eyes),
        missing=missing,
        transferred=borrowed is not None and bool(missing),
    )


def _placed(surface: Surface) -> Similarity:
    """Lay the avatar onto the built-in head, by the middles of what their shapes move."""
    own = built_in()
    fields = own.shapes.toarray().T.reshape(len(ARKIT_NAMES), -1, 3)
    there, here = [], []
    for channel in _LANDMARKS:
        middle = _middle(surface.vertices, surface.fields[channel])
        if middle is not None:
            there.append(middle)
            here.append(_middle(own.vertices.astype(float), fields[channel]))
    if len(there) < FEWEST_LANDMARKS:
        raise HeadError("its shapes do not move a face")
    return umeyama(np.array(there), np.array(here))


def _middle(vertices: Floats, field: npt.NDArray[np.floating]) -> Floats | None:
    """Compute the middle of what a shape moves, weighted by how far; None if nothing moves."""
    moved = (field.astype(float) ** 2).sum(axis=1)
    total = moved.sum()
    return moved @ vertices / total if total > 0 else None


def _near(surface: Surface) -> npt.NDArray[np.bool_]:
    """Select the vertices of the head: those near the ones that shapes move."""
    length = np.linalg.norm(surface.fields, axis=2)
    moving = (length > 0.05 * length.max(axis=1, keepdims=True)).any(axis=0)
    low, high = surface.vertices[moving].min(axis=0), surface.vertices[moving].max(axis=0)
    away = np.linalg.norm(surface.vertices - (low + high) / 2, axis=1)
    near: npt.NDArray[np.bool_] = away < REACH * np.linalg.norm(high - low) / 2
    return near


def _transferred(
    vertices: Floats,
    faces: IntArray,
    missing: Sequence[str],
    folder: Path,
    progress: Progress,
) -> Floats | None:
    """Transfer the built-in head's shapes to the avatar, if it lacks some; None if not."""
    if not missing:
        return None
    try:
        found = transfer_to(vertices.astype(np.float32), faces, (), folder, progress)
    except HeadError:
        return None
    return found.fields.astype(float)


def _colors(surface: Surface, vertices: Floats, eyes: Sequence[Sequence[int]]) -> Array:
    """Colour the avatar; where a texture cannot be read as the built-in head nearby."""
    own, colors = built_in(), surface.colors.astype(np.float32)
    ball = np.isin(surface.nodes, [node for nodes in eyes for node in nodes])
    places = _places(vertices, surface.faces)
    own_places = _places(own.vertices.astype(float), own.faces)
    for chosen, parts in ((ball, ("eye",)), (~ball, ("skin", "teeth", "tongue"))):
        unknown = np.flatnonzero(np.isnan(colors).any(axis=1) & chosen)
        known = np.flatnonzero(np.isin(own.parts, [PARTS.index(part) for part in parts]))
        near = cKDTree(own_places[known]).query(places[unknown])[1]
        colors[unknown] = own.colors[known[near]]
    return colors


def _places(vertices: Floats, faces: IntArray) -> Floats:
    """Join vertices and their normals [V, 6]: what is near in both is alike."""
    return np.hstack((vertices, NORMAL_LENGTH * Skin(vertices, faces).normals()))


def _eyeballs(surface: Surface, vertices: Floats, eyes: Sequence[Sequence[int]]) -> tuple[Eye, ...]:
    """Find the eyeballs, left and right, below their nodes; none if one lacks a mesh."""
    none = np.zeros(0)
    found = []
    for nodes in eyes:
        ball = np.flatnonzero(np.isin(surface.nodes, nodes))
        if len(ball):
            centre, _ = sphere(vertices[ball])
            shares = np.ones(len(ball), dtype=np.float32)
            place = centre.astype(np.float32)
            lids = none.astype(np.int64), none.astype(np.float32)
            found.append(Eye(ball, shares, place, *lids))
    return tuple(found) if len(found) == 2 else ()
