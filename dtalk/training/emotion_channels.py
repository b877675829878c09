"""Channels of a teacher's features that tell emotions apart, learned before all else.

Reduced-rank regression keeps what the face is linear in, and how a voice feels is hardly part of
that: a classifier of Whisper's own features, pooled over a clip, names more emotions than one of
their projection. So some of the projection's channels are learned as a classifier's, through the
same normalisation and pooling as the personalizer has. (Not in the paper.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.model import DiffusionTalker, pooled
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.training.batches import shares
from dtalk.training.config import TrainingConfig
from dtalk.training.observer import Observer

UPDATES, CLIPS, FRAMES = 700, 48, 120  # clips of an update, and frames of each
RATE, CLASSIFIER_RATE, DECAY = 3e-3, 2e-3, 0.05  # the decay is the classifier's
WIDTH = 192  # of the classifier
# What is left out of large features, pooled features and the classifier's hidden layer: there are
# few voices, and all are soon known by heart.
LARGE_DROPOUT, POOLED_DROPOUT, HIDDEN_DROPOUT = 0.5, 0.2, 0.3
SMOOTHING = 0.1  # of the labels
THINNED = 8  # frames of which one counts for the covariance
FLOOR = 1e-6  # of a channel's variance


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
    told = [clip for clip in clips if clip.clip.emotion in model.config.emotions]
    names = sorted({clip.clip.emotion for clip in told})
    if len(names) < 2:
        raise DataError("--emotion-channels is for clips of several emotions")
    observer.note(f"learning {count} channels that tell {len(names)} emotions apart")
    heard = [_standardised(encoder, clip) for clip in told]
    labels = torch.tensor([names.index(clip.clip.emotion) for clip in told])
    sampled = shares(told, config.balance)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        kept, learned = encoder.output.weight.detach().split(
            [encoder.output.out_features - count, count]
        )
        found = _learn(kept, learned, heard, labels, sampled, config.seed)
    with torch.no_grad():
        encoder.output.weight[-count:] = found
        encoder.output.bias[-count:] = 0


@torch.no_grad()
def _standardised(encoder: AdaptedEncoder, clip: LoadedClip) -> Tensor:
    """Large features ``[T, C]`` of a clip, of unit variance; 16 bits, for all are held at once."""
    features = encoder.prepare(torch.from_numpy(clip.waveform))
    return ((features - encoder.mean) / encoder.std).half()


def _learn(
    kept: Tensor,
    channels: Tensor,
    heard: Sequence[Tensor],
    labels: Tensor,
    sampled: np.ndarray | None,
    seed: int,
) -> Tensor:
    """Learn ``channels`` ``[N, C]``, beside those ``kept``, with a classifier that reads both."""
    generator = np.random.default_rng([seed, 3])
    covariance = _covariance(heard)
    learned = nn.Parameter(channels.clone())
    classifier = _classifier(len(kept) + len(learned), int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(
        [
            {"params": [learned], "lr": RATE, "weight_decay": 0.0},
            {"params": classifier.parameters(), "lr": CLASSIFIER_RATE, "weight_decay": DECAY},
        ]
    )
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / UPDATES)
    for _ in range(UPDATES):
        chosen = generator.choice(len(heard), CLIPS, p=sampled)
        pieces = [_piece(heard[index], generator) for index in chosen]
        lengths = torch.tensor([len(piece) for piece in pieces])
        large = functional.dropout(pad_sequence(pieces, batch_first=True), LARGE_DROPOUT)
        channels = of_unit_variance(learned, covariance)
        features = torch.cat([large @ kept.T, large @ channels.T], -1)
        features = functional.layer_norm(features, features.shape[-1:])
        scores = classifier(pooled(features, lengths))
        loss = functional.cross_entropy(scores, labels[chosen], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    return of_unit_variance(learned.detach(), covariance)


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


def _classifier(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(2 * channels, elementwise_affine=False),
        nn.Dropout(POOLED_DROPOUT),
        nn.Linear(2 * channels, WIDTH),
        nn.GELU(),
        nn.Dropout(HIDDEN_DROPOUT),
        nn.Linear(WIDTH, classes),
    )


def _piece(features: Tensor, generator: np.random.Generator) -> Tensor:
    """Some frames in a row, from anywhere in a clip."""
    start = int(generator.integers(max(0, len(features) - FRAMES) + 1))
    return features[start : start + FRAMES].float()
