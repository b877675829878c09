"""Backgrounds: a studio wall, a colour, or a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageColor, ImageOps

from dtalk.errors import RenderError
from dtalk.utils.images import ImageError, read_image

STUDIO = "studio"

# The studio wall, sRGB 0 to 255: lit behind the face, darker toward the corners and the floor.
WALL_LIT, WALL_DARK = (178.0, 183.0, 190.0), (104.0, 109.0, 117.0)
LIT_AT, REACH = (0.5, 0.42), (1.10, 0.95)  # fractions of width and height


def background_image(what: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Make a background of ``studio``, a colour or an image file: uint8 [H, W, 3], sRGB.

    An image is scaled and cut so that it fills the picture.

    Raises:
        RenderError: neither a colour nor an image that can be read.
    """
    if what == STUDIO:
        return _studio(width, height)
    if Path(what).is_file():
        return _image(Path(what), width, height)
    try:
        color = ImageColor.getrgb(what)[:3]
    except ValueError as error:
        raise RenderError(
            f"background {what!r} is no colour (such as white or #8090a0) and no image file"
        ) from error
    return np.full((height, width, 3), color, dtype=np.uint8)


def _studio(width: int, height: int) -> npt.NDArray[np.uint8]:
    x = ((np.arange(width) + 0.5) / width - LIT_AT[0]) / REACH[0]
    y = ((np.arange(height) + 0.5) / height - LIT_AT[1]) / REACH[1]
    distance = np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
    light = (0.5 + 0.5 * np.cos(np.pi * np.clip(distance, 0, 1)))[..., None]
    wall = WALL_DARK + light * np.subtract(WALL_LIT, WALL_DARK)
    # Eight bits are too few for so soft a gradient: a little noise, always the same, hides steps.
    noise = np.random.default_rng(0).random((height, width, 1)) - 0.5
    return np.rint(wall + noise).astype(np.uint8)


def _image(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    try:
        picture = read_image(path, upright=True).convert("RGB")
    except ImageError as error:
        raise RenderError(f"background {path} {error}") from error
    return np.asarray(ImageOps.fit(picture, (width, height)), dtype=np.uint8)
