"""Systems and predictions that several test files use."""

from __future__ import annotations

from pathlib import Path

from helpers import loaded_clip

from dtalk.data.clips import LoadedClip
from dtalk.evaluation.comparison import System, evaluate_folder
from dtalk.evaluation.evaluate import OF_STATIC, ClipResult, summarise
from dtalk.heads.head import built_in
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion

DATA = Path("/data")


def clips_of(*frames: int) -> list[LoadedClip]:
    return [loaded_clip(f"c{n}", n, seed=n, speaker="ann") for n in frames]


def write_predictions(folder: Path, clips: list[LoadedClip], factor: float = 1.0) -> Path:
    for clip in clips:
        assert clip.coefficients is not None
        write_motion(Motion(factor * clip.coefficients), folder / f"{clip.clip.name}.npz")
    return folder


def judged(folder: Path, clips: list[LoadedClip], seen: tuple[str, ...] = ("ann",)) -> System:
    return evaluate_folder(folder, folder.name, clips, DATA, seen, built_in())


# How sure ----------------------------------------------------------------------------------------


def system(name: str, clips: list[LoadedClip], values: list[float]) -> System:
    """A system with one figure that matters; a static face scores 10 everywhere."""
    keys = [*OF_STATIC.values(), "opening_r"]
    results = [
        ClipResult(clip, dict.fromkeys(keys, value), None, dict.fromkeys(keys, 10.0))
        for clip, value in zip(clips, values)
    ]
    return System(name, results, {"sample": {"all": summarise(results)}})
