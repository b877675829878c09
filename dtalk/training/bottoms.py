"""A student's bottom: copied from its teacher's large encoder, narrowed, its features kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.checkpoint import load_model
from dtalk.data.clips import LoadedClip
from dtalk.errors import CheckpointError
from dtalk.model import DiffusionTalker
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.bottom import SHORTEST, Block, Bottom, WhisperBottom
from dtalk.speech.encoders import BottomFeatures, CompressedEncoder, SpeechEncoder
from dtalk.speech.feature_cache import GIGABYTE, FeatureCache
from dtalk.speech.front_ends import padded_to
from dtalk.speech.loudness import level
from dtalk.training.config import DistillationConfig

CLIPS, LONGEST = 500, 8  # on which a bottom is narrowed, and seconds of each
RIDGE = 1e-3  # relative to the mean variance of the channels


def copy_bottom(
    encoder: CompressedEncoder,
    teacher: DiffusionTalker,
    config: DistillationConfig,
    clips: Sequence[LoadedClip],
) -> None:
    """Give a student the first layers of its teacher's large encoder, narrowed if that is asked.

    Raises:
        CheckpointError: the teacher has no large encoder, or one of another kind.
    """
    large = teacher.large_encoder
    if large is None:
        raise CheckpointError(f"front end {config.front_end} wants a teacher with a large encoder")
    try:
        take_bottom(encoder.bottom, large.bottom(config.encoder_depth), clips)
    except (RuntimeError, KeyError) as error:  # other names or other shapes
        raise CheckpointError(
            f"{large.name} is not the kind of encoder that front end {config.front_end} is for"
        ) from error
    keep_features(encoder, config)


def keep_features(encoder: SpeechEncoder, config: DistillationConfig) -> None:
    """Let what a compressed encoder is given be computed once a sound, by its bottom as it is now.

    Other encoders have no bottom.
    """
    if isinstance(encoder, CompressedEncoder):
        folder, limit = config.cache, config.cache_gigabytes * GIGABYTE
        encoder.source = FeatureCache(BottomFeatures(encoder), folder, limit)


def load_encoder(model: DiffusionTalker, path: Path, clips: Sequence[LoadedClip]) -> None:
    """Take the small speech encoder of another model, whose bottom may be wider.

    Raises:
        CheckpointError: the file cannot be loaded, or its encoder is of another kind or size.
    """
    source = load_model(path, model.device)
    if source.config.encoder_key != model.config.encoder_key:
        raise CheckpointError(f"{path} has another kind of speech encoder")
    mine, theirs = model.encoder, source.encoder
    try:
        if isinstance(mine, CompressedEncoder) and isinstance(theirs, CompressedEncoder):
            take_bottom(mine.bottom, theirs.bottom, clips)
            theirs.bottom = mine.bottom
        mine.load_state_dict(theirs.state_dict())
    except RuntimeError as error:
        raise CheckpointError(f"the speech encoder in {path} has another size") from error


@torch.no_grad()
def take_bottom(bottom: Bottom, source: Bottom, clips: Sequence[LoadedClip]) -> None:
    """Give a bottom the weights of another, of which it keeps fewer channels where it is narrower.

    Part by part those channels are kept that say most about what follows, and the layer after them
    is fitted by ridge regression, also to what the parts before have lost. (Not in the paper. Most
    of the work is in the stem and in the blocks' linear layers, and much is said there twice.)

    Raises:
        RuntimeError: they differ in more.
    """
    if not isinstance(bottom, WhisperBottom) or not isinstance(source, WhisperBottom):
        bottom.load_state_dict(source.state_dict())
        return
    if not _narrower(bottom, source):
        raise RuntimeError("other sizes")
    mine, theirs = bottom.state_dict(), source.state_dict()
    same = {name: value for name, value in theirs.items() if value.shape == mine[name].shape}
    bottom.load_state_dict(same, strict=False)
    if len(same) < len(theirs):
        fitted = copy.deepcopy(bottom).cpu()
        _narrow(fitted, _at_rate_of(source, fitted).cpu(), clips)
        bottom.load_state_dict(fitted.state_dict())


def _narrow(bottom: WhisperBottom, whole: WhisperBottom, clips: Sequence[LoadedClip]) -> None:
    """Fit the parts of a bottom that are narrower than those of a whole one, on the CPU."""
    order = np.random.default_rng(0).permutation(len(clips))[:CLIPS]
    sounds = [_sound(clips[index]) for index in order]
    if bottom.first.out_channels < whole.first.out_channels:
        _narrow_stem(bottom, whole, sounds)
    wanted, found = ([each.stem(sound) for sound in sounds] for each in (whole, bottom))
    for block, smaller in zip(whole.blocks, bottom.blocks):
        assert isinstance(block, Block)
        assert isinstance(smaller, Block)
        wanted = [block(hidden) for hidden in wanted]
        if smaller.inner.out_features < block.inner.out_features:
            _narrow_block(smaller, block, found, wanted)
        found = [smaller(hidden) for hidden in found]


def _narrower(bottom: WhisperBottom, source: WhisperBottom) -> bool:
    """Whether a bottom has the parts of another, none of them wider, and as many channels."""
    mine, theirs = bottom.state_dict(), source.state_dict()
    return (
        bottom.width == source.width
        and mine.keys() == theirs.keys()
        and all(len(mine[name]) <= len(theirs[name]) for name in mine)
    )


def _at_rate_of(source: WhisperBottom, bottom: WhisperBottom) -> WhisperBottom:
    """A bottom with the weights of one and the rate of another."""
    copied = copy.deepcopy(source)
    copied.rate, copied.start, copied.grid = bottom.rate, bottom.start, bottom.grid
    return copied


def _sound(clip: LoadedClip) -> Tensor:
    """The samples ``[1, S]`` that a bottom hears of a clip."""
    levelled = torch.from_numpy(level(clip.waveform[: LONGEST * SAMPLE_RATE]))
    return padded_to(levelled, torch.tensor(SHORTEST))[None]


def _narrow_stem(bottom: WhisperBottom, whole: WhisperBottom, sounds: Sequence[Tensor]) -> None:
    """Fit a narrower stem: the second convolution sees three frames of fewer channels."""
    activations = [whole.first_activations(sound) for sound in sounds]
    heard = torch.cat([_windows(each) for each in activations])
    outputs = torch.cat([whole.second(each)[0].T for each in activations])
    middle = heard[:, :, 1]
    kept = _best(middle, outputs, outputs.std(0), bottom.first.out_channels)
    _set(bottom.first, whole.first.weight[kept], _bias(whole.first)[kept])
    weight, bias = _regression(heard[:, kept].flatten(1), outputs)
    _set(bottom.second, weight.T.unflatten(1, (len(kept), 3)), bias)


def _windows(activations: Tensor) -> Tensor:
    """The three frames ``[F, C, 3]`` that the second convolution sees of ``[1, C, 2 F]``."""
    return functional.pad(activations, (1, 1))[0].unfold(1, 3, 2).transpose(0, 1)


def _narrow_block(
    smaller: Block, block: Block, given: Sequence[Tensor], wanted: Sequence[Tensor]
) -> None:
    """Fit a smaller block to make ``wanted`` ``[1, F, C]`` of what is ``given``, sound by sound."""
    attended = [block.attended(hidden) for hidden in given]
    activations = torch.cat([block.activations(hidden)[0] for hidden in attended])
    outputs = torch.cat([(whole - part)[0] for whole, part in zip(wanted, attended)])
    spread = torch.cat([whole[0] for whole in wanted]).std(0)
    kept = _best(activations, outputs, spread, smaller.inner.out_features)
    _set(smaller.inner, block.inner.weight[kept], block.inner.bias[kept])
    weight, bias = _regression(activations[:, kept], outputs)
    _set(smaller.outer, weight.T, bias)


def _best(inputs: Tensor, outputs: Tensor, spread: Tensor, count: int) -> Tensor:
    """Numbers of the inputs ``[N, I]`` that say most about outputs ``[N, C]`` of a spread."""
    gram, cross = _moments(inputs, outputs / spread.clamp(min=1e-6))
    return chosen(gram, cross, count)


def _moments(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Covariances ``[I, I]``, with a ridge, and ``[I, C]``."""
    centred = inputs - inputs.mean(0)
    gram = centred.T @ centred / len(inputs)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    return gram, centred.T @ (outputs - outputs.mean(0)) / len(inputs)


def _regression(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight ``[I, C]`` and bias ``[C]`` of the ridge regression of outputs on inputs."""
    weight = torch.linalg.solve(*_moments(inputs, outputs))
    return weight, outputs.mean(0) - inputs.mean(0) @ weight


def chosen(gram: Tensor, cross: Tensor, count: int) -> Tensor:
    """Numbers ``[count]``, rising, of the inputs that say most about the outputs.

    Forward selection: one after another, each by what it explains beside those before.

    Args:
        gram: second moments of the inputs ``[N, N]``; cross: theirs with the outputs ``[N, C]``.
    """
    gram, cross = gram.clone(), cross.clone()
    left, found = torch.ones(len(gram), dtype=torch.bool), list[int]()
    floor = 1e-9 * gram.diagonal().max()
    for _ in range(count):
        explained = cross.square().sum(1) / gram.diagonal().clamp(min=floor)
        best = int(torch.where(left, explained, -1.0).argmax())
        left[best] = False
        found.append(best)
        share = gram[:, best] / gram[best, best].clamp(min=floor)
        cross.addr_(share, cross[best].clone(), alpha=-1)
        gram.addr_(share, gram[best].clone(), alpha=-1)
    return torch.tensor(sorted(found))


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _set(layer: nn.Linear | nn.Conv1d, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    assert layer.bias is not None
    layer.bias.copy_(bias)
