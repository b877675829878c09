"""The clips of a data folder: from its ``clips.csv``, or as other data sets are published."""

from __future__ import annotations

import csv
from pathlib import Path

from dtalk.config import SPLITS
from dtalk.data.clips import Clip, Note, warn
from dtalk.errors import DataError

INDEX = "clips.csv"

_COLUMNS = ("clip", "set", "split", "speaker", "emotion", "audio", "motion")


def read_index(folder: Path, note: Note = warn) -> list[Clip]:
    """List all clips of a data set: native, or else what :func:`.published_clips` finds.

    ``note`` is called with a line for each kind of file without a partner in a published data set.

    Raises:
        DataError: no index, a missing column, an unknown split, or no clip at all.
    """
    folder = Path(folder)
    if not (folder / INDEX).is_file() and folder.is_dir():
        from dtalk.data.published import published_clips

        clips = published_clips(folder, note)
        if clips:
            return clips
    return _read_native(folder)


def _read_native(folder: Path) -> list[Clip]:
    path = folder / INDEX
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(missing)}")
            clips = [_clip(row, folder, f"{path}:{n}") for n, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot read {path}: {reason}; a data folder holds {INDEX} and what it names, "
            "or BEAT or 3D-ETF as published"
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
    moved = _place(folder, motion) if motion else None
    return Clip(name, group, split, speaker, emotion, _place(folder, audio), moved)


def _place(folder: Path, name: str) -> Path:
    """Find a file that the index names, perhaps as Windows writes it."""
    path = folder / name
    return path if "\\" not in name or path.exists() else folder / name.replace("\\", "/")
