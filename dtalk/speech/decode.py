"""Sound files to blocks of samples: by libsndfile what it reads whole, all else by ffmpeg.

What is animated and what is put into videos both come from here, so they cannot differ.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from dtalk.config import DEFAULT_SOUND, SoundOptions
from dtalk.errors import AudioError
from dtalk.speech.channels import Selection, select_channels
from dtalk.speech.container import (
    BLOCK,
    DamagedError,
    Decoded,
    Samples,
    choose_track,
    decode_track,
    describe_tracks,
    read_contents,
)
from dtalk.speech.ogg import MAGIC as OGG
from dtalk.speech.ogg import read_pages
from dtalk.utils.ffmpeg import FfmpegError

RATES = range(1000, 1_000_001)  # Hz; outside, the header is damaged or made to harm
_UNKNOWN = 1 << 48  # frames; libsndfile gives such numbers where a header does not say


class AudioWarning(UserWarning):
    """A sound file is damaged; what could be read of it is used."""


class TrackWarning(UserWarning):
    """A file has several sound tracks; one of them is used."""


@dataclass(frozen=True)
class Sound:
    """The sound of a file as it is decoded.

    Attributes:
        rate: samples a second.
        selection: which of its channels are used.
        blocks: float32 [S, channels] each, full scale 1, all finite; to be taken once.
    """

    rate: int
    selection: Selection
    blocks: Iterator[Samples]

    def heard(self) -> Iterator[Samples]:
        """Blocks [S, C] of what is played."""
        return map(self.selection.heard, self.blocks)

    def mono(self) -> Iterator[Samples]:
        """Blocks [S] of what is animated."""
        return map(self.selection.mono, self.blocks)


@contextmanager
def open_sound(path: Path, options: SoundOptions = DEFAULT_SOUND) -> Iterator[Sound]:
    """Open the sound of a file, to be decoded block by block.

    A file that is damaged is used as far as it can be read, with an ``AudioWarning`` at its end;
    where it has several tracks, a ``TrackWarning`` says which one is used.

    Raises:
        AudioError: missing, a folder, unreadable, not sound, no such track or channel; from the
            blocks: a sample that is not finite, or too many of them for such a file.
    """
    _check_file(path)
    with ExitStack() as stack:
        decoded = _decoded(path, options, stack)
        if decoded.rate not in RATES:
            raise AudioError(f"cannot use {path}: its sample rate is {decoded.rate} Hz")
        blocks = _checked(decoded, path)
        selection, blocks = select_channels(
            blocks, decoded.rate, decoded.channels, options.channel, path
        )
        yield Sound(decoded.rate, selection, blocks)


def _check_file(path: Path) -> None:
    """Refuse what cannot be opened, in words of its own: libsndfile says "system error"."""
    try:
        if path.is_dir():
            raise AudioError(f"cannot read {path}: it is a folder, not a sound file")
        if path.exists() and not path.is_file():
            raise AudioError(f"cannot read {path}: not a regular file")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"cannot read {path}: the file is empty (0 bytes)")
    except FileNotFoundError as error:
        raise AudioError(f"no such sound file: {path}") from error
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise AudioError(f"cannot read {path}: no file has such a name") from error


def _checked(decoded: Decoded, path: Path) -> Iterator[Samples]:
    """The blocks, none empty or with values that are not finite; damage becomes a warning."""
    count = 0
    try:
        for block in decoded.blocks:
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                second = (count + int(np.argmin(finite))) / decoded.rate
                raise AudioError(
                    f"{path} holds NaN or infinite samples, the first at {second:.3f} s"
                )
            count += len(block)
            if len(block):
                yield block
    except DamagedError:
        if count:
            message = f"{path} is damaged or cut off: {count / decoded.rate:.2f} s of it are used"
            warnings.warn(message, AudioWarning, stacklevel=3)


def _decoded(path: Path, options: SoundOptions, stack: ExitStack) -> Decoded:
    """The file's sound by whichever decoder reads it whole."""
    with path.open("rb") as start:
        magic = start.read(4)
    pages = read_pages(path) if magic == OGG else None
    file = None if _is_mpeg(magic) else _opened(path)
    if file is not None:
        stack.enter_context(file)
        whole = 0 < file.frames < _UNKNOWN if pages is None else pages.unbroken
        if whole and not options.track:
            return Decoded(file.samplerate, file.channels, _read(file, path, stack))
    try:
        decoded = _by_ffmpeg(path, options.track, stack)
    except AudioError:
        if file is None or options.track or not 0 < file.frames < _UNKNOWN:
            raise
        decoded = Decoded(file.samplerate, file.channels, _damaged(_sndfile_blocks(file)))
    if pages is not None and not pages.whole:
        return replace(decoded, blocks=_damaged(decoded.blocks))
    return decoded


def _is_mpeg(magic: bytes) -> bool:
    """Whether a file begins as mp3 or aac streams do, with a tag or a frame.

    libsndfile believes their Xing headers, reads only the first of joined streams, and prints.
    """
    return magic.startswith(b"ID3") or (magic[:1] == b"\xff" and magic[1:2] >= b"\xe0")


def _damaged(blocks: Iterator[Samples]) -> Iterator[Samples]:
    yield from blocks
    raise DamagedError("the end is missing")


class _Stream(soundfile.SoundFile):
    """A sound file that is read in one go: soundfile would seek after every block.

    Seeking is not exact in all formats: the blocks would not fit together.
    """

    def seekable(self) -> bool:
        return False


def _opened(path: Path) -> _Stream | None:
    """The file by libsndfile; none if it refuses."""
    try:
        return _Stream(path if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError:
        return None


def _read(file: soundfile.SoundFile, path: Path, stack: ExitStack) -> Iterator[Samples]:
    """All blocks; where libsndfile breaks off, ffmpeg goes on."""
    count = 0
    for block in _sndfile_blocks(file):
        yield block
        count += len(block)
    if count < file.frames and file.format != "OGG":
        yield from _without(count, _by_ffmpeg(path, "", stack).blocks)
    if _header_promises_more(file.extra_info):
        raise DamagedError("its header says that it is longer")


def _sndfile_blocks(file: soundfile.SoundFile) -> Iterator[Samples]:
    """Blocks up to the end or the first damage."""
    while True:
        try:
            block = file.read(BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            return
        if not len(block):
            return
        yield block


def _without(count: int, blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The blocks without the first ``count`` samples."""
    for block in blocks:
        if count < len(block):
            yield block[count:]
        count = max(0, count - len(block))


def _header_promises_more(log: str) -> bool:
    """Whether libsndfile's log names a chunk of sound that is longer than the file.

    The outer RIFF and FORM sizes are left out: many writers get them wrong by a few bytes.
    Programs that write to a pipe put the largest possible number there, for "unknown".
    """
    sizes = re.findall(r"(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)", log)
    return any(int(actual) < int(said) < 0x7FFF0000 for said, actual in sizes)


def _by_ffmpeg(path: Path, wanted: str, stack: ExitStack) -> Decoded:
    """A track by ffmpeg; where there are several and none is named, it is told which."""
    try:
        contents = read_contents(path)
        track = choose_track(contents.tracks, wanted)
        if len(contents.tracks) > 1 and not wanted:
            number = contents.tracks.index(track) + 1
            there = describe_tracks(contents.tracks)
            warnings.warn(
                f"{path} has {len(contents.tracks)} sound tracks, {there}: "
                f"track {number} is used; choose with --track",
                TrackWarning,
                stacklevel=2,
            )
        return stack.enter_context(decode_track(path, contents, track))
    except FfmpegError as error:
        raise AudioError(f"cannot read {path}: {error}") from error
