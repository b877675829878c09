"""Frames as lines of JSON."""

from __future__ import annotations

import io
import json
import os
import threading

import numpy as np
import pytest
from streams import face

from dtalk.live.frames import Frame
from dtalk.live.json_lines import JsonLines, QueuedJsonLines, to_line
from dtalk.motion.arkit import ARKIT_NAMES


def test_a_line_has_all_curves_by_name_in_order() -> None:
    coefficients = np.linspace(0, 1, len(ARKIT_NAMES), dtype=np.float32)
    content = json.loads(to_line(Frame(12, 0.41666666, coefficients)))
    assert content["frame"] == 12
    assert content["time"] == 0.41667
    assert list(content["coefficients"]) == list(ARKIT_NAMES)
    np.testing.assert_allclose(list(content["coefficients"].values()), coefficients, atol=5e-6)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_line(Frame(0, 0.0, face(jawOpen=float("nan"))))


class Broken(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_is_told_at_once() -> None:
    with pytest.raises(BrokenPipeError):
        JsonLines(Broken()).send(Frame(0, 0.0, face()))


def test_a_reader_that_has_gone_is_told_by_the_next_frame() -> None:
    lines = QueuedJsonLines(Broken())
    lines.send(Frame(0, 0.0, face()))
    lines.close()
    with pytest.raises(BrokenPipeError):
        lines.send(Frame(1, 0.0, face()))


class Stuck(io.StringIO):
    """A reader that stops reading after the first line until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.go_on = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.taken.set()
        assert self.go_on.wait(30)
        return super().write(text)


def test_a_slow_reader_loses_frames_and_holds_up_nobody() -> None:
    out = Stuck()
    lines = QueuedJsonLines(out)
    lines.send(Frame(0, 0.0, face()))
    assert out.taken.wait(30)
    for number in range(1, 41):
        lines.send(Frame(number, 0.0, face()))
    assert lines.lost == 10  # 30 wait
    out.go_on.set()
    lines.close()
    written = [json.loads(line)["frame"] for line in out.getvalue().splitlines()]
    assert written == list(range(31))


def test_every_line_is_written_at_once() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as reader, os.fdopen(write, "w") as writer:
        lines = JsonLines(writer)
        lines.send(Frame(0, 0.0, face()))
        assert json.loads(reader.readline())["frame"] == 0
        lines.close()
