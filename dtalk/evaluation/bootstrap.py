"""Bootstrap over clips: how far a table's figures could lie from these by the choice of clips.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) from
means over resampled clips. Two systems are compared on the same resamples of their common clips, so
that what is hard in a clip for both cancels out.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
COVERAGE = 0.95

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]


def resamples(clips: int, count: int = RESAMPLES, seed: int = 0) -> npt.NDArray[np.int64]:
    """Indices of clips drawn with replacement, ``[count, clips]``; always the same."""
    return np.random.default_rng(seed).integers(clips, size=(count, clips))


def resampled_means(
    values: Values, still: Values | None, chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Means over the clips of each resample ``[count]``.

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
    """The middle ``coverage`` of resampled figures; not a number where none is defined."""
    defined = means[np.isfinite(means)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - coverage) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
