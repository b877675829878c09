"""Acoustic features, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dtalk.speech.features import log_mel, mel_filters, wide_log_mel

TOP_MEL = 2595 * math.log10(1 + 8000 / 700)  # 2840.0, in 81 equal parts
SILENT = (math.log(1e-6) + 5) / 4  # what log_mel says of silence


def sine(frequency: float, samples: int = 8000, amplitude: float = 0.5) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * frequency * torch.arange(samples) / 16000)


def test_mel_filters_are_triangles_that_overlap_to_one():
    filters = mel_filters()
    assert filters.shape == (201, 80)
    assert (filters >= 0).all()
    frequencies = torch.arange(201) * 40.0
    first, last = (700 * (10 ** (TOP_MEL * k / 81 / 2595) - 1) for k in (1, 80))
    inside = (frequencies >= first) & (frequencies <= last)
    assert inside.sum() > 190
    torch.testing.assert_close(filters[inside].sum(1), torch.ones(int(inside.sum())))
    assert ((filters > 0).sum(1) <= 2).all()
    assert (filters.sum(0) > 0).all()  # no band is deaf


@pytest.mark.parametrize("band", [10, 40, 79])
def test_mel_filters_peak_at_their_centre(band):
    """Band b peaks at (b + 1) / 81 of the mel axis, in the nearest bin of 40 Hz."""
    peak = 40 * mel_filters()[:, band].argmax().item()
    assert peak == pytest.approx(700 * (10 ** (TOP_MEL * (band + 1) / 81 / 2595) - 1), abs=20)


@pytest.mark.parametrize("frequency", [440, 1000, 2500, 6000])
def test_log_mel_of_a_sine_is_largest_in_its_band(frequency):
    place = 2595 * math.log10(1 + frequency / 700) / (TOP_MEL / 81) - 1
    bands = log_mel(sine(frequency))[5:-5].argmax(1)
    assert set(bands.tolist()) <= {math.floor(place), math.ceil(place)}


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (159, 1), (160, 2), (16000, 101)])
def test_log_mel_of_silence_by_hand(samples, frames):
    assert torch.allclose(log_mel(torch.zeros(samples)), torch.full((frames, 80), SILENT))


def test_log_mel_of_a_click_is_centred_where_the_click_is():
    sound = torch.zeros(8000)
    sound[25 * 160] = 0.5  # 250 ms
    energy = (log_mel(sound) - SILENT).mean(1)
    assert energy.argmax() == 25
    # A window of 25 ms at a hop of 10 ms reaches the click from one frame to either side.
    assert (energy > 0).nonzero().flatten().tolist() == [24, 25, 26]
    assert energy[24].item() == pytest.approx(energy[26].item(), rel=1e-5)


def test_log_mel_by_hand():
    # A click of 1 in the middle of the window (where the window is 1) has energy 1 / 400 in
    # every bin, and a band sums it with its filter's weights.
    sound = torch.zeros(400)
    sound[160] = 1.0
    expected = ((mel_filters().sum(0) / 400).log() + 5) / 4
    torch.testing.assert_close(log_mel(sound)[1], expected)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (159, 1), (160, 2), (16000, 101)])
def test_wide_log_mel_of_silence_by_hand(samples, frames):
    """log10 of 1e-7 is -7: a quarter of it and one."""
    assert torch.allclose(wide_log_mel(torch.zeros(samples)), torch.full((frames, 80), -0.75))


def test_a_tenth_of_the_amplitude_is_half_less_in_wide_log_mel():
    """Two decades of power, of which four make 1."""
    loud, soft = (wide_log_mel(sine(1000, amplitude=a))[5:-5].amax(1) for a in (0.5, 0.05))
    torch.testing.assert_close(loud - soft, torch.full_like(loud, 0.5), atol=1e-4, rtol=0)


def test_a_soft_hiss_shows_in_wide_log_mel_alone():
    """7 kHz at -80 dB of full scale, 6 dB above the one floor."""
    hiss = sine(7000, amplitude=0.0001)
    assert (log_mel(hiss)[5:-5] == SILENT).all()
    assert (wide_log_mel(hiss)[5:-5] + 0.75).max() > 0.1
