"""Heads: a neutral mesh and one linear displacement field for each of the 52 coefficients.

A deformed head is ``vertices + sum over k of coefficients[k] * shape[k]``: the standard
blend shape model. Metres, y up, the face looks along +z, the character's left is +x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dtalk.errors import HeadError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.arrays import ArrayFileError, read_npz
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Array, IntArray

# What a vertex belongs to; `Head.parts` holds positions in this tuple.
PARTS = ("skin", "eye", "glint", "tongue", "teeth", "brow", "lash")

# Displacements are stored as multiples of this (metres): a twentieth of a pixel at most.
STORED_STEP = 1e-5
_INT16_MAX = int(np.iinfo(np.int16).max)
MILLIMETRES = 1000.0

# How a head turns on its neck. From the mouth corners back to the joint, as a share of the head's
# depth; below the joint, how steeply the surface between what turns and what rests rises to the
# front (the chin turns, the throat below it hardly), and the share of the neck that bends.
_JOINT_DEPTH, _JAW_SLOPE, _BENDING = 0.55, 0.8, 0.9

_FILE_KEYS = (
    "vertices", "faces", "colors", "parts", "names", "shape_start", "shape_vertex",
    "shape_delta", "shape_step", "lips", "upper_face", "opening", "corners",
)  # fmt: skip


class HeadWarning(UserWarning):
    """Something about a head was put right, or could not be read."""


@dataclass(frozen=True, eq=False)
class Head:
    """A head that the 52 ARKit coefficients deform.

    Attributes:
        vertices: float32 [V, 3], the neutral face, metres.
        faces: int64 [F, 3], triangles, counter-clockwise seen from outside.
        colors: float32 [V, 3], linear RGB, baked occlusion included; above 1 is a glint.
        shapes: sparse float32 [3 V, 52]: column k displaces ``vertices.ravel()`` by metres
            for coefficient k at weight 1.
        lips: vertices of both lips, [L].
        upper_face: skin of the forehead, brows, lids and upper cheeks, [U].
        opening: the midpoints of the upper and of the lower inner lip.
        corners: the mouth's left and right corner, where the lips meet.
        parts: uint8 [V], positions in `PARTS`.
        names: the coefficients, in the order of `dtalk.motion.arkit.ARKIT_NAMES`.

    Raises:
        HeadError: the arrays do not fit together.
    """

    vertices: Array
    faces: IntArray
    colors: Array
    shapes: sparse.csr_array
    lips: IntArray
    upper_face: IntArray
    opening: tuple[int, int]
    corners: tuple[int, int]
    parts: npt.NDArray[np.uint8]
    names: tuple[str, ...] = field(default=ARKIT_NAMES)

    def __post_init__(self) -> None:
        count = len(self.vertices)
        _check_shape("vertices", self.vertices, (count, 3))
        _check_shape("faces", self.faces, (len(self.faces), 3))
        _check_shape("colors", self.colors, (count, 3))
        _check_shape("parts", self.parts, (count,))
        _check_shape("shapes", self.shapes, (3 * count, len(ARKIT_NAMES)))
        if tuple(self.names) != ARKIT_NAMES:
            raise HeadError("head: names are not the 52 ARKit names in Live Link Face order")
        for name in ("faces", "lips", "upper_face", "opening", "corners"):
            _check_indices(name, getattr(self, name), count)
        for name in ("vertices", "colors"):
            _check_finite(name, getattr(self, name))
        _check_finite("shapes", self.shapes.data)
        if len(self.parts) and self.parts.max() >= len(PARTS):
            raise HeadError(f"head: parts must be below {len(PARTS)}, found {self.parts.max()}")

    def deform(self, coefficients: npt.ArrayLike, rotation: npt.ArrayLike | None = None) -> Array:
        """Compute vertices in metres: [52] -> [V, 3], [T, 52] -> [T, V, 3].

        ``rotation`` turns the head on its neck: yaw, pitch and roll in radians, [3] or [T, 3], as
        `turns` has them. The lower end of the neck stays where it is.

        Raises:
            HeadError: the coefficients are not [52] or [T, 52], or the rotation does not fit them.
        """
        weights, rotations = self._checked(coefficients, rotation)
        deformed = self._moved(weights)
        return deformed if rotations is None else self._turned(deformed, rotations)

    def unturned(self, coefficients: npt.ArrayLike, rotation: npt.ArrayLike | None = None) -> Array:
        """Compute what a turn of the head turns: as `deform`, without the turn itself.

        Only a head whose neck has correctives depends on ``rotation`` here.
        """
        weights, rotations = self._checked(coefficients, rotation)
        deformed = self._moved(weights)
        return deformed if rotations is None else self._corrected(deformed, rotations)

    @property
    def linear(self) -> bool:
        """Whether `unturned` is linear in the coefficients, whatever the rotation."""
        return True

    def _checked(
        self, coefficients: npt.ArrayLike, rotation: npt.ArrayLike | None
    ) -> tuple[Array, Array | None]:
        """Convert coefficients [..., 52] and angles [..., 3] to weights and matrices."""
        weights = np.asarray(coefficients, dtype=np.float32)
        if weights.ndim not in (1, 2) or weights.shape[-1] != len(self.names):
            raise HeadError(f"coefficients must be [52] or [T, 52], got {list(weights.shape)}")
        if rotation is None:
            return weights, None
        angles = np.asarray(rotation, dtype=np.float32)
        if angles.shape != (*weights.shape[:-1], 3):
            raise HeadError(f"rotation must be [3] or [T, 3] like coefficients, got {angles.shape}")
        return weights, turns(angles)

    def _moved(self, weights: Array) -> Array:
        """Compute the vertices before the head turns, [..., 52] -> [..., V, 3]."""
        moved: Array = (self.shapes @ weights.T).T
        return self.vertices + moved.reshape(*weights.shape[:-1], len(self.vertices), 3)

    def _corrected(self, vertices: Array, rotations: Array) -> Array:
        """Correct vertices [..., V, 3] for a turn to come, by rotations [..., 3, 3]."""
        return vertices

    def _turned(self, vertices: Array, rotations: Array) -> Array:
        """Turn vertices [..., V, 3] about the neck's joint by rotations [..., 3, 3]."""
        joint, share = self.neck
        corrected = self._corrected(vertices, rotations)
        apart = corrected - joint
        turned: Array = apart @ np.swapaxes(rotations, -1, -2) - apart
        return corrected + share[:, None] * turned

    @cached_property
    def neck(self) -> tuple[Array, Array]:
        """Compute the joint that the head turns about, [3], and each vertex' share of a turn."""
        mouth = self.vertices[list(self.corners)].mean(axis=0)
        above = self.vertices[self.vertices[:, 1] >= mouth[1]]
        depth = np.ptp(above[:, 2])
        joint = mouth - np.array([0, 0, _JOINT_DEPTH * depth], dtype=np.float32)
        height = (self.vertices - joint) @ np.array([0, 1, _JAW_SLOPE], dtype=np.float32)
        neck = max(float(joint[1] - self.vertices[:, 1].min()), float(np.finfo(np.float32).tiny))
        place = np.clip(1 + height / (_BENDING * neck), 0, 1)
        return joint, (place * place * (3 - 2 * place)).astype(np.float32)

    def basis(self, indices: npt.ArrayLike) -> Array:
        """Get displacements of some vertices, millimetres at weight 1: [N] -> [52, N, 3]."""
        chosen = np.asarray(indices, dtype=np.int64)
        _check_indices("basis", chosen, len(self.vertices))
        rows = (3 * chosen[:, None] + np.arange(3)).ravel()
        dense = self.shapes[rows].toarray().T * np.float32(MILLIMETRES)
        return np.ascontiguousarray(dense.reshape(len(self.names), len(chosen), 3))

    def save(self, path: Path) -> None:
        """Write the head as npz (no pickle); displacements are rounded to about 10 um.

        Raises:
            DtalkError: the place cannot be written.
        """
        arrays: dict[str, Any] = _to_arrays(self)
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @staticmethod
    def load(path: Path) -> Head:
        """Read a head written by `save`.

        Raises:
            HeadError: the file is missing, no npz, lacks an array or arrays do not fit.
        """
        return _from_arrays(_read_arrays(Path(path)), str(path))


@cache
def built_in() -> Head:
    """Load the head that ships with dtalk (CC0; see ``assets/LICENSE.md``), once.

    Raises:
        HeadError: the installed file is damaged.
    """
    with resources.as_file(resources.files("dtalk.assets") / "head.npz") as path:
        return Head.load(path)


def turns(rotation: npt.ArrayLike) -> Array:
    """Convert yaw, pitch and roll in radians, [..., 3], to rotation matrices [..., 3, 3].

    Right-handed about y, x and z, rolled first and yawed last: a head with positive angles looks
    to its own left, looks down, and leans to its right shoulder.
    """
    from scipy.spatial.transform import Rotation

    angles = np.asarray(rotation, dtype=np.float64)
    matrices = Rotation.from_euler("YXZ", angles.reshape(-1, 3)).as_matrix()
    return matrices.reshape(*angles.shape[:-1], 3, 3).astype(np.float32)


def shapes_from_fields(fields: npt.ArrayLike) -> sparse.csr_array:
    """Convert displacement fields [52, V, 3] in metres to the sparse [3 V, 52] of `Head`."""
    dense = np.asarray(fields, dtype=np.float32)
    return sparse.csr_array(dense.reshape(len(dense), -1).T)


def _to_arrays(head: Head) -> dict[str, npt.NDArray[Any]]:
    start, vertex, delta = pack_fields(head)
    largest = float(np.abs(delta).max(initial=0.0))
    step = max(STORED_STEP, largest / _INT16_MAX)
    index_type = np.uint16 if len(head.vertices) <= 1 << 16 else np.uint32
    return {
        "vertices": head.vertices.astype(np.float32),
        "faces": head.faces.astype(index_type),
        "colors": head.colors.astype(np.float16),
        "parts": head.parts.astype(np.uint8),
        "names": np.array(head.names),
        "shape_start": start,
        "shape_vertex": vertex.astype(index_type),
        "shape_delta": np.rint(delta / step).astype(np.int16),
        "shape_step": np.float64(step),
        "lips": head.lips.astype(index_type),
        "upper_face": head.upper_face.astype(index_type),
        "opening": np.array(head.opening, dtype=np.int32),
        "corners": np.array(head.corners, dtype=np.int32),
    }


def pack_fields(head: Head) -> tuple[npt.NDArray[np.int32], IntArray, Array]:
    """List per shape the vertices that move noticeably and how far: [53], [N], [N, 3]."""
    vertices, deltas, start = [], [], [0]
    for k in range(len(head.names)):
        dense = head.shapes[:, [k]].toarray().reshape(-1, 3)
        moved = np.flatnonzero((np.abs(dense) >= STORED_STEP / 2).any(axis=1))
        vertices.append(moved)
        deltas.append(dense[moved])
        start.append(start[-1] + len(moved))
    return np.array(start, dtype=np.int32), np.concatenate(vertices), np.concatenate(deltas)


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = read_npz(path, _FILE_KEYS)
    except OSError as error:
        raise HeadError(f"cannot read head {path}: {error.strerror or error}") from error
    except ArrayFileError as error:
        raise HeadError(f"cannot use head {path}: {error}") from error
    missing = [key for key in _FILE_KEYS if key not in arrays]
    if missing:
        raise HeadError(f"cannot use head {path}: it lacks {', '.join(missing)}")
    return arrays


def _from_arrays(arrays: dict[str, npt.NDArray[Any]], source: str) -> Head:
    try:
        return Head(
            vertices=arrays["vertices"].astype(np.float32),
            faces=arrays["faces"].astype(np.int64),
            colors=arrays["colors"].astype(np.float32),
            shapes=_unpack_shapes(arrays, len(arrays["vertices"])),
            lips=arrays["lips"].astype(np.int64),
            upper_face=arrays["upper_face"].astype(np.int64),
            opening=_pair(arrays["opening"]),
            corners=_pair(arrays["corners"]),
            parts=arrays["parts"].astype(np.uint8),
        )
    except HeadError as error:
        raise HeadError(f"cannot use head {source}: {error}") from error
    except (ValueError, TypeError, IndexError) as error:
        raise HeadError(f"cannot use head {source}: arrays do not fit ({error})") from error


def _unpack_shapes(arrays: dict[str, npt.NDArray[Any]], count: int) -> sparse.csr_array:
    """Convert the file's fields to [3 V, 52], sorted by name into ARKIT_NAMES' order."""
    names = [str(name) for name in arrays["names"]]
    if sorted(names) != sorted(ARKIT_NAMES):
        raise HeadError("names are not the 52 ARKit names")
    order = np.array([ARKIT_NAMES.index(name) for name in names])
    start, vertex, delta = (arrays[f"shape_{key}"] for key in ("start", "vertex", "delta"))
    _check_indices("shape_vertex", vertex, count)
    if len(start) != len(names) + 1 or start[0] != 0 or start[-1] != len(delta):
        raise HeadError("shape_start does not cover shape_delta")
    _check_shape("shape_delta", delta, (len(vertex), 3))
    columns = np.repeat(order, 3 * np.diff(start))
    rows = 3 * vertex.astype(np.int64)[:, None] + np.arange(3)
    values = (delta.ravel() * float(arrays["shape_step"])).astype(np.float32)
    return sparse.csr_array((values, (rows.ravel(), columns)), shape=(3 * count, len(names)))


def _pair(values: npt.NDArray[Any]) -> tuple[int, int]:
    first, second = values.tolist()
    return int(first), int(second)


def _check_shape(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape:
        raise HeadError(f"head: {name} must be {list(shape)}, got {list(array.shape)}")


def _check_indices(name: str, indices: npt.ArrayLike, count: int) -> None:
    array = np.asarray(indices)
    if array.size and (array.min() < 0 or array.max() >= count):
        raise HeadError(f"head: {name} points outside the {count} vertices")


def _check_finite(name: str, array: npt.NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise HeadError(f"head: {name} holds values that are not finite")
