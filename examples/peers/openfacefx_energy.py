"""openfacefx, `energy` mode: loudness to its visemes, then its own ARKit preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clips import run
from openfacefx.edits import sample
from openfacefx.energy import generate_from_energy
from openfacefx.retarget import PRESETS, retarget

FPS = 30


def curves(wav: Path, frames: int) -> dict[str, Any]:
    """Its keyframes at the middles of our frames."""
    track = retarget(generate_from_energy(str(wav)), PRESETS["arkit"])
    times = [(frame + 0.5) / FPS for frame in range(frames)]
    return {"curves": {c.name: [float(v) for v in sample(c, times)] for c in track.channels}}


if __name__ == "__main__":
    run(curves)
