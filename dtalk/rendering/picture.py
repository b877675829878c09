"""Pictures put together from drawn samples: RGB for stills, Y'CbCr planes for videos."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from dtalk.rendering.redraw import Box
from dtalk.utils.types import Array

Frame = npt.NDArray[np.uint8]
PixelFormat = Literal["rgb24", "yuv420p"]
"""Names as ffmpeg has them. ``rgb24``: uint8 [H, W, 3], sRGB. ``yuv420p``: uint8 [3 H / 2, W]:
the rows of Y', then those of Cb and Cr at half the resolution, two of them in one row, as OpenCV's
I420; BT.709, 16 to 235 (240), chroma in the middle of its four pixels."""

# BT.709, R'G'B' 0 to 1 -> Y'CbCr of eight bits in the range of television.
_TO_VIDEO = np.array(
    ((46.5594, 156.6288, 15.8118), (-25.6642, -86.3358, 112.0), (112.0, -101.7303, -10.2697)),
    dtype=np.float32,
)
_BLACK = np.array((16, 128, 128), dtype=np.float32)


class Picture(Protocol):
    """A picture that is updated part by part.

    Attributes:
        frame: as it is now; never written to again.
    """

    frame: Frame

    def components(self, colors: Array) -> Array:
        """Convert sRGB, 0 to 1, [..., 3] to what is to be drawn, 0 to 1."""
        ...

    def update(self, box: Box, samples: Frame) -> None:
        """Average samples [f H, f W, 4] of what `components` gave into a part of a new frame."""
        ...


def video_format(width: int, height: int) -> PixelFormat:
    """Choose the format that videos of this size are encoded from: planes need even sides."""
    return "rgb24" if width % 2 or height % 2 else "yuv420p"


def picture_of(pixels: PixelFormat, backdrop: Frame) -> Picture:
    """Make a picture of a background, uint8 [H, W, 3], sRGB."""
    return _Rgb(backdrop) if pixels == "rgb24" else _Video(backdrop)


class _Rgb:
    def __init__(self, backdrop: Frame) -> None:
        self.frame = backdrop

    def components(self, colors: Array) -> Array:
        return colors

    def update(self, box: Box, samples: Frame) -> None:
        self.frame = self.frame.copy()
        mean = np.asarray(_averaged(samples, box))
        self.frame[box.top : box.bottom, box.left : box.right] = mean[..., :3]


class _Video:
    """Colours are converted at the vertices: what is interpolated between them is linear in both.

    So nothing is left to convert pixel by pixel.
    """

    def __init__(self, backdrop: Frame) -> None:
        self._size = backdrop.shape[:2]
        height, width = self._size
        self.frame = np.empty((height + height // 2, width), dtype=np.uint8)

    def components(self, colors: Array) -> Array:
        video: Array = (colors @ _TO_VIDEO.T + _BLACK) / np.float32(255)
        return video

    def update(self, box: Box, samples: Frame) -> None:
        self.frame = self.frame.copy()
        mean = _averaged(samples, box)
        half = Box(box.left // 2, box.top // 2, box.right // 2, box.bottom // 2)
        coarse = mean.reduce(2)
        luma, *chroma = self._planes(self.frame)
        luma[box.top : box.bottom, box.left : box.right] = np.asarray(mean.getchannel(0))
        for plane, channel in zip(chroma, (1, 2)):
            part = plane[half.top : half.bottom, half.left : half.right]
            part[:] = np.asarray(coarse.getchannel(channel))

    def _planes(self, frame: Frame) -> list[Frame]:
        """Get views of Y' [H, W], Cb and Cr [H / 2, W / 2] in a frame."""
        height, width = self._size
        chroma = frame[height:].reshape(2, height // 2, width // 2)
        return [frame[:height], *chroma]


def _averaged(samples: Frame, box: Box) -> Image.Image:
    """Average squares of samples to the pixels of a box; as colours without alpha."""
    height, width = samples.shape[:2]
    image = Image.frombuffer("RGBX", (width, height), samples, "raw", "RGBX", 0, 1)
    return image.reduce(width // box.size[0])
