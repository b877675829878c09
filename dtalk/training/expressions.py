"""Posed emotions: the published prototypes of the six basic emotions, laid over a neutral face.

Tracked faces with an emotion are few, and tracked faces that speak neutrally are many. A neutral
clip with a prototype over its upper face, cheeks and mouth corners teaches the library how an
emotion looks while somebody speaks, and leaves jaw and lips in step with the sound.

Source of the action units: Du, Tao and Martinez, "Compound facial expressions of emotion", PNAS
2014, table 1. Their strengths are ours, chosen to be seen without being grotesque.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import FPS
from dtalk.utils.types import Array

PROTOTYPES: dict[str, dict[str, float]] = {
    "happy": {"mouthSmile": 0.55, "cheekSquint": 0.4, "eyeSquint": 0.25, "mouthUpperUp": 0.08},
    "sad": {"browInnerUp": 0.7, "browDown": 0.12, "mouthFrown": 0.6, "mouthShrugLower": 0.2,
            "eyeSquint": 0.1},
    "fearful": {"browInnerUp": 0.5, "browOuterUp": 0.2, "browDown": 0.1, "eyeWide": 0.45,
                "mouthStretch": 0.3},
    "angry": {"browDown": 0.7, "eyeSquint": 0.2, "noseSneer": 0.2, "mouthPress": 0.2,
              "mouthFrown": 0.12},
    "surprised": {"browInnerUp": 0.65, "browOuterUp": 0.65, "eyeWide": 0.45, "jawOpen": 0.05},
    "disgusted": {"noseSneer": 0.6, "mouthUpperUp": 0.25, "browDown": 0.3, "eyeSquint": 0.25,
                  "mouthFrown": 0.15, "mouthShrugLower": 0.12},
}  # fmt: skip
SMOOTHING = 0.35  # seconds: standard deviation of the loudness that an expression follows
CALM, EXCITED = 0.7, 1.25  # strength in the clip's quietest and loudest passages
ONSET = 0.4  # seconds at most in which an expression appears, in half of the clips


def prototype(emotion: str) -> Array:
    """The 52 coefficients of an emotion's prototype; both sides alike."""
    strengths = PROTOTYPES[emotion]
    return np.array([_strength(name, strengths) for name in ARKIT_NAMES], np.float32)


def _strength(name: str, strengths: dict[str, float]) -> float:
    stem = name.removesuffix("Left").removesuffix("Right")
    return strengths.get(stem, 0.0)


def posed(
    coefficients: Array, waveform: Array, emotion: str, generator: np.random.Generator
) -> Array:
    """Coefficients ``[T, 52]`` with an emotion's prototype over them, as strong as the voice.

    Each is moved towards 1 by its share, so that what is there already is kept and nothing leaves
    [0, 1].
    """
    strength = generator.uniform(0.85, 1.15) * intensity(waveform, len(coefficients))
    if generator.random() < 0.5:
        rise = np.arange(len(coefficients)) / FPS / generator.uniform(0.1, ONSET)
        strength = strength * np.clip(rise, 0, 1)
    share = np.clip(strength[:, None] * prototype(emotion), 0, 1)
    return (coefficients + share * (1 - coefficients)).astype(np.float32)


def at_least_posed(
    coefficients: Array, waveform: Array, emotion: str, generator: np.random.Generator
) -> Array:
    """Coefficients ``[T, 52]``, raised to where a neutral face posed in the emotion would be."""
    return np.maximum(
        coefficients, posed(np.zeros_like(coefficients), waveform, emotion, generator)
    )


def intensity(waveform: Array, frames: int) -> Array:
    """How strongly an expression shows in each frame ``[frames]``, from the slow loudness."""
    bounds = np.arange(frames + 1) * len(waveform) // frames
    energy = np.add.reduceat(np.square(waveform), bounds[:-1].clip(max=len(waveform) - 1))
    loudness = np.sqrt(energy / np.diff(bounds).clip(min=1))
    slow = gaussian_filter1d(loudness, SMOOTHING * FPS, mode="nearest")
    share = slow / max(float(slow.max()), 1e-6)
    return (CALM + (EXCITED - CALM) * share).astype(np.float32)
