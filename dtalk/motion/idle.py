"""Idle motion: blinks and small motions of the head, sampled from a seed.

None of it comes from the speech; it only keeps a face that does not blink from staring. Blinks
come every few seconds at random and take about a third of a second, closing twice as fast as they
open. The head drifts by a few degrees, smoothly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

import numpy as np

from dtalk.motion.arkit import LIDS
from dtalk.motion.curves import Motion
from dtalk.utils.types import Floats

_PAUSE = (1.2, 5.5)  # seconds between blinks, least and most
_CLOSING, _SHUT, _OPENING = 0.08, 0.04, 0.18  # seconds
_BLINK = _CLOSING + _SHUT + _OPENING
_DRIFT = np.deg2rad((2.4, 1.5, 1.0))  # yaw, pitch, roll: about the standard deviation
_SLOWEST, _FASTEST, _WAVES = 0.08, 0.45, 6  # Hz, and how many waves make a drift


def add_idle_motion(motion: Motion, seed: int = 0) -> Motion:
    """Add blinks and a drifting head to a motion; the same seed gives the same result.

    Lids close as far as the blink or the motion itself has them, whichever is more. The drift is
    added to the rotation the motion has; both start from rest.
    """
    random = np.random.default_rng([seed % 2**64, 0x11FE])
    times = (np.arange(len(motion)) + 0.5) / motion.fps
    coefficients = motion.coefficients.copy()
    lids = blinks(times, random).astype(np.float32)
    coefficients[:, LIDS] = np.maximum(coefficients[:, LIDS], lids[:, None])
    rotation = drift(times, random).astype(np.float32)
    if motion.head_rotation is not None:
        rotation += motion.head_rotation
    notes = "; ".join(filter(None, (motion.notes, idle_note(seed))))
    return replace(motion, coefficients=coefficients, head_rotation=rotation, notes=notes)


def idle_note(seed: int) -> str:
    """Say in one line that idle motion was added, for the files that hold it."""
    return f"blinks and head motion are sampled from seed {seed}, not from the sound"


def blinks(times: Floats, random: np.random.Generator) -> Floats:
    """Compute how far the lids are shut at ``times`` [T], which ascend, 0 to 1."""
    shut = np.zeros_like(times)
    end = times[-1] if len(times) else -np.inf
    for start in takewhile(lambda start: start < end, blink_starts(random)):
        first, last = np.searchsorted(times, (start, start + _BLINK))
        shut[first:last] = np.maximum(shut[first:last], blink(times[first:last] - start))
    return shut


def blink_starts(random: np.random.Generator) -> Iterator[float]:
    """Sample the times at which blinks begin, seconds, without end."""
    start = random.uniform(*_PAUSE) / 2
    while True:
        yield start
        start += random.uniform(*_PAUSE)


def blink(since: Floats) -> Floats:
    """Compute how far the lids are shut so many seconds after a blink began, 0 to 1."""
    closing, opening = since / _CLOSING, (_BLINK - since) / _OPENING
    return _smooth(np.minimum(closing, opening))


def drift(times: Floats, random: np.random.Generator) -> Floats:
    """Compute yaw, pitch and roll at ``times``, radians: [T] -> [T, 3]; a sum of slow waves."""
    rates = random.uniform(_SLOWEST, _FASTEST, (_WAVES, 3))
    phases = random.uniform(0, 2 * np.pi, (_WAVES, 3))
    waves = np.sin(2 * np.pi * rates * times[:, None, None] + phases)
    rest = _smooth(times)[:, None]  # the first second
    drifting: Floats = rest * _DRIFT * waves.sum(axis=1) * np.sqrt(2 / _WAVES)
    return drifting


def _smooth(share: Floats) -> Floats:
    """Rise smoothly from 0 to 1, constant outside."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
