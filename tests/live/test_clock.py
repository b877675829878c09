"""The playout clock and buffer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from streams import face

from dtalk.live.clock import SLEW, START_MARGIN, PlayoutBuffer, PlayoutClock


def test_the_first_frame_sets_the_clock() -> None:
    clock = PlayoutClock()
    clock.observe(1.0, 5.2)
    assert clock.due(1.0) == pytest.approx(5.2 + START_MARGIN - SLEW)


def test_a_steady_stream_is_due_steadily() -> None:
    clock = PlayoutClock()
    for frame in range(300):
        clock.observe(frame / 30, 100 + frame / 30)
    assert clock.due(10.0) == pytest.approx(110.0)


def test_the_clock_waits_for_nearly_all() -> None:
    """Frames come in threes; the first of each is two frames late."""
    clock = PlayoutClock()
    for frame in range(600):
        clock.observe(frame / 30, (frame // 3 * 3 + 2) / 30)
    assert clock.due(0.0) == pytest.approx(2 / 30)


def test_a_single_late_frame_moves_nothing() -> None:
    clock = PlayoutClock()
    for frame in range(300):
        clock.observe(frame / 30, frame / 30 + (1.0 if frame == 200 else 0.0))
    assert clock.due(0.0) == pytest.approx(0.0)


def test_the_clock_follows_a_drift_and_never_jumps() -> None:
    clock, due = PlayoutClock(), []
    for frame in range(900):
        shift = 0.0 if frame < 300 else 0.1
        clock.observe(frame / 30, frame / 30 + shift)
        due.append(clock.due(0.0))
    assert np.abs(np.diff(due[1:])).max() <= SLEW + 1e-9
    assert due[299] == pytest.approx(0.0, abs=1e-9)
    assert due[-1] == pytest.approx(0.1)


def filled(count: int, closed: bool = True) -> PlayoutBuffer:
    """Frames whose jaw opens by a hundredth each."""
    buffer = PlayoutBuffer()
    for frame in range(count):
        buffer.put(face(jawOpen=frame / 100)[None])
    if closed:
        buffer.close()
    return buffer


def jaw(buffer: PlayoutBuffer, time: float) -> float:
    found = buffer.read(time)
    assert found is not None
    return float(found.sum())


def test_frames_are_read_at_their_middles() -> None:
    buffer = filled(10)
    assert jaw(buffer, 0.5 / 30) == 0
    assert jaw(buffer, 7.5 / 30) == pytest.approx(0.07)


def test_between_two_frames_the_way_is_straight() -> None:
    buffer = filled(10)
    assert jaw(buffer, 5.75 / 30) == pytest.approx(0.0525)
    assert jaw(buffer, 6.25 / 30) == pytest.approx(0.0575)


def test_before_the_first_and_after_the_last_they_are_held() -> None:
    buffer = filled(10)
    assert jaw(buffer, 0.25 / 30) == 0
    assert jaw(buffer, 9.75 / 30) == pytest.approx(0.09)


def test_after_the_end_there_is_nothing() -> None:
    assert filled(10).read(10.5 / 30) is None
    assert PlayoutBuffer().read(0.0) is None


def test_sixty_a_second_are_twice_as_many() -> None:
    buffer = filled(10)
    assert [buffer.read((n + 0.5) / 60) is None for n in range(22)] == [False] * 20 + [True] * 2


def test_what_is_there_is_not_waited_for() -> None:
    buffer = filled(10, closed=False)
    assert buffer.wait(9.5 / 30, 0)
    assert not buffer.wait(9.75 / 30, 0)  # lies between frames 9 and 10
    assert not buffer.wait(10.5 / 30, 0)
    buffer.close()
    assert buffer.wait(10.5 / 30, 0)


def test_a_waiting_reader_is_woken() -> None:
    buffer, found = PlayoutBuffer(), []
    reader = threading.Thread(target=lambda: found.append(buffer.wait(0.5 / 30, 30)))
    reader.start()
    buffer.put(face(jawOpen=1)[None])
    reader.join(30)
    assert found == [True]


def test_only_the_last_seconds_are_kept() -> None:
    buffer = filled(1000)
    assert len(buffer._frames) < 1000
    assert jaw(buffer, 999.5 / 30) == pytest.approx(9.99)
    assert jaw(buffer, 0.0) == pytest.approx((1000 - len(buffer._frames)) / 100)  # the oldest kept
