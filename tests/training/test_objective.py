"""The objective of one update: random numbers, conditions, eq. 15 and its parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    JAW,
    WIDTHS,
    loaded_clip,
    tiny_config,
    training_config,
)
from runs import covariance_of, heard, trainer_of
from torch import Tensor

from dtalk.diffusion import time_grid
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.model import Library
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.training.batches import Batch, Share
from dtalk.training.config import TrainingConfig
from dtalk.training.objective import (
    Draw,
    Grams,
    condition,
    losses_of,
    motion_errors,
    region_gram,
    weighted,
)
from dtalk.training.starting import statistics
from dtalk.training.trainer import (
    Trainer,
)

CLIPS, FRAMES, STEPS = 4, 3, 8


def batch() -> Batch:
    """Clips with motion, all alike: only what is drawn for them can differ."""
    share = Share.of(CLIPS, CLIPS)
    unknown = torch.full((CLIPS,), -1)
    lengths = torch.full((CLIPS,), FRAMES)
    return Batch([], [], lengths, torch.zeros(CLIPS, FRAMES, 52), unknown, unknown, unknown, share)


def steps_of(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    config = training_config(Path("data"), Path("run"))
    return Draw.of(batch(), STEPS, generator, config).step


def test_every_clip_of_a_batch_meets_every_noise_level() -> None:
    """The levels of a batch are spread evenly, but in no order: else the first clips of a batch,
    which are the shortest, would never be seen with much noise."""
    drawn = torch.stack([steps_of(seed) for seed in range(100)])
    for row in drawn:
        assert [step // 2 for step in sorted(row.tolist())] == [0, 1, 2, 3]
    for clip in drawn.T:
        assert set(clip.tolist()) == set(range(STEPS))


def test_the_total_is_equation_15(data, tmp_path):
    weights = {"lip_weight": 2.0, "upper_weight": 1.5, "velocity_weight": 3.0, "guide_weight": 0.5}
    trainer = trainer_of(data, tmp_path, **weights)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    found = losses_of(
        trainer.model, batch, trainer.grams, torch.Generator().manual_seed(0), trainer.config
    )
    parts = {name: value.item() for name, value in found.items()}
    rec = parts["coefficients"] + 2 * parts["lips"] + 1.5 * parts["upper_face"]
    rec += 3 * parts["velocity"] + 0.5 * parts["guide"]
    expected = rec + 0.007 * (parts["identity"] + parts["emotion"])
    assert parts["total"] == pytest.approx(expected, rel=1e-6)
    assert all(value > 0 for value in parts.values())


def test_the_parts_of_the_loss_are_those_of_the_face(data, tmp_path, monkeypatch):
    """Each from the vertices it is named after; the guide is weighed like the prediction."""
    weights = {"lip_weight": 2.0, "upper_weight": 1.5, "velocity_weight": 3.0}
    trainer = trainer_of(data, tmp_path, **weights, label_share=1.0, retrieval_share=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    model, moving = trainer.model, len(batch.target)
    error = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(model.decoder, "forward", lambda *_: batch.target + error)
    monkeypatch.setattr(model.decoder.guide, "forward", lambda *_: batch.target - 0.5 * error)
    generator = torch.Generator().manual_seed(0)
    found = losses_of(model, batch, trainer.grams, generator, trainer.config)
    errors = [row[:n] for row, n in zip(error, batch.lengths[:moving].tolist())]
    head, variance = built_in(), torch.from_numpy(covariance_of(trainer)).double()

    def cost(region, moved) -> float:
        basis = torch.from_numpy(head.basis(region)).double()
        still = torch.einsum("cvk,cd,dvk->", basis, variance, basis)
        moved = torch.cat(moved).double() * model.std
        errors = torch.einsum("tc,cvk->tvk", moved, basis).square().sum((1, 2))
        return float((errors / still).mean())

    expected = {
        "coefficients": float(torch.cat(errors).square().mean()),
        "lips": cost(head.lips, errors),
        "upper_face": cost(head.upper_face, errors),
        "velocity": cost(head.lips, [row.diff(dim=0) for row in errors]),
    }
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(float(value), rel=1e-4), name
    whole = sum(
        float(expected[name]) * weight
        for name, weight in zip(expected, (1.0, *weights.values()), strict=True)
    )
    assert found["guide"].item() == pytest.approx(0.25 * whole, rel=1e-4)


@pytest.mark.parametrize(
    ("draw", "steps"),
    [
        (None, [0, 0, 1, 1, 2, 2]),
        (0.0, [0, 0, 1, 1, 2, 2]),
        (1 - 2**-24, [0, 1, 1, 2, 2, 2]),  # rounded up to the next step, but never past the last
    ],
)
def test_training_sees_the_times_of_the_sampler(data, tmp_path, monkeypatch, draw, steps):
    """All of them in every batch, as evenly as it goes; also at the ends of what is drawn."""
    trainer = trainer_of(data, tmp_path, model={**WIDTHS, "steps": 3}, batch_frames=1000)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    assert len(batch.target) == 6
    seen = []
    plain = trainer.model.decoder.forward

    def noting(noisy, time, *rest):
        seen.extend(time.tolist())
        return plain(noisy, time, *rest)

    monkeypatch.setattr(trainer.model.decoder, "forward", noting)
    if draw is not None:
        monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, draw))
    generator = torch.Generator().manual_seed(0)
    losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    grid = time_grid(3, shift=trainer.model.config.noise_shift)[:-1].tolist()
    assert sorted(seen, reverse=True) == [grid[step] for step in steps]


def gradients_of(trainer: Trainer, batch) -> dict[str, torch.Tensor | None]:
    trainer.model.zero_grad()
    parts = losses_of(
        trainer.model, batch, trainer.grams, torch.Generator().manual_seed(0), trainer.config
    )
    parts["total"].backward()
    return {
        name: None if p.grad is None else p.grad.clone()
        for name, p in trainer.model.named_parameters()
    }


def test_clips_without_motion_teach_the_personalizer_only(data, tmp_path):
    """Other sound in a clip without motion: what the decoder learns stays the same."""
    trainer = trainer_of(data, tmp_path, augment=0.0, label_share=1.0, retrieval_share=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    moving = len(batch.target)
    assert len(batch.inputs) == moving + 2
    torch.manual_seed(0)
    changed = [*batch.inputs[:moving], *(torch.randn_like(x) for x in batch.inputs[moving:])]
    plain = gradients_of(trainer, batch)
    other = gradients_of(trainer, dataclasses.replace(batch, inputs=changed))
    of_motion = ("decoder.", "personalizer.integrator.")
    of_sound = ("encoder.", "personalizer.identity.enc", "personalizer.emotion.enc")
    for name, gradient in plain.items():
        assert gradient is not None, name
        if name.startswith(of_motion):
            assert gradient.abs().max() > 0, name
            assert torch.equal(gradient, other[name]), name
        if name.startswith(of_sound):
            assert not torch.equal(gradient, other[name]), name


def test_retrieval_is_not_trained_through_the_reconstruction(data, tmp_path):
    """With no weight on the contrast nothing moves what finds entries in the sound."""
    trainer = trainer_of(data, tmp_path, contrast_weight=0.0, label_share=0.0, retrieval_share=1.0)
    source = trainer.batches(0)
    found = gradients_of(trainer, next(source))
    source.close()
    for name, gradient in found.items():
        if "encode_audio" in name or "encode_entry" in name or "temperature" in name:
            assert gradient is None or gradient.abs().max() == 0, name
    entries = found["personalizer.identity.entries"]
    assert entries is not None
    assert entries.abs().max() > 0  # but the entries themselves are


def test_a_share_of_the_clips_is_learned_without_their_sound(data, tmp_path, monkeypatch):
    found = {}
    for share in (0.0, 0.5, 1.0):
        settings = {"batch_frames": 1000, "audio_dropout": share, "augment": 0.0}
        trainer = trainer_of(data, tmp_path, **settings)
        source = trainer.batches(0)
        found[share] = heard(trainer, next(source), monkeypatch)
        source.close()
    (hearing, features), (_, some), (deaf, none) = found.values()
    assert (features.abs().amax((1, 2)) > 0).all()
    assert none.shape == features.shape
    assert none.abs().max() == 0
    kept = some.abs().amax((1, 2)) > 0
    assert 0 < kept.sum() < len(kept) == 6
    assert torch.equal(some[kept], features[kept])  # as a whole or not at all
    for name in ("identity", "emotion"):
        assert deaf[name] == hearing[name]  # retrieval still listens
    for name in ("coefficients", "lips", "guide"):
        assert deaf[name] != hearing[name]


def test_without_sound_the_motion_teaches_the_encoder_nothing(data, tmp_path):
    settings = {"label_share": 1.0, "retrieval_share": 0.0, "contrast_weight": 0.0}
    for share, learns in ((1.0, False), (0.0, True)):
        trainer = trainer_of(data, tmp_path, audio_dropout=share, **settings)
        source = trainer.batches(0)
        found = gradients_of(trainer, next(source))
        source.close()
        for name, gradient in found.items():
            if name.startswith("encoder."):
                assert (gradient is not None and bool(gradient.abs().max() > 0)) is learns, name
        entries = found["personalizer.emotion.entries"]
        assert entries is not None
        assert entries.abs().max() > 0


def test_padding_changes_no_loss(data, tmp_path):
    """More padding in the targets: the same losses and the same gradients."""
    trainer = trainer_of(data, tmp_path, augment=0.0)
    source = trainer.batches(0)
    batch = next(source)
    source.close()
    generator = torch.Generator().manual_seed(0)
    junk = batch.target.clone()
    for row, length in enumerate(batch.lengths[: len(junk)].tolist()):
        junk[row, length:] = 50.0
    assert not torch.equal(junk, batch.target)
    plain = losses_of(trainer.model, batch, trainer.grams, generator, trainer.config)
    generator.manual_seed(0)
    padded = losses_of(
        trainer.model,
        dataclasses.replace(batch, target=junk),
        trainer.grams,
        generator,
        trainer.config,
    )
    for name, value in plain.items():
        torch.testing.assert_close(padded[name], value, atol=1e-6, rtol=1e-5)


def test_region_gram_by_hand():
    """Two channels move two vertices: the first by (3, 0, 4) and 0, the second by (0, 0, 1) each.

    Squared lengths 25 and 2, their product 4; variances 4 and 1, covariance 1, so predicting the
    mean costs 4 * 25 + 2 * 1 * 4 + 1 * 2 = 110 mm^2.
    """
    basis = np.zeros((52, 2, 3), np.float32)
    basis[5, 0], basis[7] = (3, 0, 4), (0, 0, 1)
    std, covariance = torch.ones(52), torch.eye(52)
    std[5], std[7] = 2.0, 1.0
    covariance[5, 5], covariance[5, 7], covariance[7, 5] = 4.0, 1.0, 1.0
    gram = region_gram(basis, std, covariance)
    expected = torch.zeros(52, 52)
    expected[5, 5], expected[7, 7] = 4 * 25 / 110, 2 / 110
    expected[5, 7] = expected[7, 5] = 2 * 4 / 110
    torch.testing.assert_close(gram, expected)


@pytest.mark.parametrize("region", ["lips", "upper_face"])
def test_region_gram_is_the_error_of_the_vertices(region):
    """The squared distances of a region's vertices, in units of their variance in the data."""
    clip = loaded_clip("a", 200)
    assert clip.coefficients is not None
    mean, std, covariance = statistics([clip])
    basis = torch.from_numpy(built_in().basis(getattr(built_in(), region)))
    gram = region_gram(basis.numpy(), std, covariance)
    torch.testing.assert_close(gram, gram.T)
    deviation = torch.from_numpy(clip.coefficients) - mean
    moved = torch.einsum("tc,cvk->tvk", deviation, basis).square().sum((1, 2))
    still = moved.sum() / 199  # the variance is that of a sample
    for scale in (1.0, 0.5):
        standardised = scale * deviation / std
        cost = ((standardised @ gram) * standardised).sum(-1)
        torch.testing.assert_close(cost, scale**2 * moved / still, rtol=1e-4, atol=1e-6)
        assert cost.mean().item() == pytest.approx(scale**2 * 199 / 200, rel=1e-4)


def test_grams_are_those_of_the_two_regions():
    mean, std, covariance = statistics([loaded_clip("a", 200)])
    head, device = built_in(), torch.device("cpu")
    grams = Grams.of(head, mean, std, covariance, device)
    assert torch.equal(grams.lips, region_gram(head.basis(head.lips), std, covariance))
    assert torch.equal(grams.upper_face, region_gram(head.basis(head.upper_face), std, covariance))
    brow = ARKIT_NAMES.index("browInnerUp")
    assert grams.lips[brow].abs().max() == 0
    assert grams.upper_face[brow, brow] > 0
    assert grams.lips[JAW, JAW] > grams.upper_face[JAW, JAW] > 0


def opening_clip() -> tuple[Grams, torch.Tensor, torch.Tensor]:
    """Grams of a clip, its standardised coefficients ``[1, T, 52]``, the mouth's opening in mm."""
    clip = loaded_clip("a", 200)
    assert clip.coefficients is not None
    mean, std, covariance = statistics([clip])
    grams = Grams.of(built_in(), mean, std, covariance, torch.device("cpu"))
    standardised = (torch.from_numpy(clip.coefficients) - mean) / std
    opening = torch.from_numpy(Geometry(built_in()).opening(clip.coefficients))
    return grams, standardised[None], opening


def test_lips_are_closed_below_a_millimetre():
    grams, standardised, opening = opening_clip()
    torch.testing.assert_close(
        (standardised @ grams.parting + grams.ajar)[0], opening, atol=1e-3, rtol=1e-4
    )
    sure = (opening - 1).abs() > 0.01
    assert 0 < (opening < 1).sum() < 200
    assert torch.equal(grams.closed(standardised)[0, sure], (opening < 1)[sure])


def test_closure_counts_closed_frames_alone():
    """Twice the deviation from the mean: the opening is off by as much as it deviates itself."""
    grams, standardised, opening = opening_clip()
    mask = torch.ones(1, 200, dtype=torch.bool)
    closed = grams.closed(standardised)
    errors = motion_errors(2 * standardised, standardised, grams, mask, closed)
    deviation = opening - opening.mean()
    off = deviation[closed[0]].square().mean() / deviation.square().sum() * 199
    assert errors["closure"].item() == pytest.approx(off.item(), rel=1e-3)
    changed = standardised + 5 * ~closed[..., None]
    assert motion_errors(changed, standardised, grams, mask, closed)["closure"] == 0
    config = TrainingConfig(Path("d"), Path("o"), closure_weight=3)
    plain = dataclasses.replace(config, closure_weight=0)
    difference = weighted(errors, config) - weighted(errors, plain)
    assert difference.item() == pytest.approx(3 * errors["closure"].item())


def test_a_region_that_never_moves_in_the_data_does_not_undo_training():
    """Clips in which nothing moves but the brows, or nothing at all."""
    clip = loaded_clip("a", 30)
    assert clip.coefficients is not None
    brow = ARKIT_NAMES.index("browInnerUp")
    for moving in ([brow], []):
        still = np.zeros_like(clip.coefficients)
        still[:, moving] = clip.coefficients[:, moving]
        spread = statistics([dataclasses.replace(clip, coefficients=still)])
        grams = Grams.of(built_in(), *spread, torch.device("cpu"))
        assert torch.isfinite(grams.lips).all()
        assert torch.isfinite(grams.upper_face).all()


# Conditioning ------------------------------------------------------------------------------------


def conditioned(labels: list[int], choice: list[float], label_share=0.5, retrieval_share=0.3):
    torch.manual_seed(0)
    library = Library(("ann", "bob"), tiny_config())
    audio = torch.randn(len(labels), 16)
    shares = label_share, retrieval_share
    found = condition(library, audio, torch.tensor(labels), torch.tensor(choice), *shares)
    return found, torch.nn.functional.pad(library.match(audio), (0, 1))


def test_condition_by_label_by_match_or_unknown():
    choice = [0.0, 0.49, 0.51, 0.79, 0.81, 0.99]
    found, match = conditioned([1] * 6, choice)
    label, unknown = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    expected = torch.stack([label, label, match[2], match[3], unknown, unknown])
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad  # retrieval learns from the contrast alone


def test_a_clip_without_a_label_is_matched_in_its_place():
    found, match = conditioned([-1] * 3, [0.2, 0.6, 0.9])
    expected = torch.stack([match[0], match[1], torch.tensor([0.0, 0.0, 1.0])])
    torch.testing.assert_close(found, expected)


def test_condition_without_labels_in_the_library():
    library = Library((), tiny_config())
    choice = torch.tensor([0.0, 0.6, 0.95])
    found = condition(library, torch.randn(3, 16), torch.tensor([-1] * 3), choice, 0.5, 0.4)
    assert found.tolist() == [[1.0]] * 3
