"""What is sent: one face at one moment, and whoever takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Frame:
    """One face.

    Attributes:
        number: counts from 0 at the output's frame rate, dropped frames included.
        time: seconds of sound from the start of the stream to the moment it stands for.
        coefficients: float32 ``[52]`` in the order of ``ARKIT_NAMES``, 0 to 1.
    """

    number: int
    time: float
    coefficients: npt.NDArray[np.float32]


class Sender(Protocol):
    """A place that frames go to."""

    name: str
    lost: int
    """Frames that could not be handed over."""

    def send(self, frame: Frame) -> None:
        """Hand over a frame without waiting for the receiver."""

    def close(self) -> None:
        """Hand over what is left and let go of the place."""
