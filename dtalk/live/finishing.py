"""What is done to the frames of a stream: lips that meet in silence, lids that blink.

The same as :mod:`dtalk.speech.finishing` does to whole clips, frame by frame.
"""

from __future__ import annotations

import numpy as np

from dtalk.config import ModelConfig
from dtalk.live.loudness import RunningLoudness, RunningPresence
from dtalk.motion.arkit import LIDS, OPEN_LIDS, PARTING_CHANNELS
from dtalk.motion.curves import FPS
from dtalk.motion.idle import blink, blink_starts
from dtalk.speech.voice_activity import FADE
from dtalk.utils.types import Array


class Finishing:
    """Finishes frames in order, as far as the configuration says so.

    Args:
        look_ahead: frames of sound that are known after the one that is finished.
        seed: of the blinks.

    Attributes:
        spoken: whether the last frame was near speech.
    """

    def __init__(self, config: ModelConfig, look_ahead: int, seed: int) -> None:
        self._config = config
        self._presence = RunningPresence(look_ahead)
        self._blinks = RunningBlinks(seed)
        self._frame = 0
        self._steady = True
        self._free: float | None = None

    @property
    def spoken(self) -> bool:
        return self._presence.last > 0

    def feed(self, samples: Array, loudness: RunningLoudness) -> None:
        """Take in the next samples ``[S]``, which ``loudness`` has taken in already."""
        self._presence.feed(samples, loudness)
        self._steady = loudness.steady

    def finish(self, frames: Array) -> Array:
        """Finish the next frames ``[N, 52]``."""
        finished = frames.copy()
        for face in finished:
            present, shut = self._presence.at(self._frame), self._blinks.at(self._frame)
            face[PARTING_CHANNELS] *= self._freedom(present)
            if self._config.blinks:
                face[LIDS] = np.maximum(face[LIDS].clip(max=OPEN_LIDS), shut)
            self._frame += 1
        return finished

    def _freedom(self, present: float) -> float:
        """How far the next frame's mouth may open: not at all where nothing stands out of late.

        It follows what sound there is, at the pace of the presence.
        """
        wanted = present if self._config.close_in_silence or self._steady else 1.0
        last = wanted if self._free is None else self._free
        self._free = min(max(wanted, last - 1 / FADE), last + self._presence.rise)
        return self._free


class RunningBlinks:
    """Blinks without end, sampled from a seed."""

    def __init__(self, seed: int) -> None:
        self._starts = blink_starts(np.random.default_rng([seed % 2**64, 0xB11F]))
        self._last, self._next = -np.inf, next(self._starts)

    def at(self, frame: int) -> float:
        """How far the lids are shut, 0 to 1; to be asked for each frame in order."""
        time = (frame + 0.5) / FPS
        while self._next <= time:
            self._last, self._next = self._next, next(self._starts)
        return float(blink(np.array(time - self._last)))
