"""How a model hears emotions: channels of its features, and what of them its library listens to.

Reduced-rank regression keeps what the face is linear in, and how a voice feels is hardly part of
that: a classifier of Whisper's own features, pooled over a clip, names more emotions than one of
their projection. So some of the projection's channels can be learned as a classifier's, through the
same normalisation and pooling as the personalizer has. And a library hears more by its own model's
features, learned with much left out, than by what other losses make of it: there are few voices,
and they are soon known by heart. (Not in the paper.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.model import DiffusionTalker, Library, mlp, pooled
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.training.batches import AUDIO_ONLY_FRAMES, emotion_of, shares
from dtalk.training.config import TrainingConfig
from dtalk.training.linear_start import pooled_features
from dtalk.training.observer import Observer

UPDATES, RATE, FRAMES = 700, 3e-3, 120  # of the channels, from pieces of so many frames
READING_RATE, DECAY = 2e-3, 0.05  # of the classifier that reads them
HEARING_UPDATES, HEARING_RATE, HEARING_DECAY = 1500, 1e-3, 0.1  # of the library
CLIPS = 48  # of an update
LARGE_DROPOUT, POOLED_DROPOUT, HIDDEN_DROPOUT = 0.5, 0.2, 0.3
SMOOTHING = 0.1  # of the labels
THINNED = 8  # frames of which one counts for the covariance
FLOOR = 1e-6  # of a variance


def learn_emotion_channels(
    model: DiffusionTalker, clips: Sequence[LoadedClip], config: TrainingConfig, observer: Observer
) -> None:
    """Learn the last ``config.emotion_channels`` channels of a teacher's projection anew.

    The others stay as they are; what reads the features is to be fitted or trained afterwards.

    Raises:
        DataError: the model has no large encoder or fewer channels, or the clips no two emotions.
    """
    encoder, count = model.encoder, config.emotion_channels
    if not isinstance(encoder, AdaptedEncoder):
        raise DataError("--emotion-channels is for a model with a large encoder")
    if count >= encoder.output.out_features:
        raise DataError(f"--emotion-channels {count}: the features have no more than that")
    told, voices = _voices(model, clips, config)
    emotions = len(voices.labels.unique())
    if emotions < 2:
        raise DataError("--emotion-channels is for clips of several emotions")
    observer.note(f"learning {count} channels that tell {emotions} emotions apart")
    heard = [_standardised(encoder, clip) for clip in told]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        _learn_channels(encoder.output, count, heard, voices)


def learn_to_hear(
    model: DiffusionTalker, clips: Sequence[LoadedClip], config: TrainingConfig, observer: Observer
) -> None:
    """Learn from nothing what of its pooled features a model tells the known emotions by.

    The library's entries, which decide how an emotion looks, stay. Where the clips have no two
    emotions that it knows, nothing is done.
    """
    told, voices = _voices(model, clips, config)
    if len(voices.labels.unique()) < 2:
        return
    observer.note("learning what emotions sound like in the model's features")
    features = pooled_features(model, told)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        _learn_to_hear(model.personalizer.emotion, features, voices)


@dataclass(frozen=True)
class Voices:
    """Labels ``[N]`` of clips, the probability by which each is drawn, and by what.

    Without probabilities all are alike.
    """

    labels: Tensor
    shares: npt.NDArray[np.float64] | None
    generator: np.random.Generator

    def tell_apart(
        self,
        weights: Iterable[dict[str, Any]],
        updates: int,
        scores_of: Callable[[Sequence[int]], Tensor],
    ) -> None:
        """Train weights so that the scores ``[B, K]`` of clips say their labels."""
        optimizer = torch.optim.AdamW(list(weights))
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / updates)
        for _ in range(updates):
            drawn = self.generator.choice(len(self.labels), CLIPS, p=self.shares).tolist()
            loss = functional.cross_entropy(
                scores_of(drawn), self.labels[drawn], label_smoothing=SMOOTHING
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()


def _voices(
    model: DiffusionTalker, clips: Sequence[LoadedClip], config: TrainingConfig
) -> tuple[list[LoadedClip], Voices]:
    """List the clips whose emotion the model knows, each once: with drawn motion it comes again."""
    known = {name: index for index, name in enumerate(model.config.emotions)}
    told = [
        clip
        for clip in clips
        if emotion_of(clip.clip, config) in known
        and (clip.coefficients is None or clip.clip.motion is not None)
    ]
    labels = torch.tensor([known[emotion_of(c.clip, config)] for c in told], dtype=torch.long)
    shared = shares(told, config.balance)
    return told, Voices(labels, shared, np.random.default_rng([config.seed, 3]))


@torch.no_grad()
def _standardised(encoder: AdaptedEncoder, clip: LoadedClip) -> Tensor:
    """Large features ``[T, C]`` of a clip, of unit variance; 16 bits, for all are held at once."""
    features = encoder.prepare(torch.from_numpy(clip.waveform))[:AUDIO_ONLY_FRAMES]
    return ((features - encoder.mean) / encoder.std).half()


def _learn_channels(
    projection: nn.Linear, count: int, heard: Sequence[Tensor], voices: Voices
) -> None:
    """Learn a projection's last channels with a classifier that reads them all."""
    weight, covariance = projection.weight.detach(), _covariance(heard)
    kept, learned = weight[:-count], nn.Parameter(weight[-count:].clone())
    width = 2 * len(weight)
    classifier = mlp(width, len(weight), int(voices.labels.max()) + 1)

    def scores_of(drawn: Sequence[int]) -> Tensor:
        pieces = [_piece(heard[index], voices.generator) for index in drawn]
        large = functional.dropout(pad_sequence(pieces, batch_first=True), LARGE_DROPOUT)
        channels = torch.cat([kept, of_unit_variance(learned, covariance)])
        features = functional.layer_norm(large @ channels.T, (len(channels),))
        found = pooled(features, torch.tensor([len(piece) for piece in pieces]))
        return _with_dropout(classifier, functional.layer_norm(found, (width,)))

    read = {"params": classifier.parameters(), "lr": READING_RATE, "weight_decay": DECAY}
    voices.tell_apart(
        [{"params": [learned], "lr": RATE, "weight_decay": 0.0}, read], UPDATES, scores_of
    )
    projection.weight.data[-count:] = of_unit_variance(learned.detach(), covariance)
    projection.bias.data[-count:] = 0


def _learn_to_hear(library: Library, features: Tensor, voices: Voices) -> None:
    """Train all of a library but its entries on pooled features ``[N, 2C]``."""
    library.requires_grad_()  # which a stage of the encoder alone leaves frozen
    mean, std = features.mean(0), features.std(0).clamp(min=FLOOR)
    standard = (features - mean) / std
    for layer in library.encode_audio:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()

    def scores_of(drawn: Sequence[int]) -> Tensor:  # as Library.match has them
        sounds = functional.normalize(_with_dropout(library.encode_audio, standard[drawn]), dim=-1)
        return sounds @ library.encoded_entries().T / library.temperature

    weights = [w for name, w in library.named_parameters() if name != "entries"]
    hearing = {"params": weights, "lr": HEARING_RATE, "weight_decay": HEARING_DECAY}
    voices.tell_apart([hearing], HEARING_UPDATES, scores_of)
    library.zero_grad(set_to_none=True)
    first = library.encode_audio[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():  # so that it takes features as they are
        first.weight.div_(std)
        first.bias.sub_(first.weight @ mean)


def _with_dropout(layers: nn.Sequential, inputs: Tensor) -> Tensor:
    """Apply :func:`~dtalk.model.mlp`'s layers, leaving out some of the inputs and between."""
    first, act, last = layers
    hidden = act(first(functional.dropout(inputs, POOLED_DROPOUT)))
    return last(functional.dropout(hidden, HIDDEN_DROPOUT))


def of_unit_variance(channels: Tensor, covariance: Tensor) -> Tensor:
    """Scale channels ``[N, C]`` to variance 1 over features of this covariance ``[C, C]``.

    Louder ones would drown the others when a frame's features are normalised.
    """
    variance = (channels @ covariance * channels).sum(1, keepdim=True)
    return channels / variance.clamp(min=FLOOR).sqrt()


def _covariance(heard: Sequence[Tensor]) -> Tensor:
    """The covariance ``[C, C]`` of features of mean 0, of some frames."""
    frames = torch.cat([features[::THINNED].float() for features in heard])
    return frames.T @ frames / len(frames)


def _piece(features: Tensor, generator: np.random.Generator) -> Tensor:
    """Some frames in a row, from anywhere in a clip."""
    start = int(generator.integers(max(0, len(features) - FRAMES) + 1))
    return features[start : start + FRAMES].float()
