"""FLAME models, the user's own copies: read from pkl or npz, skinned as published.

Source: Li, Bolkart, Black, Li and Romero, "Learning a model of facial shape and expression from
4D scans" (2017). Nothing of it ships with dtalk. Joints: root, neck, jaw, left eye, right eye.
Lengths are metres, y is up, the face looks along +z, the character's left is +x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dtalk.errors import HeadError, PickleError
from dtalk.utils.arrays import ArrayFileError, read_npz
from dtalk.utils.pickles import Opaque, load_pickle
from dtalk.utils.types import Array, IntArray

JOINTS = ("root", "neck", "jaw", "left eye", "right eye")
ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(len(JOINTS))
PARENTS = (-1, 0, 1, 1, 1)
SHAPES = 300  # of identity come first in `shapedirs`, then those of expression
LARGEST_SHAPE = 100  # standard deviations; nearly all heads lie within 3
POSE_FEATURES = 9 * (len(JOINTS) - 1)  # a rotation matrix for each joint but the root

_KEYS = (
    "v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Flame:
    """FLAME's arrays, with V vertices.

    Attributes:
        template: float32 [V, 3], metres.
        faces: int64 [F, 3].
        shapes: float32 [V, 3, S], identity, S is 300 at most.
        expressions: float32 [V, 3, E], 100 unless the file has fewer.
        pose: float32 [V, 3, 36], correctives of rotation matrices less identity, neck first.
        regressor: float32 [5, V], joints out of vertices.
        weights: float32 [V, 5], share of each joint.

    Raises:
        HeadError: the arrays do not fit together.
    """

    template: Array
    faces: IntArray
    shapes: Array
    expressions: Array
    pose: Array
    regressor: Array
    weights: Array

    def shaped(self, betas: Sequence[float]) -> Array:
        """Compute the template of an identity; betas that are not given are 0.

        Raises:
            HeadError: more numbers than the model has, or one that no head has.
        """
        chosen = np.asarray(betas, dtype=np.float32)
        most = self.shapes.shape[2]
        if len(chosen) > most:
            raise HeadError(f"--shape has {len(chosen)} numbers, this head takes {most} at most")
        if not (np.abs(chosen) <= LARGEST_SHAPE).all():  # nor what is not finite
            raise HeadError(f"--shape takes numbers of -{LARGEST_SHAPE} to {LARGEST_SHAPE}")
        return self.template + self.shapes[:, :, : len(chosen)] @ chosen

    def joints(self, vertices: Array) -> Array:
        """Compute the joints of an unposed head: [V, 3] -> [5, 3]."""
        return self.regressor @ vertices

    @cached_property
    def eyeballs(self) -> tuple[IntArray, IntArray]:
        """Vertices of the left and of the right eyeball.

        Raises:
            HeadError: one has none.
        """
        left, right = (np.flatnonzero(self.weights[:, k] > 0.5) for k in (LEFT_EYE, RIGHT_EYE))
        if min(len(left), len(right)) < 4:
            raise HeadError("no eyeballs: `weights` gives its eye joints no vertices")
        return left, right


def pose_matrices(pose: npt.ArrayLike) -> Array:
    """Convert rotation vectors [..., 3], radians, to matrices [..., 3, 3]."""
    from scipy.spatial.transform import Rotation

    vectors = np.asarray(pose, dtype=np.float64)
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return matrices.reshape(*vectors.shape, 3).astype(np.float32)


def read_flame(path: Path) -> Flame:
    """Read a FLAME file: pkl (with chumpy's objects or without) or npz; 2017 to 2023 Open.

    Raises:
        HeadError: missing, damaged, or an array is missing or of another shape.
    """
    try:
        arrays = _npz(path) if path.suffix.lower() == ".npz" else load_pickle(path)
        if not isinstance(arrays, Mapping):
            raise HeadError("it is no dictionary of arrays")
        return _flame(arrays)
    except PickleError as error:
        raise HeadError(str(error)) from error
    except HeadError as error:
        raise HeadError(f"cannot use FLAME head {path}: {error}") from error


def _npz(path: Path) -> dict[str, Any]:
    try:
        return read_npz(path, _KEYS)
    except OSError as error:
        raise HeadError(error.strerror or str(error)) from error
    except ArrayFileError as error:
        raise HeadError(str(error)) from error


def _flame(arrays: Mapping[str, Any]) -> Flame:
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise HeadError(f"it lacks {', '.join(missing)}")
    dense = {key: _dense(key, arrays[key]) for key in _KEYS}
    count, shapes = len(dense["v_template"]), dense["shapedirs"]
    joints = len(JOINTS)
    _check("v_template", dense["v_template"], "[V, 3]", (count, 3))
    _check("f", dense["f"], "[F, 3]", (len(dense["f"]), 3))
    _check("shapedirs", shapes, f"[{count}, 3, N]", (count, 3, shapes.shape[-1]))
    _check("posedirs", dense["posedirs"], "", (count, 3, POSE_FEATURES))
    _check("J_regressor", dense["J_regressor"], "", (joints, count))
    _check("weights", dense["weights"], "", (count, joints))
    _check("kintree_table", dense["kintree_table"], "", (2, joints))
    if tuple(dense["kintree_table"][0].astype(np.int64)[1:]) != PARENTS[1:]:
        raise HeadError(f"kintree_table does not join {', '.join(JOINTS)} as FLAME does")
    faces = dense["f"].astype(np.int64)
    if faces.size and (faces.min() < 0 or faces.max() >= count):
        raise HeadError(f"f points outside the {count} vertices")
    return Flame(
        template=_real("v_template", dense),
        faces=faces,
        shapes=_real("shapedirs", dense)[:, :, :SHAPES],
        expressions=_real("shapedirs", dense)[:, :, SHAPES:],
        pose=_real("posedirs", dense),
        regressor=_real("J_regressor", dense),
        weights=_real("weights", dense),
    )


def _dense(key: str, value: Any) -> npt.NDArray[Any]:
    if isinstance(value, Opaque):
        raise HeadError(f"{key} is {value}, which cannot be read without chumpy")
    if sparse.issparse(value):
        if max(value.shape) > 1_000_000:
            raise HeadError(f"{key} has the shape {list(value.shape)}")
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or not value.ndim:
        raise HeadError(f"{key} is no array of numbers")
    return value


def _check(key: str, array: npt.NDArray[Any], name: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise HeadError(f"{key} must be {name or list(shape)}, got {list(array.shape)}")


def _real(key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Array:
    if not np.isfinite(arrays[key]).all():
        raise HeadError(f"{key} holds values that are not finite")
    return np.ascontiguousarray(arrays[key], dtype=np.float32)
