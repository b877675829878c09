"""Equations 4, 5, 6, 11, 12 and 14 to 16 and the vertex terms, with numbers worked by hand."""

from __future__ import annotations

import inspect
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtalk.diffusion import schedule
from dtalk.training.config import DistillationConfig
from dtalk.training.losses import (
    contrast,
    distillation,
    encoder_alignment,
    masked_mean,
    personal_contrast,
    pooled_alignment,
    reconstruction,
    student_loss,
    teacher_loss,
    truncated_snr,
    velocity_error,
    vertex_error,
    weigh,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_masked_mean_by_hand():
    values = torch.tensor([[1.0, 2.0, 100.0], [6.0, 100.0, 100.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert masked_mean(values, mask).item() == 3  # (1 + 2 + 6) / 3: frames, not clips, count


def test_reconstruction_by_hand():
    # Frame errors (1 + 9) / 2 = 5 and (0 + 4) / 2 = 2; the third frame is padding.
    predicted = torch.tensor([[[1.0, 3.0], [5.0, 2.0], [9.0, 9.0]]])
    target = torch.tensor([[[0.0, 0.0], [5.0, 4.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert reconstruction(predicted, target, mask).item() == 3.5


@given(st.integers(0, 100))
def test_vertex_error_is_the_mean_squared_distance_of_the_vertices(seed):
    basis = normal(5, 7, 3, seed=seed)  # 5 channels move 7 vertices
    predicted, target = normal(2, 4, 5, seed=seed + 1), normal(2, 4, 5, seed=seed + 2)
    gram = basis.flatten(1) @ basis.flatten(1).T / 7
    moved = torch.einsum("btc,cvk->btvk", predicted, basis)
    wanted = torch.einsum("btc,cvk->btvk", target, basis)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = (moved - wanted).square().sum(-1).mean(-1)[mask].mean()
    torch.testing.assert_close(vertex_error(predicted, target, gram, mask), expected)


def test_velocity_error_by_hand():
    # One channel, one vertex that moves 2 mm per unit: gram = 4.
    predicted = torch.tensor([[[0.0], [1.0], [3.0], [50.0]]])  # velocities 1, 2, (47)
    target = torch.tensor([[[5.0], [5.0], [6.0], [6.0]]])  # velocities 0, 1, (0)
    mask = torch.tensor([[True, True, True, False]])
    found = velocity_error(predicted, target, torch.tensor([[4.0]]), mask)
    assert found.item() == 4 * (1 + 1) / 2  # a constant offset costs nothing


def test_velocity_error_of_single_frames_is_zero():
    one = torch.ones(2, 1, 3)
    found = velocity_error(one, 2 * one, torch.eye(3), torch.ones(2, 1, dtype=torch.bool))
    assert found.item() == 0


@pytest.mark.parametrize("loss", ["reconstruction", "vertex", "velocity"])
def test_padded_frames_change_nothing(loss):
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    gram = normal(4, 4, seed=9)
    gram = gram @ gram.T
    predicted, target = normal(2, 5, 4).requires_grad_(), normal(2, 5, 4, seed=1)
    other = predicted.detach().clone()
    other[~mask] = 1e6
    other.requires_grad_()

    def value(p, t):
        if loss == "reconstruction":
            return reconstruction(p, t, mask)
        return (vertex_error if loss == "vertex" else velocity_error)(p, t, gram, mask)

    plain, padded = value(predicted, target), value(other, target + 3 * ~mask[..., None])
    assert plain.item() > 0
    torch.testing.assert_close(padded, plain)
    plain.backward()
    padded.backward()
    assert predicted.grad is not None
    assert other.grad is not None
    assert (other.grad[~mask] == 0).all()
    torch.testing.assert_close(other.grad[mask], predicted.grad[mask])


def test_no_real_frame_gives_zero_with_a_gradient():
    predicted = normal(2, 3, 4).requires_grad_()
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    total = (
        reconstruction(predicted, predicted.detach() + 1, nothing)
        + vertex_error(predicted, predicted.detach() + 1, torch.eye(4).double(), nothing)
        + velocity_error(predicted, predicted.detach() * 2, torch.eye(4).double(), nothing)
    )
    assert total.item() == 0
    total.backward()
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_contrast_by_hand():
    # Similarities 1, 0, 0.6 over tau = 0.5: the positive's share is e^2 / (e^2 + e^0 + e^1.2).
    library = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    audio = torch.tensor([[1.0, 0.0]])
    found = contrast(audio, library, torch.tensor([0]), torch.tensor(0.5))
    expected = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(1.2)))
    assert expected == pytest.approx(0.4604, abs=1e-4)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_contrast_is_the_mean_over_clips_with_a_label():
    library = torch.eye(2)
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = contrast(audio, library, torch.tensor([0, -1, 1]), torch.tensor(1.0))
    first, third = math.log(1 + math.exp(0 - 1)), math.log(1 + math.exp(0.6 - 0.8))
    assert found.item() == pytest.approx((first + third) / 2, abs=1e-6)


def test_clips_without_a_label_get_no_gradient():
    audio = normal(3, 4).requires_grad_()
    contrast(audio, normal(5, 4, seed=1), torch.tensor([2, -1, 0]), torch.tensor(0.1)).backward()
    assert audio.grad is not None
    assert (audio.grad[1] == 0).all()
    assert (audio.grad[[0, 2]] != 0).all()


def test_contrast_without_any_label_is_zero_with_a_gradient():
    audio = normal(2, 4).requires_grad_()
    found = contrast(audio, normal(5, 4, seed=1), torch.tensor([-1, -1]), torch.tensor(0.1))
    assert found.item() == 0
    found.backward()
    assert audio.grad is not None
    assert (audio.grad == 0).all()


def test_contrast_pulls_towards_the_positive_and_away_from_the_rest():
    audio = torch.zeros(1, 3, requires_grad=True)
    contrast(audio, torch.eye(3), torch.tensor([1]), torch.tensor(0.5)).backward()
    assert audio.grad is not None
    # d/da = (softmax - one-hot) / tau = (1/3, 1/3 - 1, 1/3) / 0.5
    torch.testing.assert_close(audio.grad, torch.tensor([[2 / 3, -4 / 3, 2 / 3]]))


def test_teacher_loss_by_hand():
    rec, contrasts = torch.tensor(2.0), [torch.tensor(10.0), torch.tensor(30.0)]
    assert teacher_loss(rec, contrasts, 0.5, 0.1).item() == pytest.approx(1 + 4)


# Distillation (eq. 11) ---------------------------------------------------------------------------


def test_truncated_snr_by_hand():
    alpha, sigma = torch.tensor([0.8, 0.6, 0.0, 0.96]), torch.tensor([0.6, 0.8, 1.0, 0.28])
    expected = torch.tensor([16 / 9, 1.0, 1.0, 144 / 12.25])
    torch.testing.assert_close(truncated_snr(alpha, sigma), expected)


@given(st.floats(0.001, 1), st.floats(0, 1))
def test_truncated_snr_is_never_below_1_and_falls_with_time(later, share):
    earlier = later * max(share, 0.01)
    first, second = (
        truncated_snr(*schedule(torch.tensor(t, dtype=torch.float64))).item()
        for t in (earlier, later)
    )
    assert first >= second >= 1
    if later < 0.495:  # just before the middle signal and noise are equal
        assert second > 1
    if later > 0.497:
        assert second == 1


def test_distillation_by_hand():
    # Squared errors a frame 1, 4 (mean over two channels), 2 and one of padding. The first clip
    # counts 9 times, the second once.
    predicted = torch.tensor([[[1.0, 1.0], [2.0, 2.0]], [[2.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    alpha, sigma = torch.tensor([0.9, 0.1]), torch.tensor([0.3, 0.9])  # 9; below 1, which is 1
    found = distillation(
        predicted, torch.zeros(2, 2, 2), alpha, sigma, partial(reconstruction, mask=mask)
    )
    assert found.item() == pytest.approx((9 * (1 + 4) + 1 * 2) / 3)


def test_distillation_where_noise_prevails_is_the_reconstruction():
    predicted, target = normal(3, 4, 5), normal(3, 4, 5, seed=1)
    alpha, sigma = schedule(torch.tensor([0.6, 0.9, 1.0], dtype=torch.float64))
    error = partial(reconstruction, mask=torch.ones(3, 4, dtype=torch.bool))
    found = distillation(predicted, target, alpha, sigma, error)
    torch.testing.assert_close(found, error(predicted, target))


@given(st.integers(0, 50))
def test_weigh_makes_squared_errors_count_as_often_as_it_says(seed):
    """Of any quadratic form: so a clip can be weighed in the norm of the reconstruction."""
    weight = 3 * torch.rand(2, generator=torch.Generator().manual_seed(seed)).double()
    predicted, target = normal(2, 4, 5, seed=seed), normal(2, 4, 5, seed=seed + 1)
    gram = normal(5, 5, seed=seed + 2)
    gram = gram @ gram.T
    mask = torch.ones(1, 4, dtype=torch.bool)
    for clip in range(2):
        one = slice(clip, clip + 1)
        first, second = (weigh(x[one], weight[one]) for x in (predicted, target))
        for error in (vertex_error, velocity_error):
            plain = error(predicted[one], target[one], gram, mask)
            torch.testing.assert_close(error(first, second, gram, mask), weight[clip] * plain)


def test_pooled_alignment_by_hand():
    """Centre (1, 1): deviations (1, 0) and (-1, 0) against (3, 4) and (0, -2)."""
    large = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    small = torch.tensor([[4.0, 5.0], [1.0, -1.0]])
    assert pooled_alignment(large, small).item() == pytest.approx(1 - (0.6 + 0) / 2)
    assert pooled_alignment(large, large).item() == pytest.approx(0, abs=1e-6)


# Alignment of encoders (eq. 12) ------------------------------------------------------------------


def test_encoder_alignment_by_hand():
    """Cosines 0.6, 1 and, in the other clip, 0: 1 - 1.6 / 3."""
    large = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[1.0, 1.0], [5.0, 5.0]]])
    small = torch.tensor([[[1.0, 0.0], [0.0, 7.0]], [[-3.0, 3.0], [-1.0, 0.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    assert encoder_alignment(large, small, mask).item() == pytest.approx(1 - 1.6 / 3)


@pytest.mark.parametrize(("small", "expected"), [("same", 0), ("orthogonal", 1), ("opposite", 2)])
def test_encoder_alignment_of_equal_orthogonal_and_opposite_features(small, expected):
    large = normal(2, 3, 4)
    turned = torch.stack([-large[..., 1], large[..., 0], -large[..., 3], large[..., 2]], -1)
    other = {"same": large, "orthogonal": turned, "opposite": -large}[small]
    found = encoder_alignment(large, other, torch.ones(2, 3, dtype=torch.bool))
    assert found.item() == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_encoder_alignment_knows_no_scale(first, second):
    large, small = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    mask = torch.ones(2, 3, dtype=torch.bool)
    scaled = encoder_alignment(first * large, second * small, mask)
    torch.testing.assert_close(scaled, encoder_alignment(large, small, mask))


@pytest.mark.parametrize("junk", [0.0, 1e6])
def test_encoder_alignment_ignores_padding(junk):
    """Also where a padded frame has no direction."""
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    large, small = normal(2, 4, 3), normal(2, 4, 3, seed=1).requires_grad_()
    found = encoder_alignment(
        large.masked_fill(~mask[..., None], junk), small * mask[..., None], mask
    )
    rows = [(large[0], small[0]), (large[1, :2], small[1, :2])]
    cosines = torch.cat([torch.cosine_similarity(a, b, -1) for a, b in rows])
    torch.testing.assert_close(found, 1 - cosines.mean())
    found.backward()
    assert small.grad is not None
    assert (small.grad[~mask] == 0).all()
    assert (small.grad[mask].abs().sum(-1) > 0).all()


# Personalized features (eq. 14) ------------------------------------------------------------------


def test_personal_contrast_by_hand():
    """Two clips, normalised to (1, 0), (0, 1) and (0.6, 0.8), (0, 1); tau = 0.5.

    Similarities of the first teacher 0.6 and 0, of the second 0.8 and 1: the second student's
    features are right, the first one's are nearer to the second teacher's than to its own.
    """
    teacher = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    student = torch.tensor([[3.0, 4.0], [0.0, 0.1]])
    found = personal_contrast(teacher, student, 0.5).item()
    first = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(0)))
    second = -math.log(math.exp(2) / (math.exp(1.6) + math.exp(2)))
    assert found == pytest.approx((first + second) / 2, abs=1e-6)
    assert found == pytest.approx(0.388148, abs=1e-6)


def test_personal_contrast_is_smallest_where_the_student_is_its_teacher():
    teacher = torch.eye(3, dtype=torch.float64)
    same = personal_contrast(teacher, teacher, 0.1).item()
    assert same == pytest.approx(math.log(1 + 2 * math.exp(-10)))
    for order in ([1, 2, 0], [1, 0, 2]):
        assert personal_contrast(teacher, teacher[order], 0.1).item() > same + 5


def test_personal_contrast_asks_for_each_teacher_among_the_students():
    """Not the other way round: a student that is near to both teachers costs its neighbour."""
    teacher = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = [(1.0, 0.0), (0.8, 0.6)]  # similarities of a teacher to the students
    shares = [math.log(sum(math.exp(s - row[i]) for s in row)) for i, row in enumerate(rows)]
    found = personal_contrast(teacher, student, 1.0).item()
    assert found == pytest.approx(sum(shares) / 2, abs=1e-6)
    assert personal_contrast(student, teacher, 1.0).item() != pytest.approx(found, abs=1e-3)


@given(st.floats(0.1, 50), st.integers(2, 6))
def test_personal_contrast_knows_no_scale_and_no_order(scale, count):
    teacher, student = normal(count, 5), normal(count, 5, seed=1)
    plain = personal_contrast(teacher, student, 0.1)
    torch.testing.assert_close(personal_contrast(scale * teacher, student / scale, 0.1), plain)
    flipped = personal_contrast(teacher.flip(0), student.flip(0), 0.1)
    torch.testing.assert_close(flipped, plain)


@pytest.mark.parametrize("count", [0, 1])
def test_personal_contrast_of_less_than_two_clips_is_zero_with_a_gradient(count):
    student = normal(count, 4, seed=1).requires_grad_()
    found = personal_contrast(normal(count, 4), student, 0.1)
    assert found.item() == 0
    found.backward()
    assert student.grad is not None
    assert (student.grad == 0).all()


# Eq. 16 ------------------------------------------------------------------------------------------


def test_student_loss_by_hand():
    tea, dis, ae, pc = (torch.tensor(value) for value in (3.0, 20.0, 0.5, 4.0))
    assert student_loss(tea, dis, ae, pc, 1.0, 2.0, 0.5).item() == pytest.approx(3 + 20 + 1 + 2)


@pytest.mark.parametrize(("name", "weight"), [
    ("reconstruction_weight", 1.0),  # lambda_1
    ("contrast_weight", 0.007),
    ("distillation_weight", 0.1),
    ("encoder_weight", 1.0),
    ("enhancer_weight", 0.05),  # lambda_5
])  # fmt: skip
def test_weights_are_the_papers(name, weight):
    assert inspect.signature(DistillationConfig).parameters[name].default == weight
