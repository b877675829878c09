"""What a model costs: speed and size, by a protocol that is stated beside every figure.

Speed: waveform in memory to coefficients, batch 1, speech encoder included once, three runs to warm
up, then the median of twenty. Size: parameters in float32, a large encoder's included (the paper's
count), and the bytes of what must be had on disk.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dtalk.audio import SAMPLE_RATE
from dtalk.encoders import SPEECH_LEVEL, AdaptedEncoder
from dtalk.model import DiffusionTalker

SECONDS = 10.0
WARM_UP, RUNS = 3, 20
FLOAT_BYTES = 4
MEGA = 1_000_000


@dataclass(frozen=True)
class Cost:
    """frames_per_second and seconds of one animation; parameters; megabytes (10^6 bytes)."""

    frames_per_second: float
    seconds: float
    threads: int
    parameters: int
    megabytes: float
    disk_megabytes: float


def cost(
    model: DiffusionTalker, path: Path, steps: int | None = None, seconds: float = SECONDS
) -> Cost:
    """Measure a model, whose file is ``path``, on a clip of ``seconds``.

    ``steps``: denoising steps, the model's own if None.
    """
    taken, frames = animation_seconds(model, made_up_speech(seconds), steps)
    count, large = parameters(model), large_parameters(model)
    return Cost(
        frames_per_second=frames / taken,
        seconds=taken,
        threads=torch.get_num_threads(),
        parameters=count,
        megabytes=count * FLOAT_BYTES / MEGA,
        disk_megabytes=(path.stat().st_size + large * FLOAT_BYTES) / MEGA,
    )


def animation_seconds(
    model: DiffusionTalker, waveform: npt.NDArray[np.float32], steps: int | None = None
) -> tuple[float, int]:
    """Median seconds of one animation, and its frames."""
    measured = []
    with _uncached(model):
        for _ in range(WARM_UP + RUNS):
            started = time.perf_counter()
            frames = len(model.animate(waveform, steps=steps).coefficients)
            measured.append(time.perf_counter() - started)
    return statistics.median(measured[WARM_UP:]), frames


def parameters(model: DiffusionTalker) -> int:
    """How many numbers animating takes, those of an attached large encoder included."""
    return sum(value.numel() for value in model.parameters()) + large_parameters(model)


def large_parameters(model: DiffusionTalker) -> int:
    """How many of them are those of an attached large encoder."""
    return 0 if model.large_encoder is None else model.large_encoder.parameters


def made_up_speech(seconds: float) -> npt.NDArray[np.float32]:
    """Noise that swells like syllables, 16 kHz: what is said does not change the time it takes."""
    samples = round(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(samples)
    swell = 1 + np.sin(2 * np.pi * 4 * np.arange(samples) / SAMPLE_RATE)
    return (SPEECH_LEVEL * swell * noise).astype(np.float32)


@contextmanager
def _uncached(model: DiffusionTalker) -> Iterator[None]:
    """A large encoder has to work for every animation, not just for the first."""
    encoder, source = model.encoder, model.large_source
    if isinstance(encoder, AdaptedEncoder):
        encoder.source = model.large_encoder
    try:
        yield
    finally:
        if isinstance(encoder, AdaptedEncoder):
            encoder.source = source
