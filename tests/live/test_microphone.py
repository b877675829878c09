"""Microphones, with a PortAudio that is made up."""

from __future__ import annotations

import builtins
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from streams import tone

from dtalk.errors import AudioError
from dtalk.live.microphone import Microphone, microphones
from dtalk.live.sources import SoundQueue


class PortAudioError(Exception):
    pass


class InputStream:
    """Calls back with a second of a tone when it is started."""

    opened: ClassVar[dict[str, Any]] = {}
    overflow = False

    def __init__(self, **settings: Any) -> None:
        type(self).opened = settings

    def __enter__(self) -> InputStream:
        rate, size = self.opened["samplerate"], self.opened["blocksize"]
        sound = np.sin(2 * np.pi * 220 * np.arange(rate // 4) / rate).astype(np.float32)[:, None]
        status = SimpleNamespace(input_overflow=self.overflow)
        for at in range(0, len(sound), size):
            self.opened["callback"](sound[at : at + size], size, None, status)
        return self

    def __exit__(self, *_: object) -> None:
        pass


def query_devices(device: object = None, kind: str | None = None) -> Any:
    devices: list[dict[str, Any]] = [
        {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
        {"name": "USB Microphone", "max_input_channels": 2, "default_samplerate": 48_000.0},
        {"name": "Headset", "max_input_channels": 1, "default_samplerate": 16_000.0},
    ]
    if kind is None:
        return devices
    if device is None:
        return devices[1]
    for number, found in enumerate(devices):
        if device == number or str(device) in found["name"]:
            return found
    raise ValueError(f"No input device matching {device!r}")


@pytest.fixture(autouse=True)
def portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(
        InputStream=InputStream,
        PortAudioError=PortAudioError,
        default=SimpleNamespace(device=(1, 0)),
        query_devices=query_devices,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", made)


def heard(device: int | str | None) -> tuple[np.ndarray, SoundQueue]:
    queue = SoundQueue()
    with Microphone(device).feed(queue):
        return queue.take(0), queue


def test_sound_comes_as_it_is_at_16_khz() -> None:
    sound, _ = heard("Headset")
    np.testing.assert_allclose(sound, tone(0.25, 1.0), atol=1e-5)
    assert InputStream.opened["blocksize"] == 160


def test_other_rates_are_resampled() -> None:
    sound, _ = heard(None)
    assert InputStream.opened["samplerate"] == 48_000
    assert 0.2 * 16_000 < len(sound) <= 0.25 * 16_000
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    assert np.abs(middle).max() == pytest.approx(1, abs=0.02)
    assert np.count_nonzero(np.diff(np.sign(middle))) / len(middle) * 16_000 == pytest.approx(
        440, abs=10
    )


def test_what_the_device_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputStream, "overflow", True)
    sound, queue = heard("Headset")
    assert queue.lost == len(sound)


def test_an_unknown_device_is_one_line() -> None:
    with pytest.raises(AudioError, match=r"cannot use 'Cello': No input device .* --microphones"):
        heard("Cello")


def test_a_device_that_cannot_be_opened_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise PortAudioError("Device unavailable")

    monkeypatch.setattr(sys.modules["sounddevice"], "InputStream", refuse)
    with pytest.raises(AudioError, match="the default microphone: Device unavailable"):
        heard(None)


def test_microphones_are_listed() -> None:
    assert microphones() == ["  1 * USB Microphone", "  2   Headset"]


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ImportError("No module named 'sounddevice'"), r"pip install 'dtalk\[live\]'"),
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
    ],
)
def test_what_is_missing_is_said(
    error: Exception, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AudioError, match=cure):
        microphones()
