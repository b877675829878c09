"""Epochs and batches: balanced, complete, repeatable."""

from __future__ import annotations

from collections import Counter

import numpy as np
from helpers import (
    loaded_clip,
    smooth_motion,
)
from hypothesis import given
from hypothesis import strategies as st
from indices import clip

from dtalk.training.batches import batches, sample_epoch

# Epochs and batches ------------------------------------------------------------------------------


def many(**sizes: int):
    return [
        loaded_clip(f"{name}{i}", 5 + (7 * i) % 11, set=name)
        for name, size in sizes.items()
        for i in range(size)
    ]


def names(clips) -> list[str]:
    return [c.clip.name for c in clips]


def test_balance_1_takes_every_clip_once():
    clips = many(a=9, b=3, c=1)
    drawn = sample_epoch(clips, 1.0, np.random.default_rng(0))
    assert sorted(names(drawn)) == sorted(names(clips))


def test_balance_0_gives_every_set_an_equal_share():
    drawn = sample_epoch(many(a=9, b=2, c=1), 0.0, np.random.default_rng(0))
    assert Counter(c.clip.set for c in drawn) == {"a": 4, "b": 4, "c": 4}
    counts = Counter(names(drawn))
    assert counts["b0"] == counts["b1"] == 2  # gone through as a whole, twice
    assert counts["c0"] == 4
    assert max(counts[f"a{i}"] for i in range(9)) == 1


def test_balance_between_by_hand():
    # 16 and 4 clips at balance 1/2: shares 4 : 2 of 20, so 13 and 7
    drawn = sample_epoch(many(a=16, b=4), 0.5, np.random.default_rng(0))
    assert Counter(c.clip.set for c in drawn) == {"a": 13, "b": 7}
    assert set(Counter(c for c in names(drawn) if c[0] == "b").values()) == {1, 2}


def test_epochs_depend_on_the_generator_alone():
    clips = many(a=9, b=3)
    first, again, other = (
        names(sample_epoch(clips, 0.5, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@given(
    st.lists(st.integers(1, 40), min_size=0, max_size=30),
    st.integers(10, 100),
    st.integers(0, 5),
)
def test_batches_cover_everything_once_within_the_budget(lengths, budget, seed):
    motion = smooth_motion(40)
    plain = loaded_clip("c", 1)
    clips = [type(plain)(clip(str(i)), plain.waveform, motion[:n]) for i, n in enumerate(lengths)]
    made = list(batches(clips, budget, np.random.default_rng(seed)))
    assert sorted(names(c for group in made for c in group), key=int) == names(clips)
    for group in made:
        assert group
        padded = len(group) * max(c.frames for c in group)
        assert padded <= budget or len(group) == 1
    assert len(made) <= len(clips)


def test_batches_hold_clips_of_like_length():
    """Short and long ones never share a batch, and those of one length fill it."""
    clips = [loaded_clip(f"{n}-{i}", n) for n in (5, 50) for i in range(4)]
    made = list(batches(clips, 200, np.random.default_rng(0)))
    assert sorted(sorted(names(group)) for group in made) == [
        [f"5-{i}" for i in range(4)],
        [f"50-{i}" for i in range(4)],
    ]


def test_batches_come_in_random_order_by_the_generator_alone():
    clips = [loaded_clip(str(n), n) for n in (10, 20, 40, 80)]  # a batch each

    def order(seed):
        return [names(group)[0] for group in batches(clips, 1, np.random.default_rng(seed))]

    assert order(1) == order(1)
    assert sorted(order(1), key=int) == ["10", "20", "40", "80"]
    assert len({tuple(order(seed)) for seed in range(20)}) > 5
