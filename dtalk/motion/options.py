"""Settings of what is done to curves; the command line makes flags of them."""

from __future__ import annotations

from dataclasses import dataclass

from dtalk.utils.settings import setting


@dataclass(frozen=True)
class CurveOptions:
    """Changes of the curves before they are written or rendered."""

    fps: float | None = setting(
        None,
        "frames per second, also of a file that names none [the motion's own; speech: 30]",
        least=1,
        most=1000,
    )
    idle_motion: bool = setting(
        False, "add blinks and small head motion, sampled from --seed", was=("life", "idle")
    )
