"""Epochs and batches: balanced, complete, repeatable."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import (
    JAW,
    FakeLarge,
    Recorder,
    large_model,
    loaded_clip,
    same,
    smooth_motion,
    tiny_model,
    training_config,
)
from hypothesis import given
from hypothesis import strategies as st
from indices import clip
from runs import first_batches

from dtalk.training.batches import (
    LARGE_VARIANTS,
    UNLABELLED_VARIANTS,
    BatchMaker,
    batches,
    sample_epoch,
    shares,
)
from dtalk.training.trainer import (
    load_data,
)

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


def equal_batches(first, second) -> bool:
    return same(
        {f.name: getattr(first, f.name) for f in dataclasses.fields(first)},
        {f.name: getattr(second, f.name) for f in dataclasses.fields(second)},
    )


def test_batches_do_not_depend_on_where_a_run_starts(data, tmp_path):
    config = training_config(data, tmp_path, augment=1.0)
    clips = load_data(config, Recorder()).train
    maker = BatchMaker(clips, tiny_model(), config)
    whole = first_batches(maker, 0, 6)  # two epochs
    for start in (1, 4):
        later = first_batches(BatchMaker(clips, tiny_model(), config), start, 6 - start)
        assert all(map(equal_batches, whole[start:], later))
    other = first_batches(
        BatchMaker(clips, tiny_model(), dataclasses.replace(config, seed=1)), 0, 1
    )
    assert not equal_batches(whole[0], other[0])


def test_every_update_varies_its_clips_anew(tmp_path):
    config = training_config(tmp_path, tmp_path, augment=1.0)
    found = first_batches(BatchMaker([loaded_clip("a", 30)], tiny_model(), config), 0, 6)
    assert len({batch.inputs[0].numpy().tobytes() for batch in found}) == 6


def test_an_epoch_of_batches_holds_every_clip(data, tmp_path):
    config = training_config(data, tmp_path, balance=1.0, augment=0.0)
    clips = load_data(config, Recorder()).train
    model = tiny_model()
    batches = first_batches(BatchMaker(clips, model, config), 0, 2)
    moving = [c for c in clips if c.coefficients is not None]
    assert sum(len(batch.target) for batch in batches) == len(moving) == 6
    found = {}
    for batch in batches:
        assert len(batch.inputs) == len(batch.lengths) == len(batch.target) + 2
        assert len(batch.identity) == len(batch.emotion) == len(batch.inputs)
        assert batch.target.shape[1] * len(batch.target) <= 45
        for target, length in zip(batch.target, batch.lengths):
            found[float(target[0, JAW])] = model.denormalise(target[:length]).numpy()
        # Sound only: speaker cat, sad
        assert batch.identity[-2:].tolist() == [2, 2]
        assert batch.emotion[-2:].tolist() == [1, 1]
    for one in moving:
        key = float(model.normalise(torch.from_numpy(one.coefficients))[0, JAW])
        np.testing.assert_allclose(found[key], one.coefficients, atol=1e-6)


def test_labels_that_the_model_does_not_know_are_unknown(data, tmp_path):
    config = training_config(data, tmp_path)
    clips = load_data(config, Recorder()).train
    model = tiny_model(identities=("ann",), emotions=())
    batch = first_batches(BatchMaker(clips, model, config), 0, 1)[0]
    assert set(batch.identity.tolist()) <= {0, -1}
    assert set(batch.emotion.tolist()) == {-1}


def test_long_clips_of_sound_only_are_cut(tmp_path):
    sound = loaded_clip("long", 400, moving=False)
    config = training_config(tmp_path, tmp_path, augment=0.0)
    maker = BatchMaker([loaded_clip("a", 10), sound], tiny_model(), config)
    batch = first_batches(maker, 0, 1)[0]
    assert batch.lengths.tolist() == [10, 240]


def seen_versions(maker: BatchMaker, model, name: str, updates: int) -> set[bytes]:
    """Every version of a speaker's clips in as many updates, as bytes of sound and motion."""
    found = set()
    for batch in first_batches(maker, 0, updates):
        for row, inputs in enumerate(batch.inputs):
            if batch.identity[row] == model.config.identities.index(name):
                moved = batch.target[row, : batch.lengths[row]] if row < len(batch.target) else None
                motion = b"" if moved is None else moved.numpy().tobytes()
                found.add(inputs.numpy().tobytes() + motion)
    return found


def test_shares_by_hand():
    """Sets of 4 and 1: 2 to 1 with a balance of a half, each clip alike with 1."""
    clips = [loaded_clip(f"a{n}", set="a", moving=False) for n in range(4)]
    clips.append(loaded_clip("b", set="b", moving=False))
    np.testing.assert_allclose(shares(clips, 0.5), [1 / 6] * 4 + [1 / 3])
    np.testing.assert_allclose(shares(clips, 1.0), [0.2] * 5)
    assert shares(clips[:4], 0.5) is None
    assert shares([], 0.5) is None


def test_sets_of_sound_only_are_balanced(tmp_path):
    """As often from a set of one clip as from one of nine, with a balance of 0."""
    sounds = [loaded_clip(f"s{n}", 9, n, set="speech", moving=False) for n in range(9)]
    clips = [loaded_clip("m", 12), *sounds, loaded_clip("r", 9, 77, speaker="cat", moving=False)]
    config = training_config(tmp_path, tmp_path, balance=0.0, audio_only_batch=1, augment=0.0)
    batches = first_batches(BatchMaker(clips, tiny_model(), config), 0, 200)
    lone = sum(batch.identity[1].item() == 2 for batch in batches)
    assert 70 <= lone <= 130  # 100 +- 7 expected


def test_speech_that_is_only_heard_has_fewer_versions(tmp_path):
    heard = loaded_clip("h", 12, 5, set="speech", speaker="cat", moving=False)
    spoken = loaded_clip("h", 12, 5, set="speech", speaker="bob")
    config = training_config(tmp_path, tmp_path, augment=1.0, variants=5, audio_only_batch=1)
    model = tiny_model()
    maker = BatchMaker([spoken, heard], model, config)
    found = [len(seen_versions(maker, model, name, 60)) for name in ("bob", "cat")]
    assert found == [5, UNLABELLED_VARIANTS]


@pytest.mark.parametrize("moving", [True, False])
def test_a_clip_has_as_many_versions_as_asked_for(tmp_path, moving):
    """The same ones in every run, whatever other clips there are and however they are drawn."""
    ours = [loaded_clip("one", 12, speaker="ann", moving=moving)]
    others = [loaded_clip(f"o{seed}", 14, seed, speaker="bob") for seed in range(1, 4)]
    others += [loaded_clip("x", 20, 9, speaker="cat", moving=False)]
    # As they are drawn beside a clip with motion; else there would be no batch.
    config = training_config(tmp_path, tmp_path, augment=1.0, variants=3, audio_only_batch=1)
    model = tiny_model()
    first = seen_versions(BatchMaker(ours + others[:1], model, config), model, "ann", 40)
    again = seen_versions(BatchMaker(ours + others[:1], model, config), model, "ann", 40)
    beside = seen_versions(BatchMaker(others + ours, model, config), model, "ann", 60)
    assert len(first) == 3
    assert first == again == beside
    endless = dataclasses.replace(config, variants=0)
    assert len(seen_versions(BatchMaker(ours + others[:1], model, endless), model, "ann", 20)) > 8
    reseeded = dataclasses.replace(config, seed=1)
    other = seen_versions(BatchMaker(ours + others[:1], model, reseeded), model, "ann", 40)
    assert len(other) == 3
    assert not other & first


def test_versions_of_two_clips_differ(tmp_path):
    """Also where the sound is the same: another name, another set."""
    clips = [
        loaded_clip("one", 12, speaker="ann"),
        loaded_clip("two", 12, speaker="bob"),
        loaded_clip("one", 12, speaker="cat", set="t"),
    ]
    config, model = training_config(tmp_path, tmp_path, augment=1.0, variants=2), tiny_model()
    maker = BatchMaker(clips, model, config)
    found = [seen_versions(maker, model, name, 30) for name in ("ann", "bob", "cat")]
    assert [len(versions) for versions in found] == [2, 2, 2]
    assert len(set.union(*found)) == 6


def test_few_versions_are_for_models_that_hear_through_a_large_encoder(tmp_path):
    """If nothing else is asked for: their features are kept, and must come again."""
    clip, config = loaded_clip("one", 12), training_config(tmp_path, tmp_path, augment=1.0)
    small, large = tiny_model(), large_model()
    updates = 6 * LARGE_VARIANTS
    counts = {}
    for name, maker in {
        "small": BatchMaker([clip], small, config),
        "large": BatchMaker([clip], large, config),
        "taught": BatchMaker([clip], small, config, large),
        "asked": BatchMaker([clip], large, dataclasses.replace(config, variants=0)),
    }.items():
        counts[name] = len(seen_versions(maker, small, "ann", updates))
    assert counts["large"] == counts["taught"] == LARGE_VARIANTS == 8
    assert counts["small"] == counts["asked"] == updates


def test_batches_hold_what_the_first_teacher_hears(tmp_path):
    """Beside what the model hears, of the very same sound; labels are the teacher's."""
    clips = [loaded_clip(f"c{seed}", 10 + seed, seed) for seed in range(3)]
    clips.append(loaded_clip("x", 20, 7, speaker="cat", moving=False))
    teacher = large_model(identities=("zoe", "cat", "ann"))
    student = tiny_model(identities=(), emotions=())
    config = training_config(tmp_path, tmp_path, augment=0.0, batch_frames=1000)
    (batch,) = first_batches(BatchMaker(clips, student, config, teacher), 0, 1)
    assert len(batch.large) == len(batch.inputs) == 4
    sounds = {clip.frames: torch.from_numpy(clip.waveform) for clip in clips}
    for row, length in enumerate(batch.lengths.tolist()):
        assert torch.equal(batch.large[row], FakeLarge()(sounds[length].numpy()))
        assert torch.equal(batch.inputs[row], student.encoder.prepare(sounds[length]))
    assert batch.identity.tolist() == [2, 2, 2, 1]
    (alone,) = first_batches(BatchMaker(clips, student, config), 0, 1)
    assert alone.large == []
    assert alone.identity.tolist() == [-1] * 4


def test_changed_versions_are_heard_alike_by_both(tmp_path):
    teacher, student = large_model(), tiny_model()
    config = training_config(tmp_path, tmp_path, augment=1.0)
    sounds = []

    class Listening(FakeLarge):
        def __call__(self, waveform):
            sounds.append(waveform.copy())
            return super().__call__(waveform)

    teacher.encoder.source = Listening()
    maker = BatchMaker([loaded_clip("one", 12)], student, config, teacher)
    for sound, batch in zip(sounds, first_batches(maker, 0, 3)):
        assert torch.equal(batch.inputs[0], student.encoder.prepare(torch.from_numpy(sound)))
        assert torch.equal(batch.large[0], FakeLarge()(sound))
