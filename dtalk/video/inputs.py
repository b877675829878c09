"""Inputs of ``dtalk render``: motion and its sound."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PureWindowsPath

from dtalk.errors import AudioError
from dtalk.motion.curves import Motion
from dtalk.motion.files import FORMATS, READERS, is_flame, read_motion
from dtalk.speech.audio import AUDIO_SUFFIXES
from dtalk.speech.container import read_contents
from dtalk.utils.ffmpeg import FfmpegError

MOTION_SUFFIXES = frozenset(f".{name}" for name in READERS)
TAKE_SUFFIX = ".mov"  # of the video that Live Link Face records with a csv
RENDERED_SUFFIXES = frozenset(f".{name}" for name in FORMATS) | AUDIO_SUFFIXES
"""Of the files that are taken from a folder: a glb there may be an avatar without motion."""


class SoundWarning(UserWarning):
    """A motion file has no sound to go with it."""


@dataclass(frozen=True)
class MotionWithAudio:
    """A motion with its sound; ``audio`` is None for a silent video."""

    motion: Motion
    audio: Path | None


def without_own_audio(found: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Drop inputs that another of the same name stands for: npz, csv, json, then speech.

    In a folder that ``dtalk animate`` has filled, the curves are rendered, once, and the speech is
    not animated again.
    """
    chosen: dict[Path, Path] = {}
    for file, _ in sorted(found, key=lambda pair: _rank(pair[0])):
        chosen.setdefault(_clip(file), file)
    return [
        (file, relative)
        for file, relative in found
        if chosen[_clip(file)] == file or not is_motion(chosen[_clip(file)])
    ]


def _clip(path: Path) -> Path:
    """Get what files of one clip share: ``a`` of ``a.wav``, ``a.csv`` and ``a.flame.npz``."""
    stem = path.with_suffix("")
    return stem.with_suffix("") if is_flame(path) else stem


def _rank(path: Path) -> tuple[int, int]:
    """Sort by :data:`FORMATS`, the exact one first; sound last, and the shorter name first."""
    kind = path.suffix.lower().removeprefix(".")
    place = list(FORMATS).index(kind) if kind in FORMATS else len(FORMATS)
    return place, len(path.name)


def is_motion(path: Path) -> bool:
    """Whether a file holds curves rather than sound, by its suffix."""
    return path.suffix.lower() in MOTION_SUFFIXES


def read_input(
    source: Path,
    audio: Path | None,
    animate_file: Callable[[Path], Motion],
    fps: float | None = None,
) -> MotionWithAudio:
    """Read a motion file and find its sound, or animate a speech file.

    ``fps`` is the frame rate of motion files that name none.

    Raises:
        DtalkError: the source cannot be read or animated.
    """
    if not is_motion(source):
        return MotionWithAudio(_animated(source, animate_file), audio or source)
    motion = read_motion(source, fps=fps)
    found = audio or find_audio(source, motion)
    if found is None:
        warnings.warn(f"no sound found for {source}: silent; name it with --audio", SoundWarning, 2)
    return MotionWithAudio(motion, found)


def _animated(source: Path, animate_file: Callable[[Path], Motion]) -> Motion:
    """Animate a speech file; the error for an unknown file lists the motion formats."""
    try:
        return animate_file(source)
    except AudioError as error:
        if source.suffix.lower() in AUDIO_SUFFIXES:
            raise
        raise AudioError(f"{error}; motion files are {', '.join(READERS)}") from error


def read_inputs(
    sources: Sequence[Path],
    audio: Path | None,
    animate_file: Callable[[Path], Motion],
    fps: float | None = None,
) -> tuple[list[Motion], Path | None]:
    """Read motions of one clip, and its sound: ``audio``, or the first that an input has.

    ``fps`` as for :func:`read_input`.

    Raises:
        DtalkError: a source cannot be read or animated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SoundWarning)  # one sound is enough for all
        all_ = [read_input(source, audio, animate_file, fps) for source in sources]
    found = audio or next((one.audio for one in all_ if one.audio is not None), None)
    if found is None:
        warnings.warn("no sound found: silent; name it with --audio", SoundWarning, 2)
    return [one.motion for one in all_], found


def find_audio(source: Path, motion: Motion) -> Path | None:
    """Find the sound of a motion file: the name written in it, else its clip's, in its folder.

    The last resort is the video that a tracking app records beside its curves.
    """
    if motion.audio:
        named = source.parent / PureWindowsPath(motion.audio).name  # of either kind of path
        if named.is_file():
            return named
    clip = _clip(source).name
    namesakes = [f for f in sorted(source.parent.iterdir()) if f.stem == clip and f.is_file()]
    sounds = (file for file in namesakes if file.suffix.lower() in AUDIO_SUFFIXES)
    takes = (file for file in namesakes if file.suffix.lower() == TAKE_SUFFIX and _is_heard(file))
    return next(chain(sounds, takes), None)


def _is_heard(video: Path) -> bool:
    """Whether a video has a sound track."""
    try:
        return bool(read_contents(video).tracks)
    except (AudioError, FfmpegError):
        return False
