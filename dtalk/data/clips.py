"""Clips of speech and motion: labels, splits, loading.

The native layout is a folder with ``clips.csv`` (columns ``clip, set, split, speaker, emotion,
seconds, frames, audio, motion``) beside the audio and motion files it names. An empty ``speaker``
or ``emotion`` is unknown, an empty ``motion`` a clip of sound only. BEAT and 3D-ETF are read as
they are published, by :mod:`dtalk.data.published`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from dtalk.errors import DataError, DtalkError
from dtalk.motion.curves import FPS, Motion
from dtalk.motion.files import read_motion
from dtalk.motion.resample import resample_motion
from dtalk.speech.audio import SAMPLE_RATE, frame_count, load_audio
from dtalk.utils.types import Array, Progress

TOLERANCE = 1.0  # seconds that sound and motion may differ by in length, and
TOLERANCE_SHARE = 0.1  # what part of the longer one, and a frame
PIECE_FRAMES = 300  # longer recordings of published data sets are cut for training
SHOWN = 5  # of many lines of one kind

"""Called with how many are done, and of how many."""
Note = Callable[[str], None]
"""Called with a line about something odd."""


class DataWarning(UserWarning):
    """Something in a data set was left out."""


@dataclass(frozen=True)
class Clip:
    """One clip of a data set; empty labels are unknown, ``motion`` is None for sound only.

    ``read`` reads the motion; clips of published data sets have a reader of their own.
    """

    name: str
    set: str
    split: str
    speaker: str
    emotion: str
    audio: Path
    motion: Path | None
    read: Callable[[Path], Motion] = read_motion

    @property
    def native(self) -> bool:
        """Whether it is of the native layout, which is taken as it is."""
        return self.read is read_motion


@dataclass(frozen=True)
class LoadedClip:
    """A clip in memory: waveform float32 ``[S]`` at 16 kHz, coefficients ``[T, 52]`` or None."""

    clip: Clip
    waveform: Array
    coefficients: Array | None

    @property
    def tracked(self) -> bool:
        """Whether there is tracked motion to compare with."""
        return self.coefficients is not None

    @property
    def frames(self) -> int:
        """Number of frames: those of the motion, else as many as the sound lasts."""
        if self.coefficients is not None:
            return len(self.coefficients)
        return frame_count(len(self.waveform))


def warn(line: str) -> None:
    """Emit a line as a :class:`DataWarning`."""
    warnings.warn(line, DataWarning, stacklevel=3)


def select(
    clips: Iterable[Clip],
    split: str | None = None,
    sets: Sequence[str] = (),
    without: Sequence[str] = (),
    motion: bool | None = None,
) -> list[Clip]:
    """Select the clips of a split, of some sets or without some, with or without motion.

    Raises:
        DataError: a set that no clip belongs to.
    """
    clips = list(clips)
    check_sets(clips, (*sets, *without))
    return [
        clip
        for clip in clips
        if (split is None or clip.split == split)
        and (not sets or clip.set in sets)
        and clip.set not in without
        and (motion is None or (clip.motion is not None) == motion)
    ]


def check_sets(clips: Iterable[Clip], names: Sequence[str], what: str = "") -> None:
    """Refuse names of sets that no clip belongs to, for ``what``.

    Raises:
        DataError: there is one.
    """
    known = {clip.set for clip in clips}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise DataError(f"{what}no such set: {', '.join(unknown)}; there are {there}")


def load_clip(clip: Clip) -> LoadedClip:
    """Load sound and motion of a clip, at 30 frames a second.

    Motion at another rate, and all of published data sets, is resampled and made as long as its
    sound: the longer is cut at its end, for both start together. Native motion at 30 frames a
    second is taken as it is.

    Raises:
        DtalkError: a file that is missing or broken, or lengths that :func:`common_frames` refuses.
    """
    waveform = load_audio(clip.audio)
    if clip.motion is None:
        return LoadedClip(clip, waveform, None)
    motion = clip.read(clip.motion)
    if clip.native and abs(motion.fps - FPS) <= 0.01:
        return LoadedClip(clip, waveform, motion.coefficients)
    frames = common_frames(waveform, motion.duration, str(clip.motion))
    coefficients = resample_motion(motion, FPS).coefficients[:frames]
    return LoadedClip(clip, cut_to(waveform, len(coefficients)), coefficients)


def common_frames(waveform: Array, seconds: float, what: str) -> int:
    """Count the frames at 30 a second that sound ``[S]`` and motion of ``seconds`` have in common.

    Raises:
        DataError: they differ by more than a second, or a tenth of the longer one and a frame.
    """
    sound = len(waveform) / SAMPLE_RATE
    allowed = min(TOLERANCE, TOLERANCE_SHARE * max(sound, seconds) + 1 / FPS)
    if abs(sound - seconds) > allowed:
        raise DataError(
            f"{what} lasts {seconds:.2f} s, its sound {sound:.2f} s: no pair, or drifted apart"
        )
    return min(frame_count(len(waveform)), max(1, round(seconds * FPS)))


def cut_to(waveform: Array, frames: int) -> Array:
    """Cut sound ``[S]`` to the length of the first ``frames`` frames."""
    if frame_count(len(waveform)) <= frames:
        return waveform
    return waveform[: round(frames * SAMPLE_RATE / FPS)]


def load_clips(
    clips: Sequence[Clip], progress: Progress | None = None
) -> tuple[list[LoadedClip], list[str]]:
    """Load all clips that can be read; return them and one line for each that cannot.

    Warnings about single files are passed on up to a few, with a count of the others.
    """
    loaded, failures = [], []
    with warnings.catch_warnings(record=True) as caught:
        for done, clip in enumerate(clips, 1):
            try:
                loaded.append(load_clip(clip))
            except DtalkError as error:
                failures.append(f"{clip.name}: {error}")
            if progress:
                progress(done, len(clips))
    for warning in caught[:SHOWN]:
        warnings.warn(warning.message, warning.category, stacklevel=2)
    if len(caught) > SHOWN:
        warn(f"and {len(caught) - SHOWN} more warnings about clips")
    return loaded, failures


def few(lines: Sequence[str]) -> list[str]:
    """Keep only the first of many lines, and say how many more there are."""
    if len(lines) <= SHOWN + 1:
        return list(lines)
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]


def in_pieces(clip: LoadedClip) -> list[LoadedClip]:
    """Split a long recording of a published data set into equal pieces of at most 10 s."""
    count = -(-clip.frames // PIECE_FRAMES)
    if clip.clip.native or clip.coefficients is None or count == 1:
        return [clip]
    bounds = [round(clip.frames * i / count) for i in range(count + 1)]
    return [
        LoadedClip(
            replace(clip.clip, name=f"{clip.clip.name}#{number}"),
            clip.waveform[round(a * SAMPLE_RATE / FPS) : round(b * SAMPLE_RATE / FPS)],
            clip.coefficients[a:b],
        )
        for number, (a, b) in enumerate(pairwise(bounds))
    ]


def labels_of(clips: Iterable[Clip]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the speakers and the emotions that occur, each sorted."""
    clips = list(clips)
    speakers = sorted({clip.speaker for clip in clips} - {""})
    emotions = sorted({clip.emotion for clip in clips} - {""})
    return tuple(speakers), tuple(emotions)
