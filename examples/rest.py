"""Is the face at rest before anybody speaks? Mean lip opening at the start of clips.

python examples/rest.py --data DATA --set grid
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import dtalk
from dtalk.data.clips import load_clips, select
from dtalk.data.index import read_index
from dtalk.evaluation.sampling import predict
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in


def main() -> None:
    """Predict, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="grid", help="whose clips start with silence")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--weights", type=Path)
    asked = parser.parse_args()
    clips, _ = load_clips(select(read_index(asked.data), "val", [asked.set], motion=True))
    face, frames = Geometry(built_in()), round(asked.seconds * 30)
    found, tracked, trembling = [], [], []
    for clip, samples in predict(dtalk.load(asked.weights), clips, [0]):
        opening = face.opening(samples[0])[:frames]
        found.append(opening.mean())
        assert clip.coefficients is not None
        tracked.append(face.opening(clip.coefficients)[:frames].mean())
        trembling.append(np.abs(np.diff(opening, 2)).mean())
    print(
        f"{len(clips)} clips, first {asked.seconds:g} s: mean opening {np.mean(found):.2f} mm "
        f"(tracked {np.mean(tracked):.2f} mm), mean second difference {np.mean(trembling):.2f} mm"
    )


if __name__ == "__main__":
    main()
