"""A student's bottom: copied from its teacher's large encoder, narrowed, its features kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dtalk.data.clips import LoadedClip
from dtalk.errors import CheckpointError
from dtalk.model import DiffusionTalker
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.bottom import Block, WhisperBottom
from dtalk.speech.encoders import BottomFeatures, CompressedEncoder
from dtalk.speech.feature_cache import GIGABYTE, FeatureCache
from dtalk.speech.loudness import level
from dtalk.training.config import DistillationConfig

CLIPS, LONGEST = 500, 8  # on which blocks are narrowed, and seconds of each
RIDGE = 1e-3  # relative to the mean variance of a block's activations


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
        copied = large.bottom(config.encoder_depth)
        if isinstance(copied, WhisperBottom) and config.block_width is not None:
            copied = narrowed(copied, config.block_width, config.blocks_at_face_rate, clips)
        encoder.bottom.load_state_dict(copied.state_dict())
    except (RuntimeError, KeyError) as error:  # other names or other shapes
        raise CheckpointError(
            f"{large.name} is not the kind of encoder that front end {config.front_end} is for"
        ) from error
    keep_features(encoder, config)


def keep_features(encoder: CompressedEncoder, config: DistillationConfig) -> None:
    """Let what the encoder is given be computed once a sound, from its weights as they are now."""
    folder, limit = config.cache, config.cache_gigabytes * GIGABYTE
    encoder.source = FeatureCache(BottomFeatures(encoder), folder, limit)


@torch.no_grad()
def narrowed(
    bottom: WhisperBottom, inner: int, at_face_rate: bool, clips: Sequence[LoadedClip]
) -> WhisperBottom:
    """A copy whose blocks have ``inner`` channels between their linear layers.

    Block by block those channels are kept that say most about what the block adds, and the second
    linear layer is fitted to them, and to what the blocks before have lost, by ridge regression.
    (Not in the paper. Half of a block's work is in its linear layers.)
    """
    sizes = bottom.width, len(bottom.blocks), at_face_rate
    whole, small = WhisperBottom(*sizes), WhisperBottom(*sizes, inner)
    whole.load_state_dict(bottom.state_dict())
    stem = {k: v for k, v in bottom.state_dict().items() if not k.startswith("blocks.")}
    small.load_state_dict(stem, strict=False)
    order = np.random.default_rng(0).permutation(len(clips))[:CLIPS]
    sounds = [level(clips[index].waveform[: LONGEST * SAMPLE_RATE]) for index in order]
    wanted = [whole.stem(torch.from_numpy(sound)[None]) for sound in sounds]
    found = wanted
    for block, smaller in zip(whole.blocks, small.blocks):
        assert isinstance(block, Block)
        assert isinstance(smaller, Block)
        wanted = [block(hidden) for hidden in wanted]
        _narrow(block, smaller, found, wanted)
        found = [smaller(hidden) for hidden in found]
    return small


def _narrow(
    block: Block, smaller: Block, given: Sequence[Tensor], wanted: Sequence[Tensor]
) -> None:
    """Fit a smaller block to make ``wanted`` ``[1, F, C]`` of what is ``given``, sound by sound."""
    for name in ("attention_norm", "linear_norm", "query", "key", "value", "joined"):
        getattr(smaller, name).load_state_dict(getattr(block, name).state_dict())
    attended = [block.attended(hidden) for hidden in given]
    activations = torch.cat([block.activations(hidden)[0] for hidden in attended])
    outputs = torch.cat([(whole - part)[0] for whole, part in zip(wanted, attended)])
    middle, mean = activations.mean(0), outputs.mean(0)
    activations -= middle
    gram = activations.T @ activations / len(activations)
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    cross = activations.T @ (outputs - mean) / len(activations)
    spread = torch.cat([whole[0] for whole in wanted]).std(0)
    kept = chosen(gram, cross / spread, len(smaller.inner.bias))
    solution = torch.linalg.solve(gram[kept][:, kept], cross[kept])
    _set_linear(smaller.inner, block.inner.weight[kept], block.inner.bias[kept])
    _set_linear(smaller.outer, solution.T, mean - middle[kept] @ solution)


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


def _set_linear(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
