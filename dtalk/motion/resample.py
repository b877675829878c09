"""Motion at another frame rate: band-limited interpolation, with a low-pass to lower rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtalk.motion.curves import Motion, in_pieces
from dtalk.utils.types import Array, Floats

LOBES = 3  # of the sinc, on each side


def resample_motion(motion: Motion, fps: float) -> Motion:
    """Resample a motion to another frame rate.

    Frames stand for their centres, (k + 0.5) / fps. The kernel is Lanczos', a sinc in the window of
    a wider one; to a lower rate it is stretched, so that what is too fast for that rate is taken
    away instead of appearing as something slow. Coefficients stay within 0 and 1, or within the
    range that their channel had if that is wider. Before the first frame and after the last all
    stays as it was there.

    Source: Duchon, "Lanczos Filtering in One and Two Dimensions", J. Appl. Meteorology 1979.
    """
    if fps == motion.fps:
        return motion
    frames = max(1, round(motion.duration * fps))
    ratio = motion.fps / fps
    places = (np.arange(frames) + 0.5) * ratio - 0.5  # in old frames
    rotation = motion.head_rotation
    least = np.minimum(motion.coefficients.min(axis=0), 0)
    most = np.maximum(motion.coefficients.max(axis=0), 1)
    return replace(
        motion,
        coefficients=_filtered(motion.coefficients, places, max(1.0, ratio)).clip(least, most),
        head_rotation=None if rotation is None else _filtered(rotation, places, max(1.0, ratio)),
        fps=fps,
    )


def _filtered(values: Array, places: Floats, stretch: float) -> Array:
    """Average rows [T, C] around fractional row numbers [T'] by the stretched kernel."""
    smooth = np.empty((len(places), values.shape[1]), np.float32)
    for first, some in in_pieces(places):
        smooth[first : first + len(some)] = _averaged(values, some, stretch)
    return smooth


def _averaged(values: Array, places: Floats, stretch: float) -> Floats:
    reach = int(np.ceil(LOBES * stretch))
    nearest = np.round(places).astype(int)
    total = np.zeros((len(places), values.shape[1]))
    weights = np.zeros((len(places), 1))
    for offset in range(-reach, reach + 1):
        away = (nearest + offset - places)[:, None] / stretch
        weight = np.where(np.abs(away) < LOBES, np.sinc(away) * np.sinc(away / LOBES), 0.0)
        total += weight * values[np.clip(nearest + offset, 0, len(values) - 1)]
        weights += weight
    smooth: Floats = total / weights
    return smooth
