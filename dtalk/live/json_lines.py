"""Frames as lines of JSON, for scripts: one object a line, curves by their names."""

from __future__ import annotations

import json
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import TextIO

from dtalk.live.frames import Frame
from dtalk.motion.arkit import ARKIT_NAMES

_DECIMALS = 5
_WAITING = 30  # frames that a slow reader may be behind
_PATIENCE = 1.0  # seconds that one who has stopped reading is waited for at the end


def to_line(frame: Frame) -> str:
    """``{"frame": 0, "time": 0.0167, "coefficients": {"eyeBlinkLeft": 0.1, ...}}``."""
    values = (round(value, _DECIMALS) for value in frame.coefficients.tolist())
    content = {
        "frame": frame.number,
        "time": round(frame.time, _DECIMALS),
        "coefficients": dict(zip(ARKIT_NAMES, values)),
    }
    return json.dumps(content, allow_nan=False)


class JsonLines:
    """Writes each frame at once; waits for a reader that is slow."""

    name, lost = "json", 0

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, frame: Frame) -> None:
        """Write a line.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self._out.write(to_line(frame) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing is left to be written."""


class QueuedJsonLines:
    """Writes from a thread of its own, so that a slow reader holds up no other receiver.

    Frames that it is too slow for are left out and counted.
    """

    name = "json"

    def __init__(self, out: TextIO) -> None:
        self.lost = 0
        self._lines = JsonLines(out)
        self._waiting: Queue[Frame | None] = Queue(_WAITING)
        self._broken: BrokenPipeError | None = None
        self._thread = Thread(target=self._write, name="json lines", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """Queue a frame.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        if self._broken is not None:
            raise self._broken
        try:
            self._waiting.put_nowait(frame)
        except Full:
            self.lost += 1

    def close(self) -> None:
        """Write what waits, as long as somebody reads it."""
        with suppress(Full):
            self._waiting.put(None, timeout=_PATIENCE)
            self._thread.join(_PATIENCE)

    def _write(self) -> None:
        while (frame := self._waiting.get()) is not None:
            try:
                self._lines.send(frame)
            except BrokenPipeError as error:
                self._broken = error
                return
