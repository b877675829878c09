"""The sound of a video: decoded as it is animated, encoded as AAC, to be copied into an mp4."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from dtalk.config import DEFAULT_SOUND, SoundOptions
from dtalk.errors import VideoError
from dtalk.speech.decode import Sound, open_sound
from dtalk.utils.ffmpeg import first_complaint, run_ffmpeg
from dtalk.utils.files import check_output, temporary_path

BITRATE = "192k"
_MOST_CHANNELS = 8  # that AAC holds
# No times, versions or tags in the file: the same input gives the same bytes.
REPRODUCIBLE = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact")


@dataclass(frozen=True)
class Soundtrack:
    """An m4a file that is gone after use, how long its sound lasts, and where it is from."""

    path: Path
    seconds: float
    source: Path


@contextmanager
def encode_sound(
    audio: Path, near: Path, options: SoundOptions = DEFAULT_SOUND, bitrate: str = BITRATE
) -> Iterator[Soundtrack]:
    """Encode the sound of a file, any that `open_sound` reads, into a temporary file.

    Silence that a file's time stamps ask for is in it; all channels are kept unless one is chosen.
    What is odd about the file was said when it was animated, and is not said again.

    Args:
        audio: the file.
        near: a file in whose folder the temporary one is to be.
        options: which track and channel.
        bitrate: bits a second, as ffmpeg has it: ``192k``.

    Raises:
        AudioError: see `open_sound`.
        VideoError: it holds no sound, or it cannot be encoded.
        DtalkError: the place cannot be written.
    """
    check_output(near)
    with temporary_path(near.with_suffix(".m4a")) as place:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_sound(audio, options) as sound:
                samples = _encode(sound, audio, place, bitrate)
        yield Soundtrack(place, samples / sound.rate, audio)


def _encode(sound: Sound, audio: Path, place: Path, bitrate: str) -> int:
    """Write the m4a; the number of samples of each channel."""
    blocks = sound.heard()
    first = next(blocks, None)
    if first is None:
        raise VideoError(f"{audio} holds no sound (0 samples)")
    channels = first.shape[1] if first.shape[1] <= _MOST_CHANNELS else 1
    raw = ["-f", "f32le", "-ar", str(sound.rate), "-ac", str(channels), "-i", "pipe:0"]
    coded = ["-c:a", "aac", "-b:a", bitrate, *REPRODUCIBLE, "-f", "mp4", "-y", f"file:{place}"]
    count = 0
    with run_ffmpeg(["-v", "error", *raw, *coded], feed=True) as ffmpeg:
        assert ffmpeg.stdin is not None
        try:
            for block in chain([first], blocks):
                kept = block if channels > 1 else block.mean(axis=1, keepdims=True)
                ffmpeg.stdin.write(np.ascontiguousarray(kept, "<f4").data)
                count += len(block)
        except BrokenPipeError:
            pass  # its log says why
        if ffmpeg.wait():
            raise VideoError(f"cannot encode the sound {audio}: {first_complaint(ffmpeg.log())}")
    return count
