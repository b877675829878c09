"""Personalizer, decoder and the whole model: shapes, conditioning, retrieval, determinism."""

from __future__ import annotations

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from helpers import (
    EMOTIONS,
    IDENTITIES,
    JAW,
    FakeLarge,
    large_config,
    large_model,
    speech,
    tiny_config,
    tiny_model,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtalk.checkpoint import load_model, read_description, save_model
from dtalk.config import AUTO, SAMPLERS, AnimationOptions
from dtalk.diffusion import sample_ddim, time_grid
from dtalk.errors import CheckpointError, DataError
from dtalk.model import (
    COEFFICIENTS,
    DiffusionTalker,
    Enhancer,
    Integrator,
    Library,
    LinearPrior,
    clip_noise,
    cross_attention,
    pooled,
    step_embedding,
)
from dtalk.motion.arkit import (
    ARKIT_NAMES,
    LIDS,
    MOUTH_NAMES,
    OPEN_LIDS,
    PARTING_CHANNELS,
    UPPER_FACE_CHANNELS,
)
from dtalk.nn.frames import frame_mask
from dtalk.speech.audio import frame_count
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.speech.feature_cache import FeatureCache
from dtalk.speech.voice_activity import presence

kinds = pytest.mark.parametrize("kind", ["mel", "cnn"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Parts -------------------------------------------------------------------------------------------


def test_cross_attention_by_hand():
    # d_k = 4: scores (2 ln 3, 0) / 2, softmax (3/4, 1/4)
    query = torch.tensor([[[2 * math.log(3), 0, 0, 0]]])
    keys = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    values = torch.tensor([[[8.0, 0.0], [0.0, 4.0]]])
    torch.testing.assert_close(cross_attention(query, keys, values), torch.tensor([[[6.0, 1.0]]]))


def test_cross_attention_over_one_key_ignores_the_query():
    """Why a library entry is a few tokens: with one vector p would not depend on the identity."""
    keys, values = normal(1, 1, 4), normal(1, 1, 5, seed=1)
    for seed in range(3):
        torch.testing.assert_close(
            cross_attention(normal(1, 1, 4, seed=seed), keys, values), values
        )


@given(st.integers(0, 50))
def test_cross_attention_with_a_mask_is_that_over_the_keys_that_are_left(seed):
    query, keys, values = (normal(2, 4, 6, seed=seed + n) for n in range(3))
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    found = cross_attention(query, keys, values, mask)
    for row, kept in enumerate(mask):
        one = slice(row, row + 1)
        alone = cross_attention(query[one], keys[one, kept], values[one, kept])
        torch.testing.assert_close(found[one], alone)
    whole = cross_attention(query, keys, values, torch.ones_like(mask))
    torch.testing.assert_close(whole, cross_attention(query, keys, values))


def test_cross_attention_with_a_mask_has_finite_gradients():
    values = normal(1, 3, 5, seed=2)
    values[0, 2] = 1e30
    keys = normal(1, 3, 4, seed=1).requires_grad_()
    mask = torch.tensor([[True, True, False]])
    cross_attention(normal(1, 2, 4), keys, values, mask).sum().backward()
    assert keys.grad is not None
    assert torch.isfinite(keys.grad).all()
    assert (keys.grad[0, 2] == 0).all()


def test_pooled_by_hand():
    features = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [100.0, 100.0]]])
    found = pooled(features, torch.tensor([2]))
    expected = torch.tensor([[2.0, 5.0, math.sqrt(1 + 1e-5), math.sqrt(1e-5)]])
    torch.testing.assert_close(found, expected)


def test_pooled_of_a_single_frame_has_a_finite_gradient():
    features = normal(1, 1, 3).requires_grad_()
    pooled(features, torch.tensor([1])).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_step_embedding_by_hand():
    # Width 4: frequencies 1 and 1/100 of the position 1000 t.
    found = step_embedding(torch.tensor([0.0, 0.25]), 4)
    expected = [
        [0.0, 0.0, 1.0, 1.0],
        [math.sin(250), math.sin(2.5), math.cos(250), math.cos(2.5)],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_step_embeddings_of_all_steps_differ():
    found = step_embedding(torch.arange(17) / 16, 64)
    distance = torch.cdist(found, found) + 10 * torch.eye(17)
    assert distance.min() > 0.5


# Library -----------------------------------------------------------------------------------------


def library(*labels: str) -> Library:
    torch.manual_seed(0)
    return Library(labels, tiny_config())


def test_weights_of_labels_and_of_the_unknown():
    found = library("ann", "bob").weights_of(torch.tensor([1, -1, 0]))
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_weights_of_a_match_soft_and_hard():
    match = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    ours = library("ann", "bob")
    torch.testing.assert_close(
        ours.weights_of_match(match, "soft"), torch.tensor([[0.2, 0.8, 0], [0.6, 0.4, 0]])
    )
    assert ours.weights_of_match(match, "hard").tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("retrieval", ["soft", "hard"])
def test_a_library_without_labels_only_knows_the_unknown(retrieval):
    ours = library()
    match = ours.match(normal(3, 16))
    assert match.shape == (3, 0)
    assert ours.weights_of_match(match, retrieval).tolist() == [[1]] * 3
    assert ours.weights_of(torch.tensor([-1, -1])).tolist() == [[1], [1]]


def test_tokens_are_the_weighted_entries():
    ours = library("ann", "bob")
    found = ours.tokens(torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]))
    assert found.shape == (2, 3, 6)
    torch.testing.assert_close(found[0], 0.25 * ours.entries[0] + 0.75 * ours.entries[1])
    torch.testing.assert_close(found[1], ours.entries[2])


def test_check_names_what_the_library_holds():
    ours = library("ann", "bob")
    ours.check("bob", "identity")
    with pytest.raises(DataError, match=r"^unknown mood 'eve'; this model knows: ann, bob$"):
        ours.check("eve", "mood")
    for label in ("", "Ann", "ann "):
        with pytest.raises(DataError, match=f"^unknown identity '{label}'"):
            ours.check(label, "identity")
    with pytest.raises(DataError, match=r"^unknown emotion 'sad'; this model knows: none$"):
        library().check("sad", "emotion")


@pytest.mark.parametrize(
    ("weights", "label"),
    [([1, 0, 0], "ann"), ([0.2, 0.8, 0], "bob"), ([0, 0, 1], ""), ([0.3, 0.3, 0.4], "")],
)
def test_label_of_the_largest_weight(weights, label):
    assert library("ann", "bob").label_of(torch.tensor(weights)) == label


def test_label_of_a_library_without_labels():
    assert library().label_of(torch.tensor([1.0])) == ""


def test_contrast_features_are_unit_vectors_of_sound_and_known_entries():
    audio, entries = library("ann", "bob").contrast_features(normal(5, 16))
    assert audio.shape == (5, 8)
    assert entries.shape == (2, 8)  # the entry of the unknown is not contrasted
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(entries.norm(dim=1), torch.ones(2))


def test_match_is_the_softmax_of_similarity_over_temperature():
    ours = library("ann", "bob")
    sound = normal(4, 16)
    audio, entries = ours.contrast_features(sound)
    similarity = torch.einsum("bd,md->bm", audio, entries)
    torch.testing.assert_close(ours.match(sound), (similarity / 0.1).softmax(1))


@pytest.mark.parametrize(("log", "expected"), [(-50.0, 0.01), (50.0, 1.0), (math.log(0.3), 0.3)])
def test_temperature_is_clamped(log, expected):
    ours = library("ann")
    ours.log_temperature.data.fill_(log)
    assert ours.temperature.item() == pytest.approx(expected)


# Personalizer ------------------------------------------------------------------------------------


def embedding(model: DiffusionTalker, identity: int, emotion: int) -> Tensor:
    personalizer = model.personalizer
    return personalizer(
        personalizer.identity.weights_of(torch.tensor([identity])),
        personalizer.emotion.weights_of(torch.tensor([emotion])),
    )


@torch.no_grad()
def test_every_pair_of_identity_and_emotion_has_an_embedding_of_its_own():
    """The unknown (-1) is one of them."""
    model = tiny_model()
    all_pairs = [(i, e) for i in range(-1, 3) for e in range(-1, 2)]
    found = torch.cat([embedding(model, i, e) for i, e in all_pairs])
    assert found.shape == (12, 8)
    distance = torch.cdist(found, found) + 10 * torch.eye(12)
    assert distance.min() > 0.02


@torch.no_grad()
def test_integrator_is_equation_7_with_the_queries_added():
    torch.manual_seed(0)
    integrator = Integrator(tiny_config())
    identity, emotion = normal(2, 3, 6), normal(2, 3, 6, seed=1)
    keys, values = integrator.keys(emotion), integrator.values(emotion)
    rows = []
    for b in range(2):
        mixed = torch.softmax(identity[b] @ keys[b].T / math.sqrt(6), dim=1) @ values[b]
        rows.append(integrator.output((identity[b] + mixed).reshape(-1)))
    torch.testing.assert_close(integrator(identity, emotion), torch.stack(rows))


@torch.no_grad()
def test_identity_acts_on_how_emotion_is_read_too():
    """Not only through the residual: the attention itself depends on the identity."""
    model = tiny_model()
    of_first = embedding(model, 0, 0) - embedding(model, 0, 1)
    of_second = embedding(model, 1, 0) - embedding(model, 1, 1)
    assert (of_first - of_second).abs().max() > 1e-4


# What the upper face shows of a person -----------------------------------------------------------


def enhancer() -> Enhancer:
    torch.manual_seed(0)
    return Enhancer(8)


@torch.no_grad()
def test_enhancer_is_equation_13():
    ours, p, motion = enhancer(), normal(3, 8), normal(3, 5, 52, seed=1)
    found = ours(p, motion, torch.ones(3, 5, dtype=torch.bool))
    assert found.shape == (3, 8)
    for clip in range(3):
        upper = motion[clip][:, UPPER_FACE_CHANNELS]
        keys, values = ours.keys(upper), ours.values(upper)
        scores = torch.tensor([float(p[clip] @ key) / math.sqrt(8) for key in keys])
        shares = scores.exp() / scores.exp().sum()
        expected = sum(share * value for share, value in zip(shares, values))
        torch.testing.assert_close(found[clip], expected)


@torch.no_grad()
def test_padding_changes_nothing_of_what_the_upper_face_shows():
    ours, p, motion = enhancer(), normal(2, 8), normal(2, 6, 52, seed=1)
    lengths = torch.tensor([6, 2])
    motion[1, 2:] = 100.0
    found = ours(p, motion, frame_mask(lengths, 6))
    alone = ours(p[1:], motion[1:, :2], torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(found[1:], alone)
    whole = ours(p, motion, torch.ones(2, 6, dtype=torch.bool))
    assert torch.equal(whole[0], found[0])
    assert (whole[1] - found[1]).abs().max() > 0.1


@torch.no_grad()
def test_only_the_upper_face_shows_it():
    ours, p, motion = enhancer(), normal(1, 8), normal(1, 6, 52, seed=1)
    mask = torch.ones(1, 6, dtype=torch.bool)
    plain = ours(p, motion, mask)
    for channel, name in enumerate(ARKIT_NAMES):
        other = motion.clone()
        other[..., channel] += 1
        same = torch.equal(ours(p, other, mask), plain)
        assert same is (channel not in UPPER_FACE_CHANNELS), name
    assert 0 < len(UPPER_FACE_CHANNELS) < 52
    assert JAW not in UPPER_FACE_CHANNELS


@torch.no_grad()
def test_what_is_asked_for_depends_on_the_person():
    ours, motion = enhancer(), normal(1, 6, 52, seed=1).expand(3, 6, 52)
    found = ours(normal(3, 8), motion, torch.ones(3, 6, dtype=torch.bool))
    assert (torch.pdist(found) > 1e-3).all()
    # Of a single frame there is nothing to choose: it is its value, whoever asks.
    single = ours(normal(3, 8), motion[:, :1], torch.ones(3, 1, dtype=torch.bool))
    torch.testing.assert_close(single[0].expand(3, 8), single)


# The guide ---------------------------------------------------------------------------------------


def guide(**changes) -> LinearPrior:
    torch.manual_seed(0)
    return LinearPrior(tiny_config(**changes))


@torch.no_grad()
def test_the_guide_is_linear_in_features_and_embedding():
    ours, features, p = guide(), normal(2, 7, 8), normal(2, 8, seed=1)
    lengths = torch.tensor([7, 4])
    nothing = ours(0 * features, 0 * p, lengths)
    both = ours(features, p, lengths) - nothing
    of_features = ours(features, 0 * p, lengths) - nothing
    of_p = ours(0 * features, p, lengths) - nothing
    assert both.shape == (2, 7, 52)
    torch.testing.assert_close(both, of_features + of_p, atol=1e-5, rtol=1e-5)
    twice = ours(-2 * features, 3 * p, lengths) - nothing
    torch.testing.assert_close(twice, 3 * of_p - 2 * of_features, atol=1e-5, rtol=1e-5)
    # What the embedding says is the same in every frame, of padding too.
    torch.testing.assert_close(of_p, of_p[:, :1].expand(2, 7, 52))


@torch.no_grad()
def test_the_prior_takes_nine_frames():
    """Four to either side of a frame, by the weights of its filter."""
    ours, p, lengths = guide(), torch.zeros(1, 8), torch.tensor([25])
    click = torch.zeros(1, 25, 8)
    click[0, 12] = normal(8)
    change = (ours(click, p, lengths) - ours(0 * click, p, lengths))[0]
    heard = change.abs().amax(-1) > 1e-6
    first, last = 8, 16
    assert heard.nonzero().flatten().tolist() == list(range(first, last + 1))
    for frame in range(first, last + 1):
        expected = ours.heard.weight[:, :, last - frame] @ click[0, 12]
        torch.testing.assert_close(change[frame], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_experts_are_averaged_by_what_the_pooled_sound_says():
    """Shares 1/4 and 3/4 of two experts, each a prior of its own, in each clip of a batch."""
    ours, features, p = guide(experts=("news", "talks")), normal(2, 11, 8), torch.zeros(2, 8)
    lengths = torch.tensor([11, 6])
    assert ours.choose is not None
    assert ours.heard.bias is not None
    ours.choose.weight.zero_()
    ours.choose.bias.copy_(torch.tensor([1.0, 3.0]).log())
    alone = []
    for weight, bias in zip(ours.heard.weight.chunk(2), ours.heard.bias.chunk(2)):
        one = guide()
        one.heard.weight.copy_(weight)
        one.constant.weight.copy_(ours.constant.weight)
        one.constant.bias.copy_(ours.constant.bias + bias)
        alone.append(one(features, p, lengths))
    torch.testing.assert_close(
        ours(features, p, lengths), 0.25 * alone[0] + 0.75 * alone[1], atol=1e-5, rtol=1e-5
    )


def test_features_are_not_trained_for_a_choice_that_is_not():
    """The filters are 0 and the experts differ in a constant: only the choice asks for features."""
    ours, p, lengths = guide(experts=("news", "talks")), torch.zeros(1, 8), torch.tensor([5])
    assert ours.choose is not None
    assert ours.heard.bias is not None
    with torch.no_grad():
        ours.heard.weight.zero_()
        ours.heard.bias.copy_(torch.arange(104.0))
    asked = []
    for trained in (True, False):
        features = normal(1, 5, 8).requires_grad_()
        ours.choose.requires_grad_(trained)
        ours(features, p, lengths).sum().backward()
        assert features.grad is not None
        asked.append(float(features.grad.abs().max()))
    assert asked[0] > 0.01
    assert asked[1] == 0


@torch.no_grad()
def test_each_clip_chooses_its_own_expert():
    """By the mean of one channel: high chooses the first, low the second."""
    ours, p = guide(experts=("news", "talks")), torch.zeros(2, 8)
    assert ours.choose is not None
    assert ours.heard.bias is not None
    ours.choose.weight.zero_()
    ours.choose.weight[:, 0] = torch.tensor([50.0, -50.0])
    ours.choose.bias.zero_()
    ours.heard.weight.zero_()
    ours.heard.bias.copy_(torch.arange(104.0))
    features = torch.ones(2, 5, 8) * torch.tensor([1.0, -1.0])[:, None, None]
    found = ours(features, p, torch.tensor([5, 3])) - ours.constant.bias
    wanted = torch.arange(104.0).reshape(2, 1, 52).expand(2, 5, 52)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("experts", [(), ("news", "talks", "plays")], ids=["one", "three"])
def test_padding_changes_nothing_of_the_prior(experts):
    """Whatever lies behind a clip; also not what a longer clip beside it makes of the batch."""
    ours, p = guide(experts=experts), normal(3, 8)
    features, lengths = normal(3, 11, 8, seed=1), torch.tensor([11, 6, 1])
    together = ours(features + 50 * ~frame_mask(lengths, 11)[..., None], p, lengths)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = ours(features[one, :length], p[one], lengths[one])
        torch.testing.assert_close(together[one, :length], alone, atol=1e-5, rtol=1e-5)


# The whole model ---------------------------------------------------------------------------------


@torch.no_grad()
@kinds
def test_padding_changes_nothing_through_the_whole_model(kind):
    model = tiny_model(encoder=kind)
    sounds = [speech(n, seed=n) for n in (9000, 1, 4000)]
    frames = torch.tensor([frame_count(len(sound)) for sound in sounds])
    noises = [normal(n, 52, seed=n) for n in frames.tolist()]
    noise = torch.nn.utils.rnn.pad_sequence(noises, batch_first=True, padding_value=7.0)

    def run(waveforms, lengths, x):
        features = model.features(waveforms, lengths)
        weights = model.infer_weights(features, lengths)
        denoise = model.denoiser(features, model.personalizer(*weights), lengths)
        return pooled(features, lengths), *weights, sample_ddim(denoise, x, 3)

    together = run(sounds, frames, noise)
    for row, count in enumerate(frames.tolist()):
        alone = run([sounds[row]], frames[row : row + 1], noises[row][None])
        for found, expected in zip(together[:-1], alone[:-1]):
            torch.testing.assert_close(found[row], expected[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[-1][row, :count], alone[-1][0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_decoder_uses_everything_it_is_given():
    model = tiny_model()
    lengths = torch.tensor([6])
    given_ = {
        "noisy": normal(1, 6, 52),
        "time": torch.tensor([0.5]),
        "features": normal(1, 6, 8, seed=1),
        "embedding": normal(1, 8, seed=2),
    }
    plain = model.decoder(**given_, lengths=lengths)
    assert plain.shape == (1, 6, 52)
    for name, value in given_.items():
        changed = model.decoder(**{**given_, name: 0.5 * value}, lengths=lengths)
        assert (changed - plain).abs().max() > 1e-4, name


@torch.no_grad()
def test_the_decoder_looks_both_ways():
    model = tiny_model()
    noisy, features, p = normal(1, 9, 52), normal(1, 9, 8, seed=1), normal(1, 8, seed=2)
    time, lengths = torch.tensor([0.5]), torch.tensor([9])
    plain = model.decoder(noisy, time, features, p, lengths)
    features[:, 5:] += 1
    noisy[:, 5:] -= 1
    changed = model.decoder(noisy, time, features, p, lengths)
    assert (plain[:, :5] - changed[:, :5]).abs().max() > 1e-4
    assert (plain[:, 5:] - changed[:, 5:]).abs().max() > 1e-4


@given(st.lists(st.floats(0, 1, width=32), min_size=52, max_size=52))
def test_normalise_and_back(values):
    model = tiny_model()
    model.mean.copy_(torch.linspace(0, 0.5, 52))
    model.std.copy_(torch.linspace(0.02, 0.4, 52))
    coefficients = torch.tensor(values)
    torch.testing.assert_close(
        model.denormalise(model.normalise(coefficients)), coefficients, atol=1e-6, rtol=1e-5
    )


def test_denormalise_by_hand():
    model = tiny_model()  # mean 0.4, std 0.1
    found = model.denormalise(torch.tensor([-2.0, 3.0, 7.0, -5.0]).repeat(13))
    torch.testing.assert_close(found, torch.tensor([0.2, 0.7, 1.0, 0.0]).repeat(13))
    torch.testing.assert_close(model.normalise(torch.full((52,), 0.6)), torch.full((52,), 2.0))


def test_spread_tells_mouth_from_the_rest():
    model = tiny_model(temperature=0.5, upper_temperature=2.0)
    spread = dict(zip(ARKIT_NAMES, model.spread().tolist(), strict=True))
    assert spread["jawOpen"] == spread["mouthSmileLeft"] == spread["tongueOut"] == 0.5
    assert spread["browInnerUp"] == spread["eyeLookInLeft"] == spread["noseSneerRight"] == 2.0
    assert {name for name, value in spread.items() if value == 0.5} == set(MOUTH_NAMES)
    assert sum(value == 2.0 for value in spread.values()) == 52 - len(MOUTH_NAMES)
    assert model.spread().dtype == torch.float32
    assert model.spread().device == model.device


# Retrieval ---------------------------------------------------------------------------------------


def knowing(identity: int, emotion: int, **changes) -> DiffusionTalker:
    """A model that finds the same identity and emotion in any sound, without a doubt."""
    model = tiny_model(**changes)
    for ours, index in (
        (model.personalizer.identity, identity),
        (model.personalizer.emotion, emotion),
    ):
        with torch.no_grad():
            entry = ours.encode_entry(ours.entries[:-1].flatten(1))[index]
            last = ours.encode_audio[-1]
            last.weight.zero_()
            last.bias.copy_(entry)
            ours.log_temperature.fill_(math.log(0.01))
    return model


@torch.no_grad()
def test_infer_weights_finds_the_entry_that_matches():
    model = knowing(2, 1)
    lengths = torch.tensor([6, 3])
    features = model.features([speech(3200), speech(1600, seed=1)], lengths)
    hard = model.infer_weights(features, lengths, "hard")
    assert hard[0].tolist() == [[0, 0, 1, 0]] * 2
    assert hard[1].tolist() == [[0, 1, 0]] * 2
    soft = model.infer_weights(features, lengths, "soft")
    for weights, best in zip(soft, (2, 1)):
        torch.testing.assert_close(weights.sum(1), torch.ones(2))
        assert (weights.argmax(1) == best).all()
        assert (weights[:, :-1] > 0).all()  # mixed: every entry has its share
        assert (weights[:, -1] == 0).all()  # but not the unknown


@torch.no_grad()
@pytest.mark.parametrize("retrieval", ["soft", "hard"])
def test_infer_weights_follows_the_configuration(retrieval):
    model = tiny_model(retrieval=retrieval)
    features, lengths = normal(1, 6, 8), torch.tensor([6])
    for found, asked in zip(
        model.infer_weights(features, lengths), model.infer_weights(features, lengths, retrieval)
    ):
        assert torch.equal(found, asked)
        assert bool((found == 1).any()) is (retrieval == "hard")


def test_animate_names_what_it_found_in_the_sound():
    found = knowing(2, 0).animate(speech(4000))
    assert (found.identity, found.emotion) == ("cat", "happy")


@pytest.mark.parametrize("retrieval", ["soft", "hard"])
def test_labels_override_retrieval(retrieval):
    model, sound = knowing(2, 0, retrieval=retrieval), speech(4000)
    plain = model.animate(sound)
    labelled = model.animate(sound, identity="ann", emotion="sad")
    assert (labelled.identity, labelled.emotion) == ("ann", "sad")
    assert not np.array_equal(plain.coefficients, labelled.coefficients)
    half = model.animate(sound, emotion="sad")
    assert (half.identity, half.emotion) == ("cat", "sad")


def test_labels_that_are_what_would_be_found_change_nothing():
    model, sound = knowing(1, 1, retrieval="hard"), speech(4000)
    named = model.animate(sound, identity="bob", emotion="sad")
    assert np.array_equal(model.animate(sound).coefficients, named.coefficients)


def test_every_label_gives_motion_of_its_own():
    model, sound = tiny_model(), speech(4000)
    found = [model.animate(sound, i, e).coefficients for i in IDENTITIES for e in EMOTIONS]
    for a in range(6):
        for b in range(a):
            assert np.abs(found[a] - found[b]).max() > 1e-4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"identity": "eve"}, "unknown identity 'eve'; .* ann, bob, cat"),
        ({"emotion": "angry"}, "unknown emotion 'angry'; .* happy, sad"),
        ({"identity": ""}, "unknown identity ''"),
        ({"identity": "Ann"}, "unknown identity 'Ann'"),
    ],
)
def test_unknown_labels_are_refused_with_the_known_ones(labels, message):
    with pytest.raises(DataError, match=message) as error:
        tiny_model().animate(speech(1000), **labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("identities", "emotions"), [((), ()), (("ann",), ()), ((), ("happy", "sad"))]
)
def test_a_model_without_labels_animates(identities, emotions):
    model = tiny_model(identities=identities, emotions=emotions)
    found = model.animate(speech(3000))
    assert found.coefficients.shape == (6, 52)
    assert found.identity == (identities[0] if identities else "")
    assert (found.emotion in emotions) if emotions else found.emotion == ""


# Animating ---------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("samples", [1, 266, 5333, 16000])
def test_animate_gives_30_frames_a_second_in_range(kind, samples):
    found = tiny_model(encoder=kind).animate(speech(samples)).coefficients
    assert found.shape == (max(1, round(samples * 30 / 16000)), COEFFICIENTS)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_animate_stays_in_range_when_the_network_does_not():
    model = tiny_model()
    model.std.fill_(50.0)
    found = model.animate(speech(8000)).coefficients
    assert found.min() == 0
    assert found.max() == 1


def test_animate_survives_silence():
    assert np.isfinite(tiny_model().animate(np.zeros(3000, np.float32)).coefficients).all()


def pausing() -> np.ndarray:
    """Two seconds of speech between one and two seconds of silence."""
    return np.concatenate([np.zeros(16000), speech(32000), np.zeros(32000)]).astype(np.float32)


def test_the_mouth_rests_where_nobody_speaks():
    sound, options = pausing(), {"seed": 3, "identity": "ann"}
    awake = tiny_model(close_in_silence=False).animate(sound, **options).coefficients
    found = tiny_model().animate(sound, **options).coefficients
    mouth = np.isin(np.arange(52), PARTING_CHANNELS)
    there = presence(sound, 150)[:, None]
    assert awake.min() > 0
    assert np.array_equal(found[:, ~mouth], awake[:, ~mouth])
    np.testing.assert_allclose(found[:, mouth], (awake * there)[:, mouth], atol=1e-7)
    assert found[:10, mouth].max() == 0
    assert np.array_equal(found[26:94], awake[26:94])


@kinds
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_fixes_every_byte(kind, sampler):
    model, sound = tiny_model(encoder=kind, steps=3), speech(5000)
    first, again, other = (
        model.animate(sound, seed=seed, sampler=sampler).coefficients for seed in (5, 5, 6)
    )
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 1e-3


def test_animate_leaves_the_global_generator_alone():
    model = tiny_model()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model.animate(speech(1000), sampler="ancestral", steps=3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_temperature_0_gives_the_first_prediction(sampler):
    """The mean of the motions that suit the sound, which a single step gives as well."""
    model, sound = tiny_model(), speech(4000)
    options = {"seed": 1, "sampler": sampler}
    cold = model.animate(sound, temperature=0, steps=3, **options).coefficients
    assert np.array_equal(cold, model.animate(sound, steps=1, **options).coefficients)
    warm = model.animate(sound, steps=3, **options).coefficients
    assert np.abs(warm - cold).max() > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_temperature_0_makes_seeds_equal_if_the_network_sees_no_motion_in_noise(
    sampler, monkeypatch
):
    model, sound = tiny_model(), speech(4000)
    plain = model.decoder.forward

    def knowing(noisy, time, *rest):
        return plain(torch.where(time == 1, 0.0, 1.0)[:, None, None] * noisy, time, *rest)

    monkeypatch.setattr(model.decoder, "forward", knowing)
    cold, also_cold, warm, also_warm = (
        model.animate(
            sound, seed=seed, temperature=temperature, sampler=sampler, steps=3
        ).coefficients
        for temperature in (0, 1)
        for seed in (1, 2)
    )
    assert np.array_equal(cold, also_cold)
    assert np.abs(warm - also_warm).max() > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_temperature_scales_the_deviation_from_the_mean(sampler, temperature):
    """By the model's own factors as well, which differ between the mouth and the rest."""
    sound, options = speech(4000), {"seed": 2, "sampler": sampler, "steps": 3}
    cold, warm = (
        tiny_model().animate(sound, temperature=t, **options).coefficients for t in (0.0, 1.0)
    )
    model = tiny_model(temperature=0.8, upper_temperature=1.4)
    found = model.animate(sound, temperature=temperature, **options).coefficients
    own = np.where(np.isin(ARKIT_NAMES, list(MOUTH_NAMES)), 0.8, 1.4)
    assert found.min() > 0
    assert found.max() < 1
    np.testing.assert_allclose(found, cold + temperature * own * (warm - cold), atol=1e-6)


def test_temperature_scales_the_models_own():
    sound = speech(4000)
    model = tiny_model(temperature=0.5, upper_temperature=0.5)
    doubled = model.animate(sound, temperature=2.0).coefficients
    plain = tiny_model().animate(sound).coefficients
    np.testing.assert_allclose(doubled, plain, atol=1e-7)
    assert np.abs(model.animate(sound).coefficients - plain).max() > 1e-3


def test_a_manner_is_what_animate_takes():
    """Names and defaults; ``auto`` stands for None. Rest is a setting of the model itself."""
    taken = inspect.signature(DiffusionTalker.animate).parameters
    fields = {f.name: f for f in dataclasses.fields(AnimationOptions)}
    assert fields.pop("close_in_silence").default is None
    assert isinstance(tiny_config().close_in_silence, bool)
    # Of the file, before there is a waveform; and of what is made of an animation.
    for name in ("track", "channel", "emotion_threshold"):
        fields.pop(name)
    for name, setting in fields.items():
        default = None if setting.default == AUTO else setting.default
        assert taken[name].default == default, name


def test_a_changed_model_is_a_view_of_the_same_weights():
    model, sound = tiny_model(), pausing()
    other = model.with_config(close_in_silence=False, steps=1)
    assert other.config == tiny_config(close_in_silence=False, steps=1)
    assert model.config == tiny_config()
    expected = tiny_model(close_in_silence=False, steps=1).animate(sound).coefficients
    assert np.array_equal(other.animate(sound).coefficients, expected)
    assert not np.array_equal(model.animate(sound).coefficients, expected)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert ours is theirs


def test_emotion_strength_exaggerates_what_the_emotion_changes():
    model, sound = tiny_model(steps=1), speech(4000)

    def face(**options):
        return model.animate(sound, identity="ann", **options).coefficients

    none, plain, double = (face(emotion="sad", emotion_strength=s) for s in (0.0, 1.0, 2.0))
    assert np.abs(plain - none).max() > 1e-3
    np.testing.assert_allclose(double - plain, plain - none, atol=1e-6)
    # Without strength nothing is left of the emotion named
    other = face(emotion="happy", emotion_strength=0.0)
    np.testing.assert_allclose(other, none, atol=1e-6)
    assert np.array_equal(face(emotion="sad"), plain)  # the model's own strength is 1


def test_no_strength_of_an_emotion_is_neutral():
    """And neutral is the same however strong."""
    model, sound = tiny_model(emotions=("happy", "neutral", "sad")), speech(4000)
    neutral = model.animate(sound, emotion="neutral").coefficients
    for emotion, strength in (("sad", 0.0), ("happy", 0.0), ("neutral", 0.0), ("neutral", 3.0)):
        found = model.animate(sound, emotion=emotion, emotion_strength=strength)
        np.testing.assert_allclose(found.coefficients, neutral, atol=1e-6)
        assert found.emotion == emotion
    assert np.abs(model.animate(sound, emotion="sad").coefficients - neutral).max() > 1e-3


def test_emotion_strength_of_the_configuration():
    sound, options = speech(4000), {"identity": "ann", "emotion": "sad"}
    strong = tiny_model(emotion_strength=2.5).animate(sound, **options).coefficients
    asked = tiny_model().animate(sound, **options, emotion_strength=2.5).coefficients
    assert np.array_equal(strong, asked)


@torch.no_grad()
@pytest.mark.parametrize(
    ("emotions", "calm"),
    [(("happy", "sad"), -1), (("neutral", "sad"), 0), (("Neutral", "sad"), -1)],
)
@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_emotion_strength_guides_every_step(strength, emotions, calm):
    """Away from neutral, or from the unknown emotion, the identity being the same."""
    model, sound = tiny_model(steps=3, emotions=emotions), speech(4000)
    lengths = torch.tensor([frame_count(len(sound))])
    features = model.features([sound], lengths)
    named, plain = (
        model.denoiser(features, embedding(model, 0, emotion), lengths) for emotion in (1, calm)
    )
    seen = []

    def noting(noisy: Tensor, time: Tensor) -> Tensor:
        seen.append(noisy)
        return plain(noisy, time) + strength * (named(noisy, time) - plain(noisy, time))

    options = {"identity": "ann", "emotion": "sad"}
    found = model.animate(sound, **options, emotion_strength=strength)
    noise = clip_noise(sound, int(lengths), 0, 1, "ddim")
    expected = model.denormalise(sample_ddim(noting, noise, 3, model.config.noise_shift))[0]
    np.testing.assert_allclose(found.coefficients, expected.numpy(), atol=1e-6)
    assert (found.identity, found.emotion) == ("ann", "sad")
    assert len(seen) == 3


def test_an_inferred_emotion_is_not_exaggerated():
    model, sound = tiny_model(), speech(4000)
    found = model.animate(sound, emotion_strength=3.0).coefficients
    assert np.array_equal(found, model.animate(sound).coefficients)


def test_the_linear_denoiser_starts_as_a_smoother():
    """Half of the deviation smoothed over nine frames, at every step, channel by channel."""
    linear = tiny_model().decoder.linear
    with torch.no_grad():
        linear.gains.weight.zero_()
        deviation = torch.zeros(1, 21, 52)
        deviation[0, 10, JAW] = 1.0
        found = linear(deviation, torch.zeros(1, 8))[0]
    shape = torch.sin(math.pi * torch.arange(1, 10) / 10) ** 2
    torch.testing.assert_close(found[6:15, JAW], 0.5 * shape / shape.sum())
    assert (found[:6] == 0).all()
    assert (found[15:] == 0).all()
    assert (found[:, :JAW] == 0).all()


def test_ddim_and_ancestral_differ_only_after_the_first_step():
    model, sound = tiny_model(), speech(4000)
    one = [model.animate(sound, steps=1, sampler=s).coefficients for s in SAMPLERS]
    assert np.array_equal(*one)
    four = [model.animate(sound, steps=4, sampler=s).coefficients for s in SAMPLERS]
    assert not np.array_equal(*four)


@pytest.mark.parametrize("asked", [None, 1, 5])
def test_steps_are_those_asked_for_or_the_models_own(asked, monkeypatch):
    model = tiny_model(steps=3)
    times = []
    plain = model.decoder.forward

    def counting(noisy, time, *rest):
        times.append(time.item())
        return plain(noisy, time, *rest)

    monkeypatch.setattr(model.decoder, "forward", counting)
    model.animate(speech(1000), steps=asked)
    expected = time_grid(asked or 3, shift=model.config.noise_shift)[:-1]
    assert times == expected.tolist()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_steps_are_not_the_models_own(sampler):
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        tiny_model().animate(speech(1000), steps=0, sampler=sampler)


def test_the_sound_and_the_seed_decide_the_noise():
    """Clips of equal length must not blink in the same frames for having the same seed."""
    sound, other = speech(4000), speech(4000, seed=1)
    nudged = sound.copy()
    nudged[1234] += 1e-4

    def drawn(waveform, seed=0):
        return clip_noise(waveform, 8, seed, 1, "ddim")[0]

    assert torch.equal(drawn(sound), drawn(sound.copy()))
    assert torch.equal(drawn(sound, 2**63 - 1), drawn(sound, 2**63 - 1))
    found = [drawn(sound), drawn(sound, 1), drawn(sound, 256), drawn(other), drawn(nudged)]
    for a in range(len(found)):
        for b in range(a):
            assert (found[a] - found[b]).abs().min(0).values.max() > 0.1
    assert torch.cat(found).mean().abs() < 0.1
    assert torch.cat(found).std().item() == pytest.approx(1, abs=0.05)


def test_a_prefix_of_the_noise_is_shared():
    """A generator gives the same frames whatever the number asked for."""
    short, long = (clip_noise(speech(10), n, 3, 1, "ddim")[0] for n in (4, 9))
    assert torch.equal(short, long[:4])
    assert short.shape == (4, 52)


def test_what_a_decoder_says_is_what_comes_out():
    """A decoder that always answers 3 standard deviations: mean + 3 std in every frame."""
    model = tiny_model()
    decoder = model.decoder
    with torch.no_grad():
        for layer in (decoder.guide, decoder.linear.smooth, decoder.linear.gains):
            for parameter in layer.parameters():
                parameter.zero_()
        last = decoder.output[-1]
        last.weight.zero_()
        last.bias.zero_()
        last.bias[JAW] = 3.0
    found = model.animate(speech(3000)).coefficients
    np.testing.assert_allclose(found[:, JAW], 0.7, atol=1e-6)
    np.testing.assert_allclose(np.delete(found, JAW, axis=1), 0.4, atol=1e-6)


# Large encoders ----------------------------------------------------------------------------------


def test_a_model_that_hears_through_a_large_encoder_animates():
    large = FakeLarge()
    model, sound = large_model(large=large), speech(4000)
    found = model.animate(sound, identity="ann", emotion="sad")
    assert found.coefficients.shape == (8, 52)
    assert large.heard == [4000]
    again = model.animate(sound, identity="ann", emotion="sad")
    assert found.coefficients.tobytes() == again.coefficients.tobytes()
    assert large.heard == [4000] * 2
    other = model.animate(speech(4000, seed=1), identity="ann", emotion="sad")
    assert np.abs(other.coefficients - found.coefficients).max() > 1e-3


def test_what_a_large_encoder_hears_is_what_the_face_shows():
    """The noise comes from the sound alone: with another encoder the difference is heard."""

    class Deaf(FakeLarge):
        def __call__(self, waveform):
            return torch.zeros_like(super().__call__(waveform))

    sound = speech(4000)
    hearing, deaf = (large_model(large=kind()).animate(sound) for kind in (FakeLarge, Deaf))
    assert np.abs(hearing.coefficients - deaf.coefficients).max() > 1e-3


@torch.no_grad()
def test_padding_changes_nothing_of_what_a_large_encoder_hears():
    model = large_model()
    sounds = [speech(n, seed=n) for n in (9000, 1, 4000)]
    frames = torch.tensor([frame_count(len(sound)) for sound in sounds])
    together = model.features(sounds, frames)
    for row, count in enumerate(frames.tolist()):
        alone = model.features([sounds[row]], frames[row : row + 1])[0]
        torch.testing.assert_close(together[row, :count], alone, atol=1e-5, rtol=1e-4)


def test_attach_through_a_cache_or_directly(tmp_path):
    large = FakeLarge()
    for source in (large, FeatureCache(large, tmp_path)):
        model = large_model(attached=False)
        assert model.large_source is model.large_encoder is None
        model.attach(source)
        assert model.large_source is source
        assert model.large_encoder is large


def test_what_is_heard_through_a_cache_is_kept(tmp_path):
    large, sound = FakeLarge(), speech(4000)
    model = large_model(attached=False)
    model.attach(FeatureCache(large, tmp_path))
    first, again = (model.animate(sound).coefficients for _ in range(2))
    assert np.array_equal(first, again)
    assert large.heard == [4000]
    exact = large_model(large=large).animate(sound).coefficients
    np.testing.assert_allclose(first, exact, atol=1e-3)  # features are kept in half precision


@pytest.mark.parametrize(
    "other",
    [{"fingerprint": "beef"}, {"layers": (3,)}, {"layers": (5, 3)}, {"layers": (3, 5, 5)}],
)
def test_attach_refuses_another_large_encoder(other, tmp_path):
    model, large = large_model(attached=False), FakeLarge(**other, name="other")
    layers = ", ".join(map(str, large.layers))
    expected = f"made with layers 3, 5 of fake; layers {layers} of other are others$"
    for source in (large, FeatureCache(large, tmp_path)):
        with pytest.raises(CheckpointError, match=expected) as error:
            model.attach(source)
        assert "\n" not in str(error.value)
    assert model.large_source is None


def test_attach_goes_by_the_weights_not_by_the_name():
    """The same encoder lies in a folder here and on the hub there."""
    model = large_model(attached=False)
    model.attach(FakeLarge(name="elsewhere"))
    assert model.large_encoder.name == "elsewhere"
    assert model.config.encoder == "fake"


@kinds
def test_a_model_with_a_small_encoder_takes_no_large_one(kind):
    model = tiny_model(encoder=kind)
    with pytest.raises(CheckpointError, match="has a small speech encoder and takes no other"):
        model.attach(FakeLarge())
    assert model.large_source is model.large_encoder is None


def test_without_its_large_encoder_a_model_says_what_is_missing():
    with pytest.raises(CheckpointError, match=r"uses a large .* with --encoder") as error:
        large_model(attached=False).animate(speech(800))
    assert "\n" not in str(error.value)


def test_a_twin_hears_alike_and_is_untrained():
    model = large_model()
    twin = model.new_like(steps=7, identities=("eve",))
    changed = dataclasses.replace(model.config, steps=7, identities=("eve",))
    assert twin.config == changed
    assert twin.large_source is model.large_source
    assert not torch.equal(twin.encoder.output.weight, model.encoder.output.weight)
    assert large_model(attached=False).new_like().large_source is None
    assert tiny_model().new_like().config == tiny_config()
    # Its own weights: what is done to one leaves the other as it is.
    before = model.mean.clone()
    twin.mean.add_(1)
    assert torch.equal(model.mean, before)


def test_a_checkpoint_keeps_what_was_heard_through(tmp_path):
    """But not the large encoder itself."""
    path, large = tmp_path / "model.safetensors", FakeLarge()
    model = large_model(large=large)
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.config == model.config == large_config(large)
    assert loaded.config.layer == (3, 5)
    assert isinstance(loaded.config.layer, tuple)
    assert loaded.config.large_width == 6
    assert loaded.config.large_fingerprint == "f00d"
    assert loaded.config.uses_large_encoder
    assert isinstance(loaded.encoder, AdaptedEncoder)
    assert loaded.large_source is None
    loaded.attach(large)
    sound = speech(4000)
    first, second = (m.animate(sound).coefficients for m in (model, loaded))
    assert np.array_equal(first, second)
    assert read_description(path)["config"]["layer"] == [3, 5]


# Lids, and voices that are nobody's --------------------------------------------------------------


def blinking(seconds: int = 60, **changes):
    """The lids of an untrained model that is made to blink."""
    model = tiny_model(blinks=True, close_in_silence=False, **changes)
    coefficients = model.animate(speech(16000 * seconds), steps=1).coefficients
    return coefficients[:, LIDS]


def test_lids_move_in_blinks_alone():
    """Between blinks they are open, though this model would hold them half shut."""
    lids = blinking()
    assert np.array_equal(lids[:, 0], lids[:, 1])
    shut = lids[:, 0] > 0.5
    starts = np.flatnonzero(np.diff(shut.astype(int)) > 0)
    assert 12 <= len(starts) <= 28  # in a minute
    assert lids[:, 0].max() > 0.9
    assert np.mean((lids[:, 0] > 0.15) & (lids[:, 0] < 0.6)) < 0.06
    open_lids = lids[lids < 0.5]
    assert np.median(open_lids) <= OPEN_LIDS + 1e-6


def test_blinks_depend_on_the_seed_and_on_nothing_else_that_is_random():
    model, sound = tiny_model(blinks=True), speech(16000 * 10)
    first, again, other = (
        model.animate(sound, seed=seed, steps=1).coefficients[:, LIDS] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_open_library_may_find_nobody():
    torch.manual_seed(0)
    library = Library(("ann", "bob"), tiny_config(), is_open=True)
    audio = torch.randn(5, 16)
    match = library.match(audio)
    assert match.shape == (5, 3)
    torch.testing.assert_close(match.sum(-1), torch.ones(5))
    assert torch.equal(library.weights_of_match(match, "soft"), match)
    hard = library.weights_of_match(match, "hard")
    assert torch.equal(hard.argmax(-1), match.argmax(-1))
    assert library.label_of(torch.tensor([0.1, 0.2, 0.7])) == ""
