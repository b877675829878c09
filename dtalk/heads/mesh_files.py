"""Triangles of mesh files from anyone: known formats, within limits, outsides facing outwards."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dtalk.errors import HeadError
from dtalk.heads.gltf_mesh import read_surface
from dtalk.heads.head import HeadWarning
from dtalk.heads.transfer.surface import Points, facing_outwards
from dtalk.utils.glb import READ_SUFFIXES, Glb, GlbError
from dtalk.utils.types import IntArray

# trimesh would read archives too, of any size once they are unpacked.
FORMATS = ("obj", "ply", "stl", "off")
FEWEST = 200  # vertices of anything that could be a face
LARGEST = 1 << 29  # bytes of a file


def read_mesh(path: Path) -> tuple[Points, IntArray]:
    """Read vertices [V, 3] and faces [F, 3], whose corners go counter-clockwise from outside.

    A mesh that is inside out is turned, with a `HeadWarning`.

    Raises:
        HeadError: missing, damaged, too large, of no known format, or too small for a face.
    """
    if not path.is_file():
        raise HeadError(f"no such head file: {path}")
    try:
        if path.stat().st_size > LARGEST:
            raise HeadError(f"more than {LARGEST >> 20} MB")
        vertices, faces = _triangles(path)
        _check_indices(vertices, faces)
    except OSError as error:
        raise HeadError(f"cannot read head {path}: {error.strerror or error}") from error
    except (GlbError, HeadError) as error:
        raise HeadError(f"cannot use head {path}: {error}") from error
    if len(vertices) < FEWEST or not len(faces) or not np.isfinite(vertices).all():
        raise HeadError(f"cannot use head {path}: no mesh of a face ({len(vertices)} vertices)")
    outwards = facing_outwards(vertices, faces)
    if outwards is not faces:
        warnings.warn(f"head {path} is inside out: it is turned", HeadWarning, stacklevel=2)
    return vertices, outwards


def _check_indices(vertices: Points, faces: IntArray) -> None:
    shapes = vertices.ndim == faces.ndim == 2 and vertices.shape[1] == faces.shape[1] == 3
    if not shapes or (faces.size and (faces.min() < 0 or faces.max() >= len(vertices))):
        raise HeadError("damaged: its faces are no triangles of its vertices")


def _triangles(path: Path) -> tuple[Points, IntArray]:
    kind = path.suffix.lower().removeprefix(".")
    if path.suffix.lower() in READ_SUFFIXES:
        surface = read_surface(Glb.load(path)).merged()
        return surface.vertices, surface.faces.astype(np.int64)
    if kind not in FORMATS:
        raise HeadError(f".{kind} is neither pkl, npz, glb, gltf nor {', '.join(FORMATS)}")
    return _by_trimesh(path, kind)


def _by_trimesh(path: Path, kind: str) -> tuple[Points, IntArray]:
    import trimesh

    try:
        with path.open("rb") as file:
            mesh: Any = trimesh.load(
                file,
                file_type=kind,
                force="mesh",
                process=True,
                skip_materials=True,
            )
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        return np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)
    except Exception as error:  # its readers raise whatever a damaged file leads to
        raise HeadError(f"damaged, or no {kind} mesh") from error
