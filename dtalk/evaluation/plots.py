"""Plots of an evaluation: curves and errors over time, and tables as bars. PNG, by matplotlib.

``curves_figure``, ``errors_figure`` and ``table_figure`` plot; ``plot_curves``, ``plot_errors`` and
``plot_table`` write what they plot, whole or not at all, the same bytes for the same input. Nothing
of matplotlib's global state is used, and nothing of the user's settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dtalk.errors import DtalkError
from dtalk.evaluation.metrics import Better, loss
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metric = tuple[str, str, Better]
"""Key in the rows, label in the picture, and where better values lie."""
Table = Mapping[str, Mapping[str, float]]
"""Name of a model -> metric -> value."""

CHANNELS = (
    *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthSmileLeft", "mouthRollLower", "browInnerUp", "eyeBlinkLeft"),
)
REFERENCE = "#404040"
# Okabe and Ito (2008), which colour-blind people can tell apart; without black and yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", ":")  # once the colours are used up
_BEST, _OTHERS = "#0072B2", "#A9C7DC"

_DPI = 130
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#909090",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "text.parse_math": False,  # a `$` in a name is a `$`
    "xtick.color": "#606060",
    "ytick.color": "#606060",
}
_HINTS = {"lower": "lower is better", "higher": "higher is better", "one": "1 is natural"}


@contextmanager
def _styled() -> Iterator[None]:
    """Apply dtalk's style, whatever the user's own settings are."""
    try:
        from matplotlib import style
    except ImportError as error:
        raise DtalkError("plots need matplotlib: pip install 'dtalk[plot]'") from error
    with style.context(["default", _STYLE]):
        yield


def check_matplotlib() -> None:
    """Check that plots can be made, before long work is done for them.

    Raises:
        DtalkError: matplotlib is missing.
    """
    with _styled():
        pass


def plot_curves(
    path: Path, reference: Floats, predictions: Mapping[str, Floats], title: str, fps: float = FPS
) -> None:
    """Write :func:`curves_figure` as a PNG.

    Raises:
        DtalkError: matplotlib is missing, or the place cannot be written.
    """
    _write(path, lambda: curves_figure(reference, predictions, title, fps))


def plot_errors(
    path: Path, errors: Mapping[str, Floats], title: str, unit: str, fps: float = FPS
) -> None:
    """Write :func:`errors_figure` as a PNG.

    Raises:
        DtalkError: matplotlib is missing, or the place cannot be written.
    """
    _write(path, lambda: errors_figure(errors, title, unit, fps))


def plot_table(
    path: Path,
    rows: Table,
    metrics: Sequence[Metric],
    low: Table | None = None,
    high: Table | None = None,
    title: str = "",
) -> None:
    """Write :func:`table_figure` as a PNG.

    Raises:
        DtalkError: matplotlib is missing, or the place cannot be written.
    """
    _write(path, lambda: table_figure(rows, metrics, low, high, title))


@_styled()
def curves_figure(
    reference: Floats, predictions: Mapping[str, Floats], title: str, fps: float = FPS
) -> Figure:
    """Plot predicted and tracked curves, coefficients ``[T, 52]``, a panel for each of CHANNELS."""
    figure, panels = _panels(len(CHANNELS), 2, (11.0, 1.7), sharex=True)
    for axes, channel in zip(panels, CHANNELS):
        column = ARKIT_NAMES.index(channel)
        lines = [_over_time(axes, reference[:, column], fps, color=REFERENCE, linewidth=2.2)]
        for number, curves in enumerate(predictions.values()):
            lines.append(_over_time(axes, curves[:, column], fps, **_look(number)))
        axes.set_title(channel)
        _time_axis(axes, lines, fps)
        highest = max(float(np.max(line.get_ydata())) for line in lines)
        axes.set_ylim(-0.02, max(0.25, 1.08 * highest))
    _head(figure, title, ["tracked", *predictions], lines)
    for axes in panels[-2:]:
        axes.set_xlabel("seconds")
    return figure


@_styled()
def errors_figure(errors: Mapping[str, Floats], title: str, unit: str, fps: float = FPS) -> Figure:
    """Plot errors ``[T]`` over time, a line for each model; the legend has their means."""
    figure, [axes] = _panels(1, 1, (11.0, 3.6))
    lines = [_over_time(axes, e, fps, **_look(number)) for number, e in enumerate(errors.values())]
    _time_axis(axes, lines, fps)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel(unit)
    _head(figure, title, [f"{name} (mean {np.mean(e):.3g})" for name, e in errors.items()], lines)
    return figure


@_styled()
def table_figure(
    rows: Table,
    metrics: Sequence[Metric],
    low: Table | None = None,
    high: Table | None = None,
    title: str = "",
) -> Figure:
    """Plot a bar for each model, a panel for each metric, the best bar darker.

    A value that is NaN or not there leaves a dash; ``low`` and ``high`` give the ends of error
    bars, for as many values as they hold.
    """
    columns = -(-len(metrics) // -(-len(metrics) // 4))  # at most 4, in rows of like length
    figure, panels = _panels(len(metrics), columns, (13.0, 0.8 + 0.28 * len(rows)), sharey=True)
    for axes, (key, label, better) in zip(panels, metrics):
        values = _column(rows, rows, key)
        ends = [_column(rows, table or {}, key) for table in (low, high)]
        _bars(axes, values, ends, better)
        axes.set_title(f"{label}  ({_HINTS[better]})")
    panels[0].set_yticks(range(len(rows)), list(rows))
    panels[0].invert_yaxis()  # the first row on top; the panels share the axis
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def _column(rows: Table, table: Table, key: str) -> Floats:
    """Get one metric of every row, NaN where the table lacks it."""
    return np.array([table.get(name, {}).get(key, math.nan) for name in rows], np.float64)


def _bars(axes: Axes, values: Floats, ends: Sequence[Floats], better: Better) -> None:
    places = np.arange(len(values))
    best = _best(values, better)
    colors = [_BEST if place == best else _OTHERS for place in places]
    axes.barh(places, np.nan_to_num(values), color=colors, height=0.72)
    low, high = (np.where(np.isnan(end), values, end) for end in ends)
    ranged = np.isfinite(values) & (high > low)
    spans = np.abs(np.stack([values - low, high - values]))[:, ranged]
    axes.errorbar(
        values[ranged], places[ranged], xerr=spans, fmt="none", ecolor=REFERENCE, elinewidth=1.1
    )
    for place, value, end in zip(places, values, np.fmax(np.fmax(values, high), 0)):
        known = bool(np.isfinite(value))
        text, at = (f"{value:.3g}", end) if known else ("–", 0.0)
        axes.annotate(text, (at, place), (4, 0), textcoords="offset points", va="center")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.2)
    axes.locator_params(axis="x", nbins=6)
    axes.axvline(0, color="#909090", linewidth=0.8)
    if better == "one":
        axes.axvline(1, color=REFERENCE, linewidth=1, linestyle="--")


def _best(values: Floats, better: Better) -> int | None:
    """Find the best of the known values."""
    losses = [loss(value, better) for value in values]
    return None if np.isnan(losses).all() else int(np.nanargmin(losses))


def _panels(
    count: int, columns: int, size: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure with ``count`` panels; ``size`` in inches: the whole width, a row's height."""
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(size[0], rows * size[1] + 0.7), dpi=_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for unused in grid[count:]:
        unused.set_axis_off()
    return figure, list(grid[:count])


def _over_time(axes: Axes, values: Floats, fps: float, **look: Any) -> Any:
    [line] = axes.plot((np.arange(len(values)) + 0.5) / fps, values, **look)
    return line


def _time_axis(axes: Axes, lines: Sequence[Any], fps: float) -> None:
    """Set limits from the start of the first frame to the end of the last."""
    axes.set_xlim(0, max((len(line.get_xdata()) for line in lines), default=1) / fps)


def _look(number: int) -> dict[str, Any]:
    """Choose colour and dashes of the model with this number."""
    dashes = _DASHES[number // len(COLORS) % len(_DASHES)]
    return {"color": COLORS[number % len(COLORS)], "linestyle": dashes, "linewidth": 1.4}


def _head(figure: Figure, title: str, names: Sequence[str], lines: Sequence[Any]) -> None:
    """Put the title above and the legend below the panels."""
    shown = [f" {name}" if name.startswith("_") else name for name in names]  # else left out
    figure.suptitle(title, x=0.01, ha="left")
    columns = max(1, min(len(shown), 130 // (max(map(len, shown), default=0) + 9)))  # that fit
    figure.legend(lines, shown, loc="outside lower left", ncols=columns)


def _write(path: Path, plot: Callable[[], Figure]) -> None:
    with _styled():
        figure = plot()
        with atomic_path(Path(path)) as temporary:
            # Without the name and version of the program, which matplotlib would write.
            figure.savefig(temporary, format="png", metadata={"Software": None})
