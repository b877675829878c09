"""The noise schedule and the samplers, against hand-worked values and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtalk.diffusion import (
    add_noise,
    ancestral_step,
    ddim_step,
    distillation_target,
    guided,
    implied_noise,
    sample_ancestral,
    sample_ddim,
    schedule,
    shifted,
    time_grid,
)

times = st.floats(0.02, 0.98)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def at(time: float) -> Tensor:
    return torch.tensor(time, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_schedule_starts_with_all_signal_and_ends_with_none(dtype):
    alpha, sigma = schedule(torch.tensor([0.0, 1.0], dtype=dtype))
    assert alpha[0] == 1
    assert sigma[0] == 0
    assert alpha[1].item() == pytest.approx(0, abs=1e-15)
    assert sigma[1] == 1


def test_schedule_by_hand():
    # t = 1/2: cos(0.508/1.008 * pi/2) / cos(0.008/1.008 * pi/2) = 0.702685 / 0.999922
    alpha, sigma = schedule(torch.tensor([0.5]))
    assert alpha.item() == pytest.approx(0.70274, abs=1e-5)
    assert sigma.item() == pytest.approx(0.71145, abs=1e-5)


@given(st.floats(0, 1))
def test_schedule_is_nichol_and_dhariwals_alpha_bar(time):
    def f(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    alpha, sigma = schedule(at(time))
    assert alpha.item() ** 2 == pytest.approx(f(time) / f(0), abs=1e-12)
    assert alpha.item() ** 2 + sigma.item() ** 2 == pytest.approx(1, abs=1e-12)


def test_schedule_is_monotonic():
    alpha, sigma = schedule(torch.linspace(0, 1, 1001, dtype=torch.float64))
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()


def test_add_noise_by_hand():
    # eq. 2 at t = 1/2, times given a clip: 0.70274 * 2 + 0.71145 * 10, and t = 0, t = 1
    clean, noise = torch.full((3, 1, 2), 2.0), torch.full((3, 1, 2), 10.0)
    noisy = add_noise(clean, noise, torch.tensor([0.5, 0.0, 1.0]))
    assert noisy[0].tolist() == [pytest.approx([8.51995] * 2, abs=1e-4)]
    assert noisy[1].tolist() == [[2.0, 2.0]]
    assert noisy[2].tolist() == [[10.0, 10.0]]


@given(times)
def test_implied_noise_inverts_add_noise(time):
    clean, noise = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    torch.testing.assert_close(
        implied_noise(add_noise(clean, noise, at(time)), clean, at(time)), noise
    )


@given(times, st.floats(0, 1))
def test_ddim_step_with_the_true_clean_stays_on_the_path(time, share):
    earlier = at(time * share)
    clean, noise = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    stepped = ddim_step(add_noise(clean, noise, at(time)), clean, at(time), earlier)
    alpha, sigma = schedule(earlier)
    torch.testing.assert_close(stepped, alpha * clean + sigma * noise)


def test_ddim_step_to_zero_gives_the_prediction_itself():
    clean = normal(1, 3, 4, dtype=torch.float32)
    noisy = normal(1, 3, 4, seed=1, dtype=torch.float32)
    assert torch.equal(ddim_step(noisy, clean, torch.tensor(0.7), torch.tensor(0.0)), clean)


@given(times, st.floats(0.05, 0.95))
def test_ancestral_step_is_the_papers_equation_3(time, share):
    """One step of a DDPM, written with the predicted noise and beta as in the paper."""
    earlier = time * share
    (alpha, sigma), (alpha_s, sigma_s) = schedule(at(time)), schedule(at(earlier))
    clean, noise, fresh = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 3, 4, seed=2)
    noisy = add_noise(clean, noise, at(time))
    step_alpha = alpha**2 / alpha_s**2  # alpha_t = alpha-bar_t / alpha-bar_{t-1}
    beta = 1 - step_alpha
    posterior = beta * sigma_s**2 / sigma**2  # Ho et al., eq. 7
    expected = (noisy - beta / sigma * noise) / step_alpha.sqrt() + posterior.sqrt() * fresh
    stepped = ancestral_step(noisy, clean, at(time), at(earlier), fresh)
    torch.testing.assert_close(stepped, expected)


@given(times, st.floats(0.05, 0.95))
def test_ancestral_step_keeps_the_marginal_and_the_posteriors_covariance(time, share):
    """The step is linear in x_t, x_0 and the noise; its three factors fix mean and variance."""
    earlier = at(time * share)
    (alpha, sigma), (alpha_s, sigma_s) = schedule(at(time)), schedule(earlier)
    one, zero = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    of_noisy, of_clean, of_fresh = (
        ancestral_step(x, c, at(time), earlier, z).item()
        for x, c, z in ((one, zero, zero), (zero, one, zero), (zero, zero, one))
    )
    # x_s given x_0 must be N(alpha_s x_0, sigma_s^2), x_t given x_s N((alpha/alpha_s) x_s, ...)
    assert of_noisy * alpha.item() + of_clean == pytest.approx(alpha_s.item())
    variance = of_noisy**2 * sigma.item() ** 2 + of_fresh**2
    assert variance == pytest.approx(sigma_s.item() ** 2)
    covariance = of_noisy * sigma.item() ** 2
    assert covariance == pytest.approx((alpha / alpha_s * sigma_s**2).item())


def test_ancestral_step_to_zero_adds_no_noise():
    clean, noisy = normal(1, 3, 4), normal(1, 3, 4, seed=1)
    stepped = ancestral_step(noisy, clean, at(0.5), at(0.0), normal(1, 3, 4, seed=2) * 100)
    torch.testing.assert_close(stepped, clean)


@pytest.mark.parametrize(("steps", "expected"), [(1, [1, 0]), (4, [1, 0.75, 0.5, 0.25, 0])])
def test_time_grid(steps, expected):
    assert time_grid(steps).tolist() == expected


def test_shifted_by_hand():
    # tan(pi/2 * 1/2) = 1, three times as much noise: atan(3) * 2/pi = 0.795167
    assert shifted(torch.tensor(0.5), 3.0).item() == pytest.approx(0.795167, abs=1e-6)
    assert shifted(torch.tensor(0.5), 1 / 3).item() == pytest.approx(1 - 0.795167, abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.2, 5))
def test_shifted_multiplies_the_ratio_of_noise_to_signal(time, shift):
    moved = shifted(at(time), shift).item()
    ratio = math.tan(math.pi / 2 * moved) / math.tan(math.pi / 2 * time)
    assert ratio == pytest.approx(shift, rel=1e-9)


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.0, 7.5])
def test_a_shifted_grid_keeps_its_ends_and_its_halves(shift):
    grid = time_grid(16, shift=shift)
    assert grid[[0, -1]].tolist() == [1, 0]
    assert (grid.diff() < 0).all()
    assert torch.equal(time_grid(8, shift=shift), grid[::2])
    assert torch.equal(time_grid(16, shift=1.0), time_grid(16))


def test_guided_by_hand():
    def answer(value):
        return lambda noisy, time: torch.full_like(noisy, value)

    noisy, time = torch.zeros(1, 2, 3), torch.tensor([0.5])
    for strength, expected in ((0.0, 2.0), (1.0, 5.0), (2.0, 8.0), (0.5, 3.5)):
        found = guided(answer(5.0), answer(2.0), strength)(noisy, time)
        assert torch.equal(found, torch.full_like(noisy, expected))


def test_guided_asks_both_about_the_same():
    """Answers that depend on x_t and t: 2 (3 x + t) - (x - t) = 5 x + 3 t."""
    noisy, time = normal(2, 3, 4), torch.tensor([0.25, 0.75], dtype=torch.float64)
    found = guided(lambda x, t: 3 * x + t[:, None, None], lambda x, t: x - t[:, None, None], 2.0)(
        noisy, time
    )
    torch.testing.assert_close(found, 5 * noisy + 3 * time[:, None, None])


def test_guided_as_learned_is_the_denoiser_itself():
    """To the last bit, and without asking the baseline, which costs as much again."""

    def never(noisy: Tensor, time: Tensor) -> Tensor:
        raise AssertionError("asked")

    denoise = best_guess(3.0, 0.5)
    assert guided(denoise, never, 1) is guided(denoise, never, 1.0) is denoise
    with pytest.raises(AssertionError, match="asked"):
        guided(denoise, never, 1.5)(normal(1, 2, 3), at(0.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_schedule_is_exact_whatever_the_precision_of_predictions(dtype):
    """In bfloat16 alpha would be off by up to 0.2 %, and sigma near t = 0, 1 - alpha^2, by far
    more."""
    time, earlier = torch.tensor([0.05, 0.5, 0.9]), torch.tensor([0.02, 0.4, 0.8])
    clean = torch.tensor([0.5, -1.0, 2.0]).reshape(3, 1, 1)  # exact in any precision
    noise = torch.tensor([-0.25, 1.5, 1.0]).reshape(3, 1, 1)
    exact = add_noise(clean.double(), noise.double(), time.double())
    found = add_noise(clean.to(dtype), noise.to(dtype), time)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    noisy = exact.float()
    torch.testing.assert_close(
        ddim_step(noisy, clean.to(dtype), time, earlier),
        ddim_step(noisy, clean, time, earlier),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("steps", [0, -1])
def test_samplers_refuse_fewer_than_one_step(steps):
    noise = normal(1, 2, 3)
    with pytest.raises(ValueError, match=f"at least 1 step, not {steps}"):
        sample_ddim(lambda x, t: x, noise, steps)
    with pytest.raises(ValueError, match=f"at least 1 step, not {steps}"):
        sample_ancestral(lambda x, t: x, noise, steps, noise[None])


class Recording:
    """A denoiser that always answers with the truth and keeps what it was asked."""

    def __init__(self, clean: Tensor) -> None:
        self.clean = clean
        self.asked: list[tuple[Tensor, Tensor]] = []

    def __call__(self, noisy: Tensor, time: Tensor) -> Tensor:
        assert time.shape == (len(noisy),)
        self.asked.append((noisy, time))
        return self.clean


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_sample_ddim_with_a_perfect_denoiser_walks_the_path_and_ends_at_the_truth(steps, shift):
    clean, noise = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    denoise = Recording(clean)
    assert torch.equal(sample_ddim(denoise, noise, steps, shift), clean)
    visited = [time[0].item() for _, time in denoise.asked]
    even = [k / steps for k in range(steps, 0, -1)]
    expected = [2 / math.pi * math.atan(shift * math.tan(math.pi / 2 * t)) for t in even]
    assert visited == pytest.approx(expected, abs=1e-6)
    for noisy, time in denoise.asked:
        torch.testing.assert_close(noisy, add_noise(clean, noise, time), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_sample_ancestral_with_a_perfect_denoiser_ends_at_the_truth(steps):
    clean, noise = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    denoise = Recording(clean)
    fresh = normal(steps - 1, 2, 3, 4, seed=2)
    assert torch.equal(sample_ancestral(denoise, noise, steps, fresh, 2.0), clean)
    assert torch.equal(denoise.asked[0][0], noise)
    visited = [time[0].item() for _, time in denoise.asked]
    assert visited == time_grid(steps, shift=2.0)[:-1].tolist()


def test_sample_ancestral_takes_new_noise_at_every_step():
    """Between the first and the last step each state holds its own part of ``fresh``."""
    clean, noise = torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)
    denoise = Recording(clean)
    sample_ancestral(denoise, noise, 3, torch.tensor([2.0, 5.0]).reshape(2, 1, 1, 1))
    first = ancestral_step(noise, clean, torch.tensor(1.0), torch.tensor(2 / 3), torch.tensor(2.0))
    second = ancestral_step(
        first, clean, torch.tensor(2 / 3), torch.tensor(1 / 3), torch.tensor(5.0)
    )
    assert denoise.asked[1][0].item() == pytest.approx(first.item(), rel=1e-5)
    assert denoise.asked[2][0].item() == pytest.approx(second.item(), rel=1e-5)
    assert first.item() != 0


# How far a sample may stray from the mean -------------------------------------------------------


def first_2_then_5(noisy: Tensor, time: Tensor) -> Tensor:
    """2 where nothing but noise is to be seen, 5 as soon as there is more."""
    return torch.where((time == 1)[:, None, None], 2.0, 5.0) * torch.ones_like(noisy)


def sampled(ancestral: bool, denoise, noise: Tensor, steps: int, *options) -> Tensor:
    """Either sampler, with the same fresh noise every time."""
    if ancestral:
        fresh = normal(steps - 1, *noise.shape, seed=9, dtype=noise.dtype)
        return sample_ancestral(denoise, noise, steps, fresh, *options)
    return sample_ddim(denoise, noise, steps, *options)


both_samplers = pytest.mark.parametrize("ancestral", [False, True])


@both_samplers
@pytest.mark.parametrize(
    ("spread", "expected"), [(0.0, 2.0), (0.5, 3.5), (1.0, 5.0), (2.0, 8.0), (-1.0, -1.0)]
)
def test_spread_by_hand(ancestral, spread, expected):
    """The first prediction, and from there a share of the way to the last."""
    noise = normal(2, 3, 4)
    found = sampled(ancestral, first_2_then_5, noise, 4, 1.0, spread)
    assert torch.equal(found, torch.full_like(noise, expected))


@both_samplers
def test_spread_by_channel(ancestral):
    spread = torch.tensor([0.0, 0.5, 1.0, 2.0])
    found = sampled(ancestral, first_2_then_5, torch.zeros(2, 3, 4), 2, 3.0, spread)
    assert torch.equal(found, torch.tensor([2.0, 3.5, 5.0, 8.0]).expand(2, 3, 4))


@both_samplers
def test_spread_is_linear_between_the_first_and_the_last_prediction(ancestral):
    denoise, noise = best_guess(3.0, 0.5), normal(2, 3, 4)
    answers = []

    def noting(noisy: Tensor, time: Tensor) -> Tensor:
        answers.append(denoise(noisy, time))
        return answers[-1]

    full = sampled(ancestral, noting, noise, 5, 2.0)
    assert len(answers) == 5
    assert (answers[-1] - answers[0]).abs().min() > 1e-3
    torch.testing.assert_close(full, answers[-1], atol=1e-14, rtol=1e-14)
    for spread in (0.0, 0.3, 1.7):
        expected = answers[0] + spread * (answers[-1] - answers[0])
        found = sampled(ancestral, denoise, noise, 5, 2.0, spread)
        torch.testing.assert_close(found, expected, atol=1e-14, rtol=1e-14)
    assert torch.equal(sampled(ancestral, denoise, noise, 5, 2.0, 0.0), answers[0])


@both_samplers
def test_spread_changes_nothing_of_what_the_network_is_shown(ancestral):
    """Scaled noise would be an input that it never saw in training."""
    noise = normal(2, 3, 4)
    seen = []
    for spread in (0.0, 1.0, 3.0):
        denoise = Recording(normal(2, 3, 4, seed=1))
        sampled(ancestral, denoise, noise, 4, 3.0, spread)
        seen.append([noisy for noisy, _ in denoise.asked])
    assert torch.equal(seen[0][0], noise)
    for other in seen[1:]:
        assert len(other) == 4
        assert all(map(torch.equal, seen[0], other))


@both_samplers
def test_a_single_step_is_the_mean_whatever_the_spread(ancestral):
    noise = normal(2, 3, 4)
    first = best_guess(3.0, 0.5)(noise, at(1.0))
    for spread in (0.0, 0.5, 1.0, 7.0):
        assert torch.equal(sampled(ancestral, best_guess(3.0, 0.5), noise, 1, 1.0, spread), first)


def best_guess(mean: float, spread: float):
    """E[x_0 | x_t] where x_0 is normally distributed: the denoiser training would end at."""

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        alpha, sigma = (scale.to(noisy.dtype).reshape(-1, 1, 1) for scale in schedule(time))
        gain = alpha * spread**2 / (alpha**2 * spread**2 + sigma**2)
        return mean + gain * (noisy - alpha * mean)

    return denoise


def test_ddim_carries_a_normal_distribution_over():
    # For data N(3, 0.5^2) the exact flow maps noise z to 3 + 0.5 z.
    noise = torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0], dtype=torch.float64).reshape(5, 1, 1)
    found = sample_ddim(best_guess(3.0, 0.5), noise, 500)
    torch.testing.assert_close(found, 3 + 0.5 * noise, atol=0.02, rtol=0)
    # The mean of all data does not depend on the noise, the deviation from it is scaled.
    for spread in (0.0, 0.5, 2.0):
        found = sample_ddim(best_guess(3.0, 0.5), noise, 500, 1.0, spread)
        torch.testing.assert_close(found, 3 + spread * 0.5 * noise, atol=0.02 * spread, rtol=1e-12)


def test_ancestral_sampling_draws_from_the_data_distribution():
    noise, fresh = normal(4000, 1, 1), normal(99, 4000, 1, 1, seed=1)
    found = sample_ancestral(best_guess(3.0, 0.5), noise, 100, fresh)
    assert found.mean().item() == pytest.approx(3, abs=0.05)
    assert found.std().item() == pytest.approx(0.5, abs=0.05)


def test_samplers_are_deterministic_and_depend_on_the_noise():
    denoise = best_guess(0.0, 1.0)
    noise, other, fresh = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(3, 2, 3, 4, seed=2)
    assert torch.equal(sample_ddim(denoise, noise, 4), sample_ddim(denoise, noise, 4))
    assert not torch.equal(sample_ddim(denoise, noise, 4), sample_ddim(denoise, other, 4))
    first, again, different = (
        sample_ancestral(denoise, noise, 4, f) for f in (fresh, fresh, fresh.flip(0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, different)


# The target of a student (eqs. 8 to 10) ----------------------------------------------------------


def a_teacher(seed: int):
    """Some smooth function of all of x_t and of t, with nothing to do with the truth."""
    mix, bias = normal(4, 4, seed=seed), normal(4, seed=seed + 1)

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        return torch.tanh(noisy @ mix) + bias * (3 * time.double()[:, None, None]).sin()

    return denoise


fractions = st.floats(0.05, 0.95)


def walk(time: float, first: float, second: float) -> tuple[Tensor, Tensor, Tensor]:
    """t > t' > t'' of two clips, the second clip's half as late."""
    both = torch.tensor([1.0, 0.5], dtype=torch.float64)
    return time * both, time * first * both, time * first * second * both


@given(times, fractions, st.floats(0, 0.95))
def test_a_teacher_that_knows_the_truth_gives_it_as_the_target(time, first, second):
    clean, noise = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    t, middle, earlier = walk(time, first, second)
    denoise = Recording(clean)
    target = distillation_target(denoise, add_noise(clean, noise, t), t, middle, earlier)
    torch.testing.assert_close(target, clean)
    (seen, at_t), (also_seen, at_middle) = denoise.asked
    assert torch.equal(seen, add_noise(clean, noise, t))
    torch.testing.assert_close(also_seen, add_noise(clean, noise, middle))
    assert torch.equal(at_t, t)
    assert torch.equal(at_middle, middle)


@given(times, fractions, st.floats(0, 0.95), st.integers(0, 20))
def test_one_step_with_the_target_lands_where_two_steps_of_the_teacher_do(
    time, first, second, seed
):
    """Eq. 10 is the inverse of the student's step, whatever the teacher says."""
    teacher, noisy = a_teacher(seed), normal(2, 3, 4, seed=seed + 2)
    t, middle, earlier = walk(time, first, second)
    target = distillation_target(teacher, noisy, t, middle, earlier)
    halfway = ddim_step(noisy, teacher(noisy, t), t, middle)
    landed = ddim_step(halfway, teacher(halfway, middle), middle, earlier)
    torch.testing.assert_close(ddim_step(noisy, target, t, earlier), landed, atol=1e-9, rtol=1e-9)
    assert (target - teacher(noisy, t)).abs().max() > 1e-6


@given(times, fractions, st.integers(0, 20))
def test_the_last_target_is_the_teachers_last_prediction(time, first, seed):
    teacher, noisy = a_teacher(seed), normal(2, 3, 4, seed=seed + 2)
    t, middle, _ = walk(time, first, 0.0)
    nothing = torch.zeros(2, dtype=torch.float64)
    target = distillation_target(teacher, noisy, t, middle, nothing)
    halfway = ddim_step(noisy, teacher(noisy, t), t, middle)
    assert torch.equal(target, teacher(halfway, middle))


def test_the_target_by_hand():
    """One number, x_t = 1; the teacher says 0 at t and 2 at t'. With sigma'' / sigma = 0:

    x_t' = sigma' / sigma, the target at t'' = 0 is 2. In the middle of the way eqs. 8 to 10 with
    (alpha, sigma) = (0, 1), (0.6, 0.8), (0.8, 0.6): x' = 0.8, the noise in it by 2 is
    (0.8 - 1.2) / 0.8 = -0.5, x'' = 1.6 - 0.3 = 1.3, and the target is (1.3 - 0.6) / 0.8.
    """
    with pytest.MonkeyPatch.context() as patch:
        table = {1.0: (0.0, 1.0), 0.5: (0.6, 0.8), 0.25: (0.8, 0.6), 0.0: (1.0, 0.0)}

        def by_table(time: Tensor) -> tuple[Tensor, Tensor]:
            pairs = [table[float(t)] for t in time]
            return torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])

        def teacher(noisy: Tensor, time: Tensor) -> Tensor:
            return torch.where(time == 1, 0.0, 2.0)[:, None, None].expand_as(noisy)

        patch.setattr("dtalk.diffusion.schedule", by_table)
        ends = torch.tensor([0.25, 0.0])
        one = torch.ones(2)
        target = distillation_target(teacher, torch.ones(2, 1, 1), one, one / 2, ends)
    assert target.flatten().tolist() == [pytest.approx(0.7 / 0.8), pytest.approx(2.0)]


def test_clips_of_a_batch_have_targets_of_their_own():
    teacher = a_teacher(0)
    noisy = normal(3, 2, 4)
    t = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    middle, earlier = t * 0.75, t * torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    together = distillation_target(teacher, noisy, t, middle, earlier)
    for row in range(3):
        one = slice(row, row + 1)
        alone = distillation_target(teacher, noisy[one], t[one], middle[one], earlier[one])
        torch.testing.assert_close(together[one], alone)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_student_that_gives_the_targets_samples_as_its_teacher_does(steps, shift):
    """n steps of the student are 2n of the teacher's: the same motion in the end."""
    teacher, noise = a_teacher(3), normal(2, 3, 4, seed=7)
    grid = time_grid(2 * steps, shift=shift)

    def student(noisy: Tensor, time: Tensor) -> Tensor:
        (step,) = [k for k in range(steps) if grid[2 * k] == time[0]]
        after = [grid[2 * step + n].expand(len(noisy)) for n in (1, 2)]
        return distillation_target(teacher, noisy, time, *after)

    found = sample_ddim(student, noise, steps, shift)
    expected = sample_ddim(teacher, noise, 2 * steps, shift)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
