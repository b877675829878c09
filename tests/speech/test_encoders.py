"""Speech encoders: time alignment, and that padding changes nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers import FakeLarge, large_config, speech, tiny_config
from torch import Tensor

from dtalk.config import COMPRESSED_ENCODERS, SMALL_ENCODERS
from dtalk.errors import CheckpointError
from dtalk.nn.frames import frame_mask, resample_features
from dtalk.speech.audio import frame_count
from dtalk.speech.bottom import HubertBottom, WhisperBottom
from dtalk.speech.encoders import (
    AdaptedEncoder,
    CompressedEncoder,
    ResidualBlock,
    SmallEncoder,
    SpeechEncoder,
    build_encoder,
)
from dtalk.speech.front_ends import FRONT_ENDS

kinds = pytest.mark.parametrize("kind", ["mel", "wide-mel", "cnn"])
all_kinds = pytest.mark.parametrize("kind", ["mel", "wide-mel", "cnn", "large"])


def encoder(kind: str) -> SmallEncoder:
    torch.manual_seed(0)
    net = SmallEncoder(kind, width=12, blocks=2, features=7, dropout=0.1)
    for block in net.blocks:
        torch.nn.init.normal_(
            block.get_parameter("outer.weight")
        )  # as if trained: else it adds nothing
    return net.eval()


def adapted(large: FakeLarge | None = None) -> AdaptedEncoder:
    large = large or FakeLarge()
    torch.manual_seed(0)
    net = AdaptedEncoder(large.width, features=7, dropout=0.1)
    net.source = large  # type: ignore[assignment]
    return net.eval()


def any_encoder(kind: str) -> SpeechEncoder:
    return adapted() if kind == "large" else encoder(kind)


def test_a_residual_block_by_hand():
    """Twice the frame before and three times the frame itself, normalised: 1 and -1; GELU of it."""
    block = ResidualBlock(2)
    with torch.no_grad():
        block.over_time.weight.zero_()
        block.over_time.weight[:, 0, 2:4] = torch.tensor([2.0, 3.0])
        block.over_time.bias.zero_()  # type: ignore[union-attr]
        for linear, matrix in ((block.inner, [[1, 0], [0, 1]]), (block.outer, [[0, 5], [4, 0]])):
            linear.weight.copy_(torch.tensor(matrix))
            linear.bias.zero_()
    hidden = torch.tensor([[[1.0, 0.0], [1.0, 2.0], [9.0, 9.0]]])
    mask = torch.tensor([[[True], [True], [False]]])
    found = block(hidden, mask)[0, :2]
    # Frame 0: (3, 0) -> (1, -1); frame 1: (3 + 2, 6 + 0) -> (-1, 1).
    plus, minus = 0.841345, -0.158655  # GELU of 1 and of -1
    expected = torch.tensor(
        [[1 + 5 * minus, 4 * plus], [1 + 5 * plus, 2 + 4 * minus]],
    )
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_residual_blocks_add_nothing_until_they_are_trained():
    plain = SmallEncoder("mel", width=12, blocks=0, features=7, dropout=0.0).eval()
    deeper = SmallEncoder("mel", width=12, blocks=3, features=7, dropout=0.0).eval()
    lacking, foreign = deeper.load_state_dict(plain.state_dict(), strict=False)
    assert not foreign
    assert all(name.startswith("blocks.") for name in lacking)
    inputs = [plain.prepare(torch.from_numpy(speech(6000)))]
    frames = torch.tensor([11])
    torch.testing.assert_close(deeper(inputs, frames), plain(inputs, frames))


@torch.no_grad()
def test_a_residual_encoder_adds_the_lstm_to_what_it_is_given():
    """An LSTM whose weights are all 0 gives 0: then the output is that of its input alone."""
    plain, residual = encoder("mel"), encoder("mel")
    residual.residual = True
    for net in (plain, residual):
        for weight in net.recurrent.parameters():
            weight.zero_()
    inputs, length = [plain.prepare(torch.from_numpy(speech(4000)))], torch.tensor([8])
    silent, heard = (net(inputs, length)[0] for net in (plain, residual))
    torch.testing.assert_close(silent, silent[:1].expand_as(silent))
    assert (heard - heard[:1]).abs().max() > 0.1
    assert build_encoder(tiny_config(encoder_residual=True)).residual  # type: ignore[union-attr]


# Front ends --------------------------------------------------------------------------------------


@all_kinds
@pytest.mark.parametrize("samples", [1, 2, 100, 319, 320, 321, 479, 481, 533, 800, 16000, 16159])
def test_any_length_gives_the_frames_asked_for(kind, samples):
    frames = frame_count(samples)
    with torch.no_grad():
        net = any_encoder(kind)
        features = net([net.prepare(torch.from_numpy(speech(samples)))], torch.tensor([frames]))
    assert features.shape == (1, frames, 7)
    assert torch.isfinite(features).all()


@kinds
def test_front_ends_give_50_features_a_second(kind):
    net = encoder(kind)
    for samples in (1, 320, 3200, 16000, 16100):
        prepared = net.prepare(torch.from_numpy(speech(samples)))
        features, lengths = net.front_end(prepared[None], torch.tensor([len(prepared)]))
        assert features.shape[1] == lengths.item()
        assert abs(lengths.item() - samples / 320) <= 1


@all_kinds
def test_features_are_normalised_over_their_channels(kind):
    """Mean 0 and variance 1 in every frame of every clip, so that no frame is the largest."""
    net = any_encoder(kind)
    sounds = [speech(n, seed=n) for n in (9000, 1, 4321)]
    frames = torch.tensor([frame_count(len(sound)) for sound in sounds])
    with torch.no_grad():
        features = net([net.prepare(torch.from_numpy(sound)) for sound in sounds], frames)
    found = features[frame_mask(frames, features.shape[1])].double()
    assert found.shape == (frames.sum(), 7)
    torch.testing.assert_close(found.mean(-1), torch.zeros(len(found)).double(), atol=1e-6, rtol=0)
    variance = found.var(-1, unbiased=False)
    # The variance before is larger by far than the 1e-5 that keeps a division from failing.
    torch.testing.assert_close(variance, torch.ones(len(found)).double(), atol=0.01, rtol=0)


@all_kinds
def test_padding_changes_nothing(kind):
    """A batch of unequal clips, the shortest of one sample, equals one clip at a time."""
    net = any_encoder(kind)
    sounds = [speech(n, seed=n) for n in (16000, 1, 4321, 9999, 480)]
    prepared = [net.prepare(torch.from_numpy(sound)) for sound in sounds]
    frames = torch.tensor([frame_count(len(sound)) for sound in sounds])
    with torch.no_grad():
        together = net(prepared, frames)
        for row, count in enumerate(frames.tolist()):
            alone = net([prepared[row]], frames[row : row + 1])[0]
            torch.testing.assert_close(together[row, :count], alone, atol=2e-6, rtol=1e-4)


@all_kinds
def test_batched_gradients_equal_those_of_single_clips(kind):
    net = any_encoder(kind)
    prepared = [net.prepare(torch.from_numpy(speech(n, seed=n))) for n in (5000, 1600)]
    frames = torch.tensor([9, 3])
    together = net(prepared, frames)
    (together[0].square().sum() + together[1, :3].square().sum()).backward()
    batched = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    for row in range(2):
        net([prepared[row]], frames[row : row + 1]).square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, batched[name], atol=5e-4, rtol=1e-3, msg=name)


@kinds
def test_prepare_needs_no_gradient(kind):
    sound = torch.from_numpy(speech(800)).requires_grad_()
    assert not encoder(kind).prepare(sound).requires_grad


@kinds
def test_recording_level_changes_nothing(kind):
    net, sound = encoder(kind), torch.from_numpy(speech(8000))
    torch.testing.assert_close(net.prepare(sound * 0.3), net.prepare(sound), atol=1e-4, rtol=1e-4)


# Alignment in time -------------------------------------------------------------------------------


def symmetric(kind: str) -> SmallEncoder:
    """An encoder whose kernels are the same forwards and backwards, so that it has no lag."""
    net = encoder(kind)
    for parameter in net.front_end.parameters():
        if parameter.dim() == 3:  # convolutions [out, in, time]
            parameter.data = (parameter.data + parameter.data.flip(-1)) / 2
    return net


def face_features(net: SmallEncoder, sound: np.ndarray | Tensor, frames: int) -> Tensor:
    """Features at the face's frames, before the LSTM mixes times: ``[T, C]``."""
    prepared = net.prepare(torch.as_tensor(sound))
    features, lengths = net.front_end(prepared[None], torch.tensor([len(prepared)]))
    asked = torch.tensor([frames])
    front_end = net.front_end
    return resample_features(features, lengths, asked, front_end.rate, front_end.start)[0]


@torch.no_grad()
@kinds
@pytest.mark.parametrize("frame", [4, 13, 22])
def test_a_sound_changes_the_frame_it_falls_in(kind, frame):
    """A burst around the centre of frame k is seen around k, as much before as after."""
    net = symmetric(kind)
    silence = torch.zeros(16000)
    burst = silence.clone()
    # Hop and window are even: a feature of the waveform is centred between two samples.
    middle, half = round((frame + 0.5) / 30 * 16000), 2000
    even = kind != "cnn"
    after = torch.from_numpy(speech(half)) * torch.linspace(1, 0, half)
    burst[middle : middle + half] = after
    burst[middle - half + even : middle + even] = after.flip(0)
    change = (face_features(net, burst, 30) - face_features(net, silence, 30)).abs().sum(1)
    near = range(1, 4)
    before, later = (torch.stack([change[frame + side * d] for d in near]) for side in (-1, 1))
    torch.testing.assert_close(before, later, atol=1e-3, rtol=1e-3)
    assert (change[frame - 2 : frame + 3] > 0.1).all()
    assert (change[[i for i in range(30) if abs(i - frame) > 6]] < 1e-5).all()


@torch.no_grad()
@kinds
@pytest.mark.parametrize("frame", [3, 11, 20])
def test_a_click_is_loudest_in_the_frame_it_falls_in(kind, frame):
    net = symmetric(kind)
    click = torch.zeros(16000)
    click[round((frame + 0.5) / 30 * 16000)] = 0.5
    silence = face_features(net, torch.zeros(16000), 30)
    change = (face_features(net, click, 30) - silence).abs().sum(1)
    assert change.argmax() == frame


@torch.no_grad()
@kinds
def test_later_sound_gives_features_as_much_later(kind):
    """100 ms of delay are three frames, through the whole front end with any weights."""
    net = encoder(kind)
    sound = torch.from_numpy(speech(12000))
    later = torch.cat([torch.zeros(1600), sound])
    # Level both alike: the loudness is measured over the whole clip.
    for tensor in (sound, later):
        tensor *= 0.05 / tensor.abs().max()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dtalk.speech.encoders.level", lambda waveform: waveform)
        first, second = face_features(net, sound, 22), face_features(net, later, 25)
    torch.testing.assert_close(second[6:22], first[3:19], atol=1e-5, rtol=1e-4)
    assert (second[6:22] - second[3:19]).abs().max() > 0.01  # they do change over time


def test_there_are_the_two_front_ends_of_the_settings():
    assert {*FRONT_ENDS, *COMPRESSED_ENCODERS} == set(SMALL_ENCODERS)


# Large encoders ----------------------------------------------------------------------------------


@torch.no_grad()
def test_an_adapted_encoder_is_a_line_of_standardised_features():
    net, sound = adapted(), speech(5333, seed=2)
    net.mean.copy_(torch.arange(6))
    net.std.copy_(torch.arange(1, 7))
    features = FakeLarge()(sound)
    assert features.shape == (10, 6)
    line = (features - net.mean) / net.std @ net.output.weight.T + net.output.bias
    centred = line - line.mean(-1, keepdim=True)
    expected = centred / torch.sqrt(line.var(-1, unbiased=False, keepdim=True) + 1e-5)
    found = net([net.prepare(torch.from_numpy(sound))], torch.tensor([10]))
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("more", [-2, 0, 3])
def test_motion_a_little_longer_or_shorter_than_the_sound(more):
    """Features are taken frame by frame; the last one is held, what is too much is left out."""
    net = adapted()
    prepared = net.prepare(torch.from_numpy(speech(5333)))
    plain = net([prepared], torch.tensor([10]))[0]
    found = net([prepared], torch.tensor([10 + more]))[0]
    assert found.shape == (10 + more, 7)
    torch.testing.assert_close(found[:10], plain[: 10 + more])
    for frame in found[10:]:
        torch.testing.assert_close(frame, plain[-1])


def test_without_a_large_encoder_an_adapted_one_hears_nothing():
    net = AdaptedEncoder(6, 7, 0.0)
    assert net.source is None
    with pytest.raises(CheckpointError, match=r"uses a large speech encoder.* --encoder$") as e:
        net.prepare(torch.zeros(100))
    assert "\n" not in str(e.value)


def test_a_large_encoder_is_no_part_of_the_weights():
    """Nor of what is trained: only its mean and spread, and the line that makes it narrower."""
    net = adapted()
    assert set(net.state_dict()) == {"mean", "std", "output.weight", "output.bias"}
    assert set(dict(net.named_parameters())) == {"output.weight", "output.bias"}
    assert not net.prepare(torch.from_numpy(speech(800))).requires_grad


@pytest.mark.parametrize("kind", [*FRONT_ENDS, "fake", "openai/whisper-base"])
def test_the_configuration_says_which_kind_of_encoder_is_built(kind):
    config = large_config(FakeLarge(name=kind)) if kind not in FRONT_ENDS else tiny_config()
    net = build_encoder(dataclasses.replace(config, encoder=kind))
    assert config.uses_large_encoder is isinstance(net, AdaptedEncoder)
    if isinstance(net, AdaptedEncoder):
        assert net.output.weight.shape == (8, 6)
        assert torch.equal(net.mean, torch.zeros(6))
        assert torch.equal(net.std, torch.ones(6))
    elif isinstance(net, CompressedEncoder):
        assert type(net.bottom) is {"whisper": WhisperBottom, "hubert": HubertBottom}[kind]
        assert net.output.weight.shape == (8, 12)
    else:
        assert isinstance(net, SmallEncoder)
        assert type(net.front_end) is FRONT_ENDS[kind]
        assert net.output.weight.shape == (8, 12)


@pytest.mark.parametrize(("own", "expected"), [(None, 0.3), (0.0, 0.0), (0.5, 0.5)])
def test_a_small_encoder_may_have_a_dropout_of_its_own(own, expected):
    net = build_encoder(tiny_config(encoder="mel", dropout=0.3, encoder_dropout=own))
    found = {module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)}
    assert found == {expected}
