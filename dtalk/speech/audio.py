"""Audio files of any usual format, rate and channel count, read as 16 kHz mono.

soundfile (libsndfile) reads wav, flac, ogg, opus, mp3 and more; what it does not know, such as
the m4a of a phone or the sound of an mp4, goes through the ffmpeg that imageio-ffmpeg brings.
"""

from __future__ import annotations

import io
import re
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from dtalk.errors import AudioError
from dtalk.motion.curves import FPS
from dtalk.utils.types import Array

Waveform = Array

SAMPLE_RATE = 16000  # Hz, what the speech encoders are trained on

#: Sound files that are looked for in folders. Videos are read too, but only when named: a folder
#: of speech often holds the videos that were made of it.
AUDIO_SUFFIXES: frozenset[str] = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".weba"}
    | {".aif", ".aiff", ".au", ".caf", ".w64"}
)

_RATES = range(1000, 1_000_001)  # Hz; outside, the header is damaged or made to harm
_BLOCK = 4096  # frames a read: what is lost, at most, before the break of a broken file

# Only containers, and only from this file: never playlists, which may name other files or hosts.
_FFMPEG_LIMITS = (
    "-protocol_whitelist",
    "file",
    "-format_whitelist",
    "mov,matroska,aac,asf,avi,amr",
)


class AudioWarning(UserWarning):
    """A sound file is damaged; what could be read of it is used."""


def frame_count(samples: int) -> int:
    """Count the motion frames of ``samples`` at 16 kHz: rounded, at least 1."""
    return max(1, round(samples / SAMPLE_RATE * FPS))


def load_audio(path: Path | str) -> Waveform:
    """Read a sound file as float32 [S], S >= 1: 16 kHz, mono (mean of the channels).

    Full scale is 1. Silence is valid, and so is a clip of one sample. A file that breaks off is
    used as far as it goes, with an ``AudioWarning``.

    Raises:
        AudioError: missing, a folder, unreadable, not sound, without samples, or a sample that
            is not finite.
    """
    path = Path(path)
    _check_file(path)
    try:
        opened = _Stream(path)
    except soundfile.LibsndfileError as error:
        return _decode_with_ffmpeg(path, error)
    with opened as file:
        samples = _read_mono(file)
        if len(samples) and _is_cut(file, len(samples), path):
            _warn_cut(path, len(samples) / file.samplerate)
        return to_waveform(samples, file.samplerate, path)


class _Stream(soundfile.SoundFile):
    """A sound file that is read in one go: soundfile would seek after every block.

    Seeking is not exact in mp3: the blocks would not fit together.
    """

    def seekable(self) -> bool:
        return False


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


def to_waveform(samples: Waveform, rate: int, path: Path | str) -> Waveform:
    """Resample mono samples [S] of any rate, full scale 1, to 16 kHz, as ``load_audio`` does.

    ``path`` names them in messages.

    Raises:
        AudioError: no samples, one that is not finite, or a rate that no recording has.
    """
    if not len(samples):
        raise AudioError(f"{path} holds no sound (0 samples)")
    _check_finite(samples, rate, path)
    if rate == SAMPLE_RATE:
        return samples
    if rate not in _RATES:
        raise AudioError(f"cannot use {path}: its sample rate is {rate} Hz")
    resampled = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), dtype=np.float32)
    _check_finite(resampled, SAMPLE_RATE, path)
    # A sample or two at a high rate may leave nothing at a lower one.
    return resampled if len(resampled) else samples[:1]


def _check_finite(samples: Waveform, rate: int, path: Path | str) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        second = int(np.argmin(finite)) / rate
        raise AudioError(f"{path} holds NaN or infinite samples, the first at {second:.3f} s")


def _read_mono(file: soundfile.SoundFile) -> Waveform:
    blocks = list(_mono_blocks(file))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _mono_blocks(file: soundfile.SoundFile) -> Iterator[Waveform]:
    """Read blocks of channel means up to the end or the first damage."""
    while True:
        try:
            block = file.read(_BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            return
        if not len(block):
            return
        yield block.mean(axis=1, dtype=np.float32)


def _warn_cut(path: Path, seconds: float, stacklevel: int = 3) -> None:
    message = f"{path} is damaged or cut off: only {seconds:.2f} s of it could be read"
    warnings.warn(message, AudioWarning, stacklevel=stacklevel)


def _is_cut(file: soundfile.SoundFile, read: int, path: Path) -> bool:
    """Whether less was read than the file once held, as far as its format tells."""
    if file.format == "OGG":
        return not _ogg_ends(path)
    return read < file.frames or _header_promises_more(file.extra_info)


def _header_promises_more(log: str) -> bool:
    """Whether libsndfile's log names a chunk of sound that is longer than the file.

    The outer RIFF and FORM sizes are left out: many writers get them wrong by a few bytes.
    Programs that write to a pipe put the largest possible number there, for "unknown".
    """
    sizes = re.findall(r"(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)", log)
    return any(int(actual) < int(said) < 0x7FFF0000 for said, actual in sizes)


def _ogg_ends(path: Path) -> bool:
    """Whether the last Ogg page is whole and marked as the end of its stream (RFC 3533, 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65307))  # a page has at most 65307 bytes
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _decode_with_ffmpeg(path: Path, refusal: soundfile.LibsndfileError) -> Waveform:
    """Decode by ffmpeg what soundfile refused, as ``load_audio``."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", *_FFMPEG_LIMITS]
        # The au format may say in its header that it does not know its length.
        command += ["-i", f"file:{path}", "-vn", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
        done = subprocess.run(command, capture_output=True, check=False)
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(refusal.error_string).strip()
        raise AudioError(f"cannot read {path}: {reason} No ffmpeg to try: {error}") from error
    if not done.stdout:
        raise AudioError(f"cannot read {path}: {_diagnosis(path, done.stderr)}")
    with _Stream(io.BytesIO(done.stdout)) as file:
        samples = _read_mono(file)
        if len(samples) and (done.stderr or done.returncode):
            _warn_cut(path, len(samples) / file.samplerate, stacklevel=4)
        return to_waveform(samples, file.samplerate, path)


def _diagnosis(path: Path, log: bytes) -> str:
    """Explain why ffmpeg found no sound."""
    if b"does not contain any stream" in log:
        return "there is no sound track in it"
    with path.open("rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return "its header is damaged or its index is missing, as in a recording cut off"
    return "not a sound file, or its header is damaged"
