"""Pictures: what is drawn, and that the files are whole, readable and the same every time."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from helpers import smooth_motion

from dtalk.errors import DtalkError
from dtalk.evaluation import plots
from dtalk.motion.arkit import ARKIT_NAMES

pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
image = pytest.importorskip("PIL.Image", reason="pictures are looked at with pillow")

REFERENCE, FIRST, SECOND = (smooth_motion(30, seed) for seed in range(3))
METRICS: list[plots.Metric] = [
    ("lve", "LVE", "lower"),
    ("r", "opening r", "higher"),
    ("acceleration", "acceleration", "one"),
]
ROWS = {
    "static": {"lve": 1.0, "r": math.nan, "acceleration": 0.0},
    "student": {"lve": 0.5, "r": 0.25, "acceleration": 0.75},
    "teacher": {"lve": 0.75, "r": 0.5, "acceleration": 1.5},
}


def draw_curves(path):
    plots.plot_curves(path, REFERENCE, {"a": FIRST, "b": SECOND}, "a clip")


def draw_errors(path):
    plots.plot_errors(path, {"a": FIRST[:, 0], "b": SECOND[:, 0]}, "a clip", "mm")


def draw_table(path):
    plots.plot_table(path, ROWS, METRICS, {"student": {"lve": 0.4}}, {"student": {"lve": 0.7}})


ALL = pytest.mark.parametrize("draw", [draw_curves, draw_errors, draw_table])


class TestFiles:
    @ALL
    def test_is_a_picture_with_something_in_it(self, draw, tmp_path):
        path = tmp_path / "new folder" / "picture.png"
        draw(path)
        assert [file.name for file in path.parent.iterdir()] == ["picture.png"]
        with image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 1400
            assert 300 <= picture.height <= 1000
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        shown = {
            f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in np.unique(pixels, axis=0)
        }
        assert {"#FFFFFF", plots.COLORS[0]} <= shown

    @ALL
    def test_same_bytes_whatever_the_user_s_style(self, draw, tmp_path):
        import matplotlib

        draw(tmp_path / "first.png")
        with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "savefig.dpi": 20}):
            draw(tmp_path / "second.png")
            assert matplotlib.rcParams["font.size"] == 30  # nor is theirs changed
        assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()

    @ALL
    def test_without_matplotlib(self, draw, tmp_path, monkeypatch):
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(DtalkError) as caught:
            draw(tmp_path / "picture.png")
        assert str(caught.value) == "plots need matplotlib: pip install 'dtalk[plot]'"
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written(self, tmp_path):
        with pytest.raises(DtalkError, match="it is a folder"):
            draw_curves(tmp_path)


class TestCurves:
    def test_every_panel_shows_its_channel(self):
        figure = plots.curves_figure(REFERENCE, {"a": FIRST, "b": SECOND[:20]}, "a clip", fps=25)
        assert [axes.get_title(loc="left") for axes in figure.axes] == list(plots.CHANNELS)
        for axes in figure.axes:
            column = ARKIT_NAMES.index(axes.get_title(loc="left"))
            drawn = [np.asarray(line.get_ydata()) for line in axes.get_lines()]
            for values, curves in zip(drawn, (REFERENCE, FIRST, SECOND[:20]), strict=True):
                np.testing.assert_array_equal(values, curves[:, column])
            tracked = axes.get_lines()[0]
            np.testing.assert_allclose(np.asarray(tracked.get_xdata())[:2], [0.02, 0.06])
            assert tracked.get_color() == plots.REFERENCE
            assert axes.get_xlim() == (0, 1.2)
            assert axes.get_ylim()[1] > max(values.max() for values in drawn)

    def test_the_legend_names_all(self):
        names = ["_hidden", "$1", *"cdefgh"]  # matplotlib would leave out the first
        figure = plots.curves_figure(REFERENCE, dict.fromkeys(names, FIRST), "a clip")
        [legend] = figure.legends
        shown = [text.get_text().strip() for text in legend.get_texts()]
        assert shown == ["tracked", *names]
        looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
        assert len(looks) == 9


class TestErrors:
    def test_lines_and_means(self):
        errors = {"a": np.array([1.0, 2.0, 6.0]), "b": np.array([0.5, 0.5])}
        figure = plots.errors_figure(errors, "a clip", "mm", fps=2)
        [axes] = figure.axes
        for line, values in zip(axes.get_lines(), errors.values()):
            np.testing.assert_array_equal(line.get_ydata(), values)
        np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [0.25, 0.75, 1.25])
        assert axes.get_ylabel() == "mm"
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["a (mean 3)", "b (mean 0.5)"]


class TestTable:
    def panels(self, **ends):
        return plots.table_figure(ROWS, METRICS, **ends).axes

    def test_bars_and_values(self):
        lve, opening, acceleration = self.panels()
        assert [bar.get_width() for bar in lve.patches] == [1.0, 0.5, 0.75]
        assert [bar.get_width() for bar in opening.patches] == [0, 0.25, 0.5]
        assert [text.get_text() for text in opening.texts] == ["–", "0.25", "0.5"]
        assert [text.get_text() for text in acceleration.texts] == ["0", "0.75", "1.5"]
        assert [text.get_text() for text in lve.get_yticklabels()] == list(ROWS)
        low, high = lve.get_ylim()
        assert low > high  # the first row on top

    def test_the_best_is_darker(self):
        best = []
        for axes in self.panels():
            darkness = [-sum(bar.get_facecolor()[:3]) for bar in axes.patches]
            best.append(list(ROWS)[int(np.argmax(darkness))])
            assert sorted(darkness)[-2] < sorted(darkness)[-1]
        assert best == ["student", "teacher", "student"]  # 0.75 is nearer to 1 than 1.5 and 0

    def test_error_bars_where_there_are_any(self):
        lve, opening, _ = self.panels(
            low={"student": {"lve": 0.4}, "static": {"r": 0.1}},
            high={"student": {"lve": 0.7}, "static": {"r": 0.2}},
        )
        [span] = lve.collections
        [[start, end]] = span.get_segments()
        np.testing.assert_allclose([start, end], [[0.4, 1], [0.7, 1]])  # the second row
        assert [len(c.get_segments()) for c in opening.collections] == [0]  # of a NaN: none

    def test_a_value_nobody_has(self):
        figure = plots.table_figure({"a": {}, "b": {"x": math.nan}}, [("x", "X", "one")])
        assert [text.get_text() for text in figure.axes[0].texts] == ["–", "–"]

    @pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 3)])
    def test_rows_of_like_length(self, count, rows, columns):
        metrics: list[plots.Metric] = [(str(n), str(n), "lower") for n in range(count)]
        figure = plots.table_figure({"a": {}}, metrics)
        grid = figure.axes[0].get_gridspec()
        assert grid is not None
        assert grid.get_geometry() == (rows, columns)
