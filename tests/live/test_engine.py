"""Models as streaming asks for them: the same as ``animate`` on a whole clip."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import large_model, tiny_model
from streams import quiet, syllables

from dtalk.config import AnimationOptions
from dtalk.engine.torch_engine import TorchEngine
from dtalk.engine.voice import Voice
from dtalk.errors import CheckpointError
from dtalk.inference import animate_waveform
from dtalk.live.engine import live_engine_of
from dtalk.live.voice import voice_of
from dtalk.motion.noise import noise_seed, standard_normal
from dtalk.speech.loudness import level

SOUND = np.concatenate([quiet(0.2), syllables(1.0), quiet(0.3)])
FRAMES = 45


@pytest.mark.parametrize(
    "options",
    [
        AnimationOptions(),
        AnimationOptions(seed=3, identity="bob"),
        AnimationOptions(emotion="happy"),
        AnimationOptions(emotion="happy", emotion_strength=2.5, temperature=0.5),
        AnimationOptions(identity="ann", emotion="sad", emotion_strength=1, steps=4),
    ],
)
def test_a_window_of_a_whole_clip_is_animated_as_the_clip(options: AnimationOptions) -> None:
    model = tiny_model(close_in_silence=False, emotion_strength=3.0)
    expected = animate_waveform(model, SOUND, options).coefficients
    noise = standard_normal(noise_seed(SOUND, options.seed), FRAMES)
    engine = TorchEngine(model, options.steps)
    voice = voice_of(model.config, options)
    found = engine.run(level(SOUND), noise, voice, options.temperature)
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-5)


def test_what_is_found_can_be_given_again() -> None:
    engine = TorchEngine(tiny_model())
    noise = np.zeros((FRAMES, 52), np.float32)
    first = engine.run(SOUND, noise, voice_of(engine.config, AnimationOptions()), 1.0)
    assert first.identity.sum() == pytest.approx(1)
    assert first.emotion.shape == (3,)
    voice = Voice(first.identity, first.emotion[None], np.ones(1, np.float32))
    again = engine.run(SOUND, noise, voice, 1.0)
    np.testing.assert_allclose(again.coefficients, first.coefficients, atol=1e-6)


def test_loudness_is_the_callers() -> None:
    engine = TorchEngine(tiny_model())
    voice = voice_of(engine.config, AnimationOptions())
    noise = np.zeros((FRAMES, 52), np.float32)
    one, two = (engine.run(SOUND * g, noise, voice, 1.0) for g in np.array([1, 2], np.float32))
    assert not np.allclose(one.coefficients, two.coefficients, atol=1e-4)


def test_a_model_with_a_large_encoder_is_refused() -> None:
    with pytest.raises(CheckpointError, match="large speech encoder"):
        live_engine_of(large_model(), None)
