"""Linear parts of a model in closed form: most of a face's motion is linear in speech features.

Training starts from what ridge regression finds: the projection of a large encoder's features and
the decoder's linear prior in a teacher, the linear filter of a small encoder in a student. What is
left to the networks is what is not linear. (Not in the paper. On presenters' English the start
alone has the figures that gradient descent from random weights has not reached in 1,000 updates.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.heads.head import built_in
from dtalk.model import COEFFICIENTS, DiffusionTalker, pooled
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.speech.encoders import AdaptedEncoder, CompressedEncoder
from dtalk.training.batches import SPEECH
from dtalk.training.objective import Grams
from dtalk.training.observer import Observer
from dtalk.training.starting import statistics

CONTEXT = (-4, -2, 0, 2, 4)  # frames around a frame that the projection is chosen by
THINNED = 3  # of the frames every third is taken there: neighbours are alike
RIDGE, PRIOR_RIDGE, FILTER_RIDGE = 0.3, 0.3, 0.03  # relative to features of unit variance
OWN = 10.0  # times that a clip counts for the expert of its own set
SHARED = "+"  # between the names of the sets that share an expert
CHOICE_CLIPS = 300  # of each set, from which the choice is learned
CHOICE_DECAY = 0.01  # of the weights that choose an expert
FLOOR = 0.02  # of a variance, before its root is divided by
KEPT = 0.75  # share of the features that is chosen for the motion; the others vary most
FILTER_CLIPS = 2400  # on which a student's filter is fitted
FIRST_SHARE = 0.05  # of a network's usual first weights, where a linear part is there already
LONGEST = 8  # seconds of a clip without motion


class NormalEquations:
    """Ridge regression ``y = x B``, gathered part by part."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.gram, self.cross = torch.zeros(inputs, inputs), torch.zeros(inputs, outputs)
        self.count = 0.0

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Rows ``[N, inputs]`` and ``[N, outputs]``."""
        self.gram.addmm_(inputs.T, inputs)
        self.cross.addmm_(inputs.T, outputs)
        self.count += len(inputs)

    def add_all(self, others: NormalEquations, weight: float) -> None:
        """Add other equations, each as if it stood there ``weight`` times."""
        self.gram.add_(others.gram, alpha=weight)
        self.cross.add_(others.cross, alpha=weight)
        self.count += weight * others.count

    def solve(self, ridge: float, free: int = 0) -> Tensor:
        """B ``[inputs, outputs]``; the last ``free`` inputs are not held back."""
        penalty = torch.full((len(self.gram),), ridge * self.count)
        penalty[len(penalty) - free :] = 0
        return torch.linalg.solve(self.gram + penalty.diag(), self.cross)


class EquationsOfSets:
    """The normal equations of each data set, and what they come to for each expert."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._new = lambda: NormalEquations(inputs, outputs)
        self._sets: dict[str, NormalEquations] = {}

    def add(self, name: str, inputs: Tensor, outputs: Tensor) -> None:
        """Add rows ``[N, inputs]`` and ``[N, outputs]`` of one set."""
        self._sets.setdefault(name, self._new()).add(inputs, outputs)

    def together(self, favoured: Collection[str] = ()) -> NormalEquations:
        """Sum all sets; favoured ones count :data:`OWN` times."""
        total = self._new()
        for name, equations in self._sets.items():
            total.add_all(equations, OWN if name in favoured else 1.0)
        return total

    def of_experts(self, experts: Sequence[str]) -> Iterable[NormalEquations]:
        """Each expert's equations, in which its own sets count most; without experts, of all."""
        return (self.together(sets_of(expert)) for expert in experts or ("",))


def sets_of(expert: str) -> list[str]:
    """The names of an expert's data sets, such as ``crema+ravdess3d``."""
    return expert.split(SHARED)


def expert_by_set(experts: Sequence[str]) -> dict[str, int]:
    """Number the experts by the names of the data sets that have one."""
    return {name: k for k, expert in enumerate(experts) for name in sets_of(expert)}


def in_context(frames: Tensor, around: Sequence[int]) -> Tensor:
    """Each frame of ``[T, C]`` beside those ``around`` it, 0 beyond the ends: ``[T, N * C]``."""
    reach = max(map(abs, around))
    padded = functional.pad(frames, (0, 0, reach, reach))
    return torch.cat([padded[reach + k : reach + k + len(frames)] for k in around], -1)


def _with_constant(inputs: Tensor) -> Tensor:
    return functional.pad(inputs, (0, 1), value=1.0)


def _parts(clips: Sequence[LoadedClip], size: int = 60) -> Iterable[Sequence[LoadedClip]]:
    """Part the clips, each part of one data set."""
    for _, group in itertools.groupby(sorted(clips, key=_set_of), _set_of):
        of_set = list(group)
        yield from (of_set[start : start + size] for start in range(0, len(of_set), size))


def _set_of(clip: LoadedClip) -> str:
    return clip.clip.set


@torch.no_grad()
def start_linear(model: DiffusionTalker, clips: Sequence[LoadedClip], observer: Observer) -> None:
    """Set a teacher's projection and linear prior from the clips that have motion.

    Raises:
        DataError: the model's encoder is not a large one.
    """
    encoder = model.encoder
    if not isinstance(encoder, AdaptedEncoder):
        raise DataError("--linear-start is for a model with a large encoder")
    observer.note("starting the linear parts from ridge regression")
    moving = [clip for clip in clips if clip.coefficients is not None]
    model.eval()
    _start_projection(model, encoder, moving)
    _start_prior(model, moving)
    _fit_choice(model, clips)


def keep_fitted(model: DiffusionTalker) -> None:
    """Train neither a large encoder's projection nor experts and their choice any further.

    Gradient descent soon chooses one expert for all voices, and the others' filters are lost; an
    expert of few clips learns them by heart.
    """
    if isinstance(model.encoder, AdaptedEncoder):
        model.encoder.requires_grad_(False)
    guide = model.decoder.guide
    if guide.choose is not None:
        guide.choose.requires_grad_(False)
        guide.heard.requires_grad_(False)


def _start_projection(
    model: DiffusionTalker, encoder: AdaptedEncoder, clips: Sequence[LoadedClip]
) -> None:
    """Reduced-rank regression: the directions of the features that say most about the face.

    Source: Izenman, "Reduced-rank regression for the multivariate linear model" (1975).
    """
    width, outputs = len(encoder.mean), COEFFICIENTS
    of_set = EquationsOfSets(len(CONTEXT) * width, outputs)
    for number, part in enumerate(_parts(clips)):
        pairs = [_features_and_motion(model, encoder, clip) for clip in part]
        thin = slice(number % THINNED, None, THINNED)
        of_set.add(
            part[0].clip.set,
            torch.cat([in_context(x, CONTEXT)[thin] for x, _ in pairs]),
            torch.cat([y[thin] for _, y in pairs]),
        )
    importance = _importance(model, clips)
    by_frame = torch.cat(
        [
            equations.solve(RIDGE).reshape(len(CONTEXT), width, outputs) @ importance
            for equations in of_set.of_experts(model.config.experts)
        ]
    )
    equations = of_set.together()
    centre = slice(CONTEXT.index(0) * width, (CONTEXT.index(0) + 1) * width)
    covariance = equations.gram[centre, centre] / equations.count
    root = matrix_power(covariance, lambda v: v.sqrt())
    unroot = matrix_power(covariance, lambda v: (v + FLOOR).rsqrt())
    kept = round(KEPT * len(encoder.output.bias))
    said = torch.linalg.svd(root @ torch.cat(list(by_frame), 1), full_matrices=False)[0][:, :kept]
    rest = root - said @ (said.T @ root)
    others = torch.linalg.svd(rest)[0][:, : len(encoder.output.bias) - kept]
    encoder.output.weight.copy_(torch.cat([said, others], 1).T @ unroot)
    encoder.output.bias.zero_()


def _features_and_motion(
    model: DiffusionTalker, encoder: AdaptedEncoder, clip: LoadedClip
) -> tuple[Tensor, Tensor]:
    """Standardised large features and coefficients, as many frames as both have."""
    assert clip.coefficients is not None
    features = (encoder.prepare(torch.from_numpy(clip.waveform)) - encoder.mean) / encoder.std
    frames = min(len(features), len(clip.coefficients))
    return features[:frames], model.normalise(torch.from_numpy(clip.coefficients[:frames]))


def _importance(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> Tensor:
    """A root ``[52, 52]`` of what errors of standardised coefficients cost on the head."""
    grams = Grams.of(built_in(), model.mean, model.std, statistics(clips)[2], model.device)
    cost = 2 * grams.lips + grams.upper_face + grams.opening
    return matrix_power(cost + torch.eye(COEFFICIENTS) / COEFFICIENTS, lambda v: v.sqrt())


def matrix_power(symmetric: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of the eigenvalues, none below 0, of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(symmetric)
    return vectors @ of(values.clamp(min=0)).diag() @ vectors.T


def _start_prior(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> None:
    """Ridge regression from F_a, which is normalised in every frame, to the motion."""
    guide = model.decoder.guide
    guide.constant.weight.zero_()
    guide.constant.bias.zero_()
    _fit_prior(model, clips)
    *_, last = model.decoder.output
    quieten(last)


def _fit_prior(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> None:
    """Fit filters and constants of the linear prior to what p does not already say."""
    guide = model.decoder.guide
    reach, width = guide.reach // 2, guide.heard.in_channels
    around = range(-reach, reach + 1)
    of_set = EquationsOfSets(len(around) * width + 1, COEFFICIENTS)
    for clip in clips:
        assert clip.coefficients is not None
        length = torch.tensor([len(clip.coefficients)])
        features = model.features([clip.waveform], length)
        said = guide.constant(model.personalizer(*model.infer_weights(features, length)))
        motion = model.normalise(torch.from_numpy(clip.coefficients)) - said
        of_set.add(clip.clip.set, _with_constant(in_context(features[0], around)), motion)
    solutions = [e.solve(PRIOR_RIDGE, free=1) for e in of_set.of_experts(model.config.experts)]
    taps = torch.stack([solution[:-1] for solution in solutions])
    taps = taps.reshape(len(solutions), len(around), width, COEFFICIENTS)
    guide.heard.weight.copy_(taps.permute(0, 3, 2, 1).flatten(0, 1))
    constants = torch.cat([solution[-1] for solution in solutions])
    if guide.heard.bias is None:
        guide.constant.bias.add_(constants)
    else:
        guide.heard.bias.copy_(constants)


@torch.no_grad()
def refit_prior(model: DiffusionTalker, clips: Sequence[LoadedClip], observer: Observer) -> None:
    """Fit a model's linear prior, and how it chooses experts, to its own features.

    A student's are not its teacher's: what pooled features say to the one misleads the other.
    """
    observer.note("fitting the linear prior to the model's features")
    model.eval()
    tracked = [c for c in clips if c.clip.motion is not None and c.coefficients is not None]
    _fit_prior(model, tracked)
    _fit_choice(model, clips)


def _fit_choice(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> None:
    """Logistic regression from the pooled F_a to the expert: the data set a clip is from.

    Voices that have no face are of the first expert. All sets count alike.
    """
    choose, experts = model.decoder.guide.choose, model.config.experts
    if choose is None:
        return
    number = {SPEECH: 0, **expert_by_set(experts)}
    known = [
        clip for name in number for clip in [c for c in clips if _set_of(c) == name][:CHOICE_CLIPS]
    ]
    labels = torch.tensor([number[clip.clip.set] for clip in known])
    weight, bias = logistic_regression(pooled_features(model, known), labels, len(experts))
    choose.weight.copy_(weight)
    choose.bias.copy_(bias)


@torch.no_grad()
def pooled_features(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> Tensor:
    """Compute pooled features ``[N, 2C]`` of clips, of at most :data:`LONGEST` seconds of each."""
    found = []
    for clip in clips:
        sound = clip.waveform[: LONGEST * SAMPLE_RATE]
        length = torch.tensor([frame_count(len(sound))])
        found.append(pooled(model.features([sound], length), length)[0])
    return torch.stack(found)


@torch.enable_grad()
def logistic_regression(inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit weights ``[K, D]`` and biases ``[K]`` of labels ``[N]`` given inputs ``[N, D]``.

    All classes weigh alike, however many clips each has.
    """
    mean, std = inputs.mean(0), inputs.std(0).clamp(min=1e-3)
    standard = (inputs - mean) / std
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    weight = torch.zeros(classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = functional.cross_entropy(
            standard @ weight.T + bias, labels, len(labels) / classes / counts
        )
        total = errors + CHOICE_DECAY * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = weight.detach() / std
    return found, bias.detach() - found @ mean


def quieten(last: nn.Module) -> None:
    """Let a network begin with next to nothing beside the linear part it is added to."""
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(FIRST_SHARE)
        last.bias.zero_()


@torch.no_grad()
def standardise_bottom(encoder: CompressedEncoder, clips: Sequence[LoadedClip]) -> None:
    """Measure mean and spread of what a student encoder's bottom gives, on some of the clips."""
    chosen = _filter_clips(clips)
    some = chosen[: math.ceil(len(chosen) / 6)]
    sample = torch.cat([encoder.prepare(_sound(clip))[::4] for clip in some])
    encoder.mean.copy_(sample.mean(0))
    encoder.std.copy_(sample.std(0).clamp(min=1e-3))


@torch.no_grad()
def fit_linear(
    encoder: CompressedEncoder, teacher: DiffusionTalker, clips: Sequence[LoadedClip]
) -> None:
    """Set a student encoder's filter to what comes nearest to the teacher's features."""
    standardise_bottom(encoder, clips)
    reach = encoder.reach // 2
    around = [step * encoder.dilation for step in range(-reach, reach + 1)]
    width = len(encoder.mean)
    equations = NormalEquations(len(around) * width + 1, encoder.output.out_features)
    for number, clip in enumerate(_filter_clips(clips)):
        sound = _sound(clip)
        length = torch.tensor([max(1, round(len(sound) / SAMPLE_RATE * FPS))])
        wanted = teacher.features([sound.numpy()], length)[0]
        found = encoder.standardised(encoder.prepare(sound)[None, : len(wanted)], length)[0]
        thin = slice(number % 4, None, 4)
        equations.add(_with_constant(in_context(found, around))[thin], wanted[: len(found)][thin])
    solution = equations.solve(FILTER_RIDGE, free=1)
    taps = solution[:-1].reshape(len(around), width, -1)
    encoder.linear.weight.copy_(taps.permute(2, 1, 0))
    assert encoder.linear.bias is not None
    encoder.linear.bias.copy_(solution[-1])
    quieten(encoder.output)


def _filter_clips(clips: Sequence[LoadedClip]) -> list[LoadedClip]:
    """Draw the clips that a student's filter is fitted on."""
    order = np.random.default_rng(0).permutation(len(clips))[:FILTER_CLIPS]
    return [clips[index] for index in order]


def _sound(clip: LoadedClip) -> Tensor:
    return torch.from_numpy(clip.waveform[: LONGEST * SAMPLE_RATE])
