"""A microphone as a source of sound, by PortAudio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import soxr

from dtalk.errors import AudioError
from dtalk.live.sources import SoundQueue
from dtalk.speech.audio import SAMPLE_RATE

BLOCK_SECONDS = 0.01


class Microphone:
    """The first channel of an input device, at the device's own sample rate.

    Args:
        device: its number, or a part of its name; None for the default one.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._device = device

    @contextmanager
    def feed(self, queue: SoundQueue) -> Iterator[None]:
        """Fill the queue while the context is open.

        Raises:
            AudioError: no PortAudio, no such device, or it cannot be opened.
        """
        sounddevice, stack = portaudio(), ExitStack()
        try:
            found = sounddevice.query_devices(self._device, "input")
            rate = round(found["default_samplerate"])
            stream = sounddevice.InputStream(
                samplerate=rate,
                blocksize=round(rate * BLOCK_SECONDS),
                device=self._device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=_Receiver(queue, rate),
                finished_callback=lambda: queue.end(AudioError("the microphone has stopped")),
            )
            stack.enter_context(stream)
        except (sounddevice.PortAudioError, ValueError) as error:
            named = "the default microphone" if self._device is None else repr(self._device)
            raise AudioError(f"cannot use {named}: {error}; --microphones lists them") from error
        with stack:
            yield


class _Receiver:
    """PortAudio's callback."""

    def __init__(self, queue: SoundQueue, rate: int) -> None:
        self._queue = queue
        self._resample = (
            None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32")
        )

    def __call__(self, block: Any, frames: int, clock: Any, status: Any) -> None:
        samples = block.mean(axis=1, dtype=np.float32)
        if self._resample is not None:
            samples = self._resample.resample_chunk(samples)
        if status.input_overflow:
            self._queue.lost += len(samples)  # at least: the device does not say how many
        if len(samples):
            self._queue.put(samples)


def microphones() -> list[str]:
    """The input devices, a line each: number, name, the default one marked.

    Raises:
        AudioError: no PortAudio.
    """
    sounddevice = portaudio()
    default = sounddevice.default.device[0]
    return [
        f"{number:3} {'*' if number == default else ' '} {device['name']}"
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def portaudio() -> ModuleType:
    """The module that reaches PortAudio.

    Raises:
        AudioError: the module or the library is missing.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise AudioError(
            "microphones need the package sounddevice: pip install 'dtalk[live]'"
        ) from error
    except OSError as error:
        raise AudioError(
            f"microphones need the library PortAudio ({error}); Debian: apt install libportaudio2"
        ) from error
    module: ModuleType = sounddevice
    return module
