"""Backdrops: the studio, colours, pictures that are cut to fit, and what is none of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtalk.errors import RenderError
from dtalk.rendering.background import background_image


@pytest.mark.parametrize(
    ("name", "color"),
    [("white", (255, 255, 255)), ("#8090a0", (128, 144, 160)), ("#f00", (255, 0, 0)),
     ("SteelBlue", (70, 130, 180)), ("#11223344", (17, 34, 51))],
)  # fmt: skip
def test_colours(name: str, color: tuple[int, int, int]) -> None:
    picture = background_image(name, 5, 3)
    assert picture.shape == (3, 5, 3)
    assert picture.dtype == np.uint8
    assert (picture == color).all()


def test_the_studio_is_lit_behind_the_face() -> None:
    wall = background_image("studio", 200, 100).astype(int)
    assert wall.shape == (100, 200, 3)
    centre, corners = wall[30:55, 90:110].mean(), wall[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert centre > corners + 30
    rows = wall.mean(axis=(1, 2))
    assert rows[-1] < rows[0]  # the floor is darker than the ceiling
    np.testing.assert_array_equal(wall, background_image("studio", 200, 100))


def test_the_studio_has_no_steps() -> None:
    """Where a gradient in eight bits has bands of one value, noise mixes both neighbours."""
    row = background_image("studio", 2000, 100)[42, 1000:1400, 0].astype(int)
    assert (np.diff(row) != 0).mean() > 0.2
    assert np.abs(np.diff(row)).max() <= 2


def test_a_picture_fills_the_frame(tmp_path: Path) -> None:
    """A wide picture, red, green and blue thirds: a square frame sees the middle one."""
    pixels = np.zeros((30, 90, 3), dtype=np.uint8)
    for third in range(3):
        pixels[:, 30 * third : 30 * (third + 1), third] = 255
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    seen = background_image(str(tmp_path / "wall.png"), 60, 60)
    assert seen.shape == (60, 60, 3)
    assert (seen[:, 6:54] == (0, 255, 0)).all()


def test_pictures_of_other_kinds(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((8, 8), 77, dtype=np.uint8))
    grey.save(tmp_path / "grey.png")
    grey.save(tmp_path / "grey.jpg", quality=100)
    for name in ("grey.png", "grey.jpg"):
        seen = background_image(str(tmp_path / name), 4, 4)
        assert np.abs(seen.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("name", ["", "nowhere.png", "skinny blue", "#12", "rgb("])
def test_neither_colour_nor_picture(name: str) -> None:
    with pytest.raises(RenderError, match=r"is no colour .* and no image file"):
        background_image(name, 4, 4)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture\n" * 30)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    for name in ("text.png", "cut.png"):
        with pytest.raises(RenderError, match=f"background .*{name} is no PNG, JPEG or WEBP"):
            background_image(str(tmp_path / name), 4, 4)


def test_pictures_that_are_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(RenderError, match="too many pixels"):
        background_image(str(tmp_path / "large.png"), 4, 4)
