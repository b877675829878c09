"""Channels that tell emotions apart: what is learned, what stays, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeLarge, Recorder, large_model, loaded_clip, tiny_model
from torch import Tensor

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.model import DiffusionTalker, pooled
from dtalk.speech.audio import frame_count
from dtalk.training import hearing_emotions
from dtalk.training.config import TrainingConfig
from dtalk.training.hearing_emotions import learn_emotion_channels, learn_to_hear, of_unit_variance

CHANNELS, EMOTIONS = 3, ("happy", "sad")


class Moody(FakeLarge):
    """Noise; in the last channel its mean is as the clip's second sample says, 1 or -1."""

    def __call__(self, waveform: np.ndarray) -> Tensor:
        seed = int(np.abs(waveform).sum() * 1000) % 2**31
        noise = torch.randn(
            frame_count(len(waveform)), self.width, generator=torch.Generator().manual_seed(seed)
        )
        noise[:, -1] += 1.0 if waveform[1] > 0 else -1.0
        return noise


def moody_clips(count: int = 40) -> list[LoadedClip]:
    """Happy and sad ones in turn."""
    clips = [
        loaded_clip(f"c{number}", 60, number, emotion=EMOTIONS[number % 2], moving=False)
        for number in range(count)
    ]
    for number, clip in enumerate(clips):
        clip.waveform[1] = -0.1 if number % 2 else 0.1
    return clips


def moody_model(emotions: tuple[str, ...] = EMOTIONS, deaf: bool = True) -> DiffusionTalker:
    """A teacher whose projection may be deaf to the channel that tells emotions apart."""
    model = large_model(large=Moody(), emotions=emotions)
    weight = model.encoder.output.weight
    with torch.no_grad():
        weight[:, -1] = 0 if deaf else torch.linspace(-1, 1, len(weight))
    return model


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(hearing_emotions, "UPDATES", 60)
    monkeypatch.setattr(hearing_emotions, "RATE", 0.03)
    monkeypatch.setattr(hearing_emotions, "HEARING_UPDATES", 60)
    monkeypatch.setattr(hearing_emotions, "HEARING_RATE", 0.01)


def learn(
    model: DiffusionTalker, clips: list[LoadedClip], channels: int = CHANNELS, **settings: Any
) -> Recorder:
    observer = Recorder()
    there = Path("there")
    config = TrainingConfig(there, there, init=there, emotion_channels=channels, **settings)
    learn_emotion_channels(model, clips, config, observer)
    return observer


def hear(model: DiffusionTalker, clips: list[LoadedClip], **settings: Any) -> Recorder:
    observer = Recorder()
    learn_to_hear(model, clips, TrainingConfig(Path("there"), Path("there"), **settings), observer)
    return observer


def match_of(model: DiffusionTalker, clips: list[LoadedClip]) -> Tensor:
    with torch.no_grad():
        return model.personalizer.emotion.match(heard_by(model, clips))


def heard_by(model: DiffusionTalker, clips: list[LoadedClip]) -> Tensor:
    """Pooled features of whole clips."""
    lengths = torch.tensor([frame_count(len(clip.waveform)) for clip in clips])
    return pooled(model.features([clip.waveform for clip in clips], lengths), lengths)


def between(model: DiffusionTalker, clips: list[LoadedClip]) -> Tensor:
    """How far apart the two emotions are in each channel's mean, in spreads of one's clips."""
    with torch.no_grad():
        heard = heard_by(model, clips)
    happy, sad = heard[::2, : model.config.feature_width], heard[1::2, : model.config.feature_width]
    return (happy.mean(0) - sad.mean(0)).abs() / happy.std(0)


def test_the_last_channels_learn_what_tells_emotions_apart():
    model, clips = moody_model(), moody_clips()
    before, random = model.encoder.output.weight.clone(), torch.random.get_rng_state()
    deaf = between(model, clips)
    observer = learn(model, clips)
    after = model.encoder.output.weight
    assert torch.equal(after[:-CHANNELS], before[:-CHANNELS])
    heard = between(model, clips)
    assert deaf.max() < 1
    assert heard[-CHANNELS:].min() > 2 * heard[:-CHANNELS].max()
    assert observer.notes == [f"learning {CHANNELS} channels that tell 2 emotions apart"]
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(weight.grad is None for weight in model.parameters())


def test_channels_of_unit_variance():
    """Two features of variances 4 and 1, covariance 1: their sum has 7, the second alone 1."""
    covariance = torch.tensor([[4.0, 1.0], [1.0, 1.0]])
    found = of_unit_variance(torch.tensor([[1.0, 1.0], [0.0, 3.0]]), covariance)
    torch.testing.assert_close(found, torch.tensor([[7**-0.5] * 2, [0.0, 1.0]]))


def test_a_library_learns_to_hear_by_its_model():
    """Its entries stay; voices that it has not learned from are told apart too."""
    model, clips = moody_model(deaf=False), moody_clips()
    library = model.personalizer.emotion
    entries = library.entries.clone()
    observer = hear(model, clips[:24])
    assert torch.equal(library.entries, entries)
    match = match_of(model, clips[24:])
    assert match.argmax(-1).tolist() == [0, 1] * 8
    assert match.max(-1).values.mean() > 0.8
    assert observer.notes == ["learning what emotions sound like in the model's features"]
    assert all(weight.grad is None for weight in model.parameters())


def test_sets_without_labels_are_neutral():
    """Half of the clips, of a set that is said to be neutral, are learned as such."""
    model, clips = moody_model(("happy", "neutral"), deaf=False), moody_clips()
    calm = [loaded_clip(f"n{n}", 60, n, emotion="", set="talks", moving=False) for n in range(20)]
    for clip in calm:
        clip.waveform[1] = -0.1
    hear(model, [*clips[::2], *calm], neutral_sets=("talks",))
    assert match_of(model, clips).argmax(-1).tolist() == [0, 1] * 20


def test_a_clip_with_drawn_motion_counts_once():
    """As a clip of sound alone; the drawn ones, here of a wrong label, are passed over."""
    clips = moody_clips(12)
    drawn = [loaded_clip(f"c{n}", 60, n, emotion=EMOTIONS[0]) for n in range(12)]
    found = []
    for given in (clips, [*clips, *drawn]):
        model = moody_model(deaf=False)
        hear(model, given)
        found.append(model.personalizer.emotion.encode_audio[0].weight)
    assert torch.equal(*found)


def test_nothing_is_learned_where_there_is_nothing_to_tell_apart():
    model = moody_model(deaf=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert hear(model, moody_clips(8)[::2]).notes == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_learns_the_same():
    found = []
    for _ in range(2):
        model = moody_model()
        learn(model, moody_clips(8))
        found.append(model.encoder.output.weight.clone())
    assert torch.equal(*found)


def test_what_is_refused():
    clips, model = moody_clips(4), moody_model()
    with pytest.raises(DataError, match="is for clips of several emotions"):
        learn(model, clips[::2])
    width = model.config.feature_width
    with pytest.raises(DataError, match=f"--emotion-channels {width}: the features have no more"):
        learn(model, clips, width)


def test_a_small_encoder_is_refused():
    with pytest.raises(DataError, match="is for a model with a large encoder"):
        learn(tiny_model(), moody_clips(4))
