"""Sound from files, pipes and fast or slow writers."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streams import in_blocks, quiet, tone

from dtalk.errors import AudioError
from dtalk.live import sources
from dtalk.live.sources import LONGEST, Blocks, SoundQueue, file_blocks, paced, raw_blocks


def taken(queue: SoundQueue) -> np.ndarray:
    """All that comes until the end."""
    blocks = []
    while not queue.ended:
        blocks.append(queue.take(0.1))
    return np.concatenate(blocks)


def test_blocks_come_out_in_order() -> None:
    queue = SoundQueue()
    for block in in_blocks(np.arange(1000, dtype=np.float32), 300):
        queue.put(block)
    queue.end()
    np.testing.assert_array_equal(queue.take(0), np.arange(1000))
    assert queue.ended


def test_an_empty_queue_is_waited_for_no_longer_than_asked() -> None:
    assert len(SoundQueue().take(0.01)) == 0


def test_a_waiting_reader_is_woken_by_sound_and_by_the_end() -> None:
    for wake in (lambda q: q.put(quiet(0.01)), lambda q: q.end()):
        queue = SoundQueue()
        found: list[np.ndarray] = []
        reader = threading.Thread(target=lambda q=queue, f=found: f.append(q.take(60)))
        reader.start()
        wake(queue)
        reader.join(30)
        assert len(found) == 1


def test_what_is_too_much_is_lost_and_counted() -> None:
    queue = SoundQueue()
    for block in in_blocks(tone(LONGEST + 0.1)):
        queue.put(block)
    assert queue.lost == 1600
    assert len(queue.take(0)) == round(LONGEST * 16_000)
    queue.put(tone(0.01))
    assert queue.lost == 1600


def test_an_error_comes_after_the_sound_before_it() -> None:
    queue = SoundQueue()
    queue.put(tone(0.01))
    queue.end(AudioError("unplugged"))
    assert len(queue.take(0)) == 160
    with pytest.raises(AudioError, match="unplugged"):
        _ = queue.ended


def test_blocks_are_read_in_a_thread() -> None:
    queue = SoundQueue()
    with Blocks(in_blocks(tone(0.3))).feed(queue):
        np.testing.assert_array_equal(taken(queue), tone(0.3))


def test_a_reader_that_fails_ends_the_queue_with_its_error() -> None:
    def blocks():
        yield tone(0.01)
        raise AudioError("torn off")

    queue = SoundQueue()
    with Blocks(blocks()).feed(queue), pytest.raises(AudioError, match="torn off"):
        taken(queue)


def test_nothing_is_read_after_the_end() -> None:
    read: list[int] = []
    go_on = threading.Event()

    def blocks():
        for number in range(3):
            go_on.wait(30)
            read.append(number)
            yield tone(0.01)

    with Blocks(blocks()).feed(SoundQueue()):
        pass
    go_on.set()
    time.sleep(0.05)
    assert read in ([], [0])


def test_raw_sound_is_read_sample_by_sample() -> None:
    samples = np.array([0, 16384, -32768, 32767, 1], "<i2")
    found = np.concatenate(list(raw_blocks(io.BytesIO(samples.tobytes()))))
    np.testing.assert_allclose(found, [0, 0.5, -1, 32767 / 32768, 1 / 32768])
    assert found.dtype == np.float32


class Dribble(io.RawIOBase):
    """A pipe that gives three bytes at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    def read(self, size: int = -1) -> bytes:
        piece, self._content = self._content[:3], self._content[3:]
        return piece


def test_halves_of_samples_are_put_together() -> None:
    samples = np.arange(-50, 51, dtype="<i2")
    found = np.concatenate(list(raw_blocks(Dribble(samples.tobytes()))))
    np.testing.assert_array_equal(found * 32768, samples)


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert sum(map(len, raw_blocks(io.BytesIO(b"\0\0\1")))) == 1


def test_no_raw_sound_at_all_is_an_end() -> None:
    assert list(raw_blocks(io.BytesIO(b""))) == []


def test_a_pipe_is_read_as_sound_arrives() -> None:
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as pipe:
        blocks = raw_blocks(pipe)
        os.write(write, bytes(20))
        assert len(next(blocks)) == 10
        os.write(write, bytes(640))
        assert len(next(blocks)) == 160
        os.close(write)
        assert sum(map(len, blocks)) == 160


def test_a_terminal_is_no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(AudioError, match="s16le"):
        sources.standard_input()


def test_files_of_any_rate_come_at_16_khz(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(48_000), 48_000)
    assert sum(map(len, file_blocks(path))) == 16_000


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such sound file"):
        file_blocks(tmp_path / "none.wav")


class Time:
    """A clock that only sleeping and working move on."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(sources, "time", made)
    return made


def test_paced_sound_comes_when_it_would_have_ended(clock: Time) -> None:
    times = [clock.now - 50 for _ in paced(in_blocks(quiet(0.1), 800))]
    np.testing.assert_allclose(times, [0.05, 0.1])


def test_a_late_reader_catches_up(clock: Time) -> None:
    times = []
    for number, _ in enumerate(paced(in_blocks(quiet(0.5), 1600))):
        times.append(clock.now - 50)
        clock.now += 0.12 if number == 1 else 0.0
    np.testing.assert_allclose(times, [0.1, 0.2, 0.32, 0.4, 0.5])


def test_after_a_pause_of_the_writer_the_pace_begins_anew(clock: Time) -> None:
    def blocks():
        yield quiet(0.1)
        clock.now += 5
        yield quiet(0.1)
        yield quiet(0.1)

    times = [clock.now - 50 for _ in paced(blocks())]
    assert times[0] == pytest.approx(0.1)
    assert times[1] == pytest.approx(5.1)
    assert times[2] <= 5.2
