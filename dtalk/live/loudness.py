"""Running loudness and speech: what whole clips are measured for, from the sound so far.

Whole clips are brought to a standard level, and the mouth rests in their silences; both look at the
whole clip. Here the level is that of the last seconds that held speech, and a frame is spoken where
it also stands out from the quietest sound of late.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dtalk.speech.audio import SAMPLE_RATE, first_sample
from dtalk.speech.loudness import FRAME, LOUD, gain_of, root_mean_square
from dtalk.speech.voice_activity import (
    FADE,
    QUIET_DB,
    SHORTEST,
    presence_at,
    without_clicks,
)
from dtalk.utils.types import Array

MEMORY = 8.0  # seconds that are measured
USUAL_LEVEL = 0.05  # RMS of the loud frames of speech, before any was measured: -26 dB
SOUNDING = 3.0  # times the floor, 9.5 dB
ENOUGH = 0.25  # share of sounding frames from which on there is speech to measure
ABOVE_FLOOR = 2.0  # times the floor, 6 dB: the least that counts as spoken
QUIET_FLOOR, SETTLING = 0.003, 40  # in the first 40 frames (1 s) the floor is at most -50 dB
_PAST = 60  # frames of the face that are remembered; what is farther has no effect


class RunningLoudness:
    """The level of loud frames, and of the quietest, over the last :data:`MEMORY` seconds.

    Attributes:
        loud: RMS of the loud frames (95th percentile) when there last was speech.
        floor: RMS of the quietest sound (5th percentile).
    """

    def __init__(self) -> None:
        self.loud, self.floor = USUAL_LEVEL, 0.0
        self._rms: deque[float] = deque(maxlen=round(MEMORY * SAMPLE_RATE / FRAME))
        self._rest = np.zeros(0, np.float32)

    @property
    def gain(self) -> float:
        """What brings speech to the standard level; limited, so that silence stays silent."""
        return gain_of(self.loud)

    def feed(self, samples: Array) -> None:
        """Take in the next samples ``[S]``."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        if whole:
            self._rms.extend(root_mean_square(samples[:whole].reshape(-1, FRAME)))
            self._measure()

    def _measure(self) -> None:
        recent = np.array(self._rms)
        self.floor = float(np.quantile(recent, 0.05))
        if len(recent) <= SETTLING:
            self.floor = min(self.floor, QUIET_FLOOR)
        if (recent > SOUNDING * self.floor).mean() >= ENOUGH:
            self.loud = float(np.quantile(recent, LOUD))


class RunningPresence:
    """How free the mouth is to move, frame by frame: 1 near speech, 0 far from it.

    As :func:`dtalk.speech.voice_activity.presence`, but speech to come is known no farther than the
    look-ahead, and so the mouth is set free faster than it comes to rest.

    Args:
        look_ahead: how many frames after the one in question are known.

    Attributes:
        last: of the frame that was asked for last.
    """

    def __init__(self, look_ahead: int) -> None:
        self.last = 0.0
        self._rise = 1 / min(max(look_ahead - SHORTEST, SHORTEST), FADE)
        self._spoken: deque[bool] = deque(maxlen=_PAST + look_ahead)
        self._frames = 0
        self._rest = np.zeros(0, np.float32)

    def feed(self, samples: Array, loudness: RunningLoudness) -> None:
        """Take in the next samples ``[S]``, which ``loudness`` has taken in already."""
        least = max(loudness.loud * 10 ** (QUIET_DB / 20), ABOVE_FLOOR * loudness.floor)
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= (needed := _samples_of(self._frames)):
            self._spoken.append(bool(root_mean_square(self._rest[:needed]) > least))
            self._rest = self._rest[needed:]
            self._frames += 1

    def at(self, frame: int) -> float:
        """The presence of a frame; to be asked once for each, in order."""
        first = self._frames - len(self._spoken)
        spoken = np.flatnonzero(without_clicks(np.array(self._spoken, bool), SHORTEST)) + first
        nearest = np.abs(spoken - frame).min(initial=_PAST)
        self.last = min(float(presence_at(nearest)), self.last + self._rise)
        return self.last


def _samples_of(frame: int) -> int:
    return first_sample(frame + 1) - first_sample(frame)
