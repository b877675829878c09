"""Pictures from samples: means by hand, and planes against the standard's own formula."""

from __future__ import annotations

import numpy as np
import pytest
from gl import needs_gl

from dtalk.rendering.picture import Frame, picture_of, video_format
from dtalk.rendering.redraw import Box
from dtalk.rendering.renderer import Renderer, render_frames

WHITE, BLACK, RED = (1, 1, 1), (0, 0, 0), (1, 0, 0)


def bt709(rgb: np.ndarray) -> np.ndarray:
    """Y'CbCr of eight bits, as floats, of R'G'B' [..., 3] from 0 to 255 (ITU-R BT.709, 3 and 4)."""
    red, green, blue = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    cb, cr = (blue - luma) / 1.8556, (red - luma) / 1.5748
    return np.stack((16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr), axis=-1)


def planes(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y' [H, W], Cb and Cr [H / 2, W / 2] of a frame."""
    width = frame.shape[1]
    height = 2 * frame.shape[0] // 3
    cb, cr = frame[height:].reshape(2, height // 2, width // 2)
    return frame[:height], cb, cr


def samples(height: int, width: int, value: tuple[float, ...]) -> Frame:
    drawn = np.full((height, width, 4), 255, dtype=np.uint8)
    drawn[..., :3] = np.rint(255 * np.array(value))
    return drawn


def test_samples_are_averaged_into_their_place() -> None:
    picture = picture_of("rgb24", np.zeros((4, 6, 3), dtype=np.uint8))
    before = picture.frame
    drawn = samples(4, 4, BLACK)
    drawn[0, :2, 0] = 200  # two of the four samples of one pixel: 100
    picture.update(Box(2, 0, 4, 2), drawn)
    assert picture.frame[0, 2].tolist() == [100, 0, 0]
    assert picture.frame.sum() == 100
    assert not before.any()  # what was handed out stays as it was


@pytest.mark.parametrize("color", [WHITE, BLACK, RED, (0.2, 0.5, 0.9)])
def test_colours_of_planes(color: tuple[float, ...]) -> None:
    picture = picture_of("yuv420p", np.zeros((4, 4, 3), dtype=np.uint8))
    drawn = picture.components(np.array(color, dtype=np.float32))
    picture.update(Box(0, 0, 4, 4), samples(8, 8, tuple(drawn)))
    wanted = bt709(255 * np.array(color))
    for plane, value in zip(planes(picture.frame), wanted, strict=True):
        assert np.abs(plane - value).max() <= 0.51


def test_planes_are_updated_in_their_places() -> None:
    picture = picture_of("yuv420p", np.zeros((8, 8, 3), dtype=np.uint8))
    picture.update(Box(0, 0, 8, 8), samples(16, 16, BLACK))
    picture.update(Box(2, 4, 6, 6), samples(4, 8, WHITE))
    luma, cb, cr = planes(picture.frame)
    lit = np.zeros((8, 8), dtype=bool)
    lit[4:6, 2:6] = True
    np.testing.assert_array_equal(luma == 255, lit)
    np.testing.assert_array_equal(cb == 255, lit[::2, ::2])
    np.testing.assert_array_equal(cr == 255, lit[::2, ::2])


def test_odd_sizes_have_no_planes() -> None:
    assert video_format(64, 48) == "yuv420p"
    assert video_format(65, 48) == video_format(64, 47) == "rgb24"


@needs_gl
def test_planes_show_what_rgb_shows() -> None:
    """Within 1.5 levels on average over 4 x 4 pixels, while a part of the picture is redrawn."""
    clip = np.zeros((3, 52), dtype=np.float32)
    clip[1, 17] = 0.5
    clip[2, :14] = 0.4
    both = [list(render_frames(clip, size=320, pixels=kind)) for kind in ("rgb24", "yuv420p")]
    for rgb, video in zip(*both, strict=True):
        wanted = bt709(rgb)
        for index, plane in enumerate(planes(video)):
            side = 4 * len(plane) // 320
            mean = plane.reshape(80, side, 80, side).mean(axis=(1, 3))
            there = wanted[..., index].reshape(80, 4, 80, 4).mean(axis=(1, 3))
            assert np.abs(mean - there).max() < 1.5


@needs_gl
def test_a_part_that_is_drawn_again_is_what_the_whole_would_be() -> None:
    rows = np.random.default_rng(1).uniform(0, 0.6, (4, 52)).astype(np.float32)
    for kind in ("rgb24", "yuv420p"):
        single = []
        for row in rows:
            with Renderer(size=128, pixels=kind) as renderer:
                single.append(renderer.render(row))
        np.testing.assert_array_equal(list(render_frames(rows, size=128, pixels=kind)), single)
