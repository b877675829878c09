"""Csv files of Apple's Live Link Face app: 63 columns.

A timecode, the count of the values that follow (61), the 52 blend shapes in PascalCase, then yaw,
pitch and roll of the head and of both eyes. Read by header, so that files with other columns or
another order work too. The frame number of a timecode counts on a clock of 60 ticks a second,
whatever the rate of the rows: so the app does it, and so importers read it.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import arranged, sources, warn
from dtalk.motion.curves import FPS, Motion, in_pieces
from dtalk.motion.gaze import eye_angles
from dtalk.motion.tables import Table, read_table
from dtalk.motion.timecodes import Layout, lay_out, read_times
from dtalk.utils.types import Array

_DECIMALS = 10  # as the app writes them
_CLOCK = 60  # ticks a second of a timecode
_HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")  # radians
_EYES = tuple(f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll"))
_HEADER = (
    *("Timecode", "BlendShapeCount"),
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *_HEAD,
    *_EYES,
)
# What columns of time codes are called, in lower case.
_TIMES = (
    *("timecode", "time_code", "time", "timestamp", "timestamps", "time_s", "seconds", "t"),
    *("time_ms", "timestamp_ms", "milliseconds", "ms"),
)
_EXTRA = {name.lower() for name in ("BlendShapeCount", *_HEAD, *_EYES)} | set(_TIMES)


def write_csv(motion: Motion, path: Path) -> None:
    """Write the app's 63 columns; eye angles, which the eyeLook curves tell too, are 0."""
    rotation = motion.head_rotation
    head = np.zeros((len(motion), len(_HEAD)), np.float32) if rotation is None else rotation
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for first, curves in in_pieces(motion.coefficients):
            turns = head[first : first + len(curves)]
            table = np.hstack([curves, turns, _eye_columns(curves)])
            for frame, values in enumerate(table, start=first):
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


def read_csv(path: Path, fps: float | None = None) -> Motion:
    """Read a recording by its header, each row at its own time code; empty lines are skipped.

    Rows that were dropped are filled in by straight lines, rows that were doubled count once. Time
    codes are those of the app, or seconds, milliseconds and so on in a column that is called so;
    ``fps`` is the frame rate of a file without any. Tables of other programs are read as well:
    semicolons, decimal commas, other spellings of the names.

    Raises:
        MotionError: without the path: no frames, no known channel, or a line (named) that is too
            short, too long, or holds something else than finite numbers of a blend shape.
        OSError, UnicodeDecodeError: not a file that can be read as text.
    """
    table = _without_lost_rows(read_table(path))
    found = sources(path, table.names, _EXTRA)
    if not table.rows:
        raise MotionError("it has a header, but no frames")
    used = [ARKIT_NAMES[index] for index in found]
    coefficients = arranged(path, used, table.numbers(list(found.values())))
    rotation = _rotation(table)
    layout = _layout(path, table, coefficients, fps)
    if layout is None:
        return Motion(coefficients, fps or FPS, head_rotation=rotation)
    return Motion(
        layout.evenly(coefficients),
        layout.fps,
        head_rotation=None if rotation is None else layout.evenly(rotation),
    )


def _without_lost_rows(table: Table) -> Table:
    """Leave out the rows of a lost face: the app writes a time code, 0 and no values."""
    kept = [
        (line, row) for line, row in table.rows if len(row) != 2 or row[1].strip() not in ("", "0")
    ]
    return replace(table, rows=kept)


def _rotation(table: Table) -> Array | None:
    """Read the head rotation [T, 3] in radians; None without it, which dtalk writes as zeros."""
    columns = {name.lower(): column for column, name in enumerate(table.names)}
    if not all(name.lower() in columns for name in _HEAD):
        return None
    values = table.numbers([columns[name.lower()] for name in _HEAD])
    with np.errstate(over="ignore"):  # becomes infinite, which Motion refuses
        rotation = np.array(values, np.float32)
    return rotation if rotation.any() else None


def _layout(path: Path, table: Table, values: Array, fps: float | None) -> Layout | None:
    """Lay out rows by their time codes; None, with a warning unless ``fps`` is given, without."""
    names = [name.lower() for name in table.names]
    column = next((names.index(name) for name in _TIMES if name in names), None)
    times = None if column is None else read_times(table.column(column))
    if times is not None and len(times) == 1:
        return None
    same = np.zeros(len(values), bool)
    same[1:] = (values[1:] == values[:-1]).all(axis=1)
    layout = None if times is None else lay_out(times, same)
    if layout is None:
        if fps is None:
            warn(path, f"no usable timecodes: {FPS:g} frames per second are assumed; --fps says it")
        return None
    for note in layout.notes:
        warn(path, note)
    return layout
