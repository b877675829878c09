"""Stills of single shapes at full strength, a row for each head: the built-in one first.

python examples/shapes.py FLAME.pkl -o heads.png
python examples/shapes.py --shapes jawOpen mouthSmileLeft+mouthSmileRight --size 480
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dtalk.heads.head import Head
from dtalk.heads.load import load_head
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.rendering.renderer import Renderer

SHAPES = (
    "neutral",
    "jawOpen",
    "mouthFunnel",
    "mouthSmileLeft+mouthSmileRight",
    "eyeBlinkLeft+eyeBlinkRight",
)
MARGIN = 6  # pixels from a still's corner to its caption


def coefficients(shape: str) -> np.ndarray:
    """``[52]`` with the named shapes, joined by ``+``, at 1; none for ``neutral``."""
    found = np.zeros(len(ARKIT_NAMES), np.float32)
    for name in shape.split("+") if shape != "neutral" else ():
        found[ARKIT_NAMES.index(name)] = 1
    return found


def caption(shape: str) -> str:
    """The first name without its side."""
    return shape.partition("+")[0].removesuffix("Left").removesuffix("Right")


def row(head: Head, shapes: list[str], size: int) -> np.ndarray:
    """The stills of one head next to each other, with their names: uint8 ``[H, W * N, 3]``."""
    with Renderer(head, size) as renderer:
        pictures = [Image.fromarray(renderer.render(coefficients(shape))) for shape in shapes]
    for picture, shape in zip(pictures, shapes):
        ImageDraw.Draw(picture).text((MARGIN, MARGIN), caption(shape), fill="black", font_size=16)
    return np.concatenate([np.asarray(picture) for picture in pictures], axis=1)


def main() -> None:
    """Draw and paste together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, nargs="*", help="FLAME models or meshes")
    parser.add_argument("-o", "--out", type=Path, default=Path("shapes.png"))
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--size", type=int, default=220)
    asked = parser.parse_args()
    rows = [row(load_head(path), asked.shapes, asked.size) for path in (None, *asked.heads)]
    Image.fromarray(np.concatenate(rows)).save(asked.out, optimize=True)


if __name__ == "__main__":
    main()
