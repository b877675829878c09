"""Large encoders: equal to transformers' own, on time, whole; what does not fit is refused.

The models here are tiny and random, in the files that the published ones come in.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Array, speech
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    HubertConfig,
    HubertForCTC,
    HubertModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from dtalk.errors import CheckpointError  # noqa: E402
from dtalk.speech.bottom import HOP, OVERLAP, SHORTEST, SPAN, windowed  # noqa: E402
from dtalk.speech.loudness import level  # noqa: E402
from dtalk.speech.pretrained import (  # noqa: E402
    Hubert,
    LargeEncoder,
    Whisper,
    load_large_encoder,
)

DEPTH, WIDTH = 3, 16
POSITIONS = 50  # of the tiny Whisper: 1 s
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
LAYERS = [(1,), (2,), (DEPTH,), (1, DEPTH), (DEPTH, 2, 1)]


def whisper_config(**changes: Any) -> Any:
    plain = {
        "d_model": WIDTH,
        "encoder_layers": DEPTH,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 8,
        "num_mel_bins": 80,
        "max_source_positions": POSITIONS,
        "max_target_positions": 4,
        "vocab_size": 8,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
        "decoder_start_token_id": 0,
    }
    return WhisperConfig(**{**plain, **changes})


def hubert_config(stable: bool = False, **changes: Any) -> Any:
    """In the way of the base model or, ``stable``, of the large one."""
    plain = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 8,
        "do_stable_layer_norm": stable,
        "feat_extract_norm": "layer" if stable else "group",
        "conv_bias": stable,
    }
    return HubertConfig(**{**plain, **changes})


def randomised(model: Any) -> Any:
    """The model with weights of which each one matters, norms included; in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            else:
                value.copy_(0.2 * noise + name.endswith("norm.weight"))
    return model.eval()


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As HuBERT's published files have them, made before torch 2."""
    new = "conv.parametrizations.weight.original"
    return {
        key.replace(f"{new}0", "conv.weight_g").replace(f"{new}1", "conv.weight_v"): value
        for key, value in state.items()
    }


def write(folder: Path, config: Any, weights: dict[str, Tensor], name: str = SAFE) -> Path:
    """A published folder that holds these weights only."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    weights = {key: value.clone() for key, value in weights.items()}
    if name == SAFE:
        save_file(weights, folder / name)
    else:
        torch.save(weights, folder / name)
    return folder


def describe_input(folder: Path, do_normalize: bool) -> Path:
    described = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": do_normalize,
        "sampling_rate": 16000,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def whisper() -> Any:
    return randomised(WhisperModel(whisper_config()))


@pytest.fixture(scope="module")
def whisper_folder(whisper: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "tiny-whisper"
    whisper.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hubert() -> Any:
    return randomised(HubertModel(hubert_config()))


@pytest.fixture(scope="module")
def hubert_folder(hubert: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "tiny-hubert"
    hubert.save_pretrained(folder)
    return folder


@pytest.fixture(params=["whisper", "hubert"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Of each kind in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


def load(folder: Path, *layers: int, **options: Any) -> LargeEncoder:
    return load_large_encoder(str(folder), layers, **options)


def levelled(waveform: Array) -> Array:
    return level(waveform)


def joined(states: tuple[Tensor, ...], layers: tuple[int, ...]) -> Tensor:
    return torch.cat([states[layer][0] for layer in layers], -1)


@torch.no_grad()
def whisper_states(model: Any, sound: Array) -> tuple[Tensor, ...]:
    """What transformers makes of a levelled sound of exactly the model's length."""
    extractor = WhisperFeatureExtractor(chunk_length=1)
    mel = extractor(sound, sampling_rate=16000, return_tensors="pt").input_features
    return model.get_encoder()(mel, output_hidden_states=True).hidden_states


@torch.no_grad()
def hubert_states(model: Any, sound: Array) -> tuple[Tensor, ...]:
    """What transformers makes of a sound; the last is after the norm, in all its versions."""
    output = model(torch.from_numpy(sound)[None], output_hidden_states=True)
    return *output.hidden_states[:-1], output.last_hidden_state


def normalised(sound: Array) -> Array:
    return ((sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)).astype(np.float32)


def at_frames(features: Tensor, start: float, frames: int) -> Tensor:
    """Features at 50 Hz, the first at ``start`` / 50 s, by numpy at the frames' middles."""
    places = (np.arange(len(features)) + start) / 50
    middles = (np.arange(frames) + 0.5) / 30
    columns = [np.interp(middles, places, column) for column in features.double().numpy().T]
    return torch.from_numpy(np.stack(columns, -1)).float()


# Whisper


@pytest.mark.parametrize("layers", LAYERS)
def test_whisper_gives_what_transformers_gives(whisper, whisper_folder, layers):
    encoder = load(whisper_folder, *layers)
    sound = levelled(speech(16000))
    expected = joined(whisper_states(whisper, sound), layers)
    assert (expected.std(0) > 0.02).all()  # it is no easy agreement on a constant
    assert isinstance(encoder, Whisper)
    assert (encoder.layers, encoder.width) == (layers, expected.shape[1])
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(sound), expected, rtol=1e-5, atol=1e-5)
    frames = at_frames(expected, 0.0, 30)
    torch.testing.assert_close(encoder(speech(16000)), frames, rtol=1e-4, atol=1e-4)


def test_whisper_takes_the_number_of_mel_bands_from_its_configuration(tmp_path):
    model = randomised(WhisperModel(whisper_config(num_mel_bins=128)))
    model.save_pretrained(tmp_path)
    sound = levelled(speech(16000))
    mel = WhisperFeatureExtractor(128, chunk_length=1)(
        sound, sampling_rate=16000, return_tensors="pt"
    ).input_features
    with torch.no_grad():
        expected = model.get_encoder()(mel).last_hidden_state[0]
        torch.testing.assert_close(load(tmp_path).encode(sound), expected, rtol=1e-5, atol=1e-5)


def test_whisper_cuts_positions_off_instead_of_padding(whisper, whisper_folder, tmp_path):
    """A model of 0.5 s whose positions are the first half of the other's says the same."""
    state = whisper.get_encoder().state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][:25]
    short = load(write(tmp_path, whisper_config(max_source_positions=25), state), 2)
    sound = speech(8000)
    torch.testing.assert_close(load(whisper_folder, 2)(sound), short(sound), rtol=0, atol=0)


@pytest.mark.parametrize("name", [SAFE, PICKLED])
@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
def test_whisper_is_found_under_every_published_name(whisper, tmp_path, prefix, name):
    state = whisper.get_encoder().state_dict()
    other = {"decoder.layers.0.fc1.weight": torch.zeros(2), "proj_out.weight": torch.zeros(3)}
    stored = {prefix + key: value for key, value in state.items()}
    network = load(write(tmp_path, whisper_config(), {**stored, **other}, name)).network
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)


def test_whisper_is_found_in_a_model_that_writes_text(tmp_path):
    model = randomised(WhisperForConditionalGeneration(whisper_config()))
    model.save_pretrained(tmp_path)
    sound = levelled(speech(16000))
    with torch.no_grad():
        features = load(tmp_path).encode(sound)
    torch.testing.assert_close(features, whisper_states(model, sound)[-1][0], rtol=1e-5, atol=1e-5)


# HuBERT


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("do_normalize", [False, True])
def test_hubert_gives_what_transformers_gives(tmp_path, layers, stable, do_normalize):
    model = randomised(HubertModel(hubert_config(stable)))
    model.save_pretrained(tmp_path)
    encoder = load(describe_input(tmp_path, do_normalize), *layers)
    sound = levelled(speech(16000))
    given = normalised(sound) if do_normalize else sound
    expected = joined(hubert_states(model, given), layers)
    assert (expected.std(0) > 0.02).all()
    assert isinstance(encoder, Hubert)
    assert (encoder.layers, encoder.width) == (layers, expected.shape[1])
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(sound), expected, rtol=1e-4, atol=1e-4)
    frames = at_frames(expected, 0.625, 30)
    torch.testing.assert_close(encoder(speech(16000)), frames, rtol=1e-4, atol=1e-4)


def test_hubert_normalises_its_input_unless_told_otherwise(tmp_path):
    randomised(HubertModel(hubert_config(stable=True))).save_pretrained(tmp_path)
    sound = speech(8000)
    plain = load(tmp_path)(sound)
    told = [load(describe_input(tmp_path, choice))(sound) for choice in (True, False)]
    torch.testing.assert_close(plain, told[0], rtol=0, atol=0)
    assert (plain - told[1]).abs().max() > 0.1


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("kind", [HubertModel, HubertForCTC])
@pytest.mark.parametrize("layer", [2, DEPTH])
def test_hubert_is_read_from_files_older_than_torch_2(tmp_path, kind, stable, layer):
    model = randomised(kind(hubert_config(stable)))
    weights = old_names(model.state_dict())
    prefix = "hubert." if kind is HubertForCTC else ""
    assert f"{prefix}encoder.pos_conv_embed.conv.weight_g" in weights
    encoder = load(write(tmp_path, model.config, weights, PICKLED), layer)
    sound = levelled(speech(6000))
    trunk = model.hubert if kind is HubertForCTC else model
    expected = hubert_states(trunk, normalised(sound))[layer][0]
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(sound), expected, rtol=1e-4, atol=1e-4)


def test_hubert_needs_no_vector_for_masked_frames(hubert, tmp_path):
    """Some published files lack it; only training uses it."""
    state = hubert.state_dict()
    del state["masked_spec_embed"]
    assert hubert.config.mask_time_prob > 0
    without, sound = load(write(tmp_path, hubert.config, state)), levelled(speech(4000))
    with torch.no_grad():
        expected = hubert_states(hubert, normalised(sound))[-1][0]
        torch.testing.assert_close(without.encode(sound), expected, rtol=1e-4, atol=1e-4)


# Both


def test_the_last_layer_is_taken_if_none_is_named(folder):
    assert load(folder).layers == (DEPTH,)
    assert torch.equal(load(folder)(speech(5000)), load(folder, DEPTH)(speech(5000)))


@pytest.mark.parametrize("layer", [1, 2, DEPTH])
def test_every_weight_is_the_files_and_no_layer_is_built_beyond_the_last(folder, layer):
    encoder = load(folder, layer)
    stored = load_file(folder / SAFE)
    prefix = "encoder." if isinstance(encoder, Whisper) else ""
    state = encoder.network.state_dict()
    for key, value in state.items():
        torch.testing.assert_close(value, stored[prefix + key], rtol=0, atol=0)
    assert any(f"layers.{layer - 1}.fin" in key for key in state)
    assert not any(f"layers.{layer}.fin" in key for key in state)
    assert sum(value.numel() for value in state.values()) == encoder.parameters


def test_half_precision_files_are_computed_in_single_precision(folder, tmp_path):
    stored = {key: value.half() for key, value in load_file(folder / SAFE).items()}
    shutil.copy(folder / "config.json", tmp_path)
    save_file(stored, tmp_path / SAFE)
    network = load(tmp_path).network
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert not {value.dtype for value in stored.values()} & {torch.float32}


def test_an_encoder_is_frozen_and_always_says_the_same(folder):
    encoder, sound = load(folder), speech(4000)
    assert not any(module.training for module in encoder.network.modules())
    assert not any(value.requires_grad for value in encoder.network.parameters())
    assert torch.equal(encoder(sound), encoder(sound))


def test_features_can_be_trained_on(folder):
    features = load(folder)(speech(3200))
    layer = nn.Linear(WIDTH, 1)
    layer(features).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[0], features.sum(0))


def test_loading_leaves_random_numbers_as_they_were(folder):
    def states() -> tuple[bytes, str, str]:
        numpy_state = repr(np.random.get_state())  # noqa: NPY002
        return torch.get_rng_state().numpy().tobytes(), numpy_state, repr(random.getstate())

    before = states()
    load(folder)
    assert states() == before
    torch.rand(1)
    assert states() != before


@pytest.mark.usefixtures("plain_kernels")
def test_bfloat16_gives_nearly_the_same(folder):
    """Far nearer than what another sound, or another layer, would give."""
    sound = speech(16000)
    exact, fast = load(folder)(sound), load(folder, precision="bfloat16")(sound)
    assert fast.dtype == torch.float32
    others = (load(folder)(speech(16000, seed=1)), load(folder, DEPTH - 1)(sound))
    apart = min(float((other - exact).norm()) for other in others)
    assert 0 < (fast - exact).norm() < 0.25 * apart


def test_loudness_does_not_matter(folder):
    encoder, sound = load(folder), speech(8000)
    torch.testing.assert_close(encoder(sound / 4), encoder(sound), rtol=1e-3, atol=1e-3)


# Fingerprints


def changed(folder: Path, place: Path, key: str) -> Path:
    """A copy of a model whose weight ``key`` differs in the last bit of one number."""
    stored = load_file(folder / SAFE)
    first = stored[key].flatten()[:1]
    stored[key].view(-1)[:1] = torch.nextafter(first, first + 1)
    shutil.copytree(folder, place, dirs_exist_ok=True)
    save_file(stored, place / SAFE)
    return place


def layer_weight(folder: Path, layer: int) -> str:
    """The name of one of the weights of a layer of an encoder, counted from 1."""
    part = f"encoder.layers.{layer - 1}.final_layer_norm.weight"
    assert part in load_file(folder / SAFE)
    return part


def test_copies_have_the_same_fingerprint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert load(tmp_path / "copy").fingerprint == load(folder).fingerprint


def test_the_form_of_the_file_does_not_change_the_fingerprint(hubert, hubert_folder, tmp_path):
    stored = {f"hubert.{key}": value for key, value in old_names(hubert.state_dict()).items()}
    other = load(write(tmp_path, hubert.config, stored, PICKLED))
    assert other.fingerprint == load(hubert_folder).fingerprint


def test_the_fingerprint_tells_weights_apart_up_to_the_cut(folder, tmp_path):
    other = changed(folder, tmp_path, layer_weight(folder, 2))
    assert load(other, 2).fingerprint != load(folder, 2).fingerprint
    assert load(other, 1).fingerprint == load(folder, 1).fingerprint


def test_the_fingerprint_tells_cuts_apart(folder):
    prints = {load(folder, layer).fingerprint for layer in range(1, DEPTH + 1)}
    assert len(prints) == DEPTH
    assert load(folder, 1, 2).fingerprint == load(folder, 2).fingerprint


def test_a_deeper_cut_knows_the_fingerprint_of_one_above_it(folder):
    assert load(folder, 2).fingerprint_at(1) == load(folder, 1).fingerprint
    assert load(folder, 2).fingerprint_at(2) == load(folder, 2).fingerprint


def test_the_fingerprint_tells_whether_the_input_is_normalised(hubert_folder, tmp_path):
    shutil.copytree(hubert_folder, tmp_path, dirs_exist_ok=True)
    prints = [load(describe_input(tmp_path, choice)).fingerprint for choice in (True, False)]
    assert prints[0] == load(hubert_folder).fingerprint
    assert prints[0] != prints[1]


def test_the_fingerprint_stays_what_it_was_when_models_were_made_with_it(whisper_folder):
    """Else models that were made with a Whisper would refuse it, and their caches be lost."""
    digest = hashlib.sha256()
    stored = load_file(whisper_folder / SAFE)
    for key in sorted(key for key in stored if key.startswith("encoder.")):
        if not key.startswith("encoder.layers.2."):
            digest.update(key.removeprefix("encoder.").encode())
            digest.update(stored[key].numpy().tobytes())
    assert load(whisper_folder, 2).fingerprint == digest.hexdigest()[:16]


# Time


@pytest.mark.parametrize(
    "samples",
    [1, 200, 799, 800, 801, 1333, 1334, SHORTEST - 1, SHORTEST + 1, 16000, 16001, 47777, 460000],
)
def test_there_are_as_many_features_as_frames(folder, samples):
    features = load(folder, 1)(speech(samples))
    assert features.shape == (max(1, round(samples / 16000 * 30)), WIDTH)
    assert features.isfinite().all()


def test_silence_gives_finite_features(folder):
    assert load(folder)(np.zeros(3000, np.float32)).isfinite().all()


def silenced(layer: nn.Module, *parts: str) -> None:
    """A transformer layer whose branches add nothing."""
    with torch.no_grad():
        for part in parts:
            for value in layer.get_submodule(part).parameters():
                value.zero_()


def local_whisper(folder: Path) -> LargeEncoder:
    """One whose features depend on the sound around them only, alike before and after."""
    encoder = load(folder, 2)
    network: Any = encoder.network
    for layer in network.layers:
        silenced(layer, "self_attn.out_proj", "fc2")
    with torch.no_grad():
        network.embed_positions.weight.zero_()
        for convolution in (network.conv1, network.conv2):
            convolution.weight.add_(convolution.weight.flip(-1))
    return encoder


def local_hubert(tmp_path: Path) -> LargeEncoder:
    """One whose features depend on the sound in their windows only."""
    randomised(HubertModel(hubert_config(stable=True))).save_pretrained(tmp_path)
    encoder = load(describe_input(tmp_path, False), 2)
    network: Any = encoder.network
    for layer in network.encoder.layers:
        silenced(layer, "attention.out_proj", "feed_forward.output_dense")
    convolution = network.encoder.pos_conv_embed.conv
    with torch.no_grad():
        convolution.parametrizations.weight.original0.zero_()
        convolution.bias.zero_()
    return encoder


@torch.no_grad()
def test_whispers_features_lie_where_their_times_say(whisper_folder):
    encoder, centre = local_whisper(whisper_folder), 20
    sound = np.zeros(16000, np.float32)
    sound[round((centre + encoder.start) * HOP)] = 0.5
    features = encoder.encode(sound)
    for distance in (1, 2, 3):
        after, before = features[centre + distance], features[centre - distance]
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert (features[centre] - features[centre + 1]).abs().max() > 0.01
    assert (features[centre + 1] - features[centre + 5]).abs().max() > 0.01


@torch.no_grad()
def test_huberts_features_lie_where_their_times_say(tmp_path):
    encoder, centre = local_hubert(tmp_path), 20
    sound = levelled(speech(16000))
    plain = encoder.encode(sound)[centre]

    def matters(sample: int) -> bool:
        other = sound.copy()
        other[sample] += 0.5
        return not torch.equal(encoder.encode(other)[centre], plain)

    middle = round((centre + encoder.start) * HOP)
    reach = [offset for offset in (-201, -200, -100, 0, 100, 199, 200) if matters(middle + offset)]
    assert reach == [-200, -100, 0, 100, 199]


@pytest.mark.parametrize("kind", ["whisper", "hubert"])
def test_later_sound_gives_features_as_much_later(kind, whisper_folder, tmp_path):
    encoder = local_whisper(whisper_folder) if kind == "whisper" else local_hubert(tmp_path)
    sound = np.pad(speech(8000), (3200, 4800))
    features, later = encoder(sound), encoder(np.roll(sound, 1600))  # 3 frames
    torch.testing.assert_close(later[6:27], features[3:24], rtol=1e-3, atol=1e-3)
    assert (features[1:] - features[:-1]).abs().max() > 0.1


# Windows


COUNTS: dict[str, Callable[[int], int]] = {
    "whisper": lambda samples: -(-samples // HOP),
    "hubert": lambda samples: (samples - 400) // HOP + 1,
}
LENGTHS = sorted(
    {1600, 3210, SPAN * HOP // 2}
    | {
        (SPAN + k * (SPAN - OVERLAP)) * HOP + more
        for k in range(4)
        for more in (-321, -320, -80, -1, 0, 1, 79, 80, 81, 319, 320, 321, 64000, 100000)
    }
)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("kind", COUNTS)
def test_windows_are_joined_without_a_seam(kind, samples):
    """An encoder that tells the time: a sound that counts its samples gives every 320th."""
    given = []

    def encode(sound: Array) -> Tensor:
        given.append(len(sound))
        return torch.from_numpy(sound[::HOP][: COUNTS[kind](len(sound)), None].copy())

    joined = windowed(encode, np.arange(samples, dtype=np.float32))
    count = COUNTS[kind](samples)
    assert torch.equal(joined, torch.arange(count, dtype=torch.float32)[:, None] * HOP)
    assert max(given) <= SPAN * HOP
    assert min(given) >= min(samples, OVERLAP * HOP)
    assert (len(given) > 1) == (samples > SPAN * HOP)


@pytest.mark.parametrize("window", [SPAN, 70])
def test_a_window_fades_into_the_next(window):
    """An encoder that says how often it was called."""
    calls = iter((0.0, 1.0, 2.0))
    overlap = window // 7
    step = window - overlap
    sound = np.zeros((2 * step + window) * HOP, np.float32)
    joined = windowed(lambda part: torch.full((len(part) // HOP, 1), next(calls)), sound, window)
    assert joined.shape == (2 * step + window, 1)
    fade = (torch.arange(overlap) + 0.5) / overlap
    for number in (1, 2):
        begin = number * step
        assert (joined[begin - step + overlap : begin] == number - 1).all()
        torch.testing.assert_close(joined[begin : begin + overlap, 0], number - 1 + fade)
    assert (joined[2 * step + overlap :] == 2).all()


@torch.no_grad()
def test_a_sound_longer_than_whispers_positions_is_heard_in_windows(whisper_folder):
    encoder, sound = load(whisper_folder), levelled(speech(3 * 16000))
    features = windowed(encoder.encode, sound, encoder.window)
    assert (encoder.window, len(features)) == (POSITIONS, 150)
    first, second = encoder.encode(sound[:16000]), encoder.encode(sound[43 * HOP :][:16000])
    assert torch.equal(features[:43], first[:43])
    torch.testing.assert_close(features[46], (first[46] + second[3]) / 2)  # of 43 to 49
    assert torch.equal(features[50:86], second[7:43])


# Refusals


def refusal(place: Path | str, *layers: int) -> str:
    """The one line that says why an encoder is not loaded."""
    with pytest.raises(CheckpointError) as caught:
        load_large_encoder(str(place), layers)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300 + len(str(place))
    return message


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A model that may be broken."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.mark.parametrize("layer", [-1, 0, DEPTH + 1])
def test_a_layer_that_is_not_there_is_refused(folder, layer):
    assert refusal(folder, 1, layer) == f"{folder.name} has no layer {layer}; it has 1 to {DEPTH}"


def test_a_missing_weight_is_refused(copied):
    stored = load_file(copied / SAFE)
    lacking = [key for key in stored if "layers.1.final_layer_norm" in key and "decoder" not in key]
    save_file({key: value for key, value in stored.items() if key not in lacking}, copied / SAFE)
    message = refusal(copied)
    assert "layers.1.final_layer_norm.weight (2 of " in message
    assert str(copied) in message
    assert load(copied, 1).layers == (1,)  # which does without


def test_weights_of_a_larger_model_are_refused(copied):
    described = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    described["hidden_size" if "hidden_size" in described else "d_model"] = 2 * WIDTH
    (copied / "config.json").write_text(json.dumps(described), encoding="utf-8")
    message = refusal(copied)
    assert str(copied) in message
    assert f"is [{WIDTH}, " in message
    assert f"not [{2 * WIDTH}, " in message


def test_a_folder_without_weights_is_refused(copied):
    (copied / SAFE).unlink()
    assert refusal(copied) == f"{copied} holds none of {SAFE}, {PICKLED}"


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '"whisper"', b"\xff\xfe", '{"model_type": ["whisper"]}']
)
def test_a_folder_without_a_usable_configuration_is_refused(copied, text):
    (copied / "config.json").unlink()
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (copied / "config.json").write_bytes(content)
    assert str(copied) in refusal(copied)


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 5}, {"conv_dim": "wide"}, {"num_hidden_layers": None}],
)
def test_a_nonsensical_configuration_is_refused(hubert_folder, tmp_path, change):
    shutil.copytree(hubert_folder, tmp_path, dirs_exist_ok=True)
    described = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(described | change), encoding="utf-8")
    assert str(tmp_path) in refusal(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    assert refusal(tmp_path) == f"{tmp_path} is a bert model; dtalk reads whisper, hubert"


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
@pytest.mark.parametrize("name", [SAFE, PICKLED])
def test_damaged_weights_are_refused(copied, name, damage):
    if name == PICKLED:
        torch.save(load_file(copied / SAFE), copied / PICKLED)
        (copied / SAFE).unlink()
    content = (copied / name).read_bytes()
    damaged = {
        "cut": content[:-100],
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\n" * 3,  # what git leaves without LFS
        "header": bytes(100) + content[100:],
    }
    (copied / name).write_bytes(damaged[damage])
    assert str(copied / name) in refusal(copied)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.mark,))


def test_a_pickle_that_runs_code_is_not_run(copied, tmp_path):
    mark = tmp_path / "ran"
    (copied / SAFE).unlink()
    torch.save({"weight": Bomb(mark)}, copied / PICKLED)
    assert refusal(copied) == f"{copied / PICKLED} is damaged, or holds more than weights"
    assert not mark.exists()
    torch.load(copied / PICKLED, weights_only=False)
    assert mark.exists()  # it would have


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, 7])
def test_a_pickle_of_other_things_is_refused(copied, content):
    (copied / SAFE).unlink()
    torch.save(content, copied / PICKLED)
    assert str(copied) in refusal(copied)


def test_safetensors_are_preferred(copied):
    (copied / PICKLED).write_bytes(b"")
    assert load(copied).layers == (DEPTH,)


def test_without_transformers_it_is_said_how_to_get_it(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "transformers", None)
    message = refusal(folder)
    assert str(folder) in message
    assert "pip install 'dtalk[train]'" in message


# The hub


@pytest.fixture
def no_hub(monkeypatch):
    def download(*arguments: object, **options: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("place", ["nowhere", "./a", "../a", "~/a", "/a/b", "/a", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(monkeypatch, tmp_path, place):
    monkeypatch.chdir(tmp_path)
    message = refusal(place)
    assert message == f"no speech encoder: {place} is neither a folder nor a hub id"


@pytest.mark.parametrize("kind", [OSError, ValueError, ImportError])
def test_a_hub_that_cannot_be_reached_is_named(monkeypatch, kind):
    def download(*arguments: object, **options: object) -> str:
        raise kind("no route\nto the host " + "x" * 999)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    message = refusal("some/model")
    assert "some/model" in message
    assert "no route to the host xxx" in message


def test_a_model_on_the_hub_is_downloaded(monkeypatch, folder):
    asked = []

    def download(identifier: str, *, allow_patterns: list[str]) -> str:
        asked.append((identifier, set(allow_patterns)))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    encoder = load_large_encoder("some/model")
    wanted = {"config.json", "preprocessor_config.json", SAFE, PICKLED}
    assert asked == [("some/model", wanted)]
    assert encoder.name == "some/model"
    assert torch.equal(encoder(speech(3000)), load(folder)(speech(3000)))


@pytest.mark.usefixtures("no_hub")
def test_a_folder_is_named_by_its_name(monkeypatch, folder):
    assert load(folder).name == folder.name
    monkeypatch.chdir(folder)
    assert load_large_encoder(".").name == folder.name
