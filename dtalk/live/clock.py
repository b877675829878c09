"""The steady clock that frames leave by, and the buffer in which they wait for it."""

from __future__ import annotations

import math
from collections import deque
from threading import Condition

import numpy as np

from dtalk.motion.curves import FPS
from dtalk.utils.types import Array

PUNCTUAL = 0.98  # share of frames that are to be ready when the clock says so
MEMORY = 120  # frames whose delays are remembered, 4 s
SLEW = 0.001  # seconds that the clock is moved by at most, a frame: 3 %
START_MARGIN = 0.015  # seconds that are added to the delay of the first frame
KEPT = 300  # frames that a buffer holds at most, 10 s


class PlayoutClock:
    """Says when frames are due: at a steady delay by which nearly all were ready of late.

    The delay cannot be fixed: sound arrives in blocks, a device's clock drifts from the computer's,
    a step takes longer where the computer is busy. It follows the :data:`PUNCTUAL` quantile of the
    delays of the last seconds, too slowly for anybody to see.
    """

    def __init__(self) -> None:
        self._delays: deque[float] = deque(maxlen=MEMORY)
        self._delay = 0.0

    def observe(self, time: float, ready: float) -> None:
        """The frame for ``time`` (seconds of the stream) was ready at ``ready`` (monotonic)."""
        if not self._delays:
            self._delay = ready - time + START_MARGIN
        self._delays.append(ready - time)
        wanted = float(np.quantile(self._delays, PUNCTUAL)) - self._delay
        self._delay += min(max(wanted, -SLEW), SLEW)

    def due(self, time: float) -> float:
        """When the frame for ``time`` is to leave (monotonic), once one was observed."""
        return time + self._delay


class PlayoutBuffer:
    """Frames at 30 a second: one thread puts them in, another reads them at any time in between."""

    def __init__(self) -> None:
        self._frames: deque[Array] = deque(maxlen=KEPT)
        self._end = 0
        self._closed = False
        self._changed = Condition()

    @property
    def end(self) -> float:
        """Seconds of the stream that there are frames for so far."""
        return self._end / FPS

    def put(self, frames: Array) -> None:
        """Add the next frames ``[N, 52]``."""
        with self._changed:
            self._frames.extend(frames)
            self._end += len(frames)
            self._changed.notify_all()

    def close(self) -> None:
        """No more frames come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, time: float, seconds: float) -> bool:
        """Whether ``time`` can be read or never will be, after so many seconds at most."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or math.ceil(_place(time)) < self._end, seconds
            )

    def read(self, time: float) -> Array | None:
        """The face ``[52]`` at ``time``, between two frames where it lies between them.

        None where the stream has ended before.
        """
        with self._changed:
            if time > self.end or not self._frames:
                return None
            place = min(max(_place(time), 0.0), self._end - 1.0)
            first = self._end - len(self._frames)
            below, above = (max(int(f(place)) - first, 0) for f in (math.floor, math.ceil))
            share = np.float32(place - math.floor(place))
            return self._frames[below] * (1 - share) + self._frames[above] * share


def _place(time: float) -> float:
    """Which frame's middle ``time`` is, in frames; rounded, for sums of floats miss it narrowly."""
    return round(time * FPS - 0.5, 6)
