"""What tests of streaming share: a model that shows what it is given, sounds, receivers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dtalk.config import ModelConfig
from dtalk.engine.graph import Found
from dtalk.engine.voice import Voice
from dtalk.live.frames import Frame
from dtalk.motion.arkit import ARKIT_NAMES

RATE = 16_000
JAW = ARKIT_NAMES.index("jawOpen")
BROW = ARKIT_NAMES.index("browInnerUp")
NOBODY = Voice(np.zeros(3, np.float32), np.zeros((1, 2), np.float32), np.ones(1, np.float32))
"""The voice of a model with two identities and one emotion, all as found in the sound."""


class Mirror:
    """A model whose jaw is the mean sound of a frame, and all else is noise in (0, 1)."""

    config = ModelConfig(identities=("ann", "bob"), emotions=("happy",))

    def __init__(
        self, identity: tuple[float, ...] = (1, 0, 0), emotion: tuple[float, ...] = (1, 0)
    ):
        self.identity, self.emotion = identity, emotion
        self.calls: list[tuple[np.ndarray, np.ndarray, Voice, float]] = []

    def run(
        self, levelled: np.ndarray, noise: np.ndarray, voice: Voice, temperature: float
    ) -> Found:
        self.calls.append((levelled, noise, voice, temperature))
        coefficients = 1 / (1 + np.exp(-noise))
        starts = np.arange(len(noise)) * RATE // 30
        sums = np.add.reduceat(np.append(levelled, 0), starts.clip(max=len(levelled)))
        coefficients[:, JAW] = sums / np.diff(np.append(starts, max(len(levelled), starts[-1] + 1)))
        heard = (np.array(self.identity, np.float32), np.array(self.emotion, np.float32))
        return Found(coefficients, *heard, *heard, noise[:, :2])


class Collected:
    """A receiver that keeps everything."""

    def __init__(self, name: str = "collected") -> None:
        self.name, self.lost, self.closed = name, 0, False
        self.frames: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        self.closed = True


def face(**curves: float) -> np.ndarray:
    """A face that is neutral but for some curves."""
    coefficients = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in curves.items():
        coefficients[ARKIT_NAMES.index(name)] = value
    return coefficients


def tone(seconds: float, amplitude: float = 0.2) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def syllables(seconds: float, amplitude: float = 0.2) -> np.ndarray:
    """A tone that swells four times a second, as loud in its course as speech is."""
    swell = np.sin(np.pi * 4 * np.arange(round(seconds * RATE)) / RATE)
    return (tone(seconds, amplitude) * np.square(swell)).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def hiss(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (level * noise).astype(np.float32)


def in_blocks(sound: np.ndarray, size: int = 160) -> Iterator[np.ndarray]:
    return (sound[at : at + size] for at in range(0, len(sound), size))


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A UDP socket on loopback at a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        yield receiver
