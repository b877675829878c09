"""Models on data -> figures: per clip, then means by group, as fractions of a static face too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dtalk import metrics
from dtalk.datasets import LoadedClip
from dtalk.diffusion import sample_ddim
from dtalk.files import atomic_path
from dtalk.head import MILLIMETRES, Head
from dtalk.model import DiffusionTalker, draw_noise, noise_generator
from dtalk.motion import UPPER_FACE_CHANNELS

Array = npt.NDArray[np.float32]
Scores = dict[str, float]

BATCH_FRAMES = 4000
MEAN_OF = 8  # samples whose mean is judged beside one sample

_OF_STATIC = {
    "lve_of_static": "lve",
    "lve_mm_of_static": "lve_mm",
    "eve_of_static": "eve",
    "fdd_mm_of_static": "fdd_mm_abs",
}


class Region:
    """Some vertices of a head, from coefficients to millimetres."""

    def __init__(self, head: Head, indices: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self.neutral = head.vertices[np.asarray(indices)] * np.float32(MILLIMETRES)
        self.basis = head.basis(indices)

    def __call__(self, coefficients: Array) -> Array:
        """Coefficients ``[T, 52]`` -> vertices ``[T, V, 3]``, mm."""
        return self.neutral + np.tensordot(coefficients, self.basis, axes=1)


class Geometry:
    """What the metrics need of a head: lips, upper face, mouth opening and width."""

    def __init__(self, head: Head) -> None:
        self.lips = Region(head, head.lips)
        self.upper_face = Region(head, head.upper_face)
        self._landmarks = Region(head, [*head.opening, *head.corners])

    def opening(self, coefficients: Array) -> Array:
        """Vertical distance of the inner-lip midpoints ``[T]``, mm; below 0 they overlap."""
        points = self._landmarks(coefficients)
        return points[:, 0, 1] - points[:, 1, 1]

    def width(self, coefficients: Array) -> Array:
        """Distance of the mouth corners ``[T]``, mm."""
        points = self._landmarks(coefficients)
        return np.linalg.norm(points[:, 2] - points[:, 3], axis=-1)


def score(predicted: Array, reference: Array, geometry: Geometry) -> Scores:
    """Every metric of one clip, from coefficients ``[T, 52]``."""
    lips, lips_reference = geometry.lips(predicted), geometry.lips(reference)
    upper, upper_reference = geometry.upper_face(predicted), geometry.upper_face(reference)
    opening, opening_reference = geometry.opening(predicted), geometry.opening(reference)
    neutral = geometry.upper_face.neutral
    fdd = metrics.facial_dynamics_deviation(upper, upper_reference, neutral)
    fdd_mm = metrics.facial_dynamics_deviation_mm(upper, upper_reference, neutral)
    return {
        "lve": metrics.maximum_vertex_error(lips, lips_reference),
        "lve_mm": metrics.maximum_vertex_distance(lips, lips_reference),
        "eve": metrics.emotional_vertex_error(
            predicted[:, UPPER_FACE_CHANNELS], reference[:, UPPER_FACE_CHANNELS]
        ),
        "eve_v": metrics.maximum_vertex_error(upper, upper_reference),
        "fdd": fdd,
        "fdd_abs": abs(fdd),
        "fdd_mm": fdd_mm,
        "fdd_mm_abs": abs(fdd_mm),
        "opening_r": metrics.correlation(opening, opening_reference),
        "rounding_r": metrics.correlation(geometry.width(predicted), geometry.width(reference)),
        "closure_recall": metrics.closure_recall(opening, opening_reference),
        "closure_precision": metrics.closure_precision(opening, opening_reference),
        "acceleration": metrics.acceleration_ratio(lips, lips_reference),
    }


def static_scores(reference: Array, geometry: Geometry) -> Scores:
    """:func:`score` of a face that stays neutral."""
    return score(np.zeros_like(reference), reference, geometry)


@torch.inference_mode()
def predict(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    seeds: Sequence[int],
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[LoadedClip, Array]]:
    """Samples ``[len(seeds), T, 52]`` for every clip, everything inferred from the sound.

    Equal to :meth:`DiffusionTalker.animate` with the same seed, but batched by length.
    """
    done = 0
    for group in _by_length(clips):
        lengths = torch.tensor([clip.frames for clip in group], device=model.device)
        features = model.features([clip.waveform for clip in group], lengths)
        embedding = model.personalizer(*model.infer_weights(features, lengths))
        denoise = model.denoiser(features, embedding, lengths)
        count = model.config.steps if steps is None else steps
        drawn = []
        for seed in seeds:
            noise = _padded_noise(group, seed).to(model.device)
            drawn.append(
                sample_ddim(denoise, noise, count, model.config.noise_shift, model.spread())
            )
        for clip, samples in zip(group, torch.stack(drawn, 1)):
            yield clip, model.finish(samples[:, : clip.frames], clip.waveform).cpu().numpy()
        done += len(group)
        if progress:
            progress(done, len(clips))


def _by_length(clips: Sequence[LoadedClip]) -> Iterator[list[LoadedClip]]:
    group: list[LoadedClip] = []
    for clip in sorted(clips, key=lambda clip: clip.frames):
        if group and clip.frames * (len(group) + 1) > BATCH_FRAMES:
            yield group
            group = []
        group.append(clip)
    if group:
        yield group


def _padded_noise(clips: Sequence[LoadedClip], seed: int) -> torch.Tensor:
    noises = [draw_noise(clip.frames, noise_generator(clip.waveform, seed)) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(noises, batch_first=True)


@dataclass(frozen=True)
class ClipResult:
    """One clip's figures: of one sample, of the mean of several, and of a static face."""

    clip: LoadedClip
    sample: Scores
    mean: Scores | None
    static: Scores


def evaluate(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    head: Head,
    samples: int = 1,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ClipResult]:
    """Scores of all clips with motion; ``samples`` above 1 also judges their mean."""
    geometry = Geometry(head)
    results = []
    with_motion = [clip for clip in clips if clip.coefficients is not None]
    seeds = range(seed, seed + samples)
    for clip, drawn in predict(model, with_motion, seeds, steps, progress):
        reference = clip.coefficients
        assert reference is not None
        mean = score(drawn.mean(0), reference, geometry) if samples > 1 else None
        results.append(
            ClipResult(
                clip, score(drawn[0], reference, geometry), mean, static_scores(reference, geometry)
            )
        )
    return results


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """Mean over clips of every figure; clips in which a figure is not defined are left out."""
    scores = list(scores)
    return {key: _defined_mean([s[key] for s in scores]) for key in (scores[0] if scores else ())}


def _defined_mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def summarise(results: Sequence[ClipResult], mean_of_samples: bool = False) -> Scores:
    """Means over clips, with LVE, EVE and FDD-mm also as fractions of a static neutral face."""
    chosen = [r.mean if mean_of_samples and r.mean is not None else r.sample for r in results]
    means, static = mean_scores(chosen), mean_scores(r.static for r in results)
    for name, of in _OF_STATIC.items():
        still = static.get(of, 0.0)
        means[name] = means[of] / still if still > 0 else float("nan")
    return means


def groups(results: Sequence[ClipResult], seen: Iterable[str]) -> dict[str, list[ClipResult]]:
    """All clips, each data set, seen and unseen speakers (clips of unknown speakers in neither)."""
    seen = set(seen)
    named: dict[str, list[ClipResult]] = {"all": list(results)}
    for name in sorted({r.clip.clip.set for r in results}):
        named[name] = [r for r in results if r.clip.clip.set == name]
    labelled = [r for r in results if r.clip.clip.speaker]
    named["seen speakers"] = [r for r in labelled if r.clip.clip.speaker in seen]
    named["unseen speakers"] = [r for r in labelled if r.clip.clip.speaker not in seen]
    return {name: members for name, members in named.items() if members}


@torch.inference_mode()
def retrieval(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> dict[str, Scores]:
    """Top-1 accuracy of the personalizer over ``all`` clips and for each data set.

    Identity is judged on clips of seen speakers, emotion on clips of unseen ones.
    """
    hits: dict[str, dict[str, list[bool]]] = {}
    identity, emotion = model.personalizer.identity, model.personalizer.emotion
    for group in _by_length(clips):
        lengths = torch.tensor([clip.frames for clip in group], device=model.device)
        features = model.features([clip.waveform for clip in group], lengths)
        found = model.infer_weights(features, lengths, "hard")
        for clip, who, how in zip(group, found[0].argmax(-1), found[1].argmax(-1)):
            label = clip.clip
            if label.speaker in identity.labels:
                kind, hit = "identity", identity.labels[int(who)] == label.speaker
            elif label.emotion in emotion.labels:
                kind, hit = "emotion", emotion.labels[int(how)] == label.emotion
            else:
                continue
            for name in ("all", label.set):
                hits.setdefault(name, {}).setdefault(kind, []).append(hit)
    hits.setdefault("all", {})
    return {
        name: {kind: _defined_mean(of.get(kind, ())) for kind in ("identity", "emotion")}
        for name, of in hits.items()
    }


def assess(
    model: DiffusionTalker, clips: Sequence[LoadedClip], results: Sequence[ClipResult]
) -> dict[str, dict[str, Scores]]:
    """Tables of one model: ``sample``, ``mean`` (of several, if drawn) and ``retrieval``.

    The first two have a row of :func:`summarise` for each of :func:`groups`, with the number of
    ``clips`` in it; no row where no clip has motion. The third is :func:`retrieval`'s.
    """
    named = groups(results, model.config.identities)
    several = any(result.mean is not None for result in results)
    kinds = ("sample", "mean") if several else ("sample",)
    tables = {
        kind: {
            name: {**summarise(members, kind == "mean"), "clips": float(len(members))}
            for name, members in named.items()
        }
        for kind in kinds
    }
    return {**tables, "retrieval": retrieval(model, clips)}


def write_figures(figures: Mapping[str, Any], path: Path) -> None:
    """Write figures as json, undefined ones as null.

    Raises:
        DtalkError: the place cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(without_nan(figures), indent=2) + "\n", encoding="utf-8")


def without_nan(value: Any) -> Any:
    """Undefined figures as None, for json."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
