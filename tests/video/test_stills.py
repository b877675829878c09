"""Stills: which frames they are, what they are called, what is in the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtalk.errors import DtalkError, RenderError
from dtalk.motion.curves import Motion
from dtalk.video.stills import at_moments, parse_moments, still_suffixes, write_stills


def test_moments_by_commas_and_by_repetition() -> None:
    assert parse_moments(["0.5, 1", "2", "1.0"]) == [0.5, 1.0, 2.0]
    assert parse_moments([]) == []


@pytest.mark.parametrize("text", ["soon", "1,,2", "", "1;2"])
def test_moments_that_are_no_numbers(text: str) -> None:
    with pytest.raises(RenderError, match=r"write seconds like 0\.5,2"):
        parse_moments([text])


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
def test_moments_that_are_no_times(text: str) -> None:
    with pytest.raises(RenderError, match="seconds from the start, 0 or more"):
        parse_moments([text])


def test_names() -> None:
    assert still_suffixes([2.0]) == [".png"]
    assert still_suffixes([0.5, 2.0]) == [".0.5s.png", ".2s.png"]


def test_the_frame_that_is_shown_at_a_moment() -> None:
    """Frame k is on screen from k / fps on; the last one at the very end, too."""
    numbers = np.arange(4, dtype=np.float32)
    motion = Motion(
        np.repeat(numbers[:, None], 52, axis=1),
        fps=10,
        head_rotation=np.repeat(numbers[:, None], 3, axis=1),
    )
    shown = at_moments(motion, [0.0, 0.19, 0.2, 0.4])
    np.testing.assert_array_equal(shown.coefficients[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(shown.head_rotation[:, 2], [0, 1, 2, 3])  # type: ignore[index]
    with pytest.raises(RenderError, match=r"--still 0.5: the clip lasts 0.40 s"):
        at_moments(motion, [0.1, 0.5])


def test_files_hold_the_pixels_and_the_comment(tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8))
    paths = [tmp_path / "new" / "a.png", tmp_path / "b.png"]
    write_stills(frames, paths, "drawn from seed 3")
    for frame, path in zip(frames, paths):
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), frame)
            assert image.text == {"Comment": "drawn from seed 3"}  # type: ignore[attr-defined]
    before = paths[0].read_bytes()
    write_stills(frames, paths, "drawn from seed 3")
    assert paths[0].read_bytes() == before


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DtalkError, match="it is a folder"):
        write_stills([np.zeros((2, 2, 3), np.uint8)], [tmp_path / "a.png"])
