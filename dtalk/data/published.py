"""Layouts of published data sets: BEAT and 3D-ETF.

A file's name says which data set it belongs to; folders may be nested in any way, and several
data sets may lie in one. A motion file and the sound of the same name are a clip; of several such
sounds the nearest in the tree is taken.

==============  =================================  ====================================
set             motion beside the sound            what the name says
==============  =================================  ====================================
beat            ``1_wayne_0_65_72.json``, 60 fps   speaker, kind, first and last part
hdtf            ``WDA_BarackObama_000.npy``        speaker (3D-ETF)
ravdess         ``03-01-05-01-02-01-12.npy``       third emotion, last actor (3D-ETF)
==============  =================================  ====================================

Splits. A folder called ``train``, ``val`` or ``test`` says so itself. Else:

- beat: as its authors published for English, by speaker and part (their ``preprocessing.ipynb``).
  Their halves of one part, ``..._65_a`` and ``..._65_b``, are test and val; a whole part is test.
  Other languages and recordings of several parts have no published split: by hash of the name.
- hdtf: by hash of the speaker, so that nobody is in two splits.
- ravdess: actors 1 to 20 train, 21 and 22 val, 23 and 24 test.

A hash gives one tenth each to val and test.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dtalk.config import SPLITS
from dtalk.data.clips import Clip, Note
from dtalk.data.vocaset import VERTICES
from dtalk.errors import DataError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import arranged
from dtalk.motion.curves import FPS, Motion
from dtalk.motion.files import is_names, json_object, naming
from dtalk.speech.audio import AUDIO_SUFFIXES
from dtalk.utils.arrays import ArrayFileError, read_npy
from dtalk.utils.files import walk
from dtalk.utils.types import Array

BEAT_FPS = 60.0  # where a file has no time stamps
_USUAL_RATES = (15.0, 24.0, 25.0, 30.0, 50.0, 60.0, 120.0)  # frames per second
_SHORTEST_STEP = 1e-3  # seconds between frames
_BEAT_NAMES = frozenset(name.lower() for name in ARKIT_NAMES) - {"tongueout"}
_ETF_NAMES = sorted(ARKIT_NAMES)  # browDownLeft ... tongueOut
_NAMED = 3  # of many files without a partner


@dataclass(frozen=True)
class Labels:
    """Labels from a file's name; an empty emotion is unknown."""

    speaker: str
    emotion: str
    split: str


@dataclass(frozen=True)
class Layout:
    """The layout of a data set: names of its motion files, their labels, and how to read them."""

    set: str
    suffix: str
    stem: re.Pattern[str]
    labels: Callable[[re.Match[str]], Labels]
    read: Callable[[Path], Motion]


def published_clips(folder: Path, note: Note) -> list[Clip]:
    """List all pairs of sound and motion below a folder, by path; none if it holds no such set.

    ``note`` is called with the files that have no partner: a line for motions and one for sounds.

    Raises:
        DataError: the folder cannot be read, or it is VOCASET, which has no curves.
    """
    try:
        files = sorted(file.relative_to(folder) for file in walk(folder))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror or error}") from error
    sounds = _by_stem(file for file in files if file.suffix.lower() in AUDIO_SUFFIXES)
    motions = {file: found for file in files if (found := _recognised(file))}
    clips = [
        _clip(folder, file, _nearest(file, sounds[file.stem]), *found)
        for file, found in motions.items()
        if file.stem in sounds
    ]
    if not clips and any(file.name == VERTICES for file in files):
        raise DataError(f"{folder} is VOCASET: it holds vertices, but no curves to learn from")
    moving = {file.stem for file in motions}
    alone = [stem for stem in sounds if stem not in moving and _any(stem)]
    _tell(note, "motion without sound", [file for file in motions if file.stem not in sounds])
    _tell(note, "sound without motion", [file for stem in alone for file in sounds[stem]])
    return clips


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(file)
    return found


def _recognised(file: Path) -> tuple[Layout, Labels] | None:
    """Find the data set of a motion file and the labels in its name."""
    for layout in LAYOUTS:
        match = layout.stem.fullmatch(file.stem)
        if match and file.suffix.lower() == layout.suffix:
            return layout, layout.labels(match)
    return None


def _any(stem: str) -> bool:
    """Whether a file of some data set may have this name."""
    return any(layout.stem.fullmatch(stem) for layout in LAYOUTS)


def _nearest(file: Path, sounds: Sequence[Path]) -> Path:
    """Choose the sound that shares most of a file's path; of several, the one least deep."""
    return min(sounds, key=lambda s: (-len(os.path.commonpath([file, s])), len(s.parts), s))


def _clip(folder: Path, motion: Path, sound: Path, layout: Layout, labels: Labels) -> Clip:
    said = [part for part in motion.parts[:-1] if part in SPLITS]
    split = said[-1] if said else labels.split
    names = (motion.stem, layout.set, split, labels.speaker, labels.emotion)
    return Clip(*names, folder / sound, folder / motion, layout.read)


def _tell(note: Note, what: str, files: Sequence[Path]) -> None:
    if files:
        named = ", ".join(file.as_posix() for file in files[:_NAMED])
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        note(f"left out, {what}: {named}{more}")


def _by_hash(key: str) -> str:
    """Assign a split by a hash of the key: one tenth to val, one to test."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % 10
    return {0: "val", 1: "test"}.get(number, "train")


# BEAT --------------------------------------------------------------------------------------------

# Of the one-minute parts of a monologue, the last of each emotion; conversations are neutral.
_BEAT_LAST = {
    64: "neutral",
    72: "happy",
    80: "angry",
    86: "sad",
    94: "contempt",
    102: "surprised",
    110: "fearful",
    118: "disgusted",
}
_BEAT_ENDS = frozenset(_BEAT_LAST) - {64}
_BEAT_STARTS = frozenset(last + 1 for last in _BEAT_LAST) - {119}
_FOUR_HOURS = frozenset({1, 2, 3, 4, 6, 7, 8, 9, 11, 21})  # speakers; the others spoke for one


def _beat_labels(match: re.Match[str]) -> Labels:
    speaker, kind, first = (int(match[name]) for name in ("id", "kind", "first"))
    emotion = next((name for last, name in _BEAT_LAST.items() if first <= last), "")
    if match["last"] in "ab":
        split = {"a": "test", "b": "val"}[match["last"]]
    elif kind > 1 or int(match["last"]) != first:
        split = _by_hash(match[0])
    else:
        split = _beat_split(speaker in _FOUR_HOURS, kind == 1, first)
    return Labels(f"beat-{speaker}-{match['name']}", emotion, split)


def _beat_split(four_hours: bool, conversation: bool, part: int) -> str:
    """Get the published split of an English part of BEAT."""
    if conversation:
        return {1: "test", 12: "val" if four_hours else "train"}.get(part, "train")
    if part in _BEAT_STARTS or part <= (8 if four_hours else 4):
        return "test"
    val = {*range(57, 65), *_BEAT_ENDS} if four_hours else {*range(5, 9)}
    return "val" if part in val else "train"


def read_beat(path: Path) -> Motion:
    """Read a BEAT file: curves by name, at the rate of its time stamps.

    Frames that the recorder dropped are filled in by straight lines. ``tongueOut`` stays 0.

    Raises:
        MotionError: the file is missing or damaged, lacks one of the 51 curves, or holds a value
            that is not finite.
    """
    with naming(path):
        content = json_object(path, "a BEAT file")
        names, frames = content.get("names"), content.get("frames")
        if not is_names(names) or not isinstance(frames, list):
            raise MotionError("not a BEAT file: it lacks `names` or `frames`")
        names = [_arkit_name(name) for name in names]
        missing = sorted(_BEAT_NAMES - set(names))
        if missing:
            raise MotionError(
                f"not a BEAT file: {len(missing)} curves are missing, {missing[0]} first"
            )
        if not frames:
            raise MotionError("`frames` holds none")
        weights = arranged(path, names, [_weights(f, len(names), n) for n, f in enumerate(frames)])
        return Motion(*_evenly(weights, [frame.get("time") for frame in frames]))


def _arkit_name(name: str) -> str:
    """Normalise a name: ``eyeBlink_L`` and ``EyeBlinkLeft`` are the same, in lower case."""
    name = name.strip().lower()
    return re.sub("_l$", "left", re.sub("_r$", "right", name))


def _weights(frame: object, width: int, number: int) -> list[float]:
    weights = frame.get("weights") if isinstance(frame, dict) else None
    if not isinstance(weights, list) or len(weights) != width:
        count = len(weights) if isinstance(weights, list) else "no"
        raise MotionError(f"frame {number} has {count} weights for {width} names")
    return weights


def _evenly(values: Array, stamps: list[Any]) -> tuple[Array, float]:
    """Resample frames ``[T, 52]`` with time stamps, s, to even spacing; also return their rate."""
    if len(values) == 1 or all(stamp is None for stamp in stamps):
        return values, BEAT_FPS
    try:
        times = np.array(stamps, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise MotionError("a `time` is not a number") from error
    steps = np.diff(times) if np.isfinite(times).all() else np.array([-1.0])
    step = float(np.median(steps))
    if steps.min() < 0 or step < _SHORTEST_STEP:
        raise MotionError("its `time` does not run forward, in seconds")
    usual = min(_USUAL_RATES, key=lambda rate: abs(rate * step - 1))
    fps = usual if abs(usual * step - 1) < 0.05 else 1 / step
    frames = round((times[-1] - times[0]) * fps) + 1
    if frames == len(values):
        return values, fps
    if frames > 2 * len(values):
        raise MotionError(f"only {len(values)} of {frames} frames are there by their `time`")
    even = times[0] + np.arange(frames) / fps
    columns = [np.interp(even, times, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32), fps


# 3D-ETF ------------------------------------------------------------------------------------------

_RAVDESS_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgusted",
    "08": "surprised",
}


def _hdtf_labels(match: re.Match[str]) -> Labels:
    return Labels(f"hdtf-{match['person']}", "", _by_hash(match["person"]))


def _ravdess_labels(match: re.Match[str]) -> Labels:
    actor = int(match["actor"])
    split = "train" if actor <= 20 else "val" if actor <= 22 else "test"
    return Labels(f"ravdess-{match['actor']}", _RAVDESS_EMOTIONS.get(match["emotion"], ""), split)


def read_etf(path: Path) -> Motion:
    """Read a 3D-ETF file: curves ``[T, 52]`` in alphabetical order, 30 fps.

    Raises:
        MotionError: the file is missing, damaged, of another shape, or holds a value that is not
            finite.
    """
    with naming(path):
        try:
            values = read_npy(path)
        except ArrayFileError as error:
            raise MotionError(str(error)) from error
        return Motion(arranged(path, _ETF_NAMES, values), FPS)


LAYOUTS = (
    Layout(
        "beat",
        ".json",
        re.compile(r"(?P<id>\d+)_(?P<name>[^_]+)_(?P<kind>\d+)_(?P<first>\d+)_(?P<last>\d+|a|b)"),
        _beat_labels,
        read_beat,
    ),
    Layout(
        "hdtf",
        ".npy",
        re.compile(r"(?:RD|WDA|WRA)_(?P<person>.+?)(?:_\d+)+"),
        _hdtf_labels,
        read_etf,
    ),
    Layout(
        "ravdess",
        ".npy",
        re.compile(r"\d\d-\d\d-(?P<emotion>\d\d)(?:-\d\d){3}-(?P<actor>\d\d)"),
        _ravdess_labels,
        read_etf,
    ),
)
