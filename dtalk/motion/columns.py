"""Named columns of any file, arranged as the 52 channels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.names import channel_of
from dtalk.utils.types import Array

LOWEST, HIGHEST = -0.1, 1.5  # of a blend shape: trackers go so far beyond 0 and 1
MOST_FRAMES = 1_000_000  # nine hours at 30 a second; tables of 52 numbers each have to fit
_PERCENT = 100.0
_ACTIVE, _SHARE = 0.1, 0.5  # of the frames that show more than this, those beyond 1.5 in percent
# Columns that other programs write besides; MediaPipe's first score is that of a face at rest.
_IGNORED = frozenset({"", "_neutral", "frame", "framenumber", "frame_number", "index"})


class MotionWarning(UserWarning):
    """Something in a motion file was ignored or had to be assumed."""


def arranged(path: Path, names: Sequence[str], values: npt.ArrayLike) -> Array:
    """Arrange columns ``values`` [T, len(names)] as float32 [T, 52] in ``ARKIT_NAMES``' order.

    Names may be in any spelling that `channel_of` knows; channels that are not among them are 0.
    Values that count from 0 to 100 are divided by 100, with a ``MotionWarning``.

    Raises:
        MotionError: as ``sources``, where names and values do not fit together, there are more
            than :data:`MOST_FRAMES`, or a value is no blend shape's: below :data:`LOWEST` or above
            :data:`HIGHEST`.
    """
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which Motion refuses
            columns = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise MotionError("the coefficients are not a table of numbers") from error
    if columns.ndim != 2 or columns.shape[1] != len(names):
        raise MotionError(f"{len(names)} names for coefficients of shape {list(columns.shape)}")
    if len(columns) > MOST_FRAMES:
        raise MotionError(f"{len(columns)} frames are too many; {MOST_FRAMES} are read")
    found = sources(path, names)
    table = np.zeros((len(columns), len(ARKIT_NAMES)), np.float32)
    table[:, list(found)] = in_range(path, columns[:, list(found.values())], list(found))
    return table


def in_range(path: Path, values: Array, channels: Sequence[int]) -> Array:
    """Bring values [T, C] of these channels, from 0 to 1 or to 100, to 0 to 1.

    Raises:
        MotionError: one lies below :data:`LOWEST` or above :data:`HIGHEST`.
    """
    if not np.isfinite(values).all():
        return values  # Motion says where
    if _is_percent(values):
        warn(path, "its values count from 0 to 100: they are divided by 100")
        values = values / np.float32(_PERCENT)
    outside = np.argwhere((values < LOWEST) | (values > HIGHEST))
    if len(outside):
        frame, column = outside[0]
        raise MotionError(
            f"{ARKIT_NAMES[channels[column]]} is {values[frame, column]:g} in frame {frame}; "
            "blend shapes go from 0 to 1"
        )
    return values


def _is_percent(values: Array) -> bool:
    """Whether values count to 100: far beyond 1, and so in most frames that show anything.

    A single wrong value among others makes no percentages.
    """
    tops = values.max(axis=1, initial=0)
    active = tops[tops > _ACTIVE]
    if not len(active) or not 10 < active.max() <= HIGHEST * _PERCENT:
        return False
    return float((active > HIGHEST).mean()) >= _SHARE


def sources(path: Path, names: Sequence[str], extra: Iterable[str] = ()) -> dict[int, int]:
    """Find, for each of our channels that is in ``names``, its column.

    Names that are neither channels nor (in lower case) in ``extra`` are ignored with a
    ``MotionWarning``.

    Raises:
        MotionError: a channel appears twice, or none at all.
    """
    channels = [channel_of(name) for name in names]
    found: dict[int, int] = {}
    for column, channel in enumerate(channels):
        if channel is not None and found.setdefault(channel, column) != column:
            raise MotionError(f"channel {names[column].strip()} appears twice")
    if not found:
        raise MotionError("none of its channels is one of the 52 ARKit blend shapes")
    known = {*_IGNORED, *extra}
    unknown = [
        name
        for name, channel in zip(names, channels, strict=True)
        if channel is None and name.strip().lower() not in known
    ]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        warn(path, f"ignored channels that are no ARKit blend shapes: {shown}")
    return found


def warn(path: Path, message: str) -> None:
    """Warn of what was ignored or assumed in which file."""
    warnings.warn(f"{path}: {message}", MotionWarning, stacklevel=2)
