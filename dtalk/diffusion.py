"""The noise schedule and the sampling steps of the diffusion, as pure functions.

Time is continuous, t in [0, 1]; a sampler with N steps visits t = k / N for k = N ... 0. Every
function takes coefficients ``[B, T, C]`` and times ``[B]`` (or scalars) and samples no noise of its
own: the caller passes it in, so that equal noise gives equal motion.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

COSINE_OFFSET = 0.008  # Nichol and Dhariwal (2021), section 3.2

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""x_t ``[B, T, C]`` and t ``[B]`` -> the predicted x_0 ``[B, T, C]``."""


def schedule(time: Tensor) -> tuple[Tensor, Tensor]:
    """Compute signal and noise scale (alpha_t, sigma_t) of the cosine schedule.

    alpha_t is the square root of the paper's alpha-bar (eq. 2), alpha^2 + sigma^2 = 1 and
    sigma_0 = 0. Source: Nichol and Dhariwal, "Improved DDPM" (2021), eq. 17, in continuous time.
    """
    angle = (time + COSINE_OFFSET) / (1 + COSINE_OFFSET) * (math.pi / 2)
    start = COSINE_OFFSET / (1 + COSINE_OFFSET) * (math.pi / 2)
    alpha = (torch.cos(angle) / math.cos(start)).clamp(0.0, 1.0)
    return alpha, torch.sqrt(1 - alpha.square())


def _scales(time: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Compute (alpha, sigma), shaped to multiply a [B, T, C] tensor, in float32 at least."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    time = torch.as_tensor(time, dtype=dtype, device=like.device)
    alpha, sigma = schedule(time)
    return alpha.reshape(-1, 1, 1), sigma.reshape(-1, 1, 1)


def add_noise(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Compute x_t = alpha_t x_0 + sigma_t eps (eqs. 1 and 2)."""
    alpha, sigma = _scales(time, clean)
    return alpha * clean + sigma * noise


def implied_noise(noisy: Tensor, clean: Tensor, time: Tensor) -> Tensor:
    """Solve eq. 2 for eps: the noise with which ``clean`` becomes ``noisy``; t > 0."""
    alpha, sigma = _scales(time, noisy)
    return (noisy - alpha * clean) / sigma


def ddim_step(noisy: Tensor, clean: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
    """Take one deterministic step from ``time`` to ``earlier``, given the predicted x_0.

    The form of the paper's eqs. 8 and 9. Source: Song et al., "DDIM" (2021), eq. 12, eta = 0.
    """
    return add_noise(clean, implied_noise(noisy, clean, time), earlier)


def ancestral_step(
    noisy: Tensor, clean: Tensor, time: Tensor, earlier: Tensor, noise: Tensor
) -> Tensor:
    """Take one random step x_t -> x_s, s < t, by the posterior q(x_s | x_t, x_0).

    The paper's eq. 3, written for a network that predicts x_0 and for steps of any length.
    Source: Ho et al., "DDPM" (2020), eqs. 6 and 7.
    """
    alpha, sigma = _scales(time, noisy)
    alpha_s, sigma_s = _scales(earlier, noisy)
    ratio = alpha / alpha_s
    variance = (sigma.square() - ratio.square() * sigma_s.square()).clamp(min=0)
    mean = (ratio * sigma_s.square() * noisy + alpha_s * variance * clean) / sigma.square()
    return mean + torch.sqrt(variance) * sigma_s / sigma * noise


def distillation_target(
    teacher: Denoiser, noisy: Tensor, time: Tensor, middle: Tensor, earlier: Tensor
) -> Tensor:
    """Compute the x_0 with which one step of the student lands where two of the teacher do.

    Eqs. 8, 9 and 10, read as in Salimans and Ho, "Progressive Distillation" (2022), algorithm 2
    (eq. 8 as printed conditions one evaluation on two steps). The teacher goes from ``time`` by
    ``middle`` to ``earlier``, ``[B]`` each; at ``earlier`` = 0 the target is its last prediction.
    """
    halfway = ddim_step(noisy, teacher(noisy, time), time, middle)
    landed = ddim_step(halfway, teacher(halfway, middle), middle, earlier)
    alpha, sigma = _scales(time, noisy)
    alpha_s, sigma_s = _scales(earlier, noisy)
    ratio = sigma_s / sigma
    return (landed - ratio * noisy) / (alpha_s - ratio * alpha)


def guided(denoise: Denoiser, baseline: Denoiser, strength: float) -> Denoiser:
    """Classifier-free guidance: scale by ``strength`` what a condition changes.

    1 is the condition as it was learned, 0 the baseline without it. Source: Ho and Salimans
    (2022), eq. 6, in terms of x_0.
    """
    if strength == 1:
        return denoise
    return lambda noisy, time: torch.lerp(baseline(noisy, time), denoise(noisy, time), strength)


def shifted(time: Tensor, shift: float) -> Tensor:
    """Shift times towards noise: sigma / alpha at each becomes ``shift`` times larger.

    Neighbouring frames are much alike, so a clip shows through the noise long before a single
    frame would; steps spread evenly over t spend themselves where all is known. Source: the same
    holds for pixels of large images, Hoogeboom et al., "simple diffusion" (2023), section 3.1.
    (Exact for the cosine without its small offset.) 0 and 1 stay where they are; shift 1 changes
    nothing.
    """
    if shift == 1:
        return time
    angle = time.double() * (math.pi / 2)
    moved = torch.atan2(shift * angle.sin(), angle.cos()) * (2 / math.pi)
    return moved.clamp(0, 1).to(time.dtype)


def time_grid(steps: int, device: torch.device | str = "cpu", shift: float = 1.0) -> Tensor:
    """List the times of a sampler with ``steps`` steps, 1 down to 0: ``[steps + 1]``.

    Evenly spaced, then :func:`shifted`. The grid of half as many steps is every second time.
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least 1 step, not {steps}")
    even = torch.arange(steps, -1, -1, device=device, dtype=torch.float32) / steps
    return shifted(even, shift)


def sample_ddim(
    denoise: Denoiser, noise: Tensor, steps: int, shift: float = 1.0, spread: Tensor | float = 1.0
) -> Tensor:
    """Sample x_0 ``[B, T, C]`` from x_1 = ``noise`` in ``steps`` deterministic steps.

    ``spread`` (a number, or ``[C]``) is how far the sample may stray from the mean: x_1 knows
    nothing of x_0, so the first prediction is the mean of all motions that suit the sound, and the
    sample's deviation from it is scaled. (Scaling the noise instead shows the network inputs that
    it has never seen, and it drifts.)
    """
    times = time_grid(steps, noise.device, shift)
    return _sample(
        denoise, noise, times, spread, lambda x, clean, t, s, _: ddim_step(x, clean, t, s)
    )


def sample_ancestral(
    denoise: Denoiser,
    noise: Tensor,
    steps: int,
    fresh: Tensor,
    shift: float = 1.0,
    spread: Tensor | float = 1.0,
) -> Tensor:
    """Sample as :func:`sample_ddim`, with ``fresh`` noise ``[steps - 1, B, T, C]`` at each step."""
    return _sample(
        denoise,
        noise,
        time_grid(steps, noise.device, shift),
        spread,
        lambda x, clean, t, s, index: ancestral_step(x, clean, t, s, fresh[index]),
    )


def _sample(
    denoise: Denoiser,
    noise: Tensor,
    times: Tensor,
    spread: Tensor | float,
    step: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor],
) -> Tensor:
    x, last = noise, len(times) - 2
    mean = clean = denoise(x, times[0].expand(len(x)))
    for index in range(last):
        x = step(x, clean, times[index], times[index + 1], index)
        clean = denoise(x, times[index + 1].expand(len(x)))
    # sigma_0 = 0: the last step lands on the network's own x_0.
    return torch.lerp(mean, clean, torch.as_tensor(spread, dtype=mean.dtype, device=mean.device))
