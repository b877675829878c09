"""What is done to sampled coefficients: lips that meet in silence, lids that blink."""

from __future__ import annotations

import numpy as np

from dtalk.config import ModelConfig
from dtalk.motion.arkit import LIDS, OPEN_LIDS
from dtalk.motion.curves import FPS
from dtalk.motion.idle import blinks
from dtalk.motion.noise import blink_generator
from dtalk.speech.loudness import is_steady
from dtalk.speech.voice_activity import close_in_silence
from dtalk.utils.types import Array


def finished(coefficients: Array, waveform: Array, seed: int, config: ModelConfig) -> Array:
    """Finish one sample ``[T, 52]`` of a clip, as far as the configuration says so.

    The mouth is closed where the sound is silent, and the lids move in blinks alone. It rests in
    any case where the sound is one of silence or steady noise from end to end: a model that has
    learned from speech is lost there.
    """
    if config.close_in_silence or is_steady(waveform):
        coefficients = close_in_silence(coefficients, waveform)
    return with_blinks(coefficients, waveform, seed) if config.blinks else coefficients


def with_blinks(coefficients: Array, waveform: Array, seed: int) -> Array:
    """Coefficients ``[T, 52]`` whose lids are open but for blinks, sampled from the seed."""
    return blinking_by(coefficients, blink_generator(waveform, seed))


def blinking_by(coefficients: Array, random: np.random.Generator) -> Array:
    """Coefficients ``[T, 52]`` whose lids are open but for blinks, sampled from ``random``."""
    times = (np.arange(len(coefficients)) + 0.5) / FPS
    shut = blinks(times, random).astype(np.float32)
    blinking = coefficients.copy()
    blinking[:, LIDS] = np.maximum(coefficients[:, LIDS].clip(max=OPEN_LIDS), shut[:, None])
    return blinking
