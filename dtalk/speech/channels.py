"""Several channels to the one that is animated: mean, one of them, or what does not cancel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtalk.config import AUTO
from dtalk.errors import AudioError

Samples = npt.NDArray[np.float32]

MIX = "mix"
SIDES = ("left", "right")
_JUDGED = 30  # s of sound by which the channels are judged
_SILENCE = 1e-5  # RMS; quieter blocks say nothing
# The power of the mean, of that which unrelated channels would give. For two channels as loud as
# each other it is 1 + r: below .25 they are nearly each other's negative.
_CANCELLED = 0.25


class ChannelWarning(UserWarning):
    """Channels cancel each other; one of them is used."""


@dataclass(frozen=True)
class Selection:
    """What of the channels is used: all (``only`` is None), or one."""

    only: int | None = None

    def heard(self, block: Samples) -> Samples:
        """The channels of a block [S, C] that are played: [S, C] or [S, 1]."""
        return block if self.only is None else block[:, self.only : self.only + 1]

    def mono(self, block: Samples) -> Samples:
        """The one that is animated: [S]."""
        return self.heard(block).mean(axis=1, dtype=np.float32)


def select_channels(
    blocks: Iterator[Samples], rate: int, count: int, wanted: str, path: Path
) -> tuple[Selection, Iterator[Samples]]:
    """What of ``count`` channels to use, and all the blocks, of which some were looked at.

    ``wanted`` is ``left``, ``right``, a number from 1, ``mix`` for the mean, or ``auto``: the mean,
    but the louder channel, with a ``ChannelWarning``, where the channels cancel each other.

    Raises:
        AudioError: there is no such channel.
    """
    if wanted == AUTO and count > 1:
        seen, powers, mean = [], np.zeros(count), 0.0
        judged = 0
        for block in blocks:
            seen.append(block)
            if np.square(block).mean() > _SILENCE**2:
                powers += np.square(block, dtype=np.float64).sum(axis=0)
                mean += float(np.square(block.mean(axis=1, dtype=np.float64)).sum())
                judged += len(block)
            if judged > _JUDGED * rate:
                break
        return _uncancelled(powers, mean, path), chain(seen, blocks)
    return _named(wanted, count, path), blocks


def _uncancelled(powers: npt.NDArray[np.float64], mean: float, path: Path) -> Selection:
    """All channels, or the loudest one where little of them is left in their mean."""
    if mean >= _CANCELLED * powers.sum() / len(powers) ** 2:
        return Selection()
    loudest = int(powers.argmax())
    warnings.warn(
        f"{path}: its channels have opposite phase and cancel each other: only channel "
        f"{loudest + 1} is used; choose with --channel",
        ChannelWarning,
        stacklevel=2,
    )
    return Selection(loudest)


def _named(wanted: str, count: int, path: Path) -> Selection:
    if wanted in (AUTO, MIX):
        return Selection()
    number = (
        SIDES.index(wanted) + 1 if wanted in SIDES else int(wanted) if wanted.isdecimal() else 0
    )
    if not 1 <= number <= count:
        names = "channel" if count == 1 else "channels"
        raise AudioError(f"cannot use {path}: no channel {wanted!r}; it has {count} {names}")
    return Selection(number - 1)
