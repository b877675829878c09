"""Speech files of every kind, good and bad, to 16 kHz mono."""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import refusal
from hypothesis import given
from hypothesis import strategies as st

from dtalk.errors import AudioError
from dtalk.speech.audio import (
    AUDIO_SUFFIXES,
    SAMPLE_RATE,
    AudioWarning,
    frame_count,
    load_audio,
    speech_blocks,
)

KINDS = {  # suffix: (format, subtype)
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
}


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    """A warning that a test does not ask for is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def speechlike(seconds: float = 3.0) -> np.ndarray:
    """Noise under a syllable-like envelope: compresses to about the rate of speech."""
    samples = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    return 0.1 * samples * (1 + np.sin(np.linspace(0, 40, len(samples))))


def saved(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    kind, subtype = KINDS[path.suffix[1:]]
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path


def refused(path: Path) -> str:
    return refusal(load_audio, AudioError, path)


def level(samples: np.ndarray, hertz: float) -> float:
    """Amplitude of a tone in a signal."""
    phase = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / SAMPLE_RATE)
    return float(2 * abs(np.mean(samples * phase)))


class TestFrameCount:
    @pytest.mark.parametrize(
        ("samples", "frames"), [(0, 1), (1, 1), (16000, 30), (8000, 15), (16000 * 60, 1800)]
    )
    def test_known(self, samples, frames):
        assert frame_count(samples) == frames

    @given(st.integers(0, 10**9))
    def test_the_frames_last_as_long_as_the_sound(self, samples):
        seconds = samples / SAMPLE_RATE
        assert abs(max(seconds, 1 / 60) - frame_count(samples) / 30) <= 0.5 / 30 + 1e-6


class TestFormats:
    @pytest.mark.parametrize("suffix", KINDS)
    def test_each_gives_the_same_tone(self, tmp_path, suffix):
        samples = load_audio(saved(tmp_path / f"a.{suffix}", tone(1)))
        assert samples.shape == (16000,)
        assert samples.dtype == np.float32
        assert level(samples, 440) == pytest.approx(0.5, rel=0.02)

    @pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "caf", "w64"])
    def test_lossless_ones_are_exact(self, tmp_path, suffix):
        expected = np.round(tone(0.3) * 32768) / 32768
        samples = load_audio(saved(tmp_path / f"a.{suffix}", expected))
        np.testing.assert_array_equal(samples, expected.astype(np.float32))

    @pytest.mark.parametrize(
        ("subtype", "tolerance"),
        [
            ("PCM_U8", 2**-7),
            ("PCM_16", 2**-15),
            ("PCM_24", 2**-23),
            ("PCM_32", 1e-7),
            ("FLOAT", 1e-7),
            ("DOUBLE", 1e-7),
            ("ULAW", 0.02),
            ("ALAW", 0.02),
        ],
    )
    def test_bit_depths(self, tmp_path, subtype, tolerance):
        soundfile.write(tmp_path / "a.wav", tone(0.1), SAMPLE_RATE, subtype=subtype)
        np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), tone(0.1), atol=tolerance)

    @pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
    def test_sample_rates(self, tmp_path, rate):
        samples = load_audio(saved(tmp_path / "a.wav", tone(1, rate), rate))
        assert abs(len(samples) - 16000) <= 1
        middle = samples[2000:14000]  # away from the filter's edges
        np.testing.assert_allclose(middle, tone(1)[2000:14000], atol=1e-3)

    def test_what_16_khz_cannot_hold_is_filtered_out(self, tmp_path):
        samples = load_audio(saved(tmp_path / "a.wav", tone(1, 48000, 12000), 48000))
        assert abs(samples[1000:15000]).max() < 1e-3  # unfiltered it would alias to 4 kHz

    @pytest.mark.parametrize("channels", [1, 2, 6, 8])
    def test_channels_are_averaged(self, tmp_path, channels):
        gains = np.arange(1, channels + 1) / channels
        soundfile.write(tmp_path / "a.wav", tone(0.1)[:, None] * gains, SAMPLE_RATE, "FLOAT")
        expected = tone(0.1) * gains.mean()
        np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), expected, atol=1e-6)

    def test_a_path_may_be_text(self, tmp_path):
        assert len(load_audio(str(saved(tmp_path / "a.wav", tone(0.1))))) == 1600

    def test_the_name_does_not_matter(self, tmp_path):
        saved(tmp_path / "a.flac", tone(0.1)).rename(tmp_path / "sprach aufnahme ü.wav")
        assert len(load_audio(tmp_path / "sprach aufnahme ü.wav")) == 1600

    def test_loud_floats_are_not_clipped(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", tone(0.1) * 4, SAMPLE_RATE, subtype="FLOAT")
        assert load_audio(tmp_path / "a.wav").max() == pytest.approx(2, rel=0.01)

    def test_longer_than_one_block(self, tmp_path):
        samples = np.random.default_rng(0).integers(-32768, 32767, 3 * 4096 + 17) / 32768
        loaded = load_audio(saved(tmp_path / "a.wav", samples))
        np.testing.assert_array_equal(loaded, samples.astype(np.float32))

    def test_recorded_speech(self, shared):
        clip = sorted((shared / "data").glob("*/*.opus"))[0]
        samples = load_audio(clip)
        assert len(samples) > 1600
        assert 1e-4 < float(np.sqrt(np.mean(samples**2))) < 1

    @pytest.mark.parametrize("suffix", ["ogg", "opus", "flac"])
    def test_blocks_fit_together(self, tmp_path, suffix):
        path = saved(tmp_path / f"a.{suffix}", speechlike())
        whole, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_allclose(load_audio(path), whole, atol=1e-6)

    @pytest.mark.parametrize("suffix", KINDS)
    def test_suffixes_are_known(self, suffix):
        assert f".{suffix}" in AUDIO_SUFFIXES

    def test_videos_are_not_looked_for(self):
        assert not AUDIO_SUFFIXES & {".mp4", ".mov", ".webm", ".npz", ".csv", ".json"}


class TestEdges:
    def test_one_sample(self, tmp_path):
        samples = load_audio(saved(tmp_path / "a.wav", np.array([0.5])))
        np.testing.assert_array_equal(samples, np.float32([0.5]))

    @pytest.mark.parametrize("rate", [8000, 44100, 96000])
    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_a_few_samples_at_any_rate(self, tmp_path, rate, count):
        samples = load_audio(saved(tmp_path / "a.wav", np.full(count, 0.5), rate))
        assert 1 <= len(samples) <= 2 * count
        assert np.isfinite(samples).all()

    def test_silence_is_valid(self, tmp_path):
        samples = load_audio(saved(tmp_path / "a.wav", np.zeros(16000)))
        np.testing.assert_array_equal(samples, np.zeros(16000, np.float32))

    def test_no_samples(self, tmp_path):
        assert "0 samples" in refused(saved(tmp_path / "a.wav", np.zeros(0)))

    def test_no_bytes(self, tmp_path):
        (tmp_path / "a.wav").touch()
        assert "empty" in refused(tmp_path / "a.wav")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("rate", [16000, 48000])
    def test_samples_that_are_not_finite(self, tmp_path, bad, rate):
        samples = tone(1, rate)
        samples[rate // 4] = bad
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
        text = refused(tmp_path / "a.wav")
        assert "NaN or infinite" in text
        assert "0.250 s" in text

    @pytest.mark.parametrize("rate", [1, 999, 2_000_000])
    def test_sample_rates_that_cannot_be(self, tmp_path, rate):
        assert f"{rate} Hz" in refused(saved(tmp_path / "a.wav", np.zeros(10), rate))

    def test_missing(self, tmp_path):
        assert "no such sound file" in refused(tmp_path / "none.wav")

    def test_a_folder(self, tmp_path):
        assert "is a folder" in refused(tmp_path)

    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.wav")
        assert "not a regular file" in refused(tmp_path / "pipe.wav")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
    def test_no_permission(self, tmp_path):
        saved(tmp_path / "a.wav", tone(0.1)).chmod(0)
        assert "Permission denied" in refused(tmp_path / "a.wav")

    def test_what_the_system_refuses(self, tmp_path, monkeypatch):
        saved(tmp_path / "a.wav", tone(0.1))

        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        assert "Permission denied" in refused(tmp_path / "a.wav")

    @pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "ogg"])
    def test_text(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        path.write_text("This is no sound.\n" * 100)
        assert "not a sound file" in refused(path)

    def test_a_playlist_is_not_followed(self, tmp_path):
        saved(tmp_path / "secret.wav", tone(0.5))
        playlist = tmp_path / "list.m4a"
        playlist.write_text("#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n")
        assert "not a sound file" in refused(playlist)

    @given(data=st.binary(min_size=1, max_size=200))
    def test_any_bytes_give_samples_or_an_audio_error(self, data, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "fuzz.wav"
        # Without ffmpeg, which takes too long to start two hundred times.
        path.write_bytes(b"RIFF" + data)
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr("imageio_ffmpeg.get_ffmpeg_exe", no_ffmpeg)
            with contextlib.suppress(AudioError):
                assert len(load_audio(path))

    def test_blocks_make_up_the_whole(self, tmp_path):
        path = saved(tmp_path / "a.wav", speechlike(2.0), 44100)
        blocks = list(speech_blocks(path))
        assert len(blocks) > 3
        np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def no_ffmpeg() -> str:
    raise RuntimeError("No ffmpeg exe could be found.")


class TestCutOff:
    @pytest.mark.parametrize("suffix", [kind for kind in KINDS if kind != "caf"])
    def test_data(self, tmp_path, suffix):
        whole = saved(tmp_path / f"whole.{suffix}", speechlike())
        data = whole.read_bytes()
        part = tmp_path / f"part.{suffix}"
        part.write_bytes(data[: len(data) * 6 // 10])
        with pytest.warns(AudioWarning, match=r"part.* cut off: \d\.\d\d s of it") as caught:
            samples = load_audio(part)
        assert len(caught) == 1
        assert 0.8 < len(samples) / SAMPLE_RATE < 2.2
        expected = load_audio(whole)[: len(samples)]
        head = len(samples) - 2500  # a compressed file's last blocks may differ
        if suffix == "opus":  # libsndfile decodes it at 16 kHz, ffmpeg at 48
            assert np.corrcoef(samples[:head], expected[:head])[0, 1] > 0.98
        else:
            np.testing.assert_allclose(samples[:head], expected[:head], atol=1e-4)

    @pytest.mark.parametrize("suffix", KINDS)
    def test_header(self, tmp_path, suffix):
        data = saved(tmp_path / f"whole.{suffix}", speechlike(0.5)).read_bytes()
        part = tmp_path / f"part.{suffix}"
        part.write_bytes(data[:20])
        assert "header is damaged" in refused(part)

    @pytest.mark.parametrize("suffix", KINDS)
    def test_whole_files_give_no_warning(self, tmp_path, suffix):
        assert len(load_audio(saved(tmp_path / f"a.{suffix}", speechlike()))) == 48000

    def test_damage_inside_flac_keeps_the_head(self, tmp_path):
        path = saved(tmp_path / "a.flac", speechlike())
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 2000] = bytes(2000)
        path.write_bytes(data)
        with pytest.warns(AudioWarning):
            samples = load_audio(path)
        assert len(samples) > 10000

    @pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
    def test_a_wav_from_a_pipe_is_whole(self, tmp_path, size):
        path = saved(tmp_path / "a.wav", tone(0.5))
        data = bytearray(path.read_bytes())
        assert data[36:40] == b"data"
        data[4:8] = data[40:44] = size.to_bytes(4, "little")
        path.write_bytes(data)
        assert len(load_audio(path)) == 8000

    def test_an_outer_size_off_by_eight_is_no_damage(self, tmp_path):
        path = saved(tmp_path / "a.wav", tone(0.5))
        data = bytearray(path.read_bytes())
        data[4:8] = len(data).to_bytes(4, "little")
        path.write_bytes(data)
        assert len(load_audio(path)) == 8000


class TestFfmpeg:
    @staticmethod
    def encoded(source: Path, target: Path, *options: str) -> Path:
        from imageio_ffmpeg import get_ffmpeg_exe

        command = [get_ffmpeg_exe(), "-v", "error", "-i", str(source), *options, str(target)]
        subprocess.run(command, check=True)
        return target

    @pytest.mark.parametrize("suffix", ["m4a", "mp4", "aac", "webm"])
    def test_what_soundfile_does_not_read(self, tmp_path, suffix):
        stereo = np.stack([tone(1, 48000), np.zeros(48000)], axis=1)
        source = saved(tmp_path / "a.wav", stereo, 48000)
        samples = load_audio(self.encoded(source, tmp_path / f"-a:b.{suffix}"))
        assert samples.dtype == np.float32
        assert 16000 <= len(samples) <= 17500  # raw aac has no place to note its padding
        assert level(samples[2000:14000], 440) == pytest.approx(0.25, rel=0.05)

    def test_a_video_without_sound(self, tmp_path):
        from imageio_ffmpeg import get_ffmpeg_exe

        path = tmp_path / "a.mp4"
        picture = ["-f", "lavfi", "-i", "color=red:s=64x64:d=0.2"]
        subprocess.run([get_ffmpeg_exe(), "-v", "error", *picture, str(path)], check=True)
        assert "no sound track" in refused(path)

    def test_cut_off_behind_its_index(self, tmp_path):
        source = saved(tmp_path / "a.wav", speechlike())
        whole = self.encoded(source, tmp_path / "whole.m4a", "-movflags", "+faststart")
        part = tmp_path / "part.m4a"
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        with pytest.warns(AudioWarning, match="cut off"):
            samples = load_audio(part)
        assert 1.0 < len(samples) / SAMPLE_RATE < 2.5

    def test_cut_off_before_its_index(self, tmp_path):
        whole = self.encoded(saved(tmp_path / "a.wav", speechlike()), tmp_path / "whole.m4a")
        part = tmp_path / "part.m4a"
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        assert "index is missing" in refused(part)

    def test_no_ffmpeg_is_said(self, tmp_path, monkeypatch):
        monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", no_ffmpeg)
        (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
        assert "no ffmpeg" in refused(tmp_path / "a.m4a")

    def test_no_shell(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        source = saved(tmp_path / "a.wav", tone(0.2))
        assert len(load_audio(self.encoded(source, tmp_path / "$(touch x); a.m4a")))
        assert not (tmp_path / "x").exists()
