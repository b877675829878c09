"""When other programs show a row of a csv or json: their arithmetic, seconds from the first.

Written from what their published sources compute, without their code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Sequence[str]
"""Time codes, HH:MM:SS:FF.sss."""


def _fields(stamp: str) -> tuple[float, str]:
    """Whole seconds of the day, and the text of the frame number."""
    hours, minutes, seconds, frame = stamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds), frame


def _on_a_clock(rate: float) -> Callable[[Rows], list[float]]:
    """Frame numbers with their fractions on a clock of ``rate`` ticks a second."""

    def times(rows: Rows) -> list[float]:
        found = [seconds + float(frame) / rate for seconds, frame in map(_fields, rows)]
        return [time - found[0] for time in found]

    return times


def unreal_newer(rows: Rows) -> list[float]:
    """Epic's LiveLinkFaceImporter of Unreal Engine 5.4: 60 if any number is above 30, else 30."""
    fastest = max(float(frame) for _, frame in map(_fields, rows))
    return _on_a_clock(60.0 if fastest > 30 else 30.0)(rows)


def maya(rows: Rows) -> list[float]:
    """aronamao's Maya-Live-Link-CSV-Import: whole frame numbers at 60 a second."""
    found = [60 * seconds + int(float(frame)) for seconds, frame in map(_fields, rows)]
    return [(time - found[0]) / 60 for time in found]


def motionbuilder(rows: Rows) -> list[float]:
    """alexdjulin's script for MotionBuilder: whole numbers of SMPTE time code at 59.94 a second."""
    return [time * 60 / 59.94 for time in maya(rows)]


def by_rows(rate: float) -> Callable[[Rows], list[float]]:
    """Importers that lay one row on each frame of a scene at ``rate``, whatever the time codes."""
    return lambda rows: [row / rate for row in range(len(rows))]


#: Importers that read the time codes.
IMPORTERS: dict[str, Callable[[Rows], list[float]]] = {
    "Unreal, Epic's older importer": _on_a_clock(60.0),
    "Unreal, Epic's newer importer": unreal_newer,
    "Blender, Faceit": _on_a_clock(60.0),
    "Unity, AvaturnFacePlayback": _on_a_clock(60.0),  # in single precision
    "Maya, Live-Link-CSV-Import": maya,
    "MotionBuilder, LiveLinkFace-CSV-Retarget": motionbuilder,
}


def audio2face(content: Mapping[str, Any]) -> list[float]:
    """Readers of Audio2Face json (Omniverse, Unreal): a row every ``exportFps``-th of a second."""
    return [row / content["exportFps"] for row in range(content["numFrames"])]
