"""Pictures from anyone: three formats, within a size, with one error for whatever is wrong."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO

from PIL import Image, ImageOps

# Pillow would open many more kinds of files, and start Ghostscript for one of them.
FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 1 << 26  # in memory: a small file may hold many
_DAMAGE = (  # what Pillow lets out
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, RuntimeError, MemoryError, Image.DecompressionBombError),
)


class ImageError(ValueError):
    """A file is no picture that is read, is damaged, or is too large."""


def read_image(source: Path | IO[bytes], upright: bool = False) -> Image.Image:
    """Read a picture; ``upright`` as its camera was held.

    Raises:
        ImageError: of another format, damaged, or with too many pixels.
    """
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ImageError("has too many pixels")
            image.load()
            return ImageOps.exif_transpose(image) if upright else image.copy()
    except (ImageError, Image.DecompressionBombError) as error:
        raise ImageError("has too many pixels") from error
    except _DAMAGE as error:
        kinds = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ImageError(f"is no {kinds} image, or damaged") from error
