"""Where the sound of a stream comes from: a microphone, standard input, a file.

All give 16 kHz mono float32, in blocks, into a :class:`SoundQueue`.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from threading import Condition, Thread
from typing import BinaryIO, Protocol

import numpy as np

from dtalk.errors import AudioError
from dtalk.speech.audio import SAMPLE_RATE, speech_blocks
from dtalk.speech.measures import resized
from dtalk.utils.types import Array

BLOCK = 160  # samples, 10 ms
LONGEST = 0.5  # seconds of sound that may wait; what a live source brings beyond is lost
_SAMPLE_BYTES = 2


class SoundQueue:
    """Sound on its way from a source to the animation.

    Attributes:
        lost: samples that the animation had no time for, or that the device lost.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._blocks: deque[Array] = deque()
        self._waiting = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = Condition()

    def put(self, block: Array) -> None:
        """Add a block ``[S]``, or lose it where too much waits already."""
        with self._changed:
            if self._waiting + len(block) > LONGEST * SAMPLE_RATE:
                self.lost += len(block)
                return
            self._blocks.append(block)
            self._waiting += len(block)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """No more sound comes; with ``error``, because of it."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether all was taken and no more comes.

        Raises:
            Exception: what the source failed with.
        """
        with self._changed:
            if self._ended and not self._blocks and self._error is not None:
                raise self._error
            return self._ended and not self._blocks

    def take(self, seconds: float) -> Array:
        """All sound that waits ``[S]``; where none does, what comes first within ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended, seconds)
            blocks = [np.zeros(0, np.float32), *self._blocks]
            self._blocks.clear()
            self._waiting = 0
        return np.concatenate(blocks)


class Source(Protocol):
    """What sound comes from."""

    def feed(self, queue: SoundQueue) -> AbstractContextManager[None]:
        """Fill the queue while the context is open.

        Raises:
            AudioError: the source cannot be opened.
        """


class Blocks:
    """A source that is read block by block in a thread of its own.

    Args:
        blocks: the sound, ``[S]`` each; may raise an ``AudioError`` on the way.
    """

    def __init__(self, blocks: Iterable[Array]) -> None:
        self._blocks = blocks

    @contextmanager
    def feed(self, queue: SoundQueue) -> Iterator[None]:
        """See :class:`Source`. A thread that waits for a block is left behind: it does no harm."""
        stopped = False

        def read() -> None:
            try:
                for block in self._blocks:
                    if stopped:
                        return
                    queue.put(block)
                queue.end()
            except Exception as error:
                queue.end(error)

        Thread(target=read, name="sound", daemon=True).start()
        try:
            yield
        finally:
            stopped = True


def raw_blocks(stream: BinaryIO) -> Iterator[Array]:
    """Raw sound, s16le at 16 kHz mono, in blocks ``[S]`` as it arrives."""
    rest = b""
    while piece := stream.read(BLOCK * _SAMPLE_BYTES):
        piece = rest + piece
        whole = len(piece) // _SAMPLE_BYTES * _SAMPLE_BYTES
        rest = piece[whole:]
        yield np.frombuffer(piece[:whole], "<i2").astype(np.float32) / np.float32(32768)


def standard_input() -> BinaryIO:
    """Standard input, without a buffer that would wait until it is full.

    Raises:
        AudioError: it is a terminal.
    """
    if sys.stdin.isatty():
        raise AudioError(
            "standard input is a terminal, not sound; pipe raw sound into it (s16le, 16 kHz, mono)"
        )
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def file_blocks(path: Path) -> Iterator[Array]:
    """A sound file in blocks ``[S]``, read as they are taken; what is no sound is refused at once.

    Raises:
        AudioError: see :func:`dtalk.speech.audio.speech_blocks`.
    """
    blocks = speech_blocks(path)
    return resized(chain([next(blocks)], blocks), BLOCK)


def paced(blocks: Iterable[Array]) -> Iterator[Array]:
    """The blocks at the pace of a live source: each when its sound would have ended.

    After a pause of the blocks themselves the pace begins anew.
    """
    due = time.monotonic()
    for block in blocks:
        due = max(due, time.monotonic() - LONGEST / 2) + len(block) / SAMPLE_RATE
        time.sleep(max(0.0, due - time.monotonic()))
        yield block
