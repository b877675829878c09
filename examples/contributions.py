"""What the parts of a model contribute that the paper does not have, without training anew.

    python examples/contributions.py --data DATA [--weights student] [--sets spokes] [--every 1]

One sample a clip of the validation split, everything inferred from the sound: the model as it is,
then with one thing changed at a time. Below, which share of p's variance over all pairs of library
entries comes from the identity and which from the emotion. The page docs/paper.md quotes it.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dtalk
from dtalk.data.clips import LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.evaluation.evaluate import evaluate, summarise
from dtalk.heads.head import built_in
from dtalk.model import COEFFICIENTS, DiffusionTalker

COLUMNS = (
    "lve_of_static",
    "eve_of_static",
    "opening_r",
    "rounding_r",
    "closure_recall",
    "acceleration",
)


class Nothing(nn.Module):
    """Stands for a part of the decoder that adds nothing."""

    def forward(self, sequence: Tensor, *_: Tensor) -> Tensor:
        """``[B, T, C]`` and whatever else -> zeros ``[B, T, 52]``."""
        return sequence.new_zeros(*sequence.shape[:2], COEFFICIENTS)


def without(model: DiffusionTalker, *parts: str) -> DiffusionTalker:
    """Copy a model without these parts of its decoder, which are added up for x_0."""
    other = copy.deepcopy(model)
    for part in parts:
        setattr(other.decoder, part, Nothing())
    return other


def unaware_of(model: DiffusionTalker, part: str) -> DiffusionTalker:
    """View a model that takes every ``identity`` or ``emotion`` for unknown."""
    other = model.with_config()
    infer, place = model.weights_of_match, ("identity", "emotion").index(part)

    def weights(*heard: Any) -> tuple[Tensor, Tensor]:
        found = list(infer(*heard))
        unknown = torch.zeros_like(found[place])
        unknown[:, -1] = 1
        found[place] = unknown
        return found[0], found[1]

    other.weights_of_match = weights  # type: ignore[method-assign, assignment]
    return other


def with_experts_alike(model: DiffusionTalker) -> DiffusionTalker:
    """Copy a model whose experts, if any, have equal shares in every clip."""
    other = copy.deepcopy(model)
    if other.decoder.guide.choose is not None:
        for weight in other.decoder.guide.choose.parameters():
            torch.nn.init.zeros_(weight)
    return other


Change = Callable[[DiffusionTalker], DiffusionTalker]
CHANGES: dict[str, Change] = {
    "as it is": lambda model: model,
    "without emotion": lambda model: unaware_of(model, "emotion"),
    "without identity": lambda model: unaware_of(model, "identity"),
    "experts in equal shares": with_experts_alike,
    "hard retrieval": lambda model: model.with_config(retrieval="hard"),
    "temperatures 1": lambda model: model.with_config(temperature=1.0, upper_temperature=1.0),
    "temperatures 0": lambda model: model.with_config(temperature=0.0, upper_temperature=0.0),
    "mouth free in silence": lambda model: model.with_config(close_in_silence=False),
    "without GRU and MLP": lambda model: without(model, "output"),
    "linear prior alone": lambda model: without(model, "output", "linear"),
}


@torch.inference_mode()
def shares_of_p(model: DiffusionTalker) -> tuple[float, float]:
    """Compute the shares of p's variance over all pairs of labels that either explains."""
    personalizer = model.personalizer
    people, moods = len(personalizer.identity.labels), len(personalizer.emotion.labels)
    who = personalizer.identity.weights_of(torch.arange(people).repeat_interleave(moods))
    how = personalizer.emotion.weights_of(torch.arange(moods).repeat(people))
    embedding = personalizer(who, how).reshape(people, moods, -1)

    def variance(values: Tensor) -> float:
        return float(values.flatten(0, -2).var(0, correction=0).sum())

    total = variance(embedding)
    return variance(embedding.mean(1)) / total, variance(embedding.mean(0)) / total


def row(model: DiffusionTalker, clips: list[LoadedClip], sampler: str = "ddim") -> str:
    """Score one model on the clips, as a line of the table."""
    figures = summarise(evaluate(model, clips, built_in(), sampler=sampler))
    return "".join(f"{figures[name]:>16.3f}" for name in COLUMNS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights")
    parser.add_argument("--encoder", help="large speech encoder of a teacher: folder or hub id")
    parser.add_argument("--sets", action="append", default=[], help="only these; repeatable")
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip")
    asked = parser.parse_args()
    model = dtalk.load(asked.weights, encoder=asked.encoder)
    chosen = [clip for clip in select(read_index(asked.data), "val", asked.sets) if clip.motion]
    clips, _ = load_clips(chosen[:: asked.every])
    print(f"{len(clips)} clips".ljust(26) + "".join(f"{name:>16}" for name in COLUMNS))
    for name, change in CHANGES.items():
        print(name.ljust(26) + row(change(model), clips), flush=True)
    print("ancestral sampling".ljust(26) + row(model, clips, "ancestral"))
    identity, emotion = shares_of_p(model)
    print(f"variance of p: identity {identity:.0%}, emotion {emotion:.0%}")


if __name__ == "__main__":
    main()
