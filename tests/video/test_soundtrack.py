"""The sound of videos: in step with what was animated, and no longer there afterwards."""

from __future__ import annotations

import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from imageio_ffmpeg import get_ffmpeg_exe

from dtalk.config import SoundOptions
from dtalk.errors import AudioError
from dtalk.speech.audio import load_audio
from dtalk.video.soundtrack import encode_sound

RATE = 16000


def bursts(channels: int = 1) -> np.ndarray:
    """Noise that comes and goes: it has one place only where it fits."""
    generator = np.random.default_rng(0)
    samples = generator.standard_normal(2 * RATE) * (np.sin(np.arange(2 * RATE) / 900) > 0.3)
    return np.repeat(0.1 * samples[:, None], channels, axis=1)


def written(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def lag(one: np.ndarray, other: np.ndarray) -> int:
    """Samples by which one sound is late for another."""
    size = min(len(one), len(other))
    found = np.fft.irfft(np.fft.rfft(one[:size]) * np.fft.rfft(other[:size]).conj(), size)
    place = int(np.argmax(found))
    return place if place < size // 2 else place - size


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 192000])
def test_it_is_in_step_with_what_is_animated(tmp_path, rate):
    sound = written(tmp_path / "a.wav", bursts(), rate)
    with encode_sound(sound, tmp_path / "out.mp4") as track:
        assert track.seconds == pytest.approx(2 * RATE / rate, abs=1e-4)
        assert track.source == sound
        again = load_audio(track.path)
    assert abs(lag(again, load_audio(sound))) <= 2
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 2), (6, 6), (9, 1)])
def test_channels_are_kept_as_far_as_aac_has_them(tmp_path, channels, kept):
    sound = written(tmp_path / "a.wav", bursts(channels))
    with encode_sound(sound, tmp_path / "out.mp4") as track:
        text = subprocess.run(
            [get_ffmpeg_exe(), "-i", track.path], capture_output=True, check=False
        ).stderr.decode()
    assert {1: "mono", 2: "stereo", 6: "5.1"}[kept] in text


def test_opposite_phase_is_heard_in_mono_too(tmp_path):
    sound = written(tmp_path / "a.wav", bursts(2) * [1, -1])
    with warnings.catch_warnings(), encode_sound(sound, tmp_path / "out.mp4") as track:
        warnings.simplefilter("error")
        assert np.abs(load_audio(track.path)).max() > 0.1


def test_one_channel(tmp_path):
    sound = written(tmp_path / "a.wav", bursts(2) * [1, 0])
    with encode_sound(sound, tmp_path / "out.mp4", SoundOptions(channel="right")) as track:
        assert np.abs(load_audio(track.path)).max() < 1e-3


def test_what_is_no_sound(tmp_path):
    (tmp_path / "a.wav").write_text("text")
    track = encode_sound(tmp_path / "a.wav", tmp_path / "out.mp4")
    with pytest.raises(AudioError, match="not a sound file"):
        track.__enter__()
    assert os.listdir(tmp_path) == ["a.wav"]
