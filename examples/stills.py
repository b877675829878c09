"""Stills of a talking face: a row for each emotion, a column for each moment.

python examples/stills.py examples/speech/jfk.flac -o talking.png --at 0.5 1 1.5 2 2.5
python examples/stills.py examples/speech/jfk.flac --emotions happy sad angry fearful
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import dtalk
from dtalk.rendering.renderer import Renderer

MARGIN = 8  # pixels from a still's corner to its caption


def stills(motion: dtalk.Motion, seconds: list[float], renderer: Renderer) -> np.ndarray:
    """The frames at the given times, side by side: uint8 ``[H, W * N, 3]``."""
    frames = [min(int(second * motion.fps), len(motion) - 1) for second in seconds]
    return np.concatenate([renderer.render(motion.coefficients[k]) for k in frames], axis=1)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with a word in its upper left corner."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((MARGIN, MARGIN), text, fill="black", font_size=18)
    return np.asarray(image)


def main() -> None:
    """Animate, draw, paste together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("stills.png"))
    parser.add_argument("--at", type=float, nargs="+", default=[2.0], help="seconds into the clip")
    parser.add_argument("--emotions", nargs="+", default=["auto"])
    parser.add_argument("--columns", type=int, default=4, help="of emotions, with a single moment")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--weights", type=Path)
    asked = parser.parse_args()
    cells = []
    for emotion in asked.emotions:
        motion = dtalk.animate(asked.speech, emotion=emotion, weights=asked.weights)
        with Renderer(size=asked.size) as renderer:
            cell = stills(motion, asked.at, renderer)
        cells.append(caption(cell, emotion) if len(asked.emotions) > 1 else cell)
    if len(asked.at) == 1:  # one moment: emotions side by side rather than one below the other
        step = asked.columns
        rows = [np.concatenate(cells[k : k + step], axis=1) for k in range(0, len(cells), step)]
        cells = [row for row in rows if row.shape == rows[0].shape]
    Image.fromarray(np.concatenate(cells)).save(asked.out)


if __name__ == "__main__":
    main()
