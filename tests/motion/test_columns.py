"""Columns by name, in whatever order."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motions import JAW, coefficients, provenanced, refused, write_rows

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.columns import MotionWarning, arranged
from dtalk.motion.curves import Motion
from dtalk.motion.files import FORMATS, read_motion, write_motion


def write_named(path: Path, names: list[str], values: np.ndarray) -> Path:
    """The same columns in whichever format the suffix says."""
    if path.suffix == ".npz":
        np.savez(path, names=np.array(names), coefficients=values.astype(np.float32))
    elif path.suffix == ".json":
        path.write_text(json.dumps({"facsNames": names, "weightMat": values.tolist()}))
    else:
        stamps = [f"10:00:{k // 30:02}:{k % 30:02}.000" for k in range(len(values))]
        rows = [[stamp, *row] for stamp, row in zip(stamps, values.tolist(), strict=True)]
        write_rows(path, ["Timecode", *names], rows)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
class TestReadingByName:
    def test_reordered(self, tmp_path, suffix):
        order = np.random.default_rng(0).permutation(52)
        names = [ARKIT_NAMES[i] for i in order]
        path = write_named(tmp_path / f"a.{suffix}", names, coefficients()[:, order])
        np.testing.assert_array_equal(read_motion(path).coefficients, coefficients())

    def test_any_case(self, tmp_path, suffix):
        names = [name.upper() if i % 2 else name.lower() for i, name in enumerate(ARKIT_NAMES)]
        path = write_named(tmp_path / f"a.{suffix}", names, coefficients())
        np.testing.assert_array_equal(read_motion(path).coefficients, coefficients())

    def test_missing_channels_are_zero(self, tmp_path, suffix):
        path = write_named(
            tmp_path / f"a.{suffix}", ["jawOpen", "browInnerUp"], coefficients()[:, :2]
        )
        expected = np.zeros((45, 52), np.float32)
        expected[:, JAW] = coefficients()[:, 0]
        expected[:, ARKIT_NAMES.index("browInnerUp")] = coefficients()[:, 1]
        np.testing.assert_array_equal(read_motion(path).coefficients, expected)

    def test_unknown_channels_are_ignored_and_named(self, tmp_path, suffix):
        path = write_named(
            tmp_path / f"a.{suffix}", ["earWiggle", "jawOpen"], coefficients()[:, :2]
        )
        with pytest.warns(MotionWarning, match=rf"a\.{suffix}: .*earWiggle"):
            motion = read_motion(path)
        np.testing.assert_array_equal(motion.coefficients[:, JAW], coefficients()[:, 1])

    def test_no_known_channel(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", ["viseme_aa"], coefficients()[:, :1])
        assert "none of its channels" in refused(path)

    def test_a_channel_twice(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", ["jawOpen", "JawOpen"], coefficients()[:, :2])
        assert "JawOpen appears twice" in refused(path)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, tmp_path, suffix, bad):
        values = coefficients()
        values[2, 5] = bad
        path = write_named(tmp_path / f"a.{suffix}", list(ARKIT_NAMES), values)
        text = refused(path)
        assert "finite" in text
        # The line counts from 1 and the header is the first.
        assert ("line 4: eyeSquintLeft" if suffix == "csv" else "frame 2") in text

    def test_no_frames(self, tmp_path, suffix):
        path = write_named(tmp_path / f"a.{suffix}", list(ARKIT_NAMES), np.zeros((0, 52)))
        refused(path)

    def test_missing_file(self, tmp_path, suffix):
        assert "no such motion file" in refused(tmp_path / f"none.{suffix}")

    def test_a_folder(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").mkdir()
        assert "s a directory" in refused(tmp_path / f"a.{suffix}")

    def test_an_empty_file(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").touch()
        refused(tmp_path / f"a.{suffix}")

    def test_other_bytes(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").write_bytes(np.random.default_rng(0).bytes(5000))
        refused(tmp_path / f"a.{suffix}")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_cut_off(self, tmp_path, suffix, share):
        path = tmp_path / f"a.{suffix}"
        write_motion(provenanced(), path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        refused(path)

    @given(data=st.data())
    def test_damage_gives_motion_or_a_motion_error(self, tmp_path_factory, suffix, data):
        path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
        write_motion(Motion(coefficients(2)), path)
        content = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
            # In text files bytes above 127 would all fail in the same way.
            content[place] = data.draw(st.integers(0, 255 if suffix == "npz" else 127))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                motion = read_motion(path)
            except MotionError:
                return
        assert np.isfinite(motion.coefficients).all()


PATH = Path("a.csv")
PUCKER = ARKIT_NAMES.index("mouthPucker")


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


def test_more_frames_than_fit_are_refused(tmp_path):
    """A few kilobytes in a file can be millions of frames."""
    path = tmp_path / "long.npz"
    np.savez_compressed(path, coefficients=np.zeros((1_000_001, 1), np.uint8), names=["jawOpen"])
    assert "1000001 frames are too many; 1000000 are read" in refused(path)
