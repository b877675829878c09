"""Losses of the stages of a distillation."""

from __future__ import annotations

import pytest
import torch
from helpers import (
    tiny_model,
)
from hypothesis import given
from hypothesis import strategies as st

from dtalk.training.objective import EncodedSpeech
from dtalk.training.stages import matching, pairwise_different


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


@pytest.mark.parametrize(
    ("identities", "emotions", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], [0, 1, 2]),
        ([0, 0, 1], [0, 1, 1], [0, 2]),
        ([0, 1, 2], [0, 0, 1], [0, 2]),
        ([0, 1, 1, 2], [0, 0, 1, 1], [0, 2]),
        ([-1, 0, 1], [0, -1, 1], [2]),
        ([-1, -1], [-1, -1], []),
        ([], [], []),
        ([5, 4, 5, 3], [1, 2, 3, 2], [0, 1]),
    ],
)
def test_pairwise_different_by_hand(identities, emotions, expected):
    assert pairwise_different(identities, emotions) == expected


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), max_size=12))
def test_pairwise_different_clips_differ_and_none_could_be_added(labels):
    who, how = [a for a, _ in labels], [b for _, b in labels]
    chosen = pairwise_different(who, how)
    assert len({who[i] for i in chosen} - {-1}) == len({how[i] for i in chosen} - {-1})
    assert len({who[i] for i in chosen} - {-1}) == len(chosen)
    for index in set(range(len(labels))) - set(chosen):
        taken = {who[i] for i in chosen} | {-1}, {how[i] for i in chosen} | {-1}
        assert who[index] in taken[0] or how[index] in taken[1]
