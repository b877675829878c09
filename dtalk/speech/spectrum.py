"""Energies in bands of frequency: by torch's FFT, and in exported graphs by matrix products.

ONNX Runtime transforms lengths that are no power of two slowly. So a graph takes the discrete
Fourier transform of a window's 400 samples in two steps (Cooley and Tukey, 1965): 16 transforms of
every 16th sample, of length 25, then for each of their 13 frequencies one over the 16 results. The
other frequencies are mirror images, the samples being real.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

WINDOW = 400  # samples, 25 ms
HOP = 160  # 10 ms

_SHARED = math.gcd(WINDOW, HOP)
_FIRST, _SECOND = 25, 16  # lengths of the two transforms; their product is the window
_HALF = _FIRST // 2 + 1  # frequencies of the first that are not mirror images


def band_energies(waveforms: Tensor, filters: Tensor, scale: float = 1.0) -> Tensor:
    """Compute band energies ``[B, F, bands]`` of ``[B, S]`` samples, S >= 400.

    Of the F = (S - 400) // 160 + 1 Hann windows that begin at every 160th sample. ``filters``
    ``[201, bands]`` weigh the squared magnitudes at 0, 40, ... 8000 Hz, which are divided by
    ``scale`` before.
    """
    frames = _frames(waveforms)
    if torch.onnx.is_in_onnx_export():
        return _power_by_products(frames) @ (filters[_bins()] * _once()[:, None] / scale)
    spectrum = torch.fft.rfft(frames * torch.hann_window(WINDOW, device=waveforms.device))
    power = (spectrum.real.square() + spectrum.imag.square()) / scale
    return power @ filters.to(waveforms.device)


def _frames(waveforms: Tensor) -> Tensor:
    """Cut windows ``[B, F, 400]`` at every 160th of ``[B, S]`` samples, from blocks of 80."""
    count = waveforms.shape[1] // _SHARED
    blocks = waveforms[:, : count * _SHARED].reshape(waveforms.shape[0], -1, _SHARED)
    step, each = HOP // _SHARED, WINDOW // _SHARED
    last = (count - each) // step * step
    return torch.cat([blocks[:, k : k + last + 1 : step] for k in range(each)], dim=-1)


def _power_by_products(frames: Tensor) -> Tensor:
    """Compute squared magnitudes ``[B, F, 208]`` of frames ``[B, F, 400]``; see ``_bins``."""
    first, second = _transforms()
    samples = frames.reshape(-1, _FIRST, _SECOND).permute(2, 0, 1)  # [16, B F, 25]
    partial = (samples @ first).reshape(_SECOND, -1, _HALF, 2)
    partial = partial.permute(2, 1, 0, 3).reshape(_HALF, -1, 2 * _SECOND)
    real, imaginary = (partial @ second).chunk(2, -1)  # [13, B F, 16] each
    power = (real.square() + imaginary.square()).permute(1, 0, 2)
    return power.reshape(frames.shape[0], -1, _HALF * _SECOND)


@cache
def _transforms() -> tuple[Tensor, Tensor]:
    """Matrices of both steps: ``[16, 25, 26]``, with the window in it, and ``[13, 32, 32]``.

    Real and imaginary parts lie side by side, interleaved between the steps.
    """
    slow, fast = torch.arange(_FIRST).double(), torch.arange(_SECOND).double()
    window = torch.hann_window(WINDOW, dtype=torch.float64).reshape(_FIRST, _SECOND)
    turn = -2 * math.pi / _FIRST * torch.outer(slow, slow[:_HALF])
    first = torch.stack([turn.cos(), turn.sin()], -1).flatten(1)  # [25, 26]
    turn = -2 * math.pi / WINDOW * fast[:, None] * _frequencies()[:, None]  # [13, 16, 16]
    real, imaginary = turn.cos(), turn.sin()
    of_real, of_imaginary = torch.cat([real, imaginary], -1), torch.cat([-imaginary, real], -1)
    second = torch.stack([of_real, of_imaginary], 2).reshape(_HALF, 2 * _SECOND, 2 * _SECOND)
    return (window.T[..., None] * first).float(), second.float()


def _frequencies() -> Tensor:
    """The frequency, 0 to 399, of each of the ``[13, 16]`` results."""
    return torch.arange(_HALF)[:, None] + _FIRST * torch.arange(_SECOND)


def _bins() -> Tensor:
    """The filters' row, 0 to 200, of each of the 208 results."""
    return torch.minimum(_frequencies(), WINDOW - _frequencies()).flatten()


def _once() -> Tensor:
    """1 where a frequency comes first among the 208 results, 0 where it comes again."""
    bins = _bins()
    return torch.tensor([float(b not in bins[:k]) for k, b in enumerate(bins)])
