"""Long sounds in windows, so that memory does not grow with their length.

Nothing but the sound differs between windows: the noise belongs to the frame, level and voice are
those of the whole sound. Windows begin on a grid, on which the encoder's own windows of 28 s
(:func:`dtalk.speech.bottom.in_windows`) lie alike in neighbours: both have one of those in common,
get the same features there, and in its midst one takes over from the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np

from dtalk.engine.protocol import Engine
from dtalk.engine.voice import Voice
from dtalk.errors import DtalkError
from dtalk.motion.noise import WIDTH, normal_blocks
from dtalk.speech.audio import first_sample
from dtalk.speech.measures import Measures, Reader, cut
from dtalk.utils.types import Array, Progress

Spans = list[tuple[int, int]]
"""First and last (exclusive) of each."""


@dataclass(frozen=True)
class Layout:
    """How a sound is cut into windows; all in frames.

    Attributes:
        grid: windows begin at its multiples: the stride of the encoder's own windows.
        window: the length of all windows but the last, and the most that is animated at once.
        step: from one window to the next; the last one may follow sooner.
        takeover: from the begin of a window to where it takes over from the one before.
        fade: how long it takes to.
    """

    grid: int = 720  # 24 s
    window: int = 2280  # 76 s: the encoder's 28 s and twice the grid
    step: int = 1440  # 48 s
    takeover: int = 300  # 10 s, in the midst of the features that both have in common
    fade: int = 60  # 2 s

    def bounds(self, frames: int) -> Spans:
        """The windows of a sound of so many frames."""
        last = -(-max(0, frames - self.window) // self.grid) * self.grid
        begins = [*range(0, last, self.step), last]
        return [(begin, min(begin + self.window, frames)) for begin in begins]

    def own(self, frames: int) -> Spans:
        """The frames of each window that are mostly its own."""
        middles = [begin + self.takeover + self.fade // 2 for begin, _ in self.bounds(frames)[1:]]
        return list(zip([0, *middles], [*middles, frames]))

    def faded(self, before: Array, window: Array) -> Array:
        """A window ``[T, 52]`` that takes over from what there was of its first frames."""
        place = np.arange(len(before), dtype=np.float32) + 0.5 - self.takeover
        share = (place / self.fade).clip(0, 1)[:, None]
        mixed = before + share * (window[: len(before)] - before)
        return np.concatenate([mixed, window[len(before) :]])


LAYOUT = Layout()


def samples_of(spans: Spans, measures: Measures) -> Spans:
    """The samples of spans of frames; the sound's last frame has all that are left."""

    def end_of(frame: int) -> int:
        return measures.samples if frame == measures.frames else first_sample(frame)

    return [(first_sample(begin), end_of(end)) for begin, end in spans]


def predict_in_windows(
    engine: Engine,
    read: Reader,
    measures: Measures,
    voice: Voice,
    temperature: float = 1.0,
    progress: Progress | None = None,
    layout: Layout = LAYOUT,
) -> Array:
    """Coefficients ``[T, 52]`` of a sound of any length.

    They lie in a temporary file until the last window is done, which takes the most memory.

    Raises:
        AudioError: the sound cannot be read, or is not the one that was measured.
        DtalkError: the temporary file cannot be written.
    """
    done = 0
    with TemporaryFile() as file:
        for frames in _windows(engine, read, measures, voice, temperature, layout):
            try:
                file.write(frames.data)
            except OSError as error:
                reason = error.strerror or error
                raise DtalkError(f"cannot write a temporary file: {reason}") from error
            done += len(frames)
            if progress is not None:
                progress(done, measures.frames)
        file.seek(0)
        return np.frombuffer(bytearray(file.read()), np.float32).reshape(-1, WIDTH)


def _windows(
    engine: Engine,
    read: Reader,
    measures: Measures,
    voice: Voice,
    temperature: float,
    layout: Layout,
) -> Iterator[Array]:
    """The frames ``[T, 52]`` that are done after each window."""
    bounds = layout.bounds(measures.frames)
    upto = [begin for begin, _ in bounds[1:]] + [measures.frames]
    sounds = cut(read(), samples_of(bounds, measures))
    noises = cut(normal_blocks(measures.digest.noise_seed, layout.grid), bounds)
    held = np.zeros((0, WIDTH), np.float32)
    for (begin, _), end, sound, noise in zip(bounds, upto, sounds, noises):
        levelled = measures.levels.levelled(sound, first_sample(begin))
        made = engine.run(levelled, noise, voice, temperature).coefficients
        made = layout.faded(held, made)
        held = made[end - begin :]
        yield np.ascontiguousarray(made[: end - begin])
