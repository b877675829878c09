"""Motion that several test files use."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from helpers import refusal

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion

JAW = ARKIT_NAMES.index("jawOpen")


def coefficients(frames: int = 45, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((frames, 52), dtype=np.float32)


def provenanced() -> Motion:
    rotation = np.random.default_rng(1).uniform(-0.5, 0.5, (45, 3)).astype(np.float32)
    return Motion(
        coefficients(),
        fps=25,
        audio="a/rede ü.wav",
        identity="s1",
        emotion="sad",
        seed=2**64 - 1,
        model="student",
        head_rotation=rotation,
    )


def refused(path: Path) -> str:
    return refusal(read_motion, MotionError, path)


def write_rows(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
