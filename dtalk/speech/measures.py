"""What is known of a whole sound before it is animated, measured block by block in little memory.

Sounds of hours are read more than once rather than held: first to be measured, then to be animated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtalk.errors import AudioError
from dtalk.motion.noise import SoundDigest
from dtalk.speech.audio import AudioWarning, frame_count
from dtalk.speech.channels import ChannelWarning
from dtalk.speech.decode import TrackWarning
from dtalk.speech.levels import (
    FRAME,
    TENTH,
    Levels,
    deviation,
    frames_of,
    voiced_tenths,
    whole_tenths,
)
from dtalk.speech.loudness import is_even
from dtalk.speech.voice_activity import spoken_frames
from dtalk.utils.types import Array

Reader = Callable[[], Iterator[Array]]
"""Reads a sound from its start: 16 kHz samples in blocks ``[S]``."""

_UNIT = TENTH  # samples: 3 frames of the motion, 4 of the loudness
_FRAMES = (slice(533), slice(533, 1066), slice(1066, _UNIT))  # the motion's in it
_BLOCK = 100 * _UNIT  # samples that are measured at a time


@dataclass(frozen=True)
class Measures:
    """Measures of a sound.

    Attributes:
        samples: how many there are, at 16 kHz.
        levels: what brings them to the standard loudness.
        rms: RMS of the frames of the motion ``[T]``, as recorded, about their means.
        steady: whether nothing stands out in them, see :func:`dtalk.speech.loudness.is_steady`.
        digest: of the samples and the user's seed.
    """

    samples: int
    levels: Levels
    rms: Array
    steady: bool
    digest: SoundDigest

    @property
    def frames(self) -> int:
        """Number of the motion's frames, T."""
        return len(self.rms)

    @property
    def spoken(self) -> npt.NDArray[np.bool_]:
        """In which frames somebody speaks, ``[T]``."""
        if self.steady:
            return np.zeros(self.frames, np.bool_)
        return spoken_frames(self.rms * self.levels.gain_at(_middles(self.frames)))


def measure(blocks: Iterable[Array], seed: int) -> Measures:
    """Measure a sound ``[S]``, S >= 1, that comes in blocks of any size."""
    digest, samples, total, silent = SoundDigest(seed), 0, 0.0, True
    loud: list[Array] = []
    tenths: list[Array] = []
    voiced: list[npt.NDArray[np.bool_]] = []
    frames: list[Array] = []
    for block in resized(blocks, _BLOCK):
        digest.feed(block)
        samples += len(block)
        total += float(block.sum(dtype=np.float64))
        silent = silent and not block.any()
        whole = whole_tenths(block)
        loud.append(frames_of(block, FRAME))
        tenths.append(deviation(whole))
        voiced.append(voiced_tenths(whole))
        units = np.pad(block, (0, -len(block) % _UNIT), "edge").reshape(-1, _UNIT)
        frames.append(np.stack([deviation(units[:, part]) for part in _FRAMES], 1).ravel())
    rms = np.concatenate(frames)[: frame_count(samples)]
    levels = Levels(np.concatenate(loud), total / samples, lambda: np.concatenate(voiced))
    steady = silent or is_even(np.concatenate(tenths))
    return Measures(samples, levels, rms, steady, digest)


def _middles(frames: int) -> Array:
    """The samples in the midst of the motion's frames ``[T]``."""
    return (np.arange(frames) + 0.5) * (_UNIT / len(_FRAMES))


def resized(blocks: Iterable[Array], size: int) -> Iterator[Array]:
    """The same samples in blocks of ``size``; the last may be shorter."""
    parts: list[Array] = []
    count = 0
    for block in blocks:
        parts.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(parts)
            whole = count // size * size
            yield from joined[:whole].reshape(-1, size)
            parts, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(parts)


def cut(blocks: Iterable[Array], spans: Sequence[tuple[int, int]]) -> Iterator[Array]:
    """The samples from ``begin`` to ``end`` of each span, which begin and end in ascending order.

    Raises:
        AudioError: the sound ends before.
    """
    stream = iter(blocks)
    parts: list[Array] = [np.zeros(0, np.float32)]
    read = 0
    for begin, end in spans:
        while read < end and (block := next(stream, None)) is not None:
            parts = [block] if read <= begin else [*parts, block]
            read += len(block)
        if read < end:
            raise AudioError("the sound was changed while it was read; try again")
        held = np.concatenate(parts)
        held = held[max(0, begin - (read - len(held))) :]
        parts = [held]
        yield held[: end - begin]


@contextmanager
def reading_again() -> Iterator[None]:
    """Read a sound again: what is odd about it was said the first time."""
    with warnings.catch_warnings():
        for kind in (AudioWarning, TrackWarning, ChannelWarning):
            warnings.simplefilter("ignore", kind)
        yield
