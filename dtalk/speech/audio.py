"""Audio files of any usual format, rate and channel count, read as 16 kHz mono."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soxr

from dtalk.config import DEFAULT_SOUND, SoundOptions
from dtalk.errors import AudioError
from dtalk.motion.curves import FPS
from dtalk.speech.decode import RATES, open_sound
from dtalk.speech.decode import AudioWarning as AudioWarning
from dtalk.utils.types import Array

SAMPLE_RATE = 16000  # Hz, what the speech encoders are trained on

#: Sound files that are looked for in folders. Videos are read too, but only when named: a folder
#: of speech often holds the videos that were made of it.
AUDIO_SUFFIXES: frozenset[str] = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".weba"}
    | {".aif", ".aiff", ".au", ".caf", ".w64"}
)


def frame_count(samples: int) -> int:
    """Count the motion frames of ``samples`` at 16 kHz: rounded, at least 1."""
    return max(1, round(samples / SAMPLE_RATE * FPS))


def first_sample(frame: int) -> int:
    """Compute where the sound of a motion frame begins, in samples at 16 kHz."""
    return frame * SAMPLE_RATE // round(FPS)


def load_audio(path: Path | str, options: SoundOptions = DEFAULT_SOUND) -> Array:
    """Read a sound file as float32 [S], S >= 1: 16 kHz, mono (mean of the channels).

    Full scale is 1. Silence is valid, and so is a clip of one sample. A file that breaks off is
    used as far as it goes, with an ``AudioWarning``; what else is told, see `open_sound`.

    Raises:
        AudioError: see :func:`speech_blocks`.
    """
    return np.concatenate(list(speech_blocks(path, options)))


def speech_blocks(path: Path | str, options: SoundOptions = DEFAULT_SOUND) -> Iterator[Array]:
    """The waveform of :func:`load_audio` in blocks [S], S >= 1, in memory one at a time.

    Raises:
        AudioError: missing, a folder, unreadable, not sound, without samples, a sample that is not
            finite, or no such track or channel.
    """
    with open_sound(Path(path), options) as sound:
        yield from _resampled(sound.mono(), sound.rate, Path(path))


def to_waveform(samples: Array, rate: int, path: Path | str) -> Array:
    """Resample mono samples [S] of any rate, full scale 1, to 16 kHz, as ``load_audio`` does.

    ``path`` names them in messages.

    Raises:
        AudioError: no samples, one that is not finite, or a rate that no recording has.
    """
    if rate not in RATES:
        raise AudioError(f"cannot use {path}: its sample rate is {rate} Hz")
    finite = np.isfinite(samples)
    if not finite.all():
        second = int(np.argmin(finite)) / rate
        raise AudioError(f"{path} holds NaN or infinite samples, the first at {second:.3f} s")
    return np.concatenate(list(_resampled(iter([samples]), rate, path)))


def _resampled(blocks: Iterator[Array], rate: int, path: Path | str) -> Iterator[Array]:
    """Resample blocks of any rate to blocks at 16 kHz, none empty, at least one."""
    first = next(filter(len, blocks), None)
    if first is None:
        raise AudioError(f"{path} holds no sound (0 samples)")
    everything = chain([first], filter(len, blocks))
    if rate == SAMPLE_RATE:
        yield from everything
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    count = 0
    for block in chain(everything, [None]):
        last = block is None
        samples = stream.resample_chunk(np.zeros(0, np.float32) if last else block, last=last)
        if not np.isfinite(samples).all():  # sums of samples near the largest number
            raise AudioError(f"{path} holds samples that are too large to resample")
        count += len(samples)
        if len(samples):
            yield samples
    if not count:  # a sample or two at a high rate
        yield first[:1]
