"""Rows of a recording at their own times: clocks, holes, doubled rows, and an even frame rate.

Trackers drop rows, hold them and write them twice; clocks pass midnight and are set on or back
while one records. So rows are laid out by their time codes, not by their number, and then brought
to even steps by straight lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SMPTE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,4}(?:[.,]\d*)?)")
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
_DAY = 24 * 60 * 60  # s
# Ticks a second of a timecode, the app's first; of clocks that explain the rows alike the first is
# taken.
_CLOCKS = (60, 30, 24, 25, 48, 50, 100, 120, 240)

_NTSC = 1000 / 1001
_USUAL_RATES: Floats = np.array(
    [15, 24 * _NTSC, 24, 25, 30 * _NTSC, 30, 48, 50, 60 * _NTSC, 60, 90, 120, 240]
)
_STEPS = (1 / 250, 1 / 4)  # s between rows of numbers without a unit, by which it is found
_UNITS = (1.0, 1e-3, 1e-6, 1e-9)  # s: seconds, milli-, micro-, nanoseconds
_SWAPPED = 0.25  # s; a row that is so much earlier than the last is out of order, not a new clock
_ON_GRID = 0.02  # of a step: what is closer to even times is there
_HOLES = (10.0, 60.0)  # s: see `_longest_hole`


@dataclass(frozen=True)
class Layout:
    """Rows at their times.

    Attributes:
        rows: the numbers of the rows that are used, in order.
        times: seconds from the first, rising.
        fps: frames per second to which they are brought.
        notes: what had to be assumed, a line each.
    """

    rows: npt.NDArray[np.intp]
    times: Floats
    fps: float
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Frames from the first row to the last."""
        return round(float(self.times[-1]) * self.fps) + 1

    def evenly(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values [N, C] of all rows -> [frames, C] at even times, between rows by straight lines.

        Rows that lie at even times as they are stay as they are, to the last bit.
        """
        used = values[self.rows]
        even = np.arange(self.frames) / self.fps
        if len(used) == len(even) and np.abs(self.times - even).max() * self.fps < _ON_GRID:
            return used
        columns = [np.interp(even, self.times, column) for column in used.T]
        return np.stack(columns, axis=1).astype(np.float32)


def read_times(cells: Sequence[str]) -> Floats | None:
    """Seconds of each row by its time code; None where one is missing or of no known kind.

    Known are ``HH:MM:SS:FF.sss`` as cameras count it, ``HH:MM:SS.sss``, and plain numbers, whose
    unit (seconds to nanoseconds) is told by their steps. Decimal commas are read too.
    """
    texts = [cell.strip() for cell in cells]
    if matches := _all_match(_SMPTE, texts):
        parts = np.array([[float(p.replace(",", ".")) for p in m.groups()] for m in matches])
        seconds = parts[:, :3] @ (3600.0, 60.0, 1.0)
        return seconds + parts[:, 3] / clock_rate(seconds, parts[:, 3])
    if matches := _all_match(_CLOCK, texts):
        fields = [[float((p or "0").replace(",", ".")) for p in m.groups()] for m in matches]
        return np.array(fields) @ (3600.0, 60.0, 1.0)
    try:
        numbers = np.array([float(text.replace(",", ".")) for text in texts])
    except ValueError:
        return None
    return _in_seconds(numbers)


def _all_match(pattern: re.Pattern[str], texts: Sequence[str]) -> list[re.Match[str]]:
    """The match of every text; none at all if one does not match."""
    found = [match for match in map(pattern.fullmatch, texts) if match]
    return found if len(found) == len(texts) else []


def _in_seconds(numbers: Floats) -> Floats | None:
    """Numbers of a unit that their usual step tells; None if they are no times."""
    steps = np.diff(numbers)
    if not np.isfinite(numbers).all() or not (steps > 0).any():
        return None
    step = float(np.median(steps[steps > 0]))
    unit = next((unit for unit in _UNITS if _STEPS[0] <= step * unit <= _STEPS[1]), None)
    return None if unit is None else numbers * unit


def clock_rate(seconds: Floats, numbers: Floats) -> float:
    """Ticks a second of the clock of rows stamped with whole seconds and a number within them.

    It is the one on which the step into a new second is as long as the steps within seconds. Rows
    of a single second tell nothing: the app's clock is assumed if no number is too high for it.
    """
    steps, turns = np.diff(numbers), np.diff(seconds)
    # Rows that are held, with the time code of the one before, tell nothing.
    within, into = steps[(turns == 0) & (steps != 0)], turns != 0
    clocks = [clock for clock in _CLOCKS if clock > numbers.max()]
    if not clocks:
        return float(np.floor(numbers.max())) + 1.0
    if not len(within) or not into.any():
        return float(clocks[0])

    def misfit(clock: float) -> float:
        """How far the steps into a new second are from the others, in seconds."""
        lengths = turns[into] % _DAY + steps[into] / clock
        return float(np.median(np.abs(lengths - np.median(within) / clock)))

    best = min(clocks, key=lambda clock: round(misfit(clock), 6))
    # Where rows are missing at the turn of each second, none fits.
    return float(best if misfit(best) < np.median(within) / best else clocks[0])


def lay_out(
    times: Floats, same_as_last: npt.NDArray[np.bool_], fps: float | None = None
) -> Layout | None:
    """Rows in the order of their times, on one clock; None if the clock does not advance.

    Args:
        times: seconds of each row [N], as read.
        same_as_last: whether a row's values are those of the row before [N].
        fps: the frame rate, if it is known; else that of the rows.
    """
    if len(times) == 1:
        return Layout(np.zeros(1, np.intp), np.zeros(1), fps or 0.0) if fps else None
    steps = np.diff(times)
    forward = steps[steps > 0]
    if not len(forward):
        return None
    step = _usual_step(forward)
    times, notes = _one_clock(times, step)
    rows = np.argsort(times, kind="stable")
    doubled = np.diff(times[rows], prepend=-np.inf) < _ON_GRID * step
    rows = rows[~(doubled & same_as_last[rows])]
    ordered = _spread(times[rows] - times[rows[0]], step)
    rate = fps or usual_rate(ordered, step)
    return Layout(rows, ordered, rate, (*notes, *_missing(ordered, rate)))


def _usual_step(forward: Floats) -> float:
    """Seconds between rows where none is missing: from the lower end of all steps to their mean."""
    step = float(np.quantile(forward, 0.2))
    for _ in range(3):
        step = float(_single(forward, step).mean())
    return step


def _single(steps: Floats, step: float) -> Floats:
    """Those of the steps that are about as long as ``step``: no row is missing there."""
    near = steps[(steps > 0.5 * step) & (steps < 1.6 * step)]
    return near if len(near) else np.array([step])


def _one_clock(times: Floats, step: float) -> tuple[Floats, list[str]]:
    """The times as one clock shows them that is neither set nor starts anew at midnight."""
    notes = []
    steps = np.diff(times)
    steps[steps < -_DAY / 2] += _DAY
    longest = _longest_hole(len(times) * step)
    for row in np.flatnonzero((steps < -_SWAPPED) | (steps > longest)):
        way = "on" if steps[row] > 0 else "back"
        notes.append(
            f"the clock is set {way} by {abs(steps[row]):.1f} s after row {row + 1}: "
            "the rows go on without a gap"
        )
        steps[row] = step
    return times[0] + np.concatenate([[0.0], np.cumsum(steps)]), notes


def _longest_hole(seconds: float) -> float:
    """Seconds that may be missing from a recording whose rows last so long; more is another clock.

    A take of a few seconds is not interrupted for longer than itself, no take for over a minute.
    """
    return min(max(_HOLES[0], seconds), _HOLES[1])


def _spread(times: Floats, step: float) -> Floats:
    """Sorted times; rows that share one, for their clock is coarse, are spread up to the next."""
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > _ON_GRID * step)
    if len(starts) == len(times):
        return times
    counts = np.diff(np.append(starts, len(times)))
    gaps = np.append(np.diff(times[starts]), step)
    within = np.arange(len(times)) - np.repeat(starts, counts)
    share = np.minimum(gaps, np.maximum(step, 1e-9)) / counts
    return np.repeat(times[starts], counts) + within * np.repeat(share, counts)


def usual_rate(times: Floats, step: float) -> float:
    """Frames per second of rising times, taken for a usual rate where it is within 0.1 % of one."""
    fps = 1 / float(_single(np.diff(times), step).mean())
    usual = _USUAL_RATES[np.argmin(abs(_USUAL_RATES - fps))]
    return float(usual) if abs(usual / fps - 1) < 1e-3 else round(fps, 3)


def _missing(times: Floats, fps: float) -> list[str]:
    """A note on rows that are not there, if they are more than a few."""
    gaps = np.diff(times) * fps
    lost = int(np.round(gaps[gaps > 1.5] - 1).sum())
    if lost <= 0.01 * len(times):
        return []
    return [
        f"{lost} rows are missing by their time codes, up to {gaps.max() / fps:.1f} s in a row: "
        "filled in by straight lines"
    ]
