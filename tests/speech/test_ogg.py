"""Pages of Ogg files: whole, cut, damaged, joined."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dtalk.speech.ogg import MAGIC, OggPages, read_pages

WHOLE, BROKEN = OggPages(True, True), OggPages(False, True)


@pytest.fixture(scope="module")
def stream() -> bytes:
    """Four seconds of noise as Opus: a page a second."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(64000)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format="OGG", subtype="OPUS")
    return buffer.getvalue()


def pages_of(tmp_path: Path, data: bytes) -> OggPages:
    (tmp_path / "a.ogg").write_bytes(data)
    return read_pages(tmp_path / "a.ogg")


def starts(data: bytes) -> list[int]:
    return [i for i in range(len(data)) if data.startswith(MAGIC, i)]


def test_an_encoders_file_is_whole(tmp_path, stream):
    assert len(starts(stream)) > 4
    assert pages_of(tmp_path, stream) == WHOLE


def test_a_flipped_bit_in_any_page_is_found(tmp_path, stream):
    for start in starts(stream):
        data = bytearray(stream)
        data[start + 28] ^= 1
        assert not pages_of(tmp_path, bytes(data)).unbroken


def test_a_lost_page_is_found(tmp_path, stream):
    third, fourth = starts(stream)[2:4]
    assert pages_of(tmp_path, stream[:third] + stream[fourth:]) == BROKEN


def test_joined_streams_are_two(tmp_path, stream):
    assert pages_of(tmp_path, 2 * stream) == BROKEN


@pytest.mark.parametrize("missing", [1, 30])
def test_a_cut_last_page_is_not_whole(tmp_path, stream, missing):
    assert pages_of(tmp_path, stream[:-missing]) == OggPages(False, False)


def test_a_file_without_its_last_pages_is_whole_as_far_as_it_goes(tmp_path, stream):
    assert pages_of(tmp_path, stream[: starts(stream)[-1]]) == WHOLE


def test_bytes_behind_the_stream_are_no_page(tmp_path, stream):
    assert pages_of(tmp_path, stream + b"TAG") == OggPages(False, False)


def test_nothing_is_not_whole(tmp_path):
    assert pages_of(tmp_path, b"OggS") == OggPages(False, False)
