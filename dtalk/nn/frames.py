"""Operations on padded sequences: masks, resampling."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from dtalk.motion.curves import FPS


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Make a boolean mask ``[B, frames]``, true on the first ``lengths[b]`` frames."""
    return torch.arange(frames, device=lengths.device)[None] < lengths[:, None]


def resample_features(
    features: Tensor, lengths: Tensor, frame_lengths: Tensor, rate: float, start: float
) -> Tensor:
    """Interpolate ``[B, F, C]`` linearly at the centres of the motion's frames -> ``[B, T, C]``.

    Feature j lies at ``(j + start) / rate`` seconds, face frame k at ``(k + 0.5) / 30`` s. Beyond
    its ends a sequence holds its last value. T is the largest of ``frame_lengths``.
    """
    centres = (counted(frame_lengths.max()) + 0.5) / FPS
    last = (lengths[:, None] - 1).to(centres.dtype)
    position = torch.minimum((centres * rate - start).clamp(min=0)[None], last)
    left = position.floor().long()
    right = torch.minimum(left + 1, lengths[:, None] - 1)
    weight = (position - left)[..., None].to(features.dtype)
    return torch.lerp(_take(features, left), _take(features, right), weight)


def counted(count: Tensor) -> Tensor:
    """The numbers from 0 to ``count`` - 1.

    The count is a tensor, so that an exported graph takes any length.
    """
    return torch.arange(cast(int, count), device=count.device)  # its types know only int


def _take(features: Tensor, index: Tensor) -> Tensor:
    """Gather features[b, index[b, t]] -> ``[B, T, C]``."""
    return features.gather(1, index[..., None].expand(-1, -1, features.shape[-1]))
