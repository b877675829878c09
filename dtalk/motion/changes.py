"""Changes of curves that every command offers, and what is reported of them."""

from __future__ import annotations

from collections.abc import Sequence

from dtalk.motion.curves import Motion, provenance
from dtalk.motion.idle import add_idle_motion
from dtalk.motion.options import CurveOptions
from dtalk.motion.resample import resample_motion
from dtalk.utils.jobs import Made


def changed(motion: Motion, options: CurveOptions, seed: int = 0) -> Motion:
    """Bring a motion to the frame rate asked for and add idle motion, sampled from ``seed``."""
    if options.fps is not None:
        motion = resample_motion(motion, options.fps)
    return add_idle_motion(motion, seed) if options.idle_motion else motion


def made_of(motion: Motion, notes: Sequence[str] = ()) -> Made:
    """Sum up a motion that was written."""
    return Made(len(motion), motion.duration, provenance(motion), tuple(notes))
