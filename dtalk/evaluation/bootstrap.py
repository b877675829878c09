"""Bootstrap over clips: confidence intervals of a table's figures.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) from
means over resampled clips. Two systems are compared on the same resamples of their common clips, so
that what is hard in a clip for both cancels out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dtalk.evaluation.comparison import System
from dtalk.evaluation.evaluate import OF_STATIC
from dtalk.utils.types import IntArray

RESAMPLES = 2000
COVERAGE = 0.95

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]


def resamples(clips: int, count: int = RESAMPLES, seed: int = 0) -> IntArray:
    """Sample indices of clips with replacement, ``[count, clips]``; always the same."""
    return np.random.default_rng(seed).integers(clips, size=(count, clips))


def resampled_means(
    values: Values, still: Values | None, chosen: IntArray
) -> npt.NDArray[np.float64]:
    """Average over the clips of each resample: ``[count]``.

    values ``[clips]``: one figure, NaN where it is not defined, which is left out. With ``still``
    (the same figure of a static face) it is the fraction of the two means.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any defined figure
        means = np.nanmean(values[chosen], axis=1)
        if still is None:
            return means
        with np.errstate(divide="ignore", invalid="ignore"):
            return means / np.nanmean(still[chosen], axis=1)


def interval(means: npt.NDArray[np.float64], coverage: float = COVERAGE) -> Interval:
    """Compute the central interval of resampled figures; NaN where none is defined."""
    defined = means[np.isfinite(means)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - coverage) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


# How sure -----------------------------------------------------------------------------------------


def add_intervals(systems: Sequence[System]) -> None:
    """Add ``intervals`` (95 % over clips, of one sample) and ``difference`` to the tables.

    Both hold pairs by figure. The difference is to the first system, on the clips both have; a
    pair that does not hold 0 calls it one.
    """
    for system in systems:
        everyone = range(len(system.results))
        system.tables["intervals"] = {
            key: interval(means) for key, means in _resampled(system, everyone).items()
        }
    for system in systems[1:]:
        system.tables["difference"] = difference(systems[0], system)


def difference(first: System, other: System) -> dict[str, Interval]:
    """Compute 95 % intervals of ``other``'s figures minus ``first``'s, over common clips."""
    pairs = _common(first, other)
    ours = _resampled(first, [a for a, _ in pairs])
    theirs = _resampled(other, [b for _, b in pairs])
    return {key: interval(theirs[key] - means) for key, means in ours.items() if key in theirs}


def _common(first: System, other: System) -> list[tuple[int, int]]:
    place = {id(result.clip): index for index, result in enumerate(other.results)}
    return [
        (index, place[id(result.clip)])
        for index, result in enumerate(first.results)
        if id(result.clip) in place
    ]


def _resampled(system: System, members: Sequence[int]) -> dict[str, np.ndarray]:
    """Compute every figure of :func:`.summarise` on the resamples of some clips."""
    results = [system.results[index] for index in members]
    if not results:
        return {}
    chosen = resamples(len(results))

    def values(kind: str, key: str) -> np.ndarray:
        return np.array([getattr(result, kind)[key] for result in results], dtype=np.float64)

    plain = {key: resampled_means(values("sample", key), None, chosen) for key in results[0].sample}
    fractions = {
        name: resampled_means(values("sample", key), values("static", key), chosen)
        for name, key in OF_STATIC.items()
    }
    return plain | fractions
