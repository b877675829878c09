"""A window that slides over the sound: frame by frame, from a model made for whole clips.

Each step animates the last seconds anew and keeps the newest frame whose look-ahead has come. For
successive windows to agree, nothing but the sound may differ between them: the noise belongs to the
frame and not to the window, loudness is measured over the last eight seconds, and the voice (who
speaks, and how they feel) over the last four.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtalk.config import DEFAULT_OPTIONS, AnimationOptions
from dtalk.engine.protocol import Engine
from dtalk.live.finishing import Finishing
from dtalk.live.loudness import RunningLoudness
from dtalk.live.voice import RunningVoice, neutral_of, voice_of
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE, first_sample, frame_count
from dtalk.utils.types import Array

CONTEXT = 2.0  # seconds before the frame that is wanted
CARRIED = 0.7  # of a difference between two windows, from frame to frame
_WARM_UP = 3
_ALIGNED = 3  # frames whose sound is a whole number of samples, and of the log-mel's hops


def look_ahead(latency: float, fps: int) -> float:
    """Seconds of sound after a frame of the model that a latency leaves, for output at ``fps``.

    Output frames that lie between two of the model's need the later one, which takes up to a frame.
    """
    places = (np.arange(fps) + 0.5) * FPS / fps
    later = np.ceil(places - 0.5) + 0.5 - places
    return latency - float(later.max()) / FPS


class SlidingWindow:
    """Frames at 30 a second from samples at 16 kHz, as they come.

    Args:
        engine: animates a window.
        look_ahead: seconds of sound after a frame's middle that it waits for.
        options: whose labels the model knows; steps and sampler are the engine's.
    """

    def __init__(
        self, engine: Engine, look_ahead: float, options: AnimationOptions = DEFAULT_OPTIONS
    ) -> None:
        config, closes = engine.config, options.close_in_silence
        if closes is not None:
            config = replace(config, close_in_silence=closes)
        self._engine, self._temperature = engine, options.temperature
        self._look_ahead = round(look_ahead * SAMPLE_RATE)
        self._random = np.random.default_rng(options.seed)
        self._sound = np.zeros(0, np.float32)
        self._noise = np.zeros((0, len(ARKIT_NAMES)), np.float32)
        self._first = 0  # frame that both begin with
        self._next = 0  # frame to be made
        self._sent: Array | None = None  # the frame before it
        self._voice = RunningVoice(
            voice_of(config, options), neutral_of(config), options.emotion_threshold
        )
        self._loudness = RunningLoudness()
        self._finishing = Finishing(config, round(look_ahead * FPS), options.seed)

    def warm_up(self) -> None:
        """Animate some silence and forget it: the first runs of a model are slow."""
        frames = round(CONTEXT * FPS)
        for _ in range(_WARM_UP):
            sound, noise = np.zeros(first_sample(frames), np.float32), np.zeros((frames, 52))
            self._engine.run(sound, noise.astype(np.float32), self._voice.now, 1.0)

    @property
    def samples(self) -> int:
        """How many have come."""
        return first_sample(self._first) + len(self._sound)

    def feed(self, samples: Array) -> None:
        """Take in the next samples ``[S]``."""
        self._sound = np.concatenate([self._sound, samples])
        self._loudness.feed(samples)
        self._finishing.feed(samples, self._loudness)

    def advance(self) -> Array:
        """The frames ``[N, 52]`` whose look-ahead has come, all from one window; often none."""
        heard, double = self.samples - self._look_ahead, 2 * round(FPS)
        return self._make((double * heard - SAMPLE_RATE) // (2 * SAMPLE_RATE) + 1)

    def finish(self) -> Array:
        """The frames that are left when no more sound comes."""
        return self._make(frame_count(self.samples) if self.samples else 0)

    def _make(self, end: int) -> Array:
        """Frames from the next one up to ``end``, which is not among them."""
        if end <= self._next:
            return np.zeros((0, len(ARKIT_NAMES)), np.float32)
        self._forget(self._next - round(CONTEXT * FPS))
        found = self._engine.run(
            self._loudness.levelled(self._sound),
            self._noise_until(max(self._first + frame_count(len(self._sound)), end)),
            self._voice.now,
            self._temperature,
        )
        made = self._joined(found.coefficients, end)
        finished = self._finishing.finish(made)
        if self._finishing.spoken:
            self._voice.add(found, len(made))
        self._next = end
        return finished

    def _joined(self, window: Array, end: int) -> Array:
        """The new frames of a window ``[T, 52]``, led over from the frame before them.

        What the window makes of that frame differs a little from what was sent; the difference is
        carried on and fades.
        """
        at = self._next - self._first
        made = window[at : end - self._first]
        if at and self._sent is not None:
            fading = CARRIED ** np.arange(1, len(made) + 1, dtype=np.float32)
            made = (made + fading[:, None] * (self._sent - window[at - 1])).clip(0, 1)
        self._sent = made[-1]
        return made

    def _forget(self, frame: int) -> None:
        """Let go of sound and noise before ``frame``."""
        first = max(self._first, frame // _ALIGNED * _ALIGNED)
        self._sound = self._sound[first_sample(first) - first_sample(self._first) :]
        self._noise = self._noise[first - self._first :]
        self._first = first

    def _noise_until(self, end: int) -> Array:
        """The noise of the window's frames, up to ``end``; a frame's own, whichever window asks."""
        missing = max(0, end - self._first - len(self._noise))
        drawn = self._random.standard_normal((missing, len(ARKIT_NAMES)), np.float32)
        self._noise = np.concatenate([self._noise, drawn])
        return self._noise[: end - self._first]
