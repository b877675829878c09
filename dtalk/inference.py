"""Inference: speech files to motion, for ``dtalk animate`` and ``dtalk.animate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtalk.checkpoint import load_model
from dtalk.config import (
    AUTO,
    CACHE_GIGABYTES,
    DEFAULT_OPTIONS,
    AnimationOptions,
    RuntimeOptions,
)
from dtalk.data.clips import LoadedClip
from dtalk.errors import CheckpointError, DtalkError
from dtalk.model import NEUTRAL, Animation, DiffusionTalker, clip_noise
from dtalk.motion.curves import Motion
from dtalk.speech.audio import load_audio
from dtalk.speech.feature_cache import GIGABYTE, FeatureCache
from dtalk.speech.pretrained import load_large_encoder
from dtalk.utils.devices import device_of
from dtalk.utils.settings import with_new_names
from dtalk.utils.types import Array, Progress

DEFAULT_WEIGHTS = "student.safetensors"
SHIPPED = ("student", "teacher")
"""Names that stand for the models in the weights folder."""


def load(
    weights: str | Path | None = None,
    device: str = "cpu",
    encoder: str | None = None,
    cache: Path | None = None,
) -> DiffusionTalker:
    """Load a model of the caller's own, ready to animate; if ``weights`` is None the shipped one.

    Args:
        weights: model file, or ``student`` or ``teacher`` for one that ships.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        encoder: the large speech encoder of a teacher, folder or hub id; others need none.
        cache: folder for its features; the user's cache folder if None.

    Raises:
        CheckpointError: the file is missing, damaged or no dtalk model, or the encoder is missing
            or another one.
        DataError: no such device.
    """
    return read_model(model_path(weights), device, encoder, cache)


def shared_model(runtime: RuntimeOptions) -> DiffusionTalker:
    """Load a model as :func:`load` does, once for all callers, who must not change it."""
    path = model_path(runtime.weights)
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _kept_model(dataclasses.replace(runtime, weights=path, threads=None), changed)


@lru_cache(maxsize=2)
def _kept_model(runtime: RuntimeOptions, changed: int) -> DiffusionTalker:
    """Read the model in a file that was ``changed`` at a time, ns."""
    assert runtime.weights is not None
    return read_model(
        runtime.weights,
        runtime.device,
        runtime.encoder,
        runtime.cache,
        cache_gigabytes=runtime.cache_gigabytes,
    )


def model_path(weights: str | Path | None) -> Path:
    """Find the file of a model: that named, or the shipped model of that name; None: the default.

    Raises:
        CheckpointError: the shipped weights are missing.
    """
    if weights is None:
        return weights_path(DEFAULT_WEIGHTS)
    path = Path(weights)
    if str(weights) in SHIPPED and not path.is_file():  # a folder of that name is a run's
        return weights_path(f"{weights}.safetensors")
    return path


def read_model(
    path: Path,
    device: str = "cpu",
    encoder: str | None = None,
    cache: Path | None = None,
    precision: str = "float32",
    cache_gigabytes: float = CACHE_GIGABYTES,
) -> DiffusionTalker:
    """Read a model from its file and attach its large encoder, if any; see :func:`load`."""
    model = load_model(path, device_of(device))
    model.name = path.stem
    config = model.config
    if not config.uses_large_encoder:
        return model
    if encoder is None:
        raise CheckpointError(
            f"{path} uses the speech encoder {config.encoder}, which is not in its file: "
            "name its folder or hub id with --encoder"
        )
    large = load_large_encoder(encoder, config.layer, model.device, precision)
    model.attach(FeatureCache(large, cache, cache_gigabytes * GIGABYTE))
    return model


def animate_waveform(
    model: DiffusionTalker,
    waveform: Array,
    options: AnimationOptions = DEFAULT_OPTIONS,
    audio: str = "",
) -> Motion:
    """Animate 16 kHz mono float32 samples ``[S]``; ``audio`` is the name to note in the motion.

    An inferred emotion that is less probable than the options' threshold is neutral.

    Raises:
        DataError: a label that the model does not know.
    """
    if options.close_in_silence is not None:
        model = model.with_config(close_in_silence=options.close_in_silence)
    made = _sampled(model, waveform, options)
    doubt = _doubt(made, options.emotion_threshold)
    if doubt and NEUTRAL in model.config.emotions:
        calm = dataclasses.replace(options, emotion=NEUTRAL, emotion_strength=1.0)
        made = _sampled(model, waveform, calm)
    else:
        doubt = ""
    return Motion(
        made.coefficients,
        audio=audio,
        identity=made.identity,
        emotion=made.emotion,
        identity_confidence=made.identity_confidence,
        emotion_confidence=made.emotion_confidence,
        seed=options.seed,
        model=model.name,
        notes=doubt,
    )


def _sampled(model: DiffusionTalker, waveform: Array, options: AnimationOptions) -> Animation:
    return model.animate(
        waveform,
        None if options.identity == AUTO else options.identity,
        None if options.emotion == AUTO else options.emotion,
        options.seed,
        options.steps,
        options.temperature,
        options.emotion_strength,
        options.sampler,
    )


def _doubt(made: Animation, threshold: float) -> str:
    """Say that an inferred emotion is too improbable; nothing if it is not."""
    share = made.emotion_confidence
    if share is None or share >= threshold or made.emotion == NEUTRAL:
        return ""
    return f"emotion neutral, for {made.emotion} is only {share:.0%} probable"


def animate_file(
    model: DiffusionTalker, path: Path, options: AnimationOptions = DEFAULT_OPTIONS
) -> Motion:
    """Animate a speech file.

    Raises:
        AudioError: the file cannot be read as sound.
        DataError: a label that the model does not know.
    """
    return animate_waveform(model, load_audio(path, options), options, path.name)


def animate(
    speech: str | Path | Array,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> Motion:
    """Animate speech, a file or 16 kHz mono float32 samples ``[S]``: 52 ARKit curves, 30 frames/s.

    Args:
        speech: the file or the samples.
        weights, device: see :func:`load`.
        options: any of the settings of :class:`.AnimationOptions`: ``identity``, ``emotion``,
            ``emotion_strength``, ``seed``, ``steps``, ``temperature``, ``sampler``,
            ``close_in_silence``, ``track``, ``channel``.

    Raises:
        DtalkError: the speech cannot be used, a label is unknown, the weights cannot be loaded.
    """
    model = shared_model(
        RuntimeOptions(weights=None if weights is None else Path(weights), device=device)
    )
    chosen = AnimationOptions(**with_new_names(AnimationOptions, options))
    if isinstance(speech, (str, Path)):
        return animate_file(model, Path(speech), chosen)
    samples = np.asarray(speech)
    if samples.dtype.kind != "f":
        raise DtalkError(f"speech samples must be floats in [-1, 1], not {samples.dtype}")
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise DtalkError("speech samples must be finite, of shape [S] with S >= 1")
    return animate_waveform(model, samples, chosen)


def weights_folder() -> Path:
    """Find the folder of the models that ship with dtalk.

    In an installed package it lies inside it, in a source checkout beside it.

    Raises:
        CheckpointError: this installation came without weights.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):
        if folder.is_dir():
            return folder
    raise CheckpointError(
        "this installation of dtalk has no weights folder; name a model file, or install again"
    )


def weights_path(name: str) -> Path:
    """Find the shipped model file ``name``, such as ``student.safetensors``.

    Raises:
        CheckpointError: there is no such file; the message lists those there are.
    """
    path = weights_folder() / name
    if not path.is_file():
        shipped = ", ".join(sorted(file.name for file in path.parent.glob("*.safetensors")))
        raise CheckpointError(f"no shipped model {name} in {path.parent}; there: {shipped or None}")
    return path


BATCH_FRAMES = 4000


@torch.inference_mode()
def predict(
    model: DiffusionTalker,
    clips: Sequence[LoadedClip],
    seeds: Sequence[int],
    steps: int | None = None,
    progress: Progress | None = None,
    sampler: str = "ddim",
) -> Iterator[tuple[LoadedClip, Array]]:
    """Predict samples ``[len(seeds), T, 52]`` for every clip, everything inferred from the sound.

    Equal to :meth:`DiffusionTalker.animate` with the same seed, but batched by length.
    """
    done = 0
    for group in by_length(clips):
        lengths = torch.tensor([clip.frames for clip in group], device=model.device)
        features = model.features([clip.waveform for clip in group], lengths)
        embedding = model.personalizer(*model.infer_weights(features, lengths))
        denoise = model.denoiser(features, embedding, lengths)
        count = model.config.steps if steps is None else steps
        sampled = [
            model.sample(denoise, _padded_noise(group, seed, count, sampler), count, sampler)
            for seed in seeds
        ]
        for clip, samples in zip(group, torch.stack(sampled, 1)):
            finished = model.finish(samples[:, : clip.frames], clip.waveform, seeds)
            yield clip, finished.cpu().numpy()
        done += len(group)
        if progress:
            progress(done, len(clips))


def by_length(clips: Sequence[LoadedClip]) -> Iterator[list[LoadedClip]]:
    """Group clips of about equal length, at most ``BATCH_FRAMES`` padded frames a group."""
    group: list[LoadedClip] = []
    for clip in sorted(clips, key=lambda clip: clip.frames):
        if group and clip.frames * (len(group) + 1) > BATCH_FRAMES:
            yield group
            group = []
        group.append(clip)
    if group:
        yield group


def _padded_noise(clips: Sequence[LoadedClip], seed: int, steps: int, sampler: str) -> torch.Tensor:
    """Sample the clips' own noise ``[N, B, T, 52]``, padded with zeros."""
    noises = [clip_noise(clip.waveform, clip.frames, seed, steps, sampler) for clip in clips]
    frames_first = [noise.transpose(0, 1) for noise in noises]
    padded = torch.nn.utils.rnn.pad_sequence(frames_first)  # [T, B, N, 52]
    return padded.permute(2, 1, 0, 3)
