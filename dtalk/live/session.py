"""A live session: sound in, animated as it comes, frames out at a steady pace.

Three threads: a source's own fills the queue; one animates what is there; the caller's sends frames
when they are due. When sound stops coming, silence takes its place, so that the face comes to rest;
when the session ends, however it ends, the face goes back to neutral.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

import numpy as np

from dtalk.live.clock import PlayoutBuffer, PlayoutClock
from dtalk.live.frames import Frame, Sender
from dtalk.live.sources import SoundQueue, Source
from dtalk.live.window import SlidingWindow
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.utils.types import Array

PATIENCE = 0.15  # seconds without sound after which silence takes its place
AHEAD = 0.3  # seconds that frames may be made before they are due
CLOSING = 0.3  # seconds in which a face goes back to neutral
REPEATS = 3  # neutral frames at the end, for a network may lose one
STEP = 160  # samples that are taken in at a time where nobody waits; less than a frame's
_POLL = 0.05  # seconds of waiting after which Ctrl-C is looked for
_RECENT = 2.0  # seconds
_LATENCIES = 10_000  # frames whose latency is remembered


@dataclass
class Statistics:
    """What happened in a session.

    Attributes:
        frames: that were sent.
        dropped: that were left out because a later one was due already.
        lost: by receiver, frames that it could not be handed.
        lost_sound, added_silence: seconds.
        latencies: of the last frames, seconds from the arrival of the sound of their middle.
    """

    frames: int = 0
    dropped: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    lost_sound: float = 0.0
    added_silence: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def latency(self, share: float) -> float:
        """The latency that so large a share of the frames kept, seconds."""
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


class LiveSession:
    """One run from a source to some receivers.

    Args:
        source: of the sound.
        window: animates it.
        senders: all get every frame; they stay open.
        fps: frames a second that are sent, a whole number.
    """

    def __init__(
        self, source: Source, window: SlidingWindow, senders: Sequence[Sender], fps: int = 30
    ) -> None:
        self._source, self._window, self._fps = source, window, fps
        self._senders = list(senders)
        self._clock, self._buffer = PlayoutClock(), PlayoutBuffer()
        self._arrival = _Arrival()
        self._last = Frame(-1, 0.0, np.zeros(len(ARKIT_NAMES), np.float32))
        self._stopped = False
        self._error: Exception | None = None
        self.statistics = Statistics()

    def run(self) -> Statistics:
        """Send frames until the sound ends or Ctrl-C is pressed, then a neutral face.

        Raises:
            AudioError: the source cannot be opened, or fails on the way.
            BrokenPipeError: nobody is left to send to.
        """
        queue = SoundQueue()
        with self._source.feed(queue):
            worker = Thread(target=self._animate, args=(queue,), name="animation", daemon=True)
            worker.start()
            try:
                with suppress(KeyboardInterrupt):
                    self._play()
            finally:
                self._stopped = True
                self._to_neutral()
                worker.join()
        self.statistics.lost_sound = queue.lost / SAMPLE_RATE
        self.statistics.lost = {sender.name: sender.lost for sender in self._senders}
        if self._error is not None:
            raise self._error
        return self.statistics

    # The animating thread --------------------------------------------------------------------

    def _animate(self, queue: SoundQueue) -> None:
        """Turn the queue's sound into frames in the buffer, until it ends."""
        heard = time.monotonic()
        try:
            while not (self._stopped or queue.ended):
                sound = queue.take(1 / FPS)
                now = time.monotonic()
                if len(sound):
                    heard = now
                else:
                    sound = _silence(now - heard - PATIENCE)
                    heard += len(sound) / SAMPLE_RATE
                    self.statistics.added_silence += len(sound) / SAMPLE_RATE
                self._window.feed(sound)
                self._arrival.observe(self._window.samples / SAMPLE_RATE, now)
                self._keep(self._window.advance())
            self._keep(self._window.finish())
        except Exception as error:
            self._error = error
        finally:
            self._buffer.close()

    def _keep(self, frames: Array) -> None:
        """Put frames into the buffer, and wait where they are much too early."""
        if not len(frames):
            return
        now, first = time.monotonic(), round(self._buffer.end * FPS)
        for frame in range(first, first + len(frames)):
            self._clock.observe((frame + 0.5) / FPS, now)
        self._buffer.put(frames)
        time.sleep(max(0.0, self._clock.due(self._buffer.end) - now - AHEAD))

    # The caller's thread ---------------------------------------------------------------------

    def _play(self) -> None:
        """Send frames when they are due, until the stream has ended."""
        number = 0
        while True:
            while not self._buffer.wait((number + 0.5) / self._fps, _POLL):
                pass
            number = self._due_now(number)
            moment = (number + 0.5) / self._fps
            face = self._buffer.read(moment)
            if face is None:
                return
            self._send(Frame(number, moment, face))
            self.statistics.latencies.append(time.monotonic() - self._arrival.of(moment))
            number += 1

    def _due_now(self, number: int) -> int:
        """Wait until a frame is due; its number, or where it is too late, that of a later one."""
        moment = (number + 0.5) / self._fps
        late = time.monotonic() - self._clock.due(moment)
        time.sleep(max(0.0, -late))
        there = round(self._buffer.end - 0.5 / FPS - moment, 6) * self._fps
        skipped = max(0, int(min(late * self._fps, there)))
        self.statistics.dropped += skipped
        return number + skipped

    def _send(self, frame: Frame) -> None:
        """Hand a frame to all receivers; one that has gone gets no more.

        Raises:
            BrokenPipeError: none is left.
        """
        for sender in tuple(self._senders):
            try:
                sender.send(frame)
            except BrokenPipeError:
                self._senders.remove(sender)
                if not self._senders:
                    raise
        self._last = frame
        self.statistics.frames += 1

    def _to_neutral(self) -> None:
        """Send the way from the last face to a neutral one, at once if Ctrl-C is pressed again."""
        last, frames = self._last, round(CLOSING * self._fps)
        shares = [max(0.0, 1 - step / frames) for step in range(1, frames + REPEATS)]
        with suppress(BrokenPipeError):
            try:
                for share in shares:
                    time.sleep(1 / self._fps)
                    self._send(self._after_last(last.coefficients * np.float32(share)))
            except KeyboardInterrupt:
                self._send(self._after_last(np.zeros_like(last.coefficients)))

    def _after_last(self, face: Array) -> Frame:
        number = self._last.number + 1
        return Frame(number, (number + 0.5) / self._fps, face)


class _Arrival:
    """When the sound of any moment of the stream arrived, for blocks come late and never early."""

    def __init__(self) -> None:
        self._starts: deque[tuple[float, float]] = deque()  # when observed, when time 0 was

    def observe(self, end: float, now: float) -> None:
        """The stream was ``end`` seconds long at ``now``."""
        self._starts.append((now, now - end))
        while now - self._starts[0][0] > _RECENT:
            self._starts.popleft()

    def of(self, moment: float) -> float:
        """By the most punctual block of the last seconds."""
        return moment + min(start for _, start in tuple(self._starts))


def _silence(seconds: float) -> Array:
    return np.zeros(max(0, round(seconds * SAMPLE_RATE)), np.float32)


def animate_blocks(
    blocks: Iterable[Array], window: SlidingWindow, fps: int = 30
) -> Iterator[Frame]:
    """The frames of a stream that nobody waits for, as fast as they can be made.

    They are the same in every run, whatever the blocks ``[S]``.
    """
    buffer, number = PlayoutBuffer(), 0

    def readable() -> Iterator[Frame]:
        nonlocal number
        moment = (number + 0.5) / fps
        while buffer.wait(moment, 0) and (face := buffer.read(moment)) is not None:
            yield Frame(number, moment, face)
            number += 1
            moment = (number + 0.5) / fps

    for block in blocks:
        for at in range(0, len(block), STEP):
            window.feed(block[at : at + STEP])
            buffer.put(window.advance())
            yield from readable()
    buffer.put(window.finish())
    buffer.close()
    yield from readable()
