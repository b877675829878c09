"""Named columns of any file, arranged as the 52 channels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array

_CHANNELS = {name.lower(): index for index, name in enumerate(ARKIT_NAMES)}


class MotionWarning(UserWarning):
    """Something in a motion file was ignored or had to be assumed."""


def arranged(path: Path, names: Sequence[str], values: npt.ArrayLike) -> Array:
    """Arrange columns ``values`` [T, len(names)] as float32 [T, 52] in ``ARKIT_NAMES``' order.

    Names are compared without regard to case; channels that are not among them are 0.

    Raises:
        MotionError: as ``sources``, and where names and values do not fit together.
    """
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which Motion refuses
            columns = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise MotionError("the coefficients are not a table of numbers") from error
    if columns.ndim != 2 or columns.shape[1] != len(names):
        raise MotionError(f"{len(names)} names for coefficients of shape {list(columns.shape)}")
    found = sources(path, names)
    table = np.zeros((len(columns), len(ARKIT_NAMES)), np.float32)
    table[:, list(found)] = columns[:, list(found.values())]
    return table


def sources(path: Path, names: Sequence[str], extra: Iterable[str] = ()) -> dict[int, int]:
    """Find, for each of our channels that is in ``names``, its column.

    Names that are neither channels nor (in lower case) in ``extra`` are ignored with a
    ``MotionWarning``.

    Raises:
        MotionError: a channel appears twice, or none at all.
    """
    keys = [name.strip().lower() for name in names]
    found: dict[int, int] = {}
    for column, key in enumerate(keys):
        if key in _CHANNELS and found.setdefault(_CHANNELS[key], column) != column:
            raise MotionError(f"channel {names[column].strip()} appears twice")
    if not found:
        raise MotionError("none of its channels is one of the 52 ARKit blend shapes")
    known = {*_CHANNELS, *extra}
    unknown = [name for name, key in zip(names, keys, strict=True) if key not in known]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        warn(path, f"ignored channels that are no ARKit blend shapes: {shown}")
    return found


def warn(path: Path, message: str) -> None:
    """Warn of what was ignored or assumed in which file."""
    warnings.warn(f"{path}: {message}", MotionWarning, stacklevel=2)
