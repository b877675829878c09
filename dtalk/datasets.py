"""Data sets of speech with motion: clips, their labels and splits, and batches.

The native layout is a folder with ``clips.csv`` (columns ``clip, set, split, speaker, emotion,
seconds, frames, audio, motion``) beside the audio and motion files it names. An empty ``speaker``
or ``emotion`` is unknown, an empty ``motion`` a clip of sound only.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtalk.audio import frame_count, load_audio
from dtalk.errors import DataError, DtalkError
from dtalk.motion import FPS
from dtalk.motion_files import read_motion
from dtalk.settings import SPLITS

INDEX = "clips.csv"
_COLUMNS = ("clip", "set", "split", "speaker", "emotion", "audio", "motion")

Array = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


@dataclass(frozen=True)
class Clip:
    """One clip of the index; empty labels are unknown, ``motion`` is None for sound only."""

    name: str
    set: str
    split: str
    speaker: str
    emotion: str
    audio: Path
    motion: Path | None


@dataclass(frozen=True)
class LoadedClip:
    """A clip in memory: waveform float32 ``[S]`` at 16 kHz, coefficients ``[T, 52]`` or None."""

    clip: Clip
    waveform: Array
    coefficients: Array | None

    @property
    def frames(self) -> int:
        """Frames of the face: those of the motion, else as many as the sound lasts."""
        if self.coefficients is not None:
            return len(self.coefficients)
        return frame_count(len(self.waveform))


def read_index(folder: Path) -> list[Clip]:
    """All clips of a native data set.

    Raises:
        DataError: no index, a missing column, an unknown split, or no clip at all.
    """
    path = Path(folder) / INDEX
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(missing)}")
            clips = [_clip(row, Path(folder), f"{path}:{n}") for n, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path}: {error}; a data folder holds {INDEX} and what it names"
        ) from error
    if not clips:
        raise DataError(f"{path} names no clips")
    return clips


def _clip(row: dict[str, str | None], folder: Path, place: str) -> Clip:
    cells = {column: row[column] or "" for column in _COLUMNS}  # a short row lacks some
    name, group, split, speaker, emotion, audio, motion = cells.values()
    if split not in SPLITS:
        raise DataError(f"{place}: split {split!r} is none of {', '.join(SPLITS)}")
    if not audio:
        raise DataError(f"{place}: the clip names no audio file")
    moved = folder / motion if motion else None
    return Clip(name, group, split, speaker, emotion, folder / audio, moved)


def select(
    clips: Iterable[Clip],
    split: str | None = None,
    sets: Sequence[str] = (),
    without: Sequence[str] = (),
    motion: bool | None = None,
) -> list[Clip]:
    """The clips of a split, of some sets or without some, with or without motion.

    Raises:
        DataError: a set that no clip belongs to.
    """
    clips = list(clips)
    known = {clip.set for clip in clips}
    unknown = [name for name in (*sets, *without) if name not in known]
    if unknown:
        raise DataError(f"no such set: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [
        clip
        for clip in clips
        if (split is None or clip.split == split)
        and (not sets or clip.set in sets)
        and clip.set not in without
        and (motion is None or (clip.motion is not None) == motion)
    ]


def load_clip(clip: Clip) -> LoadedClip:
    """Sound and motion of a clip.

    Raises:
        DtalkError: a file that is missing or broken, or motion at another frame rate than 30.
    """
    waveform = load_audio(clip.audio)
    if clip.motion is None:
        return LoadedClip(clip, waveform, None)
    motion = read_motion(clip.motion)
    if abs(motion.fps - FPS) > 0.01:
        raise DataError(f"{clip.motion} runs at {motion.fps:g} frames/s; resample it to {FPS:g}")
    return LoadedClip(clip, waveform, motion.coefficients)


def load_clips(
    clips: Sequence[Clip], progress: Progress | None = None
) -> tuple[list[LoadedClip], list[str]]:
    """All clips that can be read, and one line for each that cannot."""
    loaded, failures = [], []
    for done, clip in enumerate(clips, 1):
        try:
            loaded.append(load_clip(clip))
        except DtalkError as error:
            failures.append(f"{clip.name}: {error}")
        if progress:
            progress(done, len(clips))
    return loaded, failures


def labels_of(clips: Iterable[Clip]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The speakers and the emotions that occur, each sorted."""
    clips = list(clips)
    speakers = sorted({clip.speaker for clip in clips} - {""})
    emotions = sorted({clip.emotion for clip in clips} - {""})
    return tuple(speakers), tuple(emotions)


def draw_epoch(
    clips: Sequence[LoadedClip], balance: float, generator: np.random.Generator
) -> list[LoadedClip]:
    """As many clips as there are, drawn so that a set of n clips counts as n ** balance.

    balance 1 takes every clip once; below 1 small sets come more often than their size says. A set
    is gone through in random order, again and again until its share is filled.
    """
    sizes = Counter(clip.clip.set for clip in clips)
    total = sum(n**balance for n in sizes.values())
    drawn: list[LoadedClip] = []
    for name in sorted(sizes):
        members = [clip for clip in clips if clip.clip.set == name]
        share = round(len(clips) * sizes[name] ** balance / total)
        order = [
            i for _ in range(-(-share // len(members))) for i in generator.permutation(len(members))
        ]
        drawn.extend(members[i] for i in order[:share])
    return drawn


def batches(
    clips: Sequence[LoadedClip], frames: int, generator: np.random.Generator
) -> Iterator[list[LoadedClip]]:
    """Batches of clips of like length, at most ``frames`` padded frames each, in random order."""
    jittered = sorted(clips, key=lambda clip: clip.frames * generator.uniform(0.9, 1.1))
    groups: list[list[LoadedClip]] = [[]]
    longest = 0
    for clip in jittered:
        longest = max(longest, clip.frames)
        if groups[-1] and longest * (len(groups[-1]) + 1) > frames:
            groups.append([])
            longest = clip.frames
        groups[-1].append(clip)
    for index in generator.permutation(len(groups)):
        if groups[index]:
            yield groups[index]
