"""Clips that several test files use."""

from __future__ import annotations

from pathlib import Path

from dtalk.data.clips import (
    Clip,
)

ROW = {"clip": "c", "set": "s", "split": "train", "audio": "c.wav"}


def clip(name: str = "c", **fields) -> Clip:
    plain = {"set": "s", "split": "train", "speaker": "", "emotion": "", "motion": None}
    return Clip(name, **{**plain, **fields}, audio=Path("c.wav"))
