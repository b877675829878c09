"""Csv files of Apple's Live Link Face app: 63 columns.

A timecode, the count of the values that follow (61), the 52 blend shapes in PascalCase, then yaw,
pitch and roll of the head and of both eyes. Read by header, so that files with other columns or
another order work too. The frame number of a timecode counts on a clock of 60 ticks a second,
whatever the rate of the rows: so the app does it, and so importers read it.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import arranged, sources, warn
from dtalk.motion.curves import FPS, Motion
from dtalk.motion.gaze import eye_angles
from dtalk.utils.types import Array

_Rows = list[tuple[int, list[str]]]  # line number, fields
_Floats = npt.NDArray[np.float64]

_DECIMALS = 10  # as the app writes them
_CLOCK = 60  # ticks a second of a timecode
# What other programs count on; of clocks that explain the rows alike the first is taken.
_CLOCKS = (_CLOCK, 30, 24, 25, 48, 50, 100, 120, 240)
_HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")  # radians
_EYES = tuple(f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll"))
_HEADER = (
    *("Timecode", "BlendShapeCount"),
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *_HEAD,
    *_EYES,
)
_EXTRA = {name.lower() for name in ("Timecode", "BlendShapeCount", *_HEAD, *_EYES)}
_TIMECODE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,4}(?:\.\d*)?)")
_DAY = 24 * 60 * 60  # s
_NTSC = 1000 / 1001
_USUAL_RATES: _Floats = np.array([24 * _NTSC, 24, 25, 30 * _NTSC, 30, 48, 50, 60 * _NTSC, 60, 120])


def write_csv(motion: Motion, path: Path) -> None:
    """Write the app's 63 columns; eye angles, which the eyeLook curves tell too, are 0."""
    rotation = motion.head_rotation
    head = np.zeros((len(motion), len(_HEAD)), np.float32) if rotation is None else rotation
    table = np.hstack([motion.coefficients, head, _eye_columns(motion.coefficients)])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for frame, values in enumerate(table):
            cells = (f"{value:.{_DECIMALS}f}" for value in values)
            writer.writerow([_timecode(frame, motion.fps), table.shape[1], *cells])


def _eye_columns(coefficients: Array) -> Array:
    """Yaw, pitch and roll of both eyes [T, 6], radians; the app's yaw is positive to the right."""
    angles = np.zeros((len(coefficients), 2, 3), np.float32)
    found = eye_angles(coefficients)
    angles[:, :, 0] = 0 - found[:, :, 0]  # so that 0 stays 0 and does not become -0
    angles[:, :, 1] = found[:, :, 1]
    return angles.reshape(len(coefficients), -1)


def _timecode(frame: int, fps: float) -> str:
    """Format a frame's start as HH:MM:SS:FF.sss, the first at 0; FF counts 60ths."""
    ticks = round(frame / fps * _CLOCK * 1000)
    seconds, ticks = divmod(ticks, _CLOCK * 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}:{ticks // 1000:02}.{ticks % 1000:03}"


def read_csv(path: Path) -> Motion:
    """Read a recording by its header; empty lines are skipped.

    Raises:
        MotionError: without the path: no frames, no known channel, or a line (named) that is too
            short, too long, or holds something else than finite numbers.
        OSError, UnicodeDecodeError: not a file that can be read as text.
    """
    names, rows = _table(path)
    found = sources(path, names, _EXTRA)
    if not rows:
        raise MotionError("it has a header, but no frames")
    columns = {name.lower(): column for column, name in enumerate(names)}
    used = [ARKIT_NAMES[index] for index in found]
    return Motion(
        coefficients=arranged(path, used, _values(names, rows, list(found.values()))),
        fps=_fps(path, rows, columns.get("timecode")),
        head_rotation=_rotation(names, rows, columns),
    )


def _table(path: Path) -> tuple[list[str], _Rows]:
    """Read the header and all lines that hold something, with their numbers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except csv.Error as error:
            raise MotionError(f"line {reader.line_num}: {error}") from error
    return [name.strip() for name in header], rows


def _values(names: list[str], rows: _Rows, columns: list[int]) -> list[list[float]]:
    """Parse the numbers in ``columns`` of all rows; errors name the line."""
    values = []
    for line, row in rows:
        if len(row) != len(names):
            raise MotionError(f"line {line}: {len(row)} fields, the header has {len(names)}")
        values.append([_number(row[column], names[column], line) for column in columns])
    return values


def _number(cell: str, name: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise MotionError(f"line {line}: {name} is {cell!r}, not a number") from None
    if not math.isfinite(value):
        raise MotionError(f"line {line}: {name} is {cell.strip()}, not a finite number")
    return value


def _rotation(names: list[str], rows: _Rows, columns: dict[str, int]) -> Array | None:
    """Read the head rotation [T, 3] in radians; None without it, which dtalk writes as zeros."""
    if not all(name.lower() in columns for name in _HEAD):
        return None
    values = _values(names, rows, [columns[name.lower()] for name in _HEAD])
    with np.errstate(over="ignore"):  # becomes infinite, which Motion refuses
        rotation = np.array(values, np.float32)
    return rotation if rotation.any() else None


def _fps(path: Path, rows: _Rows, column: int | None) -> float:
    """Compute frames per second from the timecodes; 30, with a warning, where they do not tell."""
    cells = [] if column is None else [row[column].strip() for _, row in rows]
    matches = [match for match in map(_TIMECODE.fullmatch, cells) if match]
    if len(matches) == len(rows):
        parts = np.array([match.groups() for match in matches], np.float64)
        fps = _fps_of_clock(parts[:, :3] @ (3600.0, 60.0, 1.0), parts[:, 3])
        if fps:
            return fps
    warn(path, f"no usable timecodes: {FPS:g} frames per second are assumed")
    return FPS


def _fps_of_clock(seconds: _Floats, numbers: _Floats) -> float:
    """Compute the frame rate of rows stamped with whole seconds and a frame number.

    It is that of the rows, by the clock (every second number of a 60 Hz clock: 30), taken for a
    usual rate where it is within 0.1 % of one; 0 if the clock does not advance. A single row tells
    no rate and is taken for one of 30.
    """
    if len(numbers) == 1:
        return FPS
    clock = _clock_rate(seconds, numbers)
    times = np.unwrap(seconds, period=_DAY) + numbers / clock  # a recording may pass midnight
    if times[-1] <= times[0]:
        return 0.0
    fps = (len(times) - 1) / (times[-1] - times[0])
    usual = _USUAL_RATES[np.argmin(abs(_USUAL_RATES - fps))]
    return float(usual) if abs(usual / fps - 1) < 1e-3 else round(float(fps), 3)


def _clock_rate(seconds: _Floats, numbers: _Floats) -> float:
    """Compute ticks a second: one more than the highest number before a new second.

    It is the one on which the step into a new second is as long as the steps within seconds. Rows
    of a single second tell nothing: the app's clock is assumed if no number is too high for it.
    """
    steps, turns = np.diff(numbers), np.diff(seconds)
    within, into = steps[turns == 0], turns != 0
    clocks = [clock for clock in _CLOCKS if clock > numbers.max()]
    if not clocks:
        return math.floor(numbers.max()) + 1.0
    if not len(within) or not into.any():
        return float(clocks[0])

    def misfit(clock: float) -> float:
        """How far the steps into a new second are from the others, in seconds."""
        lengths = turns[into] % _DAY + steps[into] / clock
        return float(np.median(np.abs(lengths - np.median(within) / clock)))

    return float(min(clocks, key=lambda clock: round(misfit(clock), 6)))
