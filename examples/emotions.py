"""One clip in several emotions, a still of each, side by side: the picture in the README.

python examples/emotions.py examples/speech/jfk.flac -o emotions.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import dtalk
from dtalk.rendering import Renderer

EMOTIONS = ("happy", "sad", "angry", "fearful")
GREY = (144, 149, 156)
CAPTION = 28  # pixels


def main() -> None:
    """Draw the stills and paste them together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("emotions.png"))
    parser.add_argument("--at", type=float, default=2.0, help="seconds into the clip")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--emotions", nargs="+", default=list(EMOTIONS))
    parser.add_argument("--weights", type=Path)
    asked = parser.parse_args()
    motions = [
        dtalk.animate(asked.speech, emotion=name, weights=asked.weights) for name in asked.emotions
    ]
    with Renderer(size=asked.size) as renderer:
        stills = [
            renderer.render(motion.coefficients[min(int(asked.at * motion.fps), len(motion) - 1)])
            for motion in motions
        ]
    picture = Image.new("RGB", (asked.size * len(stills), asked.size + CAPTION), GREY)
    draw = ImageDraw.Draw(picture)
    for place, (name, still) in enumerate(zip(asked.emotions, stills)):
        picture.paste(Image.fromarray(np.ascontiguousarray(still)), (place * asked.size, CAPTION))
        draw.text((place * asked.size + 10, 8), name, fill="black")
    picture.save(asked.out)


if __name__ == "__main__":
    main()
