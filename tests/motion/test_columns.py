"""Named columns: spellings, ranges, what is ignored."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning, arranged

PATH = Path("a.csv")
JAW, PUCKER = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("mouthPucker")


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def curves(*tops: float, frames: int = 20) -> np.ndarray:
    """Columns that swing from 0 to these values."""
    swing = 0.5 - 0.5 * np.cos(np.arange(frames) / 2)
    return swing[:, None] * np.array(tops)


def test_columns_in_any_order_and_spelling():
    table = arranged(PATH, ["MouthPucker", "blendShapes.JawOpen"], curves(0.5, 1.0))
    np.testing.assert_allclose(table[:, JAW], curves(1.0)[:, 0], atol=1e-6)
    np.testing.assert_allclose(table[:, PUCKER], curves(0.5)[:, 0], atol=1e-6)
    assert np.flatnonzero(table.any(axis=0)).tolist() == sorted([JAW, PUCKER])


@pytest.mark.parametrize("name", ["", "_neutral", "Frame", "index"])
def test_what_other_programs_write_besides_is_no_news(name):
    arranged(PATH, [name, "jawOpen"], curves(9.0, 1.0))


def test_unknown_names_are_told():
    with pytest.warns(MotionWarning, match="ignored channels.*: viseme_aa"):
        arranged(PATH, ["viseme_aa", "jawOpen"], curves(1.0, 1.0))


def test_two_spellings_of_one_channel_are_refused():
    with pytest.raises(MotionError, match="jaw_open appears twice"):
        arranged(PATH, ["jawOpen", "jaw_open"], curves(1.0, 1.0))


class TestRange:
    @given(st.floats(20, 150), st.floats(0, 5))
    def test_up_to_a_hundred_is_percent(self, high, low):
        with pytest.warns(MotionWarning, match="divided by 100"):
            table = arranged(PATH, ["jawOpen", "mouthPucker"], curves(high, low))
        assert table[:, JAW].max() == pytest.approx(curves(high).max() / 100, rel=1e-5)

    def test_a_face_at_rest_that_blinks_in_percent(self):
        values = np.full((100, 2), 0.0)
        values[40:46, 1] = 90
        with pytest.warns(MotionWarning, match="divided by 100"):
            assert arranged(PATH, ["jawOpen", "eyeBlinkLeft"], values).max() == np.float32(0.9)

    @given(st.floats(-0.1, 1.5))
    def test_a_little_beyond_is_kept(self, value):
        table = arranged(PATH, ["jawOpen"], np.float32([[value], [0.5]]))
        assert table[0, JAW] == np.float32(value)

    @pytest.mark.parametrize("value", [1.6, 3.0, 80.0, -0.2, -50.0, 1e30])
    def test_one_value_far_beyond_is_refused_by_name(self, value):
        values = curves(0.5, 0.8)
        values[7, 1] = value
        with pytest.raises(MotionError, match=r"mouthPucker is .* in frame 7; blend shapes go"):
            arranged(PATH, ["jawOpen", "mouthPucker"], values)

    @pytest.mark.parametrize("top", [1.7, 4.0, 200.0, 1e6])
    def test_curves_of_no_known_range_are_refused(self, top):
        with pytest.raises(MotionError, match="blend shapes go from 0 to 1"):
            arranged(PATH, ["jawOpen"], curves(top))

    def test_channels_that_are_ignored_may_have_any_range(self):
        with pytest.warns(MotionWarning, match="ignored"):
            arranged(PATH, ["HeadYawDegrees", "jawOpen"], curves(180.0, 1.0))
