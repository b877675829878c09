"""Masks and resampling of padded sequences, by hand."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtalk.nn.frames import frame_mask, resample_features


def test_frame_mask_by_hand():
    assert frame_mask(torch.tensor([2, 0, 3]), 3).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]


# Resampling --------------------------------------------------------------------------------------


def ramp(*lengths: int) -> Tensor:
    """Feature j has the value j; padded with 99."""
    features = torch.full((len(lengths), max(lengths), 1), 99.0)
    for row, length in enumerate(lengths):
        features[row, :length, 0] = torch.arange(length)
    return features


def test_resample_features_by_hand():
    # 50 Hz at (j + 0.5) / 50: frame k lies at j = (k + 0.5) / 30 * 50 - 0.5 = 1/3, 2, 11/3, ...
    found = resample_features(ramp(10), torch.tensor([10]), torch.tensor([6]), 50.0, 0.5)
    expected = torch.tensor([1 / 3, 2, 11 / 3, 16 / 3, 7, 26 / 3])
    torch.testing.assert_close(found[0, :, 0], expected)
    # and at j / 50, half a feature later
    found = resample_features(ramp(10), torch.tensor([10]), torch.tensor([5]), 50.0, 0.0)
    torch.testing.assert_close(found[0, :, 0], expected[:5] + 0.5)


def test_resample_features_holds_its_ends():
    # 10 Hz: the first frame lies before the first feature; nothing lies beyond the third.
    found = resample_features(ramp(3), torch.tensor([3]), torch.tensor([12]), 10.0, 0.5)[0, :, 0]
    assert found[0] == 0
    assert found[-1] == 2
    torch.testing.assert_close(found[4], torch.tensor(1.0))  # 0.15 s


def test_resample_features_never_reads_padding():
    found = resample_features(ramp(4, 10), torch.tensor([4, 10]), torch.tensor([6, 6]), 50.0, 0.5)
    assert found[0].max() == 3  # held, though feature 4 of the row is padding
    torch.testing.assert_close(found[1, 5, 0], torch.tensor(26 / 3))


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.0, 0.5]))
def test_resample_features_gives_as_many_frames_as_asked(length, frames, start):
    found = resample_features(
        ramp(length), torch.tensor([length]), torch.tensor([frames]), 50, start
    )
    assert found.shape == (1, frames, 1)
    assert (found.diff(dim=1) >= 0).all()
    assert found.max() <= length - 1
