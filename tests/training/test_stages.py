"""Losses of the stages of a distillation."""

from __future__ import annotations

import pytest
import torch
from helpers import tiny_model

from dtalk.training.objective import EncodedSpeech
from dtalk.training.stages import matching


def test_matching_measures_from_the_teacher_to_the_student() -> None:
    """Kullback-Leibler's divergence weighs by the teacher's probabilities, not by the student's."""
    model = tiny_model()
    generator = torch.Generator().manual_seed(0)
    taught, learned = torch.randn(2, 5, 16, generator=generator)

    @torch.no_grad()
    def divergence(of: torch.Tensor, by: torch.Tensor) -> float:
        libraries = (model.personalizer.identity, model.personalizer.emotion)
        pairs = [(lib.match(of).double(), lib.match(by).double()) for lib in libraries]
        return sum(float((p * (p / q).log()).sum(1).mean()) for p, q in pairs)

    found = matching(
        model, EncodedSpeech([], learned, learned), model, EncodedSpeech([], taught, taught)
    ).item()
    assert found == pytest.approx(divergence(taught, learned), rel=1e-4)
    assert found != pytest.approx(divergence(learned, taught), rel=0.05)
