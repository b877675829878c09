"""The bottom of published encoders in plain torch, against transformers and by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtalk.errors import CheckpointError
from dtalk.speech.bottom import (
    HOP,
    OVERLAP,
    SPAN,
    Bottom,
    HubertBottom,
    WhisperBottom,
    at_face_rate,
    in_windows,
    positions,
    whisper_mel,
)
from dtalk.speech.features import slaney_filters

transformers = pytest.importorskip("transformers")


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(16000 * seconds), generator=generator)


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    """A small encoder in Whisper's published format, with its own positions and head width."""
    config = transformers.WhisperConfig(
        d_model=128, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=512,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=128, vocab_size=20,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(3)
    model = transformers.WhisperModel(config)
    for weight in model.encoder.layers.parameters():
        torch.nn.init.normal_(weight, 0, 0.05)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hubert_folder(tmp_path_factory):
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(24,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("hubert")
    transformers.HubertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("seconds", [0.4, 1.0, 3.01])
@pytest.mark.parametrize("depth", [1, 2, 3])
@torch.no_grad()
def test_the_bottom_of_whisper_gives_what_the_large_encoder_gives(whisper_folder, depth, seconds):
    from dtalk.speech.pretrained import load_large_encoder

    # The last layer is followed by a norm, which is none of its bottom.
    large = load_large_encoder(str(whisper_folder), (min(depth, 2),))
    bottom, sound = large.bottom(min(depth, 2)), noise(seconds)
    wanted = large.encode(sound.numpy())
    [found] = bottom(sound[None])
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=2e-3)


@torch.no_grad()
def test_the_bottom_of_hubert_gives_what_its_feature_extractor_gives(hubert_folder):
    from dtalk.speech.pretrained import load_large_encoder

    large = load_large_encoder(str(hubert_folder))
    sound = noise(1.3)
    normalised = (sound - sound.mean()) / torch.sqrt(sound.var(correction=0) + 1e-7)
    network: Any = large.network
    wanted = network.feature_extractor(normalised[None])[0].T
    bottom = large.bottom(0)
    assert isinstance(bottom, HubertBottom)
    torch.testing.assert_close(bottom(sound[None])[0], wanted, rtol=1e-4, atol=1e-5)


def test_more_blocks_than_the_teacher_uses_are_refused(whisper_folder):
    from dtalk.speech.pretrained import load_large_encoder

    large = load_large_encoder(str(whisper_folder), (2,))
    with pytest.raises(CheckpointError, match=r"uses 2 blocks of .*: no 3 can be copied"):
        large.bottom(3)


def test_whispers_mel_is_that_of_transformers():
    extractor = transformers.WhisperFeatureExtractor()
    sound = noise(1.0)
    wanted = extractor(
        sound.numpy(), sampling_rate=16000, padding="do_not_pad", return_tensors="pt"
    ).input_features[0]
    torch.testing.assert_close(whisper_mel(sound[None])[0], wanted, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(slaney_filters().numpy(), extractor.mel_filters, atol=1e-6)


def test_positions_by_hand():
    found = positions(3, 4)
    assert found[0].tolist() == [0, 0, 1, 1]
    # Two rates: 1 and 1/10,000 radians a frame.
    expected = [np.sin(2), np.sin(2e-4), np.cos(2), np.cos(2e-4)]
    np.testing.assert_allclose(found[2].numpy(), expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40_000))
def test_features_at_the_rate_of_the_face(samples):
    """An encoder that tells the time: frame k of the face hears (k + 0.5) / 30 seconds."""

    def encode(sound):
        return torch.arange(len(sound) // 320, dtype=torch.float32)[:, None] / 50

    found = at_face_rate(encode, np.ones(samples, np.float32), start=0.0)
    assert len(found) == max(1, round(samples / 16000 * 30))
    last = (max(samples, 1600) // 320 - 1) / 50
    expected = ((torch.arange(len(found)) + 0.5) / 30).clamp(max=last)
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_blocks_at_the_rate_of_the_face_follow_the_stem_at_whispers():
    """Without blocks it is the stem's features, interpolated at the middle of each frame."""
    slow, fast = WhisperBottom(64, 0), WhisperBottom(64, 0, at_face_rate=True)
    fast.load_state_dict(slow.state_dict())
    sound = noise(1.01)
    found, features = fast(sound[None])[0], slow(sound[None])[0]
    assert len(found) == 30
    # Frame 1 lies at 0.05 s, in the midst of features 2 and 3 at 0.04 and 0.06 s.
    torch.testing.assert_close(found[1], (features[2] + features[3]) / 2)
    torch.testing.assert_close(found[4], features[7] / 2 + features[8] / 2)


def test_a_whisper_bottom_has_the_parameters_of_its_blocks():
    """Whisper-base: stem 0.91 M, a block 3.15 M; positions are computed."""
    sizes = [sum(p.numel() for p in WhisperBottom(512, depth).parameters()) for depth in (0, 1)]
    assert sizes == [910_336, 910_336 + 3_151_872]


class Clock(Bottom):
    """Features that tell their place in the sound, and how many windows there were."""

    start, width = 0.0, 2

    def __init__(self) -> None:
        super().__init__()
        self.windows = 0

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        self.windows, samples = waveforms.shape
        assert samples <= SPAN * HOP
        hop = 16000 / self.rate
        count = round(samples * self.rate) // 16000
        places = ((torch.arange(count) + self.start) * hop).long()
        numbers = torch.arange(self.windows).float()[:, None].expand(-1, count)
        return torch.stack([waveforms[:, places], numbers], -1)


class FaceClock(Clock):
    """The same at the rate of the face."""

    rate, start, grid = 30.0, 0.5, 3


LENGTHS = [
    1600, 1919, 1920, SPAN * HOP - 1, SPAN * HOP, SPAN * HOP + 1, SPAN * HOP + 320,
    (SPAN + 1200) * HOP, (SPAN + 1200) * HOP + 320, 3 * SPAN * HOP,
]  # fmt: skip


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("kind", [Clock, FaceClock])
def test_windows_of_any_sound_join_without_a_seam(kind, samples):
    clock = kind()
    found = in_windows(clock, torch.arange(samples).float())
    count = round(samples * clock.rate) // 16000  # none is missing; beyond the end is silence
    assert count <= len(found) <= count + clock.grid
    places = ((torch.arange(count) + clock.start) * (16000 / clock.rate)).long()
    torch.testing.assert_close(found[:count, 0], places.float(), rtol=0, atol=1)
    # As few windows as overlap by 4 s.
    assert clock.windows == max(1, -(-(-(-samples // HOP) - OVERLAP) // (SPAN - OVERLAP)))


def test_windows_fade_in_the_middle_of_their_overlap():
    """Two windows of 1,400 features over 2,000: they share 600 to 1,400, and fade from 900."""
    numbers = in_windows(Clock(), torch.zeros(2000 * HOP))[:, 1]
    assert (numbers[:900] == 0).all()
    assert (numbers[1100:] == 1).all()
    torch.testing.assert_close(numbers[900:1100], (torch.arange(200) + 0.5) / 200)
