"""Predictions of other systems: a folder with one file a clip.

Curves as npz, csv or json by channel name, or vertices as npy, ``[T, V, 3]`` or ``[T, V * 3]`` in
metres on the head that is compared on. A file is found by the name of its clip (``/`` may be
``_``), else of its sound: the path within the data folder, as ``dtalk animate DATA -o DIR`` writes
it, or the bare name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dtalk.data.clips import Clip
from dtalk.errors import DataError
from dtalk.heads.head import Head
from dtalk.motion.curves import FPS
from dtalk.motion.files import FORMATS, read_motion
from dtalk.motion.resample import resample_motion
from dtalk.utils.arrays import ArrayFileError, read_npy
from dtalk.utils.types import Array

SUFFIXES = (*(f".{name}" for name in FORMATS), ".npy")
FRAMES_OFF = 3  # systems round a clip's length in ways of their own; more is another clip
FARTHEST = 10  # times as far from the origin as the head reaches: millimetres go beyond
_COORDINATES = 3


def find_prediction(folder: Path, clip: Clip, data: Path) -> Path | None:
    """Find the file in ``folder`` that predicts a clip of the data set in ``data``."""
    try:
        sound = clip.audio.relative_to(data)
    except ValueError:
        sound = Path(clip.audio.name)
    flat = Path(clip.name.replace("/", "_"))
    for place in (Path(clip.name), flat, sound.with_suffix(""), Path(sound.stem)):
        for suffix in SUFFIXES:
            path = folder / place.parent / (place.name + suffix)
            if path.is_file():
                return path
    return None


def read_prediction(path: Path, frames: int) -> Array:
    """Read coefficients ``[frames, 52]`` or vertices ``[frames, V, 3]`` from a file.

    Motion at another rate is resampled to 30 frames a second; vertices, whose file tells no rate,
    must have it. One that is up to :data:`FRAMES_OFF` frames shorter holds its last frame, a
    longer one is cut.

    Raises:
        DtalkError: the file cannot be read, or its length is another one.
    """
    face = _vertices(path) if path.suffix == ".npy" else _coefficients(path)
    if abs(len(face) - frames) > FRAMES_OFF:
        raise DataError(f"{path} has {len(face)} frames at {FPS:g} a second, its clip {frames}")
    missing = max(0, frames - len(face))
    return np.concatenate([face[:frames], np.repeat(face[-1:], missing, axis=0)])


def check_fits(face: Array, path: Path, head: Head) -> None:
    """Check that vertices ``[T, V, 3]`` fit the head; coefficients fit any.

    Raises:
        DataError: there are more or fewer of them, or they are not in metres.
    """
    if face.ndim == 2:
        return
    count = len(head.vertices)
    if face.shape[1] != count:
        raise DataError(f"{path} has {face.shape[1]} vertices a frame, the head {count}")
    if np.abs(face).max() > FARTHEST * np.abs(head.vertices).max():
        raise DataError(f"{path} leaves the head far behind; vertices must be in metres")


def _coefficients(path: Path) -> Array:
    return resample_motion(read_motion(path), FPS).coefficients


def _vertices(path: Path) -> Array:
    try:
        stored = read_npy(path)
    except (OSError, ArrayFileError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if stored.dtype.kind not in "fiu" or not stored.size:
        raise DataError(f"{path} holds no numbers")
    flat = stored.ndim == 2 and stored.shape[1] % _COORDINATES == 0
    if not flat and (stored.ndim != 3 or stored.shape[2] != _COORDINATES):
        raise DataError(
            f"{path} must hold vertices [T, V, 3] or [T, V * 3], not {list(stored.shape)}"
        )
    vertices = stored.reshape(len(stored), -1, _COORDINATES).astype(np.float32)
    if not np.isfinite(vertices).all():
        raise DataError(f"{path} holds values that are not finite")
    return vertices
