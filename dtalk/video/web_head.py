"""What a web page needs to draw a head as `dtalk.rendering` does: mesh, rig, light and camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.config import Look
from dtalk.heads.eyes import DOWNWARD, SIDEWAYS, UPWARD, RiggedHead
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import STORED_STEP, Head, pack_fields
from dtalk.rendering import camera, lighting
from dtalk.rendering.canvas import PAPER, PAPER_SHARE, WIRE, WIRE_SHARE
from dtalk.rendering.tessellation import ROUNDNESS, Tessellation
from dtalk.utils.tensors import pack

Arrays = dict[str, npt.NDArray[Any]]

# What is rounded: displacements in metres, linear albedo, strength of highlights.
STEPS = {"shape_delta": STORED_STEP, "correctives": STORED_STEP, "colors": 1e-4, "gloss": 1e-3}
DIFFERENCES = ("faces", "drawn", "split", "shape_vertex")


def pack_head(head: Head, look: Look) -> bytes:
    """Pack a head for ``viewer/head.js``; displacements are rounded to 10 um, vertices are exact.

    Raises:
        RenderError: the look names no camera, or its yaw is not finite.
    """
    drawn, closed, split = _triangles(head)
    arrays: Arrays = {
        "vertices": head.vertices,
        "faces": head.faces.T,
        "drawn": drawn.T,
        "split": split,
        "colors": head.colors,
        "gloss": np.stack(lighting.gloss(head), axis=1),
        "hair": lighting.is_hair(head),
        **_rig(head),
    }
    settings = {
        "names": head.names,
        "closed": closed,
        "roundness": ROUNDNESS,
        "gaze": np.deg2rad((SIDEWAYS, UPWARD, DOWNWARD)).tolist(),
        "light": _light(),
        "camera": _camera(head, look),
        "wire": [*WIRE, WIRE_SHARE],
        "paper": [*PAPER, PAPER_SHARE],
        "wireframe": look.wireframe,
    }
    steps = {name: step for name, step in STEPS.items() if name in arrays}
    return pack(arrays, settings, steps, DIFFERENCES)


def _triangles(head: Head) -> tuple[npt.NDArray[Any], int, npt.NDArray[Any]]:
    """Triangles as they are drawn, hairs last, how many are no hairs, and the edges split."""
    tessellation = Tessellation(head)
    faces = tessellation.faces
    flat = np.isin(faces[:, 0], np.flatnonzero(lighting.is_hair(head)))
    return np.concatenate((faces[~flat], faces[flat])), int((~flat).sum()), tessellation.split


def _rig(head: Head) -> Arrays:
    """How the head moves: shapes, neck, eyes that turn, correctives [9, 3 V] of a FLAME neck."""
    start, vertex, delta = pack_fields(head)
    joint, share = head.neck
    rig: Arrays = {
        "shape_start": start,
        "shape_vertex": vertex,
        "shape_delta": delta.T,
        "neck_joint": joint,
        "neck_share": share,
    }
    for index, eye in enumerate(head.eyes if isinstance(head, RiggedHead) else ()):
        for name in ("vertices", "shares", "centre", "lids", "floors"):
            rig[f"eye{index}_{name}"] = getattr(eye, name)
    if isinstance(head, FlameHead):
        rig["correctives"] = head.flame.pose[:, :, :9].reshape(-1, 9).T
    return rig


def _light() -> dict[str, Any]:
    """The lamps, directions of length 1."""
    return {
        "gamma": lighting.GAMMA,
        "key": lighting.unit(lighting.KEY_DIRECTION).tolist(),
        "key_color": lighting.KEY_COLOR,
        "key_wrap": lighting.KEY_WRAP,
        "fill": lighting.unit(lighting.FILL_DIRECTION).tolist(),
        "fill_color": lighting.FILL_COLOR,
        "sky": lighting.SKY,
        "ground": lighting.GROUND,
        "rims": [lighting.unit(direction).tolist() for direction, _ in lighting.RIMS],
        "rim_powers": [power for _, power in lighting.RIMS],
    }


def _camera(head: Head, look: Look) -> dict[str, Any]:
    """What the camera looks at and from where, metres; its angles, radians."""
    scale = camera.scale_of(head)
    target = scale * np.array(camera.TARGET_FROM_MOUTH) + camera.mouth_of(head)
    return {
        "target": target.tolist(),
        "offset": (scale * np.array(camera.CAMERA_FROM_TARGET)).tolist(),
        "field_of_view": float(np.deg2rad(camera.FIELD_OF_VIEW)),
        "yaw": camera.yaw_of(look.camera, look.yaw),
    }
