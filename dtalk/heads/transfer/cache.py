"""Cache of transfers in the user's cache folder: one takes seconds.

An entry's name is a hash of the head's vertices and triangles, of the built-in head and of the way
that shapes are transferred; a damaged entry is computed anew.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from dtalk.errors import DtalkError
from dtalk.heads.head import HeadWarning, built_in
from dtalk.heads.transfer.transfer import VERSION, Transfer, transfer
from dtalk.utils.arrays import ArrayFileError, read_npz
from dtalk.utils.files import atomic_path
from dtalk.utils.types import IntArray, Progress


def default_folder() -> Path:
    """Get the default folder for transferred shapes, in the user's cache folder."""
    return user_cache_path("dtalk") / "heads"


def transfer_to(
    vertices: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    eyes: Sequence[IntArray],
    folder: Path,
    progress: Progress,
) -> Transfer:
    """Transfer from the built-in head, cached; see `dtalk.heads.transfer.transfer.transfer`."""
    path = folder / f"{_digest(vertices, faces, *eyes)}.npz"
    kept = _read(path, len(vertices))
    if kept is None:
        kept = transfer(built_in(), vertices, faces, eyes, progress)
        try:
            _write(path, kept)
        except DtalkError as error:
            warnings.warn(f"{error} with --cache", HeadWarning, stacklevel=2)
    return kept


def _digest(*arrays: npt.NDArray[Any]) -> str:
    own = built_in()
    digest = hashlib.sha256(f"{VERSION} {np.__version__}".encode())
    for array in (*arrays, own.vertices, own.faces, own.colors, own.shapes.data):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _read(path: Path, count: int) -> Transfer | None:
    """Read an entry; None if it is not there or damaged."""
    try:
        kept = Transfer(**read_npz(path, [field.name for field in fields_of(Transfer)]))
        return kept if kept.fields.shape[1:] == (count, 3) else None
    except (OSError, ArrayFileError, TypeError):  # an array is missing
        return None


def _write(path: Path, transferred: Transfer) -> None:
    arrays: dict[str, Any] = vars(transferred)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
