"""What other systems say about the clips of a data folder, as motion for `dtalk evaluate --pred`.

    python examples/peers/peers.py speech DATA WORK [--split val] [--every 1]
    python examples/peers/peers.py motion WORK ANSWERS OUT [--table oculus] [--gain 1]
    python examples/peers/peers.py gain DATA WORK ANSWERS [--table oculus]
    python examples/peers/peers.py floors DATA OUT [--split val]

`speech` writes what peers hear: WORK/clips.json and a wav a clip. `motion` turns their answers
(a line of json a clip, with `cues`, `curves` or an `error`) into OUT/CLIP.csv, cues by a table of
visemes.json. `gain` prints how many times larger their motion should be to suit the tracked faces.
`floors` makes two baselines without any recogniser: OUT/static and OUT/loudness.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from dtalk.data.clips import LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.errors import DataError, DtalkError
from dtalk.evaluation.scoring import Region
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS, Motion
from dtalk.motion.files import write_motion
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.utils.files import atomic_path

Array = npt.NDArray[np.floating]
Cue = tuple[float, float, Mapping[str, float]]
"""Start and end in seconds, and the weight of each viseme meanwhile."""

TABLES = Path(__file__).parent / "visemes.json"
FADE = 0.08  # s from one viseme to the next
LOUDNESS_WINDOW = 2 / FPS  # s around the middle of a frame
JAW = ARKIT_NAMES.index("jawOpen")


# From visemes to curves ------------------------------------------------------------------------


def read_table(name: str, path: Path = TABLES) -> dict[str, Array]:
    """Viseme -> coefficients ``[52]``; a channel without a side stands for both.

    Raises:
        DataError: no such table, or a channel that is none of the 52.
    """
    tables = json.loads(path.read_text(encoding="utf-8"))
    if name not in tables:
        raise DataError(f"{path} has no table {name!r}; there are {', '.join(tables)}")
    return {viseme: _pose(channels, path) for viseme, channels in tables[name].items()}


def _pose(channels: Mapping[str, float], path: Path) -> Array:
    pose = np.zeros(len(ARKIT_NAMES))
    for channel, value in channels.items():
        sides = [n for n in (channel, f"{channel}Left", f"{channel}Right") if n in ARKIT_NAMES]
        if not sides:
            raise DataError(f"{path}: {channel} is no ARKit blend shape")
        pose[[ARKIT_NAMES.index(side) for side in sides]] = value
    return pose


def from_cues(cues: Iterable[Cue], table: Mapping[str, Array], frames: int) -> Array:
    """Coefficients ``[frames, 52]``: each frame is the mean of the poses in ``FADE`` around it.

    So a viseme fades linearly into the next, half there where one ends and the other begins, and
    one shorter than the fade is never shown in full. Before the first cue, after the last and in
    gaps the face is neutral; cues that overlap share their time.

    Raises:
        DataError: a viseme that the table lacks.
    """
    middles = (np.arange(frames) + 0.5) / FPS
    curves, covered = np.zeros((frames, len(ARKIT_NAMES))), np.zeros(frames)
    for start, end, weights in cues:
        shared = np.minimum(end, middles + FADE / 2) - np.maximum(start, middles - FADE / 2)
        share = np.clip(shared, 0, None) / FADE
        covered += share
        curves += np.outer(share, _mixed(weights, table))
    return curves / np.maximum(covered, 1)[:, None]


def _mixed(weights: Mapping[str, float], table: Mapping[str, Array]) -> Array:
    unknown = [viseme for viseme in weights if viseme not in table]
    if unknown:
        raise DataError(f"no viseme {unknown[0]!r} in the table; it has {', '.join(table)}")
    return sum((weight * table[v] for v, weight in weights.items()), np.zeros(len(ARKIT_NAMES)))


def from_curves(curves: Mapping[str, Sequence[float]], frames: int) -> Array:
    """Coefficients ``[frames, 52]`` of named curves at 30 frames/s, the rest 0.

    Curves that are too long are cut, those too short stay as they end.

    Raises:
        DataError: a channel that is none of the 52.
    """
    found = np.zeros((frames, len(ARKIT_NAMES)))
    for name, values in curves.items():
        if name not in ARKIT_NAMES:
            raise DataError(f"{name} is no ARKit blend shape")
        kept = np.asarray(values, np.float64)[:frames]
        found[:, ARKIT_NAMES.index(name)] = np.pad(kept, (0, frames - len(kept)), "edge")
    return found


def fitted_gain(pairs: Iterable[tuple[Array, Array]], lips: Region) -> float:
    """The factor of predicted coefficients that moves the lips' vertices with the least squared
    error, from predicted and tracked coefficients ``[T, 52]``, clip by clip."""
    product = square = 0.0
    for predicted, tracked in pairs:
        moved = lips(predicted) - lips.neutral
        product += float((moved * (lips(tracked) - lips.neutral)).sum(dtype=np.float64))
        square += float(np.square(moved).sum(dtype=np.float64))
    return product / square if square else 1.0


# Floors ----------------------------------------------------------------------------------------


def loudness(waveform: Array, frames: int) -> Array:
    """Square root of the sound's RMS in ``LOUDNESS_WINDOW`` around each frame: ``[frames]``."""
    power = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    middles = (np.arange(frames) + 0.5) / FPS
    first, last = (
        np.clip(np.round((middles + side) * SAMPLE_RATE), 0, len(waveform)).astype(int)
        for side in (-LOUDNESS_WINDOW / 2, LOUDNESS_WINDOW / 2)
    )
    return ((power[last] - power[first]) / np.maximum(last - first, 1)) ** 0.25


def fitted_scale(clips: Iterable[LoadedClip]) -> float:
    """The factor of :func:`loudness` that gives ``jawOpen`` with the least squared error."""
    product = square = 0.0
    for clip in clips:
        assert clip.coefficients is not None
        heard = loudness(clip.waveform, clip.frames)
        product += float(heard @ clip.coefficients[:, JAW])
        square += float(heard @ heard)
    return product / square if square else 0.0


# Files -----------------------------------------------------------------------------------------


def place(folder: Path, clip: str, suffix: str) -> Path:
    """The file of a clip, whose name may hold folders; never one outside ``folder``.

    Raises:
        DataError: the name leads out of the folder.
    """
    path = folder / f"{clip}{suffix}"
    if not path.is_relative_to(folder) or ".." in path.relative_to(folder).parts:
        raise DataError(f"the clip name {clip!r} leads out of {folder}")
    return path


def write(coefficients: Array, path: Path, model: str) -> None:
    """One prediction, in [0, 1]."""
    clipped = np.clip(coefficients, 0, 1).astype(np.float32)
    write_motion(Motion(clipped, model=model), path)


def loaded(data: Path, split: str, every: int = 1) -> list[LoadedClip]:
    """Every n-th clip with motion of a split; those that cannot be read are named."""
    clips, failures = load_clips(select(read_index(data), split, motion=True)[::every])
    for failure in failures:
        say(failure)
    if not clips:
        raise DataError(f"{data} has no readable clip with motion in the split {split}")
    return clips


def say(line: str) -> None:
    """For people, on stderr."""
    print(line, file=sys.stderr, flush=True)


# Commands --------------------------------------------------------------------------------------


def write_speech(data: Path, work: Path, split: str, every: int) -> None:
    """16-bit wavs and ``clips.json`` for peers."""
    rows: list[dict[str, Any]] = []
    for clip in loaded(data, split, every):
        wav = place(work / "wav", clip.clip.name, ".wav")
        wav.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(wav, clip.waveform, SAMPLE_RATE, subtype="PCM_16")
        name = {"clip": clip.clip.name, "wav": str(wav.relative_to(work))}
        rows.append({**name, "frames": clip.frames})
    with atomic_path(work / "clips.json") as temporary:
        temporary.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    minutes = sum(row["frames"] for row in rows) / FPS / 60
    say(f"{len(rows)} clips of {split}, {minutes:.1f} minutes")


def answered(
    work: Path, answers: Path, table: Mapping[str, Array]
) -> tuple[dict[str, Array], list[str]]:
    """A peer's answers as coefficients ``[T, 52]`` by clip, and a line for each clip it failed at
    or whose length had to be changed."""
    lines = answers.read_text(encoding="utf-8").splitlines()
    found = {answer["clip"]: answer for answer in map(json.loads, lines)}
    motions, notes = {}, []
    for row in json.loads((work / "clips.json").read_text(encoding="utf-8")):
        name, frames = row["clip"], row["frames"]
        answer = found.get(name, {"error": "no answer"})
        try:
            motions[name] = _motion(answer, table, frames)
        except DataError as error:
            notes.append(f"{name}: {error}")
        lengths = {len(values) for values in answer.get("curves", {}).values()} - {frames}
        notes += [f"{name}: {length} frames made {frames}" for length in sorted(lengths)]
    return motions, notes


def _motion(answer: Mapping[str, Any], table: Mapping[str, Array], frames: int) -> Array:
    if "error" in answer:
        raise DataError(answer["error"])
    if "curves" in answer:
        return from_curves(answer["curves"], frames)
    return from_cues(answer["cues"], table, frames)


def write_answers(
    work: Path, answers: Path, out: Path, table: Mapping[str, Array], gain: float
) -> None:
    """A peer's answers as motion files.

    Raises:
        DataError: it failed at a clip, after all others are written.
    """
    motions, notes = answered(work, answers, table)
    for note in notes:
        say(f"{out.name}: {note}")
    for clip, coefficients in motions.items():
        write(gain * coefficients, place(out, clip, ".csv"), out.name)
    total = len(json.loads((work / "clips.json").read_text(encoding="utf-8")))
    say(f"{out.name}: {len(motions)} of {total} clips written")
    if len(motions) < total:
        raise DataError(f"{out.name} failed at {total - len(motions)} clips")


def print_gain(data: Path, work: Path, answers: Path, table: Mapping[str, Array]) -> None:
    """:func:`fitted_gain` of a peer on the clips it answered for."""
    motions, _ = answered(work, answers, table)
    clips = load_clips([clip for clip in read_index(data) if clip.name in motions])[0]
    pairs = [(motions[c.clip.name], c.coefficients) for c in clips if c.coefficients is not None]
    head = built_in()
    print(f"{fitted_gain(pairs, Region(head, head.lips)):.3f}")


def write_floors(data: Path, out: Path, split: str) -> None:
    """A face that never moves, and one whose jaw follows the loudness."""
    clips = loaded(data, split)
    scale = fitted_scale(loaded(data, "train"))
    for clip in clips:
        still = np.zeros((clip.frames, len(ARKIT_NAMES)))
        write(still, place(out / "static", clip.clip.name, ".csv"), "static")
        still[:, JAW] = scale * loudness(clip.waveform, clip.frames)
        write(still, place(out / "loudness", clip.clip.name, ".csv"), "loudness")
    say(f"static, loudness: {len(clips)} clips; jawOpen = {scale:.3f} * rms ** 0.5 (train split)")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in {
        "speech": ("data", "work"),
        "motion": ("work", "answers", "out"),
        "gain": ("data", "work", "answers"),
        "floors": ("data", "out"),
    }.items():
        command = commands.add_parser(name)
        for argument in places:
            command.add_argument(argument, type=Path)
        if "answers" in places:
            command.add_argument("--table", default="oculus", help="of visemes.json")
        else:
            command.add_argument("--split", default="val")
    commands.choices["speech"].add_argument("--every", type=int, default=1, help="n-th clip")
    commands.choices["motion"].add_argument("--gain", type=float, default=1.0)
    return parser.parse_args()


def main() -> int:
    """Do what is asked; 0 if nothing failed."""
    asked = parsed()
    try:
        if asked.command == "speech":
            write_speech(asked.data, asked.work, asked.split, asked.every)
        elif asked.command == "motion":
            table = read_table(asked.table)
            write_answers(asked.work, asked.answers, asked.out, table, asked.gain)
        elif asked.command == "gain":
            print_gain(asked.data, asked.work, asked.answers, read_table(asked.table))
        else:
            write_floors(asked.data, asked.out, asked.split)
    except DtalkError as error:
        say(f"peers.py: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
