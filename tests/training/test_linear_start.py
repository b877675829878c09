"""Closed-form starts: ridge regression, its projection, and the filter of a student's encoder."""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FakeLarge, Recorder, large_model, loaded_clip, tiny_config, tiny_model
from torch import Tensor

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.model import DiffusionTalker, pooled
from dtalk.speech.audio import frame_count
from dtalk.speech.encoders import CompressedEncoder
from dtalk.training import linear_start
from dtalk.training.linear_start import (
    EquationsOfSets,
    NormalEquations,
    fit_linear,
    in_context,
    logistic_regression,
    matrix_power,
    refit_prior,
    start_linear,
)

WIDTH, SAID = 40, 6
PATH = Path("there.npz")


@dataclass
class RandomLarge(FakeLarge):
    """Features that are noise, always the same for a sound."""

    width: int = WIDTH

    def __call__(self, waveform) -> Tensor:
        seed = int(np.abs(waveform).sum() * 1000) % 2**31
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(frame_count(len(waveform)), self.width, generator=generator)


def linear_clips(count: int = 24) -> list[LoadedClip]:
    """Motion that is linear in a few directions of :class:`RandomLarge`'s features."""
    directions = torch.linalg.qr(torch.randn(WIDTH, SAID, generator=seeded(1)))[0]
    to_face = 0.03 * torch.randn(SAID, 52, generator=seeded(2))
    clips = []
    for number in range(count):
        clip = loaded_clip(f"c{number}", 50, number)
        motion = 0.5 + RandomLarge()(clip.waveform) @ directions @ to_face
        clips.append(LoadedClip(clip.clip, clip.waveform, motion.numpy()))
    return clips


def motion_of(clip: LoadedClip) -> np.ndarray:
    assert clip.coefficients is not None
    return clip.coefficients


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normal_equations_find_the_line_through_points():
    """y = 2 x + 1, in two parts; held back, the slope shrinks and the free constant does not."""
    equations = NormalEquations(2, 1)
    for part in ([0.0, 1.0], [2.0, 3.0]):
        x = torch.tensor(part)[:, None]
        equations.add(torch.cat([x, torch.ones_like(x)], 1), 2 * x + 1)
    torch.testing.assert_close(equations.solve(0.0, free=1), torch.tensor([[2.0], [1.0]]))
    # Least (s x + c - y)^2 + 5 s^2, c free: s = 2 * 5 / (5 + 5), c = mean y - s mean x.
    held = equations.solve(5 / 4, free=1)
    torch.testing.assert_close(held, torch.tensor([[1.0], [2.5]]))


def test_a_set_counts_ten_times_for_its_own_expert():
    """y = c, of one input that is always 1: the mean of 0 (30 times) and 4 (10 times)."""
    of_set = EquationsOfSets(1, 1)
    of_set.add("news", torch.ones(30, 1), torch.zeros(30, 1))
    of_set.add("talks", torch.ones(10, 1), torch.full((10, 1), 4.0))
    assert of_set.together().solve(0.0).item() == pytest.approx(40 / 40)
    found = [
        equations.solve(0.0).item()
        for equations in of_set.of_experts(("news", "talks", "news+talks"))
    ]
    assert found == pytest.approx([40 / 310, 400 / 130, 40 / 40])
    (alone,) = of_set.of_experts(())
    assert alone.solve(0.0).item() == pytest.approx(1.0)


def test_logistic_regression_tells_classes_of_unequal_number_apart():
    inputs = torch.randn(220, 3, generator=seeded(3))
    labels = torch.tensor([0] * 200 + [1] * 20)
    inputs[labels == 1, 1] += 8
    weight, bias = logistic_regression(inputs, labels, 2)
    found = (inputs @ weight.T + bias).softmax(-1)
    assert (found.argmax(-1) == labels).all()
    # Classes weigh alike: halfway between their means both are as likely.
    halfway = torch.stack([inputs[labels == k].mean(0) for k in (0, 1)]).mean(0)
    assert (halfway @ weight.T + bias).softmax(-1)[0].item() == pytest.approx(0.5, abs=0.1)


def test_frames_in_context():
    frames = torch.tensor([[1.0], [2.0], [3.0]])
    assert in_context(frames, (-1, 0, 2)).tolist() == [[0, 1, 3], [1, 2, 0], [2, 3, 0]]


def test_root_of_a_matrix():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    root = matrix_power(matrix, lambda values: values.sqrt())
    torch.testing.assert_close(root @ root, matrix)


def test_a_started_prior_knows_linear_motion():
    """Six directions say all there is; a projection to eight channels keeps six of its own."""
    clips = linear_clips()
    model = large_model(large=RandomLarge(), feature_width=8)
    model.mean.fill_(0.5)
    observer = Recorder()
    start_linear(model, clips[:20], observer)
    assert observer.notes == ["starting the linear parts from ridge regression"]
    assert prior_error(model, clips[20:]) < 0.25
    assert prior_error(large_model(large=RandomLarge(), feature_width=8), clips[20:]) > 0.8


def test_started_experts_move_in_the_manner_of_their_sets():
    """Two sets with opposite motion, told apart by how loud they are."""
    clips = linear_clips(40)
    opposite = [
        LoadedClip(
            dataclasses.replace(clip.clip, set="news" if number % 2 else "talks"),
            clip.waveform,
            motion_of(clip) if number % 2 else 1 - motion_of(clip),
        )
        for number, clip in enumerate(clips)
    ]
    errors = {}
    for experts in ((), ("news", "talks"), ("news+other", "talks")):
        model = large_model(large=LouderTalks(opposite), feature_width=20, experts=experts)
        model.mean.fill_(0.5)
        start_linear(model, opposite[:30], Recorder())
        errors[experts] = prior_error(model, opposite[30:])
    assert errors["news", "talks"] < 0.4 < errors[()]
    assert errors["news+other", "talks"] == errors["news", "talks"]  # there is no clip of "other"


class LouderTalks(RandomLarge):
    """Features with one more channel that says which set a sound is from."""

    def __init__(self, clips: list[LoadedClip]) -> None:
        super().__init__()
        self.width = WIDTH + 1
        self.talks = {c.waveform.tobytes() for c in clips if c.clip.set == "talks"}

    def __call__(self, waveform) -> Tensor:
        self.width = WIDTH
        features = super().__call__(waveform)
        self.width = WIDTH + 1
        sign = 1.0 if np.asarray(waveform).tobytes() in self.talks else -1.0
        return torch.cat([features, torch.full((len(features), 1), sign)], 1)


@torch.no_grad()
def prior_error(model: DiffusionTalker, clips: list[LoadedClip]) -> float:
    """Share of the motion's variance that the linear prior does not know."""
    wrong = total = 0.0
    for clip in clips:
        length = torch.tensor([clip.frames])
        embedding = torch.zeros(1, model.config.embedding_width)
        found = model.decoder.guide(model.features([clip.waveform], length), embedding, length)[0]
        wanted = model.normalise(torch.from_numpy(clip.coefficients))
        wrong += float((found - wanted).square().sum())
        total += float((wanted - wanted.mean(0)).square().sum())
    return wrong / total


def test_a_started_network_adds_little_to_its_linear_prior():
    model = large_model(large=RandomLarge(), feature_width=8)
    before = model.decoder.output[-1].weight.clone()
    start_linear(model, linear_clips(6), Recorder())
    torch.testing.assert_close(model.decoder.output[-1].weight, 0.05 * before)
    assert model.decoder.output[-1].bias.abs().max() == 0


def test_only_a_model_with_a_large_encoder_starts_so():
    with pytest.raises(DataError, match="is for a model with a large encoder"):
        start_linear(tiny_model(), linear_clips(2), Recorder())


class LikeTheTeacher:
    """Bottom features in which the teacher's lie, two frames later."""

    def __init__(self, teacher: DiffusionTalker, width: int) -> None:
        self.teacher = teacher
        self.mix = torch.randn(teacher.config.feature_width, width, generator=seeded(5))

    def __call__(self, waveform) -> Tensor:
        length = torch.tensor([frame_count(len(waveform))])
        with torch.no_grad():
            features = self.teacher.features([waveform], length)[0]
        return torch.cat([features[2:], features[-2:]]) @ self.mix


def test_a_fitted_filter_finds_the_teachers_features():
    teacher = large_model(large=RandomLarge())
    torch.manual_seed(1)
    student = DiffusionTalker(tiny_config(encoder="whisper", encoder_depth=0, bottom_width=16))
    encoder = student.eval().encoder
    assert isinstance(encoder, CompressedEncoder)
    encoder.source = LikeTheTeacher(teacher, 16)  # type: ignore[assignment]
    clips = linear_clips(30)
    fit_linear(encoder, teacher, clips[:24])
    for clip in clips[24:]:
        length = torch.tensor([clip.frames])
        wanted = teacher.features([clip.waveform], length)[0]
        found = encoder(student.prepare([clip.waveform]), length)[0]
        middle = slice(4, -4)  # the ends of a clip are not those of the fake
        likeness = torch.nn.functional.cosine_similarity(found[middle], wanted[middle], dim=-1)
        assert likeness.mean() > 0.98


def test_a_refitted_prior_knows_what_its_own_features_say(monkeypatch):
    """Also beside what p says, and with experts chosen by its own pooled features.

    With little ridge, since these twenty clips have no noise that it would keep out.
    """
    monkeypatch.setattr(linear_start, "PRIOR_RIDGE", 0.01)
    clips = linear_clips()
    talks = [
        LoadedClip(
            dataclasses.replace(c.clip, set="talks", motion=PATH), c.waveform, c.coefficients
        )
        for c in clips
    ]
    drawn = LoadedClip(clips[0].clip, clips[0].waveform, 0 * motion_of(clips[0]))
    model = large_model(large=RandomLarge(), feature_width=WIDTH, experts=("talks", "news"))
    model.mean.fill_(0.5)
    untrained = copy.deepcopy(model)
    before = model.decoder.guide.constant.weight.clone()
    observer = Recorder()
    refit_prior(model, [*talks[:20], drawn], observer)
    assert observer.notes == ["fitting the linear prior to the model's features"]
    assert torch.equal(model.decoder.guide.constant.weight, before)
    assert prior_error(model, talks[20:]) < 0.25 < prior_error(untrained, talks[20:])
    length = torch.tensor([talks[20].frames])
    shares = model.decoder.guide.choose(
        pooled(model.features([talks[20].waveform], length), length)
    ).softmax(-1)
    assert shares[0, 0] > 0.5
