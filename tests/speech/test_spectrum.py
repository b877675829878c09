"""Band energies: windows, and the transform by matrix products that exported graphs take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import speech

from dtalk.speech import spectrum
from dtalk.speech.spectrum import WINDOW, band_energies

EACH = torch.eye(201)


def expected_power(waveform: np.ndarray) -> np.ndarray:
    """Squared magnitudes by numpy, window by window."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    rows = [waveform[k : k + 400] * window for k in range(0, len(waveform) - 399, 160)]
    return abs(np.fft.rfft(np.array(rows, np.float64))) ** 2


@pytest.fixture(params=[False, True], ids=["fft", "products"])
def _way(request, monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: request.param)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("samples", [400, 401, 479, 480, 559, 560, 4000, 4159])
def test_it_is_the_power_of_hann_windows(samples):
    waveforms = np.stack([speech(samples), speech(samples, 1)])
    found = band_energies(torch.from_numpy(waveforms), EACH).numpy()
    expected = np.stack([expected_power(w) for w in waveforms])
    assert found.shape == expected.shape == (2, (samples - 400) // 160 + 1, WINDOW // 2 + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.usefixtures("_way")
def test_bands_sum_scaled_bins():
    waveform, filters = speech(2000), torch.rand(201, 5)
    expected = expected_power(waveform) @ filters.double().numpy() / 8
    found = band_energies(torch.from_numpy(waveform)[None], filters, 8.0)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_every_bin_counts_once_among_the_products():
    bins, once = spectrum._bins(), spectrum._once()
    assert len(bins) == len(once) == 208
    assert sorted(bins[once == 1].tolist()) == list(range(201))
