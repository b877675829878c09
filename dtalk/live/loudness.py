"""Running loudness and speech: what whole clips are measured for, from the sound so far.

Whole clips are brought to a standard level, and the mouth rests in their silences; both look at the
whole clip. Here the level is that of the last seconds that held speech, and a frame is spoken where
it also stands out from the quietest sound of late.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dtalk.speech.audio import SAMPLE_RATE, first_sample
from dtalk.speech.levels import (
    FRAME,
    LOUD,
    PER_TENTH,
    TENTH,
    UNEVEN,
    WINDOW,
    deviation,
    gain_of,
    hold_speech,
    offset_of,
    tenths_of,
    voiced_tenths,
)
from dtalk.speech.loudness import LONG, is_even
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
ABOVE_FLOOR = 2.0  # times the floor, 6 dB: the least that counts as spoken
QUIET_FLOOR, SETTLING = 0.003, 40  # in the first 40 frames (1 s) of what may be speech: -50 dB
SOON = 3  # tenths from which on a stream that began with no voice is known to be steady
_PAST = 60  # frames of the face that are remembered; what is farther has no effect


class RunningLoudness:
    """The level of speech, and of the quietest sound, over the last :data:`MEMORY` seconds.

    As :class:`dtalk.speech.levels.Levels`, with the last seconds for the whole clip.

    Attributes:
        loud: RMS of the loud frames (95th percentile) when there last was speech.
        floor: RMS of the quietest sound (5th percentile); where it is steady, of the last seconds.
        steady: whether nothing stands out of late: silence for a second, or even sound for four.
    """

    def __init__(self) -> None:
        self.loud, self.floor = USUAL_LEVEL, 0.0
        self.steady = True
        self._usual = self._local = USUAL_LEVEL
        tenths = round(MEMORY * SAMPLE_RATE / TENTH)
        self._frames: deque[float] = deque(maxlen=PER_TENTH * tenths)
        self._voiced: deque[bool] = deque(maxlen=tenths)
        self._rest = np.zeros(0, np.float32)

    @property
    def gain(self) -> float:
        """What brings speech to the standard level; limited, so that silence stays silent."""
        return float(gain_of(self.loud))

    def feed(self, samples: Array) -> None:
        """Take in the next samples ``[S]``."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // TENTH * TENTH
        self._rest = samples[whole:]
        if whole:
            self._frames.extend(deviation(samples[:whole].reshape(-1, FRAME)))
            self._voiced.extend(voiced_tenths(samples[:whole].reshape(-1, TENTH)))
            self._measure()

    def levelled(self, samples: Array) -> Array:
        """The last samples ``[S]`` at the standard loudness, without their offset."""
        offset = offset_of(float(samples.mean(dtype=np.float64)), self.loud)
        return (samples - np.float32(offset)) * np.float32(self.gain)

    def _measure(self) -> None:
        frames = np.array(self._frames)
        tenths = tenths_of(frames)
        shortest = LONG if any(self._voiced) else SOON
        self.steady = not tenths[-LONG:].any() or is_even(tenths[-WINDOW:], shortest)
        memory = PER_TENTH * WINDOW if self.steady else len(frames)
        self.floor = float(np.quantile(frames[-memory:], 1 - LOUD))
        if len(frames) <= SETTLING and not self.steady:
            self.floor = min(self.floor, QUIET_FLOOR)
        self._usual = self._level(len(self._voiced)) or self._usual
        self._local = self._level(WINDOW) or self._local
        self.loud = min(max(self._usual, self._local / UNEVEN), self._local * UNEVEN)

    def _level(self, tenths: int) -> float:
        """RMS of the loud frames among so many tenths of a second, 0 if they hold no speech."""
        frames = np.array(self._frames)[-PER_TENTH * tenths :]
        voiced = np.array(self._voiced)[-tenths:]
        speech = hold_speech(tenths_of(frames), voiced, self.floor)
        return float(np.quantile(frames, LOUD)) if speech else 0.0


class RunningPresence:
    """How free the mouth is to move, frame by frame: 1 near speech, 0 far from it.

    As :func:`dtalk.speech.voice_activity.presence`, but speech to come is known no farther than the
    look-ahead, and so the mouth is set free faster than it comes to rest.

    Args:
        look_ahead: how many frames after the one in question are known.

    Attributes:
        last: of the frame that was asked for last.
        rise: how much it grows by at most from frame to frame.
    """

    def __init__(self, look_ahead: int) -> None:
        self.last = 0.0
        self.rise = 1 / min(max(look_ahead - SHORTEST, SHORTEST), FADE)
        self._spoken: deque[bool] = deque(maxlen=_PAST + look_ahead)
        self._frames = 0
        self._rest = np.zeros(0, np.float32)

    def feed(self, samples: Array, loudness: RunningLoudness) -> None:
        """Take in the next samples ``[S]``, which ``loudness`` has taken in already."""
        least = max(loudness.loud * 10 ** (QUIET_DB / 20), ABOVE_FLOOR * loudness.floor)
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= (needed := _samples_of(self._frames)):
            self._spoken.append(bool(deviation(self._rest[:needed]) > least))
            self._rest = self._rest[needed:]
            self._frames += 1

    def at(self, frame: int) -> float:
        """The presence of a frame; to be asked once for each, in order."""
        first = self._frames - len(self._spoken)
        spoken = np.flatnonzero(without_clicks(np.array(self._spoken, bool), SHORTEST)) + first
        nearest = np.abs(spoken - frame).min(initial=_PAST)
        self.last = min(float(presence_at(nearest)), self.last + self.rise)
        return self.last


def _samples_of(frame: int) -> int:
    return first_sample(frame + 1) - first_sample(frame)
