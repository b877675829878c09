"""Starting points of training: statistics of the data, new models, weights of other models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dtalk.config import ModelConfig
from dtalk.data.clips import LoadedClip
from dtalk.errors import CheckpointError
from dtalk.model import COEFFICIENTS, DiffusionTalker
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.speech.feature_cache import GIGABYTE, FeatureCache
from dtalk.speech.pretrained import load_large_encoder
from dtalk.training.config import TrainingConfig
from dtalk.training.distributed import ranks, share, wait_for_all
from dtalk.utils.devices import device_of

MINIMUM_STD = 0.02  # channels that never move would else be scaled up without bound
STANDARDISED_CLIPS = 200  # whose large features are measured


def statistics(clips: Sequence[LoadedClip]) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mean ``[52]``, standard deviation ``[52]`` and covariance ``[52, 52]`` of frames."""
    frames = np.concatenate([c.coefficients for c in clips if c.coefficients is not None])
    covariance = np.cov(frames, rowvar=False)
    std = np.sqrt(np.diag(covariance)).clip(min=MINIMUM_STD)
    return tuple(torch.tensor(x, dtype=torch.float32) for x in (frames.mean(0), std, covariance))  # type: ignore[return-value]


# What experts have of their own, and how many rows each.
EXPERT_ROWS = {
    "heard.weight": COEFFICIENTS,
    "heard.bias": COEFFICIENTS,
    "choose.weight": 1,
    "choose.bias": 1,
}


@torch.no_grad()
def load_compatible(
    model: DiffusionTalker, source: DiffusionTalker, other_gru: bool = False
) -> None:
    """Load another model's weights into a model, library entries and experts by their names.

    A speech encoder of another kind is left as it is, and so are residual blocks that the source
    lacks, which add nothing until they are trained. Layers of a large encoder that only the model
    takes add nothing either.

    Args:
        other_gru: whether a GRU of another size is left as it is too, with what follows it.

    Raises:
        CheckpointError: the networks differ in more than their libraries and kinds of encoders.
    """
    by_name = bool(model.config.experts and source.config.experts)
    parts = _other_parts(model.config, source.config, other_gru)
    mine, theirs = (
        {
            name: value
            for name, value in _shared_weights(each, by_name).items()
            if not name.startswith(parts)
        }
        for each in (model, source)
    )
    mine = {k: v for k, v in mine.items() if k in theirs or not k.startswith("encoder.blocks.")}
    shapes = [{name: value.shape for name, value in weights.items()} for weights in (mine, theirs)]
    differing = [k for k in {**shapes[0], **shapes[1]} if shapes[0].get(k) != shapes[1].get(k)]
    if differing:
        raise CheckpointError(
            f"cannot start from {source.name or 'this model'}: {differing[0]} differs; "
            "give the same settings of the model"
        )
    for name, value in mine.items():
        value.copy_(theirs[name])
    for kind in ("identity", "emotion"):
        to, other = getattr(model.personalizer, kind), getattr(source.personalizer, kind)
        for index, label in enumerate(to.labels):
            if label in other.labels:
                to.entries[index] = other.entries[other.labels.index(label)]
    if by_name:
        _copy_experts(model, source)
    _copy_layers(model, source)


def _copy_layers(model: DiffusionTalker, source: DiffusionTalker) -> None:
    """Copy the projection of the layers that both take of one large encoder, if others differ."""
    to, of, large = model.encoder, source.encoder, model.large_encoder
    layers, theirs = model.config.layer, source.config.layer
    both = set(layers) & set(theirs)
    if not (isinstance(to, AdaptedEncoder) and isinstance(of, AdaptedEncoder) and large):
        return
    if layers == theirs or not both:
        return
    if large.fingerprint_at(max(theirs)) != source.config.large_fingerprint:
        return
    width = len(of.mean) // len(theirs)
    to.output.weight.zero_()
    to.output.bias.copy_(of.output.bias)
    for layer in both:
        here, there = (
            slice(width * place, width * (place + 1))
            for place in (layers.index(layer), theirs.index(layer))
        )
        to.mean[here], to.std[here] = of.mean[there], of.std[there]
        to.output.weight[:, here] = of.output.weight[:, there]


def _other_parts(mine: ModelConfig, theirs: ModelConfig, other_gru: bool) -> tuple[str, ...]:
    """How the names of parts begin that two networks need not share."""
    parts: tuple[str, ...] = ()
    if mine.encoder_key != theirs.encoder_key:
        parts += ("encoder.",)
    if other_gru and (mine.hidden_width, mine.layers) != (theirs.hidden_width, theirs.layers):
        parts += ("decoder.recurrent.", "decoder.output.")
    return parts


def _copy_experts(model: DiffusionTalker, source: DiffusionTalker) -> None:
    """Copy the linear priors of experts that both know, and how they are chosen."""
    known = source.config.experts
    for index, name in enumerate(model.config.experts):
        if name in known:
            for part, size in EXPERT_ROWS.items():
                to = model.decoder.guide.get_parameter(part)
                other = source.decoder.guide.get_parameter(part)
                row = known.index(name)
                to[size * index : size * (index + 1)] = other[size * row : size * (row + 1)]


def _shared_weights(model: DiffusionTalker, without_experts: bool) -> dict[str, Tensor]:
    """Get all weights but those that depend on the number of labels; of those, "unknown"'s."""
    weights = model.state_dict()
    if without_experts:
        for part in EXPERT_ROWS:
            del weights[f"decoder.guide.{part}"]
    return {k: v[-1] if k.endswith(".entries") else v for k, v in weights.items()}


def new_model(model_config: ModelConfig, config: TrainingConfig) -> DiffusionTalker:
    """Make an untrained model, with its large encoder attached if it has one.

    Raises:
        CheckpointError: the large encoder cannot be loaded.
    """
    device = device_of(config.device)
    if not model_config.uses_large_encoder:
        return DiffusionTalker(model_config).to(device)
    large = load_large_encoder(model_config.encoder, model_config.layer, device, config.precision)
    described = dataclasses.replace(
        model_config,
        encoder=large.name,
        layer=large.layers,
        large_width=large.width,
        large_fingerprint=large.fingerprint,
    )
    model = DiffusionTalker(described).to(device)
    model.attach(FeatureCache(large, config.cache, config.cache_gigabytes * GIGABYTE))
    return model


@torch.no_grad()
def standardise(model: DiffusionTalker, clips: Sequence[LoadedClip]) -> None:
    """Measure mean and spread of the motion, and of a large encoder's channels on some clips.

    Each rank encodes its share of them; then all read all from the cache.
    """
    mean, std, _ = statistics(clips)
    model.mean.copy_(mean)
    model.std.copy_(std)
    encoder = model.encoder
    if not isinstance(encoder, AdaptedEncoder):
        return
    chosen = clips[:: max(1, len(clips) // STANDARDISED_CLIPS)]
    if ranks() > 1:
        for clip in share(chosen):
            encoder.prepare(torch.from_numpy(clip.waveform))
        wait_for_all()
    features = torch.cat([encoder.prepare(torch.from_numpy(clip.waveform)) for clip in chosen])
    encoder.mean.copy_(features.mean(0))
    encoder.std.copy_(features.std(0).clamp(min=1e-3))
