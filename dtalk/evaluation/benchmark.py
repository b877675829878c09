"""Speed and size of a model, by a protocol that is stated beside every figure.

Speed: waveform in memory to coefficients in float32, speech encoder included once, three runs to
warm up, then the median of twenty, of a clip of 10 s and of one of 1 s alone; and the median of
five, of eight clips of 10 s in one batch. Size: parameters in float32, a large encoder's included
(the paper's count), and the bytes of what must be had on disk.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dtalk.data.clips import Clip, LoadedClip
from dtalk.evaluation.sampling import predict
from dtalk.model import DiffusionTalker
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.encoders import AdaptedEncoder
from dtalk.speech.loudness import SPEECH_LEVEL
from dtalk.utils.types import Array
from dtalk.version import __version__

SECONDS, SHORT_SECONDS = 10.0, 1.0
WARM_UP, RUNS = 3, 20
BATCH, BATCH_RUNS = 8, 5
FLOAT_BYTES = 4
MEGA = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Time of one animation, and size of the model.

    frames_per_second, seconds: of the 10 s clip; short_seconds: of 1 s; batch_frames_per_second: of
    eight clips at once; megabytes: 10^6 bytes.
    """

    frames_per_second: float
    seconds: float
    short_seconds: float
    batch_frames_per_second: float
    threads: int
    device: str
    parameters: int
    megabytes: float
    disk_megabytes: float


def cost(
    model: DiffusionTalker, path: Path, steps: int | None = None, seconds: float = SECONDS
) -> Cost:
    """Measure a model, whose file is ``path``, on clips of ``seconds`` and of a tenth of that.

    ``steps``: denoising steps, the model's own if None.
    """
    speech = made_up_speech(seconds)
    taken, frames = animation_seconds(model, speech, steps)
    short, _ = animation_seconds(
        model, speech[: round(len(speech) * SHORT_SECONDS / SECONDS)], steps
    )
    count, large = parameters(model), large_parameters(model)
    return Cost(
        frames_per_second=frames / taken,
        seconds=taken,
        short_seconds=short,
        batch_frames_per_second=BATCH * frames / batch_seconds(model, speech, steps),
        threads=torch.get_num_threads(),
        device=str(model.device),
        parameters=count,
        megabytes=count * FLOAT_BYTES / MEGA,
        disk_megabytes=(path.stat().st_size + large * FLOAT_BYTES) / MEGA,
    )


def animation_seconds(
    model: DiffusionTalker, waveform: Array, steps: int | None = None
) -> tuple[float, int]:
    """Measure the median seconds of one animation; also return its frames."""
    frames = 0

    def animate() -> None:
        nonlocal frames
        frames = len(model.animate(waveform, steps=steps).coefficients)

    with _uncached(model):
        return median_seconds(animate), frames


def batch_seconds(model: DiffusionTalker, waveform: Array, steps: int | None = None) -> float:
    """Measure the median seconds of :data:`BATCH` such clips in one batch."""
    unknown = Clip("", "", "test", "", "", Path(), None)
    clips = [LoadedClip(unknown, waveform, None)] * BATCH
    with _uncached(model):
        return median_seconds(lambda: list(predict(model, clips, [0], steps)), BATCH_RUNS)


def median_seconds(work: Callable[[], object], runs: int | None = None) -> float:
    """Measure the median wall time of ``runs`` calls (:data:`RUNS` if None), after a warm-up."""
    measured = []
    for _ in range(WARM_UP + (RUNS if runs is None else runs)):
        started = time.perf_counter()
        work()
        measured.append(time.perf_counter() - started)
    return statistics.median(measured[WARM_UP:])


def machine() -> dict[str, str | int]:
    """Describe the machine of a measurement."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dtalk": __version__,
        "precision": "float32",
    }


def _processor() -> str:
    """Get the CPU's name, which Linux has in a file alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def parameters(model: DiffusionTalker) -> int:
    """Count the parameters used in animation, an attached large encoder's included."""
    return sum(value.numel() for value in model.parameters()) + large_parameters(model)


def large_parameters(model: DiffusionTalker) -> int:
    """Count the parameters of an attached large encoder."""
    return 0 if model.large_encoder is None else model.large_encoder.parameters


def made_up_speech(seconds: float) -> Array:
    """Make 16 kHz noise that swells like syllables; the time taken does not depend on the words."""
    samples = round(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(samples)
    swell = 1 + np.sin(2 * np.pi * 4 * np.arange(samples) / SAMPLE_RATE)
    return (SPEECH_LEVEL * swell * noise).astype(np.float32)


@contextmanager
def _uncached(model: DiffusionTalker) -> Iterator[None]:
    """Bypass the feature cache, so that a large encoder runs for every animation."""
    encoder, source = model.encoder, model.large_source
    if isinstance(encoder, AdaptedEncoder):
        encoder.source = model.large_encoder
    try:
        yield
    finally:
        if isinstance(encoder, AdaptedEncoder):
            encoder.source = source
