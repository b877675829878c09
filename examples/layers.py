"""Which layers of a large speech encoder tell most about the lips? A ridge regression from each.

    python examples/layers.py --data DATA --encoder whisper-base 2 4 2+4

Trained on the clips with motion of the train split (every third; `--every 1` for all), judged on
the validation split: LVE as a fraction of a static face, and how well the lips' opening follows.
It is also the floor that a model with this encoder should beat.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtalk.data.clips import LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.evaluation.evaluate import mean_scores
from dtalk.evaluation.scoring import Geometry, score, static_scores
from dtalk.heads.head import built_in
from dtalk.speech.feature_cache import FeatureCache
from dtalk.speech.pretrained import LargeEncoder, load_large_encoder

RIDGE = (1e3, 1e4, 3e4, 1e5)  # the best on the validation split is shown


def in_context(features: Tensor, reach: int) -> Tensor:
    """``[T, C]`` with ``reach`` frames before and after, every second one: ``[T, N * C]``."""
    time = torch.arange(len(features))
    around = range(-reach, reach + 1, 2) if reach else (0,)
    return torch.cat([features[(time + k).clamp(0, len(time) - 1)] for k in around], -1)


def matched(features: Tensor, clip: LoadedClip) -> tuple[Tensor, Tensor]:
    """Features and coefficients, as many frames as both have."""
    assert clip.coefficients is not None
    frames = min(len(features), len(clip.coefficients))
    return features[:frames], torch.from_numpy(clip.coefficients[:frames])


class Regression:
    """Normal equations, gathered clip by clip."""

    def __init__(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        inputs = torch.cat([x for x, _ in pairs])
        outputs = torch.cat([y for _, y in pairs])
        self.mean, self.std = inputs.mean(0), inputs.std(0).clamp(min=1e-6)
        self.offset = outputs.mean(0)
        inputs = (inputs - self.mean) / self.std
        self.gram, self.cross = inputs.T @ inputs, inputs.T @ (outputs - self.offset)

    def solved(self, ridge: float) -> Tensor:
        """Weights ``[C, 52]``."""
        return torch.linalg.solve(self.gram + ridge * torch.eye(len(self.gram)), self.cross)

    def predict(self, inputs: Tensor, weights: Tensor) -> np.ndarray:
        """Coefficients in [0, 1]."""
        return (((inputs - self.mean) / self.std) @ weights + self.offset).clamp(0, 1).numpy()


def judged(
    encoder: LargeEncoder, cache: Path | None, train: list[LoadedClip], val: list[LoadedClip],
    reach: int,
) -> tuple[float, float]:  # fmt: skip
    """LVE of static and opening correlation of the best ridge."""
    features = FeatureCache(encoder, cache)

    def pairs(clips: list[LoadedClip]) -> list[tuple[Tensor, Tensor]]:
        return [matched(in_context(features(clip.waveform), reach), clip) for clip in clips]

    fit, tested, face = Regression(pairs(train)), pairs(val), Geometry(built_in())
    still = mean_scores(static_scores(y.numpy(), face) for _, y in tested)
    found = []
    for ridge in RIDGE:
        weights = fit.solved(ridge)
        means = mean_scores(score(fit.predict(x, weights), y.numpy(), face) for x, y in tested)
        found.append((means["lve"] / still["lve"], means["opening_r"]))
    return min(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="+", help="such as 4, or 2+4 for two side by side")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="folder or hub id")
    parser.add_argument("--cache", type=Path, help="folder for features [the user's]")
    parser.add_argument("--reach", type=int, default=4, help="frames of context on either side")
    parser.add_argument("--every", type=int, default=3, help="take every n-th training clip")
    asked = parser.parse_args()
    index = read_index(asked.data)
    train = load_clips(select(index, "train", motion=True)[:: asked.every])[0]
    val = load_clips(select(index, "val", motion=True))[0]
    for text in asked.layers:
        encoder = load_large_encoder(asked.encoder, [int(n) for n in text.split("+")])
        lve, opening = judged(encoder, asked.cache, train, val, asked.reach)
        print(f"layer {text}: LVE {lve:.3f} of static, opening r {opening:.3f}", flush=True)


if __name__ == "__main__":
    main()
