"""Tracks and time lines of containers, made with ffmpeg."""

from __future__ import annotations

import struct
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from imageio_ffmpeg import get_ffmpeg_exe

from dtalk.errors import AudioError
from dtalk.speech.container import (
    DamagedError,
    Track,
    choose_track,
    decode_track,
    describe_tracks,
    read_contents,
)

RATE = 16000


def ffmpeg(*arguments: object) -> None:
    command = [get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, a burst of 50 ms every half second."""
    samples = np.zeros(2 * RATE)
    burst = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(800) / RATE)
    for start in (0, 8000, 16000, 24000):
        samples[start : start + 800] = burst
    path = tmp_path_factory.mktemp("clicks") / "clicks.wav"
    soundfile.write(path, samples, RATE)
    return path


def sound(path: Path, wanted: str = "") -> tuple[np.ndarray, int]:
    contents = read_contents(path)
    with decode_track(path, contents, choose_track(contents.tracks, wanted)) as decoded:
        blocks = list(decoded.blocks)
        assert all(block.shape[1] == decoded.channels for block in blocks)
        return np.concatenate(blocks)[:, 0], decoded.rate


def onsets(samples: np.ndarray, rate: int) -> list[float]:
    """Times at which sound begins after silence."""
    loud = np.flatnonzero(np.abs(samples) > 0.1) / rate
    return [float(t) for t, step in zip(loud, np.diff(loud, prepend=-1)) if step > 0.1]


PICTURE = ("-f", "lavfi", "-i", "color=s=32x32:r=10:d=3")
CODEC = ("-c:v", "libx264", "-preset", "ultrafast")


class TestTimeLine:
    @pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "a.opus", "a.mkv", "a.ts", "a.caf"])
    def test_the_delay_of_encoders_is_no_delay(self, tmp_path, clicks, name):
        codec = {"a.mkv": ["-c:a", "libopus"], "a.caf": ["-c:a", "alac"]}.get(name, [])
        ffmpeg("-i", clicks, *codec, tmp_path / name)
        found = onsets(*sound(tmp_path / name))
        late = 0.07 if name == "a.ts" else 0.015  # a transport stream cannot say it
        np.testing.assert_allclose(found, [0, 0.5, 1, 1.5], atol=late)

    @pytest.mark.parametrize("name", ["a.mov", "a.mkv", "a.mp4"])
    def test_a_late_track_begins_with_silence(self, tmp_path, clicks, name):
        late = ("-itsoffset", 0.7, "-i", clicks)
        ffmpeg(*PICTURE, *late, "-map", "0:v", "-map", "1:a", *CODEC, tmp_path / name)
        found = onsets(*sound(tmp_path / name))
        np.testing.assert_allclose(found, [0.7, 1.2, 1.7, 2.2], atol=0.03)

    @pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libopus"), ("a.mp4", "aac")])
    def test_a_hole_is_silent(self, tmp_path, clicks, name, codec):
        drop = r"noise=drop=between(pts*tb\,0.4\,0.9)"
        ffmpeg("-i", clicks, "-c:a", codec, "-bsf:a", drop, tmp_path / name)
        samples, rate = sound(tmp_path / name)
        np.testing.assert_allclose(onsets(samples, rate), [0, 1, 1.5], atol=0.015)

    def test_time_stamps_that_jump_a_day_are_damaged(self, tmp_path, clicks):
        shift = r"setts=ts=TS+if(gte(TS*TB\,1)\,86400/TB\,0)"
        ffmpeg("-i", clicks, "-c:a", "libopus", "-bsf:a", shift, tmp_path / "a.mkv")
        samples, rate = sound(tmp_path / "a.mkv")
        assert len(samples) / rate == pytest.approx(2, abs=0.05)

    def test_an_overlap_is_cut(self, tmp_path, clicks):
        shift = r"setts=ts=TS-if(gte(TS*TB\,1.2)\,0.4/TB\,0)"
        ffmpeg("-i", clicks, "-c:a", "libopus", "-bsf:a", shift, tmp_path / "a.mkv")
        np.testing.assert_allclose(onsets(*sound(tmp_path / "a.mkv"))[:3], [0, 0.5, 1], atol=0.03)


@pytest.fixture(scope="module")
def two(tmp_path_factory, clicks):
    """A tone, English, and clicks, German and the default."""
    path = tmp_path_factory.mktemp("two") / "two.mkv"
    tone = ("-f", "lavfi", "-i", "sine=f=300:d=2")
    marks = ("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger")
    default = ("-disposition:a:0", "0", "-disposition:a:1", "default")
    maps = ("-map", "0:a", "-map", "1:a", "-c:a", "libopus")
    ffmpeg(*tone, "-i", clicks, *maps, *marks, *default, path)
    return path


class TestTracks:
    def test_their_marks_are_read(self, two):
        assert read_contents(two).tracks == (
            Track(0, "eng", False, "opus"),
            Track(1, "ger", True, "opus"),
        )

    @pytest.mark.parametrize(("wanted", "clicking"), [("", True), ("2", True), ("1", False)])
    def test_one_is_chosen_by_number(self, two, wanted, clicking):
        assert (len(onsets(*sound(two, wanted))) == 4) == clicking

    def test_or_by_language(self, two):
        assert len(onsets(*sound(two, "GER"))) == 4

    @pytest.mark.parametrize("wanted", ["0", "3", "fra", "-1"])
    def test_others_are_refused(self, two, wanted):
        with pytest.raises(AudioError, match=r"there are 1 \(eng\), 2 \(ger\)"):
            choose_track(read_contents(two).tracks, wanted)

    def test_without_a_default_the_first_is_taken(self):
        tracks = (Track(1, "", False, "aac"), Track(2, "und", False, "aac"))
        assert choose_track(tracks) == tracks[0]
        assert describe_tracks(tracks) == "1, 2"

    def test_a_picture_is_no_track(self, tmp_path, clicks):
        ffmpeg("-i", clicks, *PICTURE, *CODEC, "-shortest", tmp_path / "a.mp4")
        contents = read_contents(tmp_path / "a.mp4")
        assert [track.coding for track in contents.tracks] == ["aac (LC) (mp4a / 0x6134706D)"]
        assert contents.seconds is None


class TestDamage:
    def test_a_wrong_count_of_frames_is_none(self, tmp_path, clicks):
        ffmpeg("-i", clicks, tmp_path / "a.mp3")
        data = bytearray((tmp_path / "a.mp3").read_bytes())
        place = max(data.find(b"Xing"), data.find(b"Info"))
        for count in (3, 100_000):
            data[place + 8 : place + 12] = struct.pack(">I", count)
            (tmp_path / "b.mp3").write_bytes(data)
            samples, rate = sound(tmp_path / "b.mp3")
            assert len(samples) / rate == pytest.approx(2, abs=0.15)

    @pytest.mark.parametrize("name", ["a.mp3", "a.aac", "a.mkv"])
    def test_a_cut_file_says_so_at_its_end(self, tmp_path, clicks, name):
        ffmpeg("-i", clicks, *(["-c:a", "libopus"] if name == "a.mkv" else []), tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 6 // 10])
        contents = read_contents(tmp_path / name)
        with decode_track(tmp_path / name, contents, contents.tracks[0]) as decoded:
            lengths: list[int] = []
            with pytest.raises(DamagedError):
                lengths.extend(len(block) for block in decoded.blocks)
        assert 0.8 < sum(lengths) / decoded.rate < 1.6

    def test_joined_mp3_streams_are_whole(self, tmp_path, clicks):
        ffmpeg("-i", clicks, tmp_path / "a.mp3")
        (tmp_path / "b.mp3").write_bytes(3 * (tmp_path / "a.mp3").read_bytes())
        samples, rate = sound(tmp_path / "b.mp3")
        assert 6 <= len(samples) / rate <= 6.4
        assert len(onsets(samples, rate)) == 12


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{0}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="audio/mp4"><Representation id="0"><BaseURL>{0}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
    ],
)
def test_no_other_file_is_opened(tmp_path, clicks, text):
    ffmpeg("-i", clicks, tmp_path / "secret.mp4")
    path = tmp_path / "list.mp4"
    path.write_text(text.format(tmp_path / "secret.mp4"))
    with pytest.raises(AudioError, match="not a sound file"):
        read_contents(path)


def test_no_ffmpeg(tmp_path, clicks, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with warnings.catch_warnings(), pytest.raises(Exception, match=r"none is no program"):
        read_contents(clicks)
