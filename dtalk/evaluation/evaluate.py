"""Evaluation of predicted motion against tracked faces: per clip, then means by group.

LVE, EVE and FDD-mm are given as fractions of a static face's too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dtalk.data.clips import LoadedClip
from dtalk.evaluation import metrics
from dtalk.evaluation.sampling import by_length, predict
from dtalk.evaluation.scoring import Geometry, Scores, lip_errors, score, static_scores
from dtalk.evaluation.vertex_clips import VertexClip
from dtalk.heads.head import Head
from dtalk.model import DiffusionTalker
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Array, Progress

ALL, SEEN, UNSEEN = "all", "seen speakers", "unseen speakers"  # rows beside those of data sets

OF_STATIC = {
    "lve_of_static": "lve",
    "lve_mm_of_static": "lve_mm",
    "eve_of_static": "eve",
    "fdd_mm_of_static": "fdd_mm_abs",
}


@dataclass(frozen=True)
class ClipResult:
    """The scores of one clip: of one sample, of the mean of several, and of a static face.

    Of the sample also its coefficients ``[T, 52]`` (None if it came as vertices) and the largest
    error of a lip vertex in each frame ``[T]``, mm, for pictures.
    """

    clip: LoadedClip
    sample: Scores
    mean: Scores | None
    static: Scores
    curves: Array | None = None
    errors: Array | None = None


def evaluate(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    head: Head,
    samples: int = 1,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
    sampler: str = "ddim",
) -> list[ClipResult]:
    """Predict and score all clips with motion; several ``samples`` also score their mean."""
    with_motion = [clip for clip in clips if clip.tracked]
    seeds = range(seed, seed + samples)
    return score_predictions(predict(model, with_motion, seeds, steps, progress, sampler), head)


def score_predictions(
    predictions: Iterable[tuple[LoadedClip, Array]], head: Head
) -> list[ClipResult]:
    """Score predicted samples ``[N, T, 52]`` or ``[N, T, V, 3]`` of clips.

    Of several samples the first is judged, their mean, and in ``diversity`` how far apart their
    lips are.
    """
    geometry = Geometry(head)
    return [_scored(clip, samples, geometry) for clip, samples in predictions]


def _scored(clip: LoadedClip, samples: Array, common: Geometry) -> ClipResult:
    if isinstance(clip, VertexClip):
        geometry, reference = clip.geometry, clip.reference
    else:
        assert clip.coefficients is not None
        geometry, reference = common, common.measure(clip.coefficients)
    face = samples[0]
    sample, mean = score(face, reference, geometry), None
    if len(samples) > 1:
        mean = score(samples.mean(0), reference, geometry)
        lips = np.stack([geometry.lips(one) for one in samples])
        sample["diversity"] = metrics.diversity(lips)
    curves = face if face.ndim == 2 else None
    errors = lip_errors(face, reference, geometry)
    return ClipResult(clip, sample, mean, static_scores(reference, geometry), curves, errors)


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """Average every figure over the clips in which it is defined."""
    scores = list(scores)
    return {key: _defined_mean([s[key] for s in scores]) for key in (scores[0] if scores else ())}


def _defined_mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def summarise(results: Sequence[ClipResult], mean_of_samples: bool = False) -> Scores:
    """Average over clips, with LVE, EVE and FDD-mm also as fractions of a static neutral face."""
    chosen = [r.mean if mean_of_samples and r.mean is not None else r.sample for r in results]
    means, static = mean_scores(chosen), mean_scores(r.static for r in results)
    for name, of in OF_STATIC.items():
        still = static.get(of, 0.0)
        means[name] = means[of] / still if still > 0 else float("nan")
    return means


def groups(results: Sequence[ClipResult], seen: Iterable[str]) -> dict[str, list[ClipResult]]:
    """Group results: all, by data set, seen and unseen speakers (unknown ones in neither)."""
    seen = set(seen)
    named: dict[str, list[ClipResult]] = {ALL: list(results)}
    for name in sorted({r.clip.clip.set for r in results}):
        named[set_row(name)] = [r for r in results if r.clip.clip.set == name]
    labelled = [r for r in results if r.clip.clip.speaker]
    named[SEEN] = [r for r in labelled if r.clip.clip.speaker in seen]
    named[UNSEEN] = [r for r in labelled if r.clip.clip.speaker not in seen]
    return {name: members for name, members in named.items() if members}


def set_row(name: str) -> str:
    """Name the row of a data set: as the set, unless another row could have that name."""
    taken = name in (ALL, SEEN, UNSEEN) or name.endswith(" (set)")
    return f"{name} (set)" if taken else name


@torch.inference_mode()
def retrieved(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> npt.NDArray[np.float64]:
    """Judge the personalizer's best match, ``[N, 2]``: identity and emotion, 1 if it is right.

    Identity is judged on clips of seen speakers, emotion on clips of unseen ones; the rest is NaN.
    """
    hits = {id(clip): (float("nan"), float("nan")) for clip in clips}
    identity, emotion = model.personalizer.identity, model.personalizer.emotion
    for group in by_length(clips):
        lengths = torch.tensor([clip.frames for clip in group], device=model.device)
        features = model.features([clip.waveform for clip in group], lengths)
        found = model.infer_weights(features, lengths, "hard")
        for clip, who, how in zip(group, *found):
            label = clip.clip
            if label.speaker in identity.labels:
                hits[id(clip)] = float(identity.label_of(who) == label.speaker), float("nan")
            elif label.emotion in emotion.labels:
                hits[id(clip)] = float("nan"), float(emotion.label_of(how) == label.emotion)
    return np.array([hits[id(clip)] for clip in clips]).reshape(-1, 2)


def retrieval(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    hits: npt.NDArray[np.float64] | None = None,
) -> dict[str, Scores]:
    """Measure the personalizer's top-1 accuracy over ``all`` clips and for each data set.

    ``hits`` are those of :func:`retrieved`, if they are known already.
    """
    hits = retrieved(model, clips) if hits is None else hits
    named = {ALL: hits}
    for name in dict.fromkeys(clip.clip.set for clip in clips):
        members = hits[[clip.clip.set == name for clip in clips]]
        if not np.isnan(members).all():
            named[set_row(name)] = members
    return {
        name: {kind: _defined_mean(list(of)) for kind, of in zip(("identity", "emotion"), rows.T)}
        for name, rows in named.items()
    }


def summary_tables(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    results: Sequence[ClipResult],
    hits: npt.NDArray[np.float64] | None = None,
) -> dict[str, dict[str, Scores]]:
    """Make the tables of one model: ``sample``, ``mean`` (of several) and ``retrieval``.

    The first two have a row of :func:`summarise` for each of :func:`groups`, with the number of
    ``clips`` in it; no row where no clip has motion. The third is :func:`retrieval`'s.
    """
    tables = tables_of_groups(groups(results, model.config.identities))
    return {**tables, "retrieval": retrieval(model, clips, hits)}


def tables_of_groups(named: Mapping[str, Sequence[ClipResult]]) -> dict[str, dict[str, Scores]]:
    """Make ``sample`` and, of several samples, ``mean``: :func:`summarise` of each group."""
    several = any(result.mean is not None for members in named.values() for result in members)
    kinds = ("sample", "mean") if several else ("sample",)
    return {
        kind: {
            name: {**summarise(members, kind == "mean"), "clips": float(len(members))}
            for name, members in named.items()
        }
        for kind in kinds
    }


def write_figures(figures: Mapping[str, Any], path: Path) -> None:
    """Write figures as json, undefined ones as null.

    Raises:
        DtalkError: the place cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(without_nan(figures), indent=2) + "\n", encoding="utf-8")


def without_nan(value: Any) -> Any:
    """Replace undefined figures by None, for json."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
