"""Animation of sounds that are too long to be animated at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtalk.config import AUTO, AnimationOptions, ModelConfig
from dtalk.engine.hearing import hear
from dtalk.engine.protocol import Engine
from dtalk.engine.voice import chosen_voice
from dtalk.engine.windows import LAYOUT, Layout, predict_in_windows
from dtalk.motion.animation import Animation
from dtalk.motion.noise import WIDTH
from dtalk.speech.finishing import blinking_by
from dtalk.speech.measures import Measures, Reader, reading_again
from dtalk.speech.voice_activity import presence_around, with_presence
from dtalk.utils.labels import NEUTRAL
from dtalk.utils.types import Array, Progress


def animate_long(
    engine: Engine,
    config: ModelConfig,
    read: Reader,
    measures: Measures,
    options: AnimationOptions,
    progress: Progress | None = None,
    layout: Layout = LAYOUT,
) -> tuple[Animation, str]:
    """Animate a sound of any length in windows, and note what is neutral for doubt.

    Speaker, emotion and manner are decided once, for the whole sound.

    Args:
        engine: animates a window.
        config: whose labels and finishing are meant.
        read, measures: the sound.
        options: steps and sampler are the engine's.
        progress: called with the frames done and all of them, at first with none.

    Raises:
        AudioError: the sound cannot be read, or is not the one that was measured.
        DataError: a label that is not in the library.
    """
    identity, emotion = (None if x == AUTO else x for x in (options.identity, options.emotion))
    voice = chosen_voice(config, identity, emotion, options.emotion_strength)
    if progress is not None:
        progress(0, measures.frames)
    with reading_again():
        heard, features = hear(engine, read, measures, layout)
        made = heard.animation(config, np.zeros((0, WIDTH), np.float32), identity, emotion)
        doubt = made.doubt(config.emotions, options.emotion_threshold)
        if doubt:
            voice = chosen_voice(config, identity, NEUTRAL, 1.0)
            made = replace(made, emotion=NEUTRAL, emotion_confidence=None)
        voice = voice.completed(heard.identity, heard.emotion, features)
        curves = predict_in_windows(
            engine, read, measures, voice, options.temperature, progress, layout
        )
    return replace(made, coefficients=_finished(curves, measures, config)), doubt


def _finished(curves: Array, measures: Measures, config: ModelConfig) -> Array:
    """As :func:`dtalk.speech.finishing.finished`, from what was measured."""
    if config.close_in_silence or measures.steady:
        curves = with_presence(curves, presence_around(measures.spoken))
    return blinking_by(curves, measures.digest.blink_generator()) if config.blinks else curves
