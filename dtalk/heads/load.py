"""Loading of heads: the built-in one, the user's FLAME model, or any mesh of a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dtalk.errors import HeadError, PickleError
from dtalk.heads.flame import Flame, read_flame
from dtalk.heads.flame_head import FlameHead, flame_head
from dtalk.heads.head import PARTS, Head, built_in
from dtalk.heads.mesh import load_mesh_head
from dtalk.heads.transfer.cache import default_folder, transfer_to
from dtalk.utils.pickles import load_pickle
from dtalk.utils.types import IntArray, Progress

FLAME_SUFFIXES = (".pkl", ".npz")
MASKED_UPPER = ("forehead", "eye_region", "left_eye_region", "right_eye_region")
MASKED_EYES = ("left_eyeball", "right_eyeball")


def parse_shape(text: str) -> tuple[float, ...]:
    """Parse the numbers of a FLAME identity, written like ``0.5,-1,0.2``.

    Raises:
        HeadError: it is something else.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise HeadError(f"cannot read --shape {text!r}; write numbers like 0.5,-1,0.2") from error


def load_head(
    path: Path | str | None = None,
    shape: Sequence[float] = (),
    masks: Path | None = None,
    progress: Progress = lambda done, total: None,
    cache: Path | None = None,
) -> Head:
    """Load a head that the 52 coefficients deform.

    Args:
        path: a FLAME model (pkl or npz), an avatar (glb, vrm) with at least ten targets of ARKit
            names, or a mesh of a head in any format that trimesh reads; the built-in head if None.
        shape: the first numbers of a FLAME identity; the others are 0.
        masks: FLAME_masks.pkl, whose regions replace those that are transferred.
        progress: called with the steps done and all steps, while shapes are transferred.
        cache: folder for transferred shapes, `default_folder` if None.

    Raises:
        HeadError: a file is missing, damaged or holds no head; the numbers or masks do not fit it.
    """
    if path is None:
        if len(shape) or masks is not None:
            raise HeadError("--shape and --masks are for a FLAME model; name it with --head")
        return built_in()
    path = Path(path)
    folder = default_folder() if cache is None else cache
    if path.suffix.lower() not in FLAME_SUFFIXES:
        if len(shape) or masks is not None:
            raise HeadError(f"{path} is a plain mesh: --shape and --masks are for a FLAME model")
        return _avatar_or_mesh(path, folder, progress)
    flame = read_flame(path)
    try:
        head: Head = _flame_head(flame, folder, shape, progress)
    except HeadError as error:
        raise HeadError(f"cannot use FLAME head {path}: {error}") from error
    return head if masks is None else with_masks(head, masks)


def _avatar_or_mesh(path: Path, folder: Path, progress: Progress) -> Head:
    """A head with the shapes that it brings with it, else with transferred ones."""
    from dtalk.motion.gltf import is_avatar

    if is_avatar(path):
        from dtalk.heads.avatar import load_avatar_head

        return load_avatar_head(path, folder, progress)
    return load_mesh_head(path, folder, progress)


def _flame_head(
    flame: Flame, folder: Path, shape: Sequence[float], progress: Progress
) -> FlameHead:
    transferred = transfer_to(flame.template, flame.faces, flame.eyeballs, folder, progress)
    return flame_head(flame, transferred, shape)


def with_masks(head: Head, path: Path) -> Head:
    """Replace a head's regions by those of FLAME_masks.pkl, a dictionary of vertices by name.

    Raises:
        HeadError: the file cannot be used, or does not belong to this head.
    """
    try:
        masks = load_pickle(path)
    except PickleError as error:
        raise HeadError(str(error)) from error
    if not isinstance(masks, dict) or "lips" not in masks:
        raise HeadError(f"cannot use masks {path}: it is no dictionary with `lips`")
    upper = [_mask(path, masks, name, len(head.vertices)) for name in MASKED_UPPER if name in masks]
    if not upper:
        raise HeadError(f"cannot use masks {path}: it lacks `forehead` and `eye_region`")
    eyes = np.flatnonzero(head.parts == PARTS.index("eye"))
    balls = [_mask(path, masks, name, len(head.vertices)) for name in MASKED_EYES if name in masks]
    return replace(
        head,
        lips=_mask(path, masks, "lips", len(head.vertices)),
        upper_face=np.setdiff1d(np.concatenate(upper), np.concatenate([eyes, *balls])),
    )


def _mask(path: Path, masks: dict[str, Any], name: str, count: int) -> IntArray:
    mask = np.asarray(masks[name])
    if mask.ndim != 1 or mask.dtype.kind not in "iu" or not len(mask):
        raise HeadError(f"cannot use masks {path}: {name} is no list of vertices")
    if mask.min() < 0 or mask.max() >= count:
        raise HeadError(f"cannot use masks {path}: {name} points outside the {count} vertices")
    return np.unique(mask).astype(np.int64)
