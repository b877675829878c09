"""Labels of batches: posed faces, neutral sets, voices that are none of the identities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import loaded_clip, tiny_model, training_config

from dtalk.model import UNKNOWN
from dtalk.motion.arkit import MIRROR
from dtalk.training.batches import BatchMaker
from dtalk.training.objective import Draw, encode_speech

EMOTIONS = ("angry", "happy", "neutral")


def first(clips, count: int = 1, model=None, **changes):
    """The first batches of all clips, unchanged in sound."""
    settings = {"augment": 0.0, "batch_frames": 400, "audio_only_batch": 1, **changes}
    config = training_config(Path("data"), Path("out"), **settings)
    model = model or tiny_model(emotions=EMOTIONS)
    source = BatchMaker(clips, model, config)(0)
    found = [next(source) for _ in range(count)]
    source.close()
    return found, model, config


def neutral(name: str = "a", frames: int = 20, **fields):
    return loaded_clip(name, frames, **{"emotion": "neutral", **fields})


def test_nothing_is_posed_unless_asked_for():
    (batch,), model, _ = first([neutral()])
    assert batch.posed.tolist() == [UNKNOWN]
    assert batch.emotion.tolist() == [2]
    wanted = torch.from_numpy(neutral().coefficients)
    torch.testing.assert_close(model.denormalise(batch.target[0]), wanted)


def test_posed_faces_move_towards_a_prototype_and_keep_what_was_heard():
    batches, model, _ = first([neutral()], count=12, posed=1.0)
    assert {int(batch.posed[0]) for batch in batches} == {0, 1}  # angry and happy, never neutral
    for batch in batches:
        assert batch.emotion.tolist() == [2]  # the voice stays neutral
        face = batch.target[0] * model.std + model.mean
        raised = face - torch.from_numpy(neutral().coefficients)
        assert raised.min() > -1e-5
        assert raised.max() > 0.1


def test_only_neutral_faces_are_posed():
    clips = [loaded_clip("a", 20, emotion="happy"), loaded_clip("b", 20, emotion="")]
    (batch,), _, _ = first(clips, posed=1.0)
    assert batch.posed.tolist() == [UNKNOWN, UNKNOWN]


def test_unlabelled_clips_of_some_sets_count_as_neutral():
    clips = [loaded_clip(name, 20, emotion="", set=name) for name in ("calm", "other")]
    (plain,), _, _ = first(clips)
    assert plain.emotion.tolist() == [UNKNOWN, UNKNOWN]
    (batch,), _, _ = first(clips, neutral_sets=("calm",))
    assert sorted(batch.emotion.tolist()) == [UNKNOWN, 2]


@pytest.mark.parametrize(("open_set", "index"), [(True, 3), (False, UNKNOWN)])
def test_a_stranger_is_none_of_the_identities(open_set, index):
    model = tiny_model(emotions=EMOTIONS, open_set=open_set)
    clips = [
        neutral("a", speaker="bob"),
        neutral("b", speaker="zoe"),
        neutral("c", speaker="", set="speech", moving=False),
        neutral("d", speaker=""),
    ]
    (batch,), _, _ = first(clips, model=model)
    moving = sorted(batch.identity[:3].tolist())
    assert moving == sorted([1, index, UNKNOWN])  # bob, zoe, and one of whom nothing is known
    assert batch.identity[3:].tolist() == [index]


def test_every_second_face_is_mirrored():
    clip = neutral()
    batches, model, _ = first([clip], count=30, mirror=True)
    straight = torch.from_numpy(clip.coefficients)
    mirrored = torch.from_numpy(np.ascontiguousarray(clip.coefficients[:, MIRROR]))
    faces = [batch.target[0] * model.std + model.mean for batch in batches]
    flips = [torch.allclose(face, mirrored, atol=1e-5) for face in faces]
    kept = [torch.allclose(face, straight, atol=1e-5) for face in faces]
    assert all(a != b for a, b in zip(kept, flips))
    assert 6 < sum(flips) < 24


@torch.no_grad()
def test_a_posed_emotion_is_always_given_as_its_label():
    """Whatever the choices say: p is that of the posed emotion, and of the identity's choice."""
    (batch,), model, config = first(
        [neutral()], posed=1.0, label_share=0.0, retrieval_share=0.0, identity_label_share=1.0
    )
    draw = Draw.of(batch, 2, torch.Generator().manual_seed(0), config)
    encoded = encode_speech(model, batch.inputs, batch, draw, config)
    who = model.personalizer.identity.weights_of(batch.identity)
    how = model.personalizer.emotion.weights_of(batch.posed)
    torch.testing.assert_close(encoded.embedding, model.personalizer(who, how))
