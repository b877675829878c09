"""Motion files: npz (ours), csv (Live Link Face), json (NVIDIA Audio2Face); animations in glb.

Each has one reader and one writer, chosen from ``FORMATS`` by the file's suffix or by name. All
are read by channel name, upper and lower case alike: channels may be in any order, those a file
lacks are 0, those dtalk does not know are ignored with a ``dtalk.motion.columns.MotionWarning``.
A glb holds a head too: `dtalk.heads.export` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import arranged
from dtalk.motion.curves import (
    FASTEST,
    FPS,
    PROVENANCE,
    SLOWEST,
    Motion,
    in_pieces,
    provenance,
    read_provenance,
)
from dtalk.motion.live_link import read_csv, write_csv
from dtalk.utils.arrays import ArrayFileError, read_npz
from dtalk.utils.files import atomic_path

FLAME_SUFFIX = ".flame.npz"  # an npz that holds FLAME's parameters besides
_DECIMALS = 8  # in text files: an error of at most 5e-9, far below what a tracker can see


@dataclass(frozen=True)
class MotionFormat:
    """How a file format is written and read."""

    write: Callable[[Motion, Path], None]
    read: Callable[[Path, float | None], Motion]


def write_motion(motion: Motion, path: Path | str, format: str | None = None) -> None:  # noqa: A002
    """Write a motion file, whole or not at all; ``format`` is that of the suffix if not given.

    npz keeps everything exactly; csv keeps coefficients, frame rate and head rotation; json keeps
    coefficients, frame rate and where the motion came from. csv has 10 decimals, json 8.

    Raises:
        MotionError: no such format.
        DtalkError: the place cannot be written.
    """
    path = Path(path)
    chosen = FORMATS[_chosen(path, format, FORMATS)]
    with atomic_path(path) as temporary:
        chosen.write(motion, temporary)


def read_motion(
    path: Path | str,
    format: str | None = None,  # noqa: A002
    fps: float | None = None,
) -> Motion:
    """Read a motion file; ``format`` is that of the suffix if not given.

    ``fps`` is the frame rate of a file that names none; a rate that the file names holds.

    Raises:
        MotionError: missing, unreadable, of no known format, damaged, without any of the 52
            channels, or with values that are not finite numbers.
    """
    path = Path(path)
    reader = READERS[_chosen(path, format, READERS)]
    with naming(path):
        return reader(path, fps)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn any error with a motion file into a ``MotionError`` that names it."""
    try:
        yield
    except MotionError as error:
        raise MotionError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise MotionError(f"no such motion file: {path}") from error
    except OSError as error:
        raise MotionError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MotionError(f"{path}: not a text file") from error


def _chosen(path: Path, name: str | None, known: Iterable[str]) -> str:
    name = (name or path.suffix).lower().removeprefix(".")
    if name not in known:
        listed = ", ".join(known)
        raise MotionError(f"no motion format {name!r} (for {path}); there are {listed}")
    return name


def is_flame(path: Path) -> bool:
    """Whether a file of this name holds FLAME's parameters."""
    return path.name.lower().endswith(FLAME_SUFFIX)


# npz: exact, with all provenance ---------------------------------------------------------------


def npz_arrays(motion: Motion) -> dict[str, Any]:
    """Collect the arrays of an npz motion file."""
    arrays: dict[str, Any] = {
        "coefficients": motion.coefficients,
        "names": np.array(ARKIT_NAMES),
        "fps": np.float64(motion.fps),
        **{name: np.array("") for name in ("audio", "identity", "emotion", "model")},
        **{name: np.array(value) for name, value in provenance(motion).items()},
    }
    if motion.head_rotation is not None:
        arrays["head_rotation"] = motion.head_rotation
    return arrays


def _write_npz(motion: Motion, path: Path) -> None:
    arrays = npz_arrays(motion)
    with path.open("wb") as file:  # given a name, numpy would append its own suffix
        np.savez_compressed(file, **arrays)


_NPZ_NAMES = ("coefficients", "names", "fps", "head_rotation", *PROVENANCE)
_LARGEST = 1 << 29  # bytes: five hours at 60 frames a second, in 64 bits


def _read_npz(path: Path, fps: float | None = None) -> Motion:
    try:
        arrays = read_npz(path, _NPZ_NAMES, _LARGEST)
    except ArrayFileError as error:
        raise MotionError(f"not an npz motion file: {error}") from error
    if "coefficients" not in arrays or "names" not in arrays:
        raise MotionError("not a motion file: it lacks `coefficients` or `names`")
    names = _texts(arrays["names"])
    try:
        fps = float(np.asarray(arrays.get("fps", fps or FPS)).item())  # also of one in a list
    except (TypeError, ValueError) as error:
        raise MotionError("its `fps` is not a number") from error
    return Motion(
        coefficients=arranged(path, names, arrays["coefficients"]),
        fps=fps,
        head_rotation=arrays.get("head_rotation"),
        **read_provenance(arrays),
    )


def _texts(names: npt.NDArray[Any]) -> list[str]:
    """Convert an array of texts, or of bytes as older programs write them, to a list."""
    if names.dtype.kind == "S":
        names = np.char.decode(names, "latin-1")
    if names.dtype.kind != "U":
        raise MotionError("its `names` are no texts")
    return [str(name) for name in names.ravel()]


# json: NVIDIA Audio2Face, names and a matrix ---------------------------------------------------


def _write_json(motion: Motion, path: Path) -> None:
    content = {
        # Some readers take nothing but an integer here.
        "exportFps": int(motion.fps) if motion.fps.is_integer() else motion.fps,
        "trackPath": motion.audio,
        "numPoses": len(ARKIT_NAMES),
        "numFrames": len(motion),
        "facsNames": ARKIT_NAMES,
    }
    origin = provenance(motion)
    origin.pop("audio", None)
    # Readers of the format look for six keys; ours is not among them.
    more = {"dtalk": origin} if origin else {}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content)[:-1] + ', "weightMat": [')
        for first, rows in in_pieces(motion.coefficients):
            weights = np.round(rows.astype(np.float64), _DECIMALS).tolist()
            file.write(", " * bool(first) + json.dumps(weights, allow_nan=False)[1:-1])
        file.write("]" + "".join(f', "{key}": {json.dumps(more[key])}' for key in more) + "}")


def _read_json(path: Path, fps: float | None = None) -> Motion:
    content = json_object(path, "an Audio2Face export")
    names, weights = content.get("facsNames"), content.get("weightMat")
    if not is_names(names) or not isinstance(weights, list):
        raise MotionError("not an Audio2Face export: it lacks `facsNames` or `weightMat`")
    if not weights:
        raise MotionError("`weightMat` holds no frames")
    frames = content.get("numFrames", len(weights))
    if frames != len(weights):
        raise MotionError(f"`numFrames` says {frames}, but `weightMat` holds {len(weights)}")
    rate = content.get("exportFps", fps or FPS)
    if not isinstance(rate, int | float) or not SLOWEST <= rate <= FASTEST:
        raise MotionError(f"`exportFps` is {str(rate)[:40]}, not a frame rate")
    origin = content.get("dtalk")
    known = read_provenance(origin if isinstance(origin, dict) else {})
    known["audio"] = str(content.get("trackPath") or "")
    return Motion(coefficients=arranged(path, names, weights), fps=rate, **known)


def json_object(path: Path, what: str) -> dict[str, Any]:
    """Read a json object that should be ``what``, such as "an Audio2Face export".

    Raises:
        MotionError: it is not json, or no object.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MotionError(f"not json, or damaged: {error}") from error
    if not isinstance(content, dict):
        raise MotionError(f"not {what}: no json object")
    return content


def is_names(names: object) -> TypeGuard[list[str]]:
    """Whether an object is a list of texts."""
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


#: All formats that hold motion alone by name, which is also the suffix; the first is our own.
FORMATS: dict[str, MotionFormat] = {
    "npz": MotionFormat(_write_npz, _read_npz),  # exact, with provenance
    "csv": MotionFormat(write_csv, read_csv),  # Live Link Face
    "json": MotionFormat(_write_json, _read_json),  # NVIDIA Audio2Face
}


def _read_glb(path: Path) -> Motion:
    from dtalk.motion.gltf import read_glb  # loads scipy, which other formats do without

    return read_glb(path)


#: What motion is read from, by suffix.
READERS: dict[str, Callable[[Path, float | None], Motion]] = {
    **{name: kind.read for name, kind in FORMATS.items()},
    "glb": lambda path, fps: _read_glb(path),  # whose keys have times
    "vrm": lambda path, fps: _read_glb(path),
}
