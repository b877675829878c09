"""Sound tracks of any file that ffmpeg reads, decoded as a player plays them.

Every sample lies at its own time: a track that starts late is preceded by silence, a hole in its
time stamps is filled with silence, an overlap is cut. Edit lists and the delay of encoders are
applied by ffmpeg itself.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from dtalk.errors import AudioError
from dtalk.utils.ffmpeg import Ffmpeg, first_complaint, run_ffmpeg

Samples = npt.NDArray[np.float32]
"""Samples [S, channels], full scale 1."""

BLOCK = 4096  # samples of each channel

# Containers that hold sound themselves, and only from this file: never playlists or manifests,
# which may name other files or hosts.
_FORMATS = (
    "mov,matroska,avi,asf,flv,mpegts,mpeg,aac,amr,wav,w64,caf,aiff,au,ogg,flac,mp3,wv,tta,ape,"
    "ac3,eac3,dts,voc"
)
# Each one's most; headers may ask for any amount of memory.
_LARGEST_ALLOCATION = 256 << 20
LIMITS = (
    *("-protocol_whitelist", "file", "-format_whitelist", _FORMATS),
    *("-max_alloc", str(_LARGEST_ALLOCATION)),
)

LONGEST_HOLE = 600  # s; time stamps that jump farther are damaged, the sound goes on without a hole
# Time stamps of many containers are rounded, by up to 10 ms: what is within 20 is left alone.
_TIME_LINE = "aresample=async=1:min_hard_comp=0.02:first_pts=0"

_STREAM = re.compile(r" *Stream #0:(\d+)(?:\[\w+\])?(?:\((\w+)\))?: (\w+): (.*)")
_DURATION = re.compile(r" *Duration: (\d+):(\d+):(\d+\.\d+)")
# Their length is that of their time stamps, holes and leaps included, and they tell of a cut.
_STAMPED = re.compile(r"Input #0, (?:mov|matroska|asf|avi|flv|mpeg|ogg)")
_AU_HEADER = struct.Struct(">4sIIIII")  # magic, offset of the data, size, encoding, rate, channels
_SHORT = 0.25  # s by which a file may end before its header says, for encoders' padding
# What ffmpeg says when sound is lost. Not of mp3: tags between joined streams are no frames either.
_LOSS = re.compile(
    r"(?!.*mp3)(?:.*(?:submitting packet|Decoding error|CRC mismatch|partial file|Truncating packet"
    r"|ended prematurely|exceeds|EBML number|orrupt))"
)


@dataclass(frozen=True)
class Track:
    """A sound track: its place among all streams, what it is marked with, and how it is coded."""

    stream: int
    language: str
    default: bool
    coding: str


@dataclass(frozen=True)
class Contents:
    """What ffmpeg finds in a file.

    Attributes:
        tracks: the sound tracks in the file's order.
        seconds: how long its one stream lasts by its header; None where the header does not say,
            or may mean something else.
    """

    tracks: tuple[Track, ...]
    seconds: float | None


@dataclass(frozen=True)
class Decoded:
    """A track as it is decoded: samples a second, channels, and blocks of samples."""

    rate: int
    channels: int
    blocks: Iterator[Samples]


def read_contents(path: Path) -> Contents:
    """The sound tracks of a file.

    Raises:
        AudioError: no file that ffmpeg knows, or there is no sound in it.
        FfmpegError: there is no ffmpeg.
    """
    with run_ffmpeg([*LIMITS, "-i", f"file:{path}"]) as ffmpeg:
        ffmpeg.wait()  # it complains that no output is named
        log = ffmpeg.log()
    streams = [match.groups() for match in map(_STREAM.fullmatch, log.splitlines()) if match]
    tracks = tuple(
        Track(int(number), language or "", "(default)" in coding, coding.split(",")[0])
        for number, language, kind, coding in streams
        if kind == "Audio"
    )
    if not tracks:
        raise AudioError(f"cannot read {path}: {_diagnosis(path, bool(streams))}")
    return Contents(tracks, _stated_seconds(path, log, len(streams)))


def _stated_seconds(path: Path, log: str, streams: int) -> float | None:
    found = next(filter(None, map(_DURATION.match, log.splitlines())), None)
    told = not _STAMPED.search(log) and "Estimating duration" not in log
    if found is None or streams > 1 or not told:
        return None
    if "Input #0, mp3," in log and not _lacks_bytes(path):
        return None  # its count of frames is wrong
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _lacks_bytes(path: Path) -> bool:
    """Whether an mp3 is shorter than its Xing header says (a table after its first frame's own)."""
    with path.open("rb") as file:
        start = file.read(10)
        if start.startswith(b"ID3"):  # a tag, its size in four times seven bits
            file.seek(sum(byte << 7 * place for place, byte in enumerate(start[:5:-1])), 1)
        frame = start + file.read(200)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0 or len(frame) < place + 16:
        return False
    flags, size = struct.unpack_from(">I4xI", frame, place + 4)
    return flags & 3 == 3 and path.stat().st_size < 0.98 * size


def _diagnosis(path: Path, streams: bool) -> str:
    """Why ffmpeg found no sound, in words for a user."""
    if streams:
        return "there is no sound track in it"
    with path.open("rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return "its header is damaged or its index is missing, as in a recording cut off"
    return "not a sound file, or its header is damaged"


def choose_track(tracks: Sequence[Track], wanted: str = "") -> Track:
    """The track of a number, from 1, or of a language; else the default, else the first.

    Raises:
        AudioError: without the path: no such track; the message lists those there are.
    """
    if not wanted:
        return next((track for track in tracks if track.default), tracks[0])
    if wanted.isdecimal() and 1 <= int(wanted) <= len(tracks):
        return tracks[int(wanted) - 1]
    for track in tracks:
        if track.language and track.language.lower() == wanted.lower():
            return track
    raise AudioError(f"no sound track {wanted!r}; there are {describe_tracks(tracks)}")


def describe_tracks(tracks: Sequence[Track]) -> str:
    """Numbers and languages of tracks in one line: ``1 (eng), 2 (deu)``."""
    return ", ".join(
        f"{number} ({track.language})" if track.language not in ("", "und") else str(number)
        for number, track in enumerate(tracks, start=1)
    )


@contextmanager
def decode_track(path: Path, contents: Contents, track: Track) -> Iterator[Decoded]:
    """Decode a track from its first to its last sample, block by block.

    The blocks raise ``DamagedError`` at their end if sound is missing.

    Raises:
        AudioError: nothing of it can be decoded.
        FfmpegError: there is no ffmpeg.
    """
    arguments = ["-v", "error", *LIMITS, "-dts_error_threshold", str(LONGEST_HOLE)]
    arguments += ["-i", f"file:{path}", "-map", f"0:{track.stream}", "-af", _TIME_LINE]
    # The au format may say in its header that it does not know its length.
    arguments += ["-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
    with run_ffmpeg(arguments) as ffmpeg:
        assert ffmpeg.stdout is not None
        rate, channels = _read_header(path, ffmpeg)
        yield Decoded(rate, channels, _blocks(ffmpeg, rate, channels, path, contents.seconds))


def _read_header(path: Path, ffmpeg: Ffmpeg) -> tuple[int, int]:
    """Rate and number of channels of the au file that ffmpeg writes."""
    assert ffmpeg.stdout is not None
    header = ffmpeg.stdout.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        ffmpeg.wait()
        raise AudioError(f"cannot read {path}: {first_complaint(ffmpeg.log())}")
    _, offset, _, _, rate, channels = _AU_HEADER.unpack(header)
    ffmpeg.stdout.read(offset - _AU_HEADER.size)
    return rate, channels


class DamagedError(AudioError):
    """A file ended early, or parts of it cannot be decoded."""


def _blocks(
    ffmpeg: Ffmpeg, rate: int, channels: int, path: Path, seconds: float | None
) -> Iterator[Samples]:
    assert ffmpeg.stdout is not None
    most = _most_samples(path, rate)
    count = 0
    for block in _read_blocks(ffmpeg.stdout, channels):
        yield block
        count += len(block)
        if count > most:
            raise AudioError(f"cannot use {path}: its time stamps run far beyond its sound")
    status, log = ffmpeg.wait(), ffmpeg.log()
    lost = any(map(_LOSS.match, log.splitlines()))
    short = seconds is not None and count / rate < seconds - _SHORT
    if status or lost or short:
        raise DamagedError(first_complaint(log))


def _most_samples(path: Path, rate: int) -> float:
    """Samples that a file of its size may hold: an hour of holes, and sound at 100 bit/s."""
    return rate * (3600 + path.stat().st_size * 8 / 100)


def _read_blocks(pipe: IO[bytes], channels: int) -> Iterator[Samples]:
    size = 4 * channels
    while data := pipe.read(BLOCK * size):
        whole = len(data) - len(data) % size
        samples = np.frombuffer(data[:whole], ">f4").reshape(-1, channels)
        yield samples.astype(np.float32)
