"""Pictures from anyone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dtalk.utils.images import FORMATS, ImageError, read_image


def picture(kind: str, size: tuple[int, int] = (6, 4), **options: object) -> io.BytesIO:
    data = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(data, kind, **options)
    data.seek(0)
    return data


@pytest.mark.parametrize("kind", FORMATS)
def test_the_three_formats(kind):
    found = np.asarray(read_image(picture(kind)).convert("RGB"))
    assert found.shape == (4, 6, 3)
    assert np.abs(found.astype(int) - (200, 10, 10)).max() < 12


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "PPM", "DDS"])
def test_others_are_refused(kind):
    with pytest.raises(ImageError, match="is no PNG, JPEG or WEBP image"):
        read_image(picture(kind))


def test_postscript_is_not_run():
    with pytest.raises(ImageError, match="is no PNG, JPEG or WEBP image"):
        read_image(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"))


def test_many_pixels_in_a_small_file(monkeypatch):
    monkeypatch.setattr("dtalk.utils.images.MOST_PIXELS", 100)
    assert read_image(picture("PNG", (10, 10))).size == (10, 10)
    with pytest.raises(ImageError, match="has too many pixels"):
        read_image(picture("PNG", (11, 10)))


def test_upright_as_the_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert read_image(picture("JPEG", exif=exif)).size == (6, 4)
    assert read_image(picture("JPEG", exif=exif), upright=True).size == (4, 6)


def test_damage_is_one_error():
    """Bytes are changed, always the same ones: a picture comes out, or an ImageError."""
    generator = np.random.default_rng(0)
    outcomes = set()
    for kind in FORMATS:
        whole = picture(kind).getvalue()
        for _ in range(100):
            data = bytearray(whole)
            for place in generator.integers(0, len(data), generator.integers(1, 5)):
                data[place] = generator.integers(0, 256)
            try:
                read_image(io.BytesIO(data[: generator.integers(len(data) // 3, len(data) + 1)]))
                outcomes.add("read")
            except ImageError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}
