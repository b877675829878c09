"""The timing of the first word: how far the mouth is open about onsets of speech after silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dtalk.utils.types import Array

Spoken = npt.NDArray[np.bool_]

AROUND = 15  # frames before and after an onset, 0.5 s
SILENCE = 9  # frames of silence before an onset, at least: 0.3 s


def onsets(spoken: Spoken) -> list[tuple[int, int]]:
    """List the frames in which speech begins after silence, with the frames of silence before.

    ``spoken`` ``[T]`` as of :func:`dtalk.speech.voice_activity.speaking`. The start of a clip is
    the start of its silence.
    """
    starts = np.flatnonzero(spoken & ~np.concatenate([[False], spoken[:-1]]))
    ends = np.flatnonzero(spoken & ~np.concatenate([spoken[1:], [False]])) + 1
    lengths = starts - np.concatenate([[0], ends])[: len(starts)]
    return [(int(k), int(n)) for k, n in zip(starts, lengths) if n >= SILENCE]


def about_onsets(opening: Array, spoken: Spoken) -> Array:
    """Cut the mouth's opening ``[T]`` at ``AROUND`` frames about each onset: ``[N, 31]``.

    Not a number where the clip has no frame, or one from before the silence.
    """
    padded = np.pad(opening.astype(np.float32), AROUND, constant_values=np.nan)
    rows = []
    for frame, silence in onsets(spoken):
        row = padded[frame : frame + 2 * AROUND + 1].copy()
        row[: max(0, AROUND - silence)] = np.nan
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, 2 * AROUND + 1)


def opening_curve(openings: Sequence[Array], spoken: Sequence[Spoken]) -> Array:
    """Average the opening about all onsets, as a share of the mean opening in speech: ``[31]``.

    Openings and speech are of as many clips, each ``[T]``; clips without an onset do not count.
    """
    pairs = [(face, said) for face, said in zip(openings, spoken) if onsets(said)]
    if not pairs:
        return np.full(2 * AROUND + 1, np.nan, np.float32)
    rows = np.concatenate([about_onsets(face, said) for face, said in pairs])
    known = np.isfinite(rows)
    total = np.where(known, rows, 0).sum(0)
    mean = np.divide(total, known.sum(0), where=known.any(0), out=np.full_like(total, np.nan))
    usual = np.concatenate([face[said] for face, said in pairs]).mean()
    curve: Array = (mean / usual).astype(np.float32)
    return curve
