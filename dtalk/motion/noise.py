"""The noise that a clip's motion starts from: torch's own numbers, drawn with numpy.

``torch.randn`` on the CPU runs a Mersenne Twister (MT19937) and turns its numbers, 16 at a time,
into normal ones by Box and Muller's method. numpy has the same generator, so both engines start
from the same noise; what differs are the last bits of logarithm, sine and cosine.
Source: torch 2.13, ``aten/src/ATen/native/cpu/DistributionTemplates.h``, ``normal_fill``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array

WIDTH = len(ARKIT_NAMES)
_GROUP = 16  # numbers that torch turns into normal ones together
_FRAMES = 4  # whose 208 numbers are whole groups


class SoundDigest:
    """A digest of the user's seed and of 16 kHz samples, from which a clip's randomness comes.

    With the user's seed alone, all clips of a folder would move alike.
    """

    def __init__(self, seed: int) -> None:
        self._digest = hashlib.sha256((int(seed) % 2**64).to_bytes(8, "little"))

    def feed(self, samples: Array) -> SoundDigest:
        """Take in the next samples ``[S]``."""
        self._digest.update(np.ascontiguousarray(samples, np.float32).data)
        return self

    @property
    def noise_seed(self) -> int:
        """The seed of a clip's noise, 56 bits."""
        return int.from_bytes(self._digest.digest()[:7], "little")

    def blink_generator(self) -> np.random.Generator:
        """The source of a clip's blinks, from another part of the same digest."""
        return np.random.default_rng(int.from_bytes(self._digest.digest()[7:14], "little"))


def noise_seed(waveform: Array, seed: int) -> int:
    """The seed of a clip's noise, 56 bits, from the user's seed and 16 kHz samples ``[S]``."""
    return SoundDigest(seed).feed(waveform).noise_seed


def blink_generator(waveform: Array, seed: int) -> np.random.Generator:
    """The source of a clip's blinks, from the user's seed and 16 kHz samples ``[S]``."""
    return SoundDigest(seed).feed(waveform).blink_generator()


def standard_normal(seed: int, frames: int) -> Array:
    """``torch.randn(frames, 52)`` after ``manual_seed(seed)``: ``[frames, 52]``, to about 1e-6."""
    twister, count = _twister(seed), frames * WIDTH
    uniform = _uniform(twister, count)
    normal = np.empty(count, np.float32)
    whole = count // _GROUP * _GROUP
    normal[:whole] = _box_muller(uniform[:whole])
    if whole < count:  # torch draws the last 16 once more
        normal[-_GROUP:] = _box_muller(_uniform(twister, _GROUP))
    return normal.reshape(frames, WIDTH)


def normal_blocks(seed: int, frames: int) -> Iterator[Array]:
    """:func:`standard_normal` without end, in blocks of ``frames``, which four must divide.

    All but its last frame is the same, as far as a clip of known length goes.
    """
    if frames % _FRAMES:
        raise ValueError(f"blocks of noise have a multiple of {_FRAMES} frames, not {frames}")
    twister = _twister(seed)
    while True:
        yield _box_muller(_uniform(twister, frames * WIDTH)).reshape(frames, WIDTH)


def _twister(seed: int) -> np.random.MT19937:
    """MT19937 as torch seeds it: by the low 32 bits, with Knuth's multiplier."""
    twister = np.random.MT19937()
    state: Any = np.random.RandomState(seed & 0xFFFFFFFF).get_state(legacy=False)
    twister.state = state
    return twister


def _uniform(twister: np.random.MT19937, count: int) -> Array:
    """Numbers in [0, 1) from the low 24 bits of each number drawn: ``[count]``."""
    bits = twister.random_raw(count).astype(np.uint32) & np.uint32(0xFFFFFF)
    return bits.astype(np.float32) * np.float32(2**-24)


def _box_muller(uniform: Array) -> Array:
    """Uniform ``[16 n]`` to normal: in each group the first eight are radii, the others angles."""
    radius, angle = np.moveaxis(uniform.reshape(-1, 2, _GROUP // 2), 1, 0)
    radius = np.sqrt(-2 * np.log(1 - radius))
    angle = np.float32(2 * np.pi) * angle
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
