"""Inference: speech files to motion, for ``dtalk animate`` and ``dtalk.animate``.

Two engines compute the same: torch, and ONNX Runtime where a model has a graph beside its file;
the second imports no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dtalk.checkpoint import load_model
from dtalk.config import (
    AUTO,
    CACHE_GIGABYTES,
    DEFAULT_OPTIONS,
    AnimationOptions,
    EngineOptions,
    RuntimeOptions,
)
from dtalk.engine.external import StaleGraphError, weights_of
from dtalk.engine.graph import Graph
from dtalk.engine.long_sound import animate_long
from dtalk.engine.protocol import Engine, Talker
from dtalk.engine.talker import GraphTalker
from dtalk.engine.windows import LAYOUT
from dtalk.errors import CheckpointError, DtalkError
from dtalk.motion.animation import Animation
from dtalk.motion.curves import Motion
from dtalk.speech.audio import first_sample, speech_blocks
from dtalk.speech.measures import Reader, measure
from dtalk.utils.labels import NEUTRAL
from dtalk.utils.settings import with_new_names
from dtalk.utils.types import Array, Progress

if TYPE_CHECKING:
    from dtalk.model import DiffusionTalker

DEFAULT_WEIGHTS = "student.safetensors"
GRAPH_SUFFIX = ".onnx"
SHIPPED = ("student", "open", "tiny", "teacher")
"""Names that stand for the models in the weights folder."""


def load(
    weights: str | Path | None = None,
    device: str = "cpu",
    encoder: str | None = None,
    cache: Path | None = None,
) -> DiffusionTalker:
    """Load a model of the caller's own, ready to animate; if ``weights`` is None the shipped one.

    Args:
        weights: model file, or the name of one that ships, see :data:`SHIPPED`.
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
    """Load a model as :func:`load` does, once for all callers, who must not change it.

    Torch gets as many threads as the options say.
    """
    if runtime.threads is not None:
        import torch

        torch.set_num_threads(runtime.threads)
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
    from dtalk.speech.feature_cache import GIGABYTE, FeatureCache
    from dtalk.speech.pretrained import load_large_encoder
    from dtalk.utils.devices import device_of

    model = load_model(path, device_of(device))
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


def load_talker(runtime: EngineOptions, options: AnimationOptions = DEFAULT_OPTIONS) -> Talker:
    """A model on the engine asked for; ``auto`` takes ONNX Runtime where it can do the options.

    Raises:
        CheckpointError: see :func:`load`; or the engine cannot do what is asked.
        DataError: no such device.
    """
    path = model_path(runtime.weights)
    if runtime.engine == "torch":
        if path.suffix == GRAPH_SUFFIX:
            raise CheckpointError(f"{path} is a graph, which runs on --engine onnx")
        return _torch_talker(runtime, "--engine torch")
    found = _graph_talker(path, runtime, options)
    if isinstance(found, GraphTalker):
        return found
    if runtime.engine == "onnx" or path.suffix == GRAPH_SUFFIX:
        raise CheckpointError(f"cannot use --engine onnx: {found}")
    return _torch_talker(runtime, found)


def graph_path(path: Path) -> Path:
    """Where the graph of a model file lies: beside it, under the same name."""
    return path.parent / f"{path.stem}{GRAPH_SUFFIX}"  # a folder has no suffix to replace


def _graph_talker(
    path: Path, runtime: EngineOptions, options: AnimationOptions
) -> GraphTalker | str:
    """The graph of a model file, or why it is of no use here."""
    graph = graph_path(path)
    if not graph.is_file():
        return f"{path} has no graph beside it; make one with dtalk export {path}"
    if runtime.device != "cpu":
        return f"graphs run on the CPU, not on {runtime.device}"
    changed = tuple(x.stat().st_mtime_ns for x in (graph, weights_of(graph)) if x.exists())
    try:
        talker = _load_graph(graph, changed, runtime.threads)
    except StaleGraphError as error:
        return str(error)
    if obstacle := talker.obstacle(options.steps, options.sampler):
        return obstacle
    if path != graph and path.is_file() and not talker.graph.is_of(path):
        return f"{graph} was made from another {path.name}; dtalk export --force {path} renews it"
    return talker


@lru_cache(maxsize=2)
def _load_graph(path: Path, changed: tuple[int, ...], threads: int | None) -> GraphTalker:
    """Kept for the next call, as long as the files do not change."""
    return GraphTalker(Graph(path, threads))


def _torch_talker(runtime: EngineOptions, reason: str) -> DiffusionTalker:
    """The model in torch, which is needed for ``reason``."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CheckpointError(f"torch is not installed, but needed: {reason}") from error
    return shared_model(runtime)


def animate_waveform(
    model: Talker,
    waveform: Array,
    options: AnimationOptions = DEFAULT_OPTIONS,
    audio: str = "",
) -> Motion:
    """Animate 16 kHz mono float32 samples ``[S]``; ``audio`` is the name to note in the motion.

    An inferred emotion that is less probable than the options' threshold is neutral. What is too
    long to be animated at once is in windows: see :mod:`dtalk.engine.windows`.

    Raises:
        DataError: a label that the model does not know.
    """
    return _animated(model, partial(_blocks, waveform), options, audio)


def _blocks(waveform: Array) -> Iterator[Array]:
    size = first_sample(LAYOUT.window)
    return (waveform[at : at + size] for at in range(0, len(waveform), size))


def animate_file(
    model: Talker,
    path: Path,
    options: AnimationOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> Motion:
    """Animate a speech file; a long one is read block by block, more than once.

    ``progress`` is called for long ones, with the frames done and all of them.

    Raises:
        AudioError: the file cannot be read as sound.
        DataError: a label that the model does not know.
    """
    return _animated(model, partial(speech_blocks, path, options), options, path.name, progress)


def _animated(
    model: Talker,
    read: Reader,
    options: AnimationOptions,
    audio: str,
    progress: Progress | None = None,
) -> Motion:
    """Animate a sound at once if it is short, or if no engine does windows of it."""
    if options.close_in_silence is not None:
        model = model.with_config(close_in_silence=options.close_in_silence)
    blocks, start = read(), []
    count, long = 0, first_sample(LAYOUT.window + 1)
    while count < long and (block := next(blocks, None)) is not None:
        start.append(block)
        count += len(block)
    engine = engine_of(model, options.steps, options.sampler) if count >= long else None
    if engine is None:
        made, doubt = _animated_at_once(model, np.concatenate([*start, *blocks]), options)
    else:
        measures = measure(chain(start, blocks), options.seed)
        made, doubt = animate_long(engine, model.config, read, measures, options, progress, LAYOUT)
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


def engine_of(model: Talker, steps: int | None = None, sampler: str = "ddim") -> Engine | None:
    """What animates windows of sound with a model; None where only whole clips can be animated.

    Those are teachers, whose speech encoder has windows of its own, and ancestral samples.

    Raises:
        CheckpointError: other steps or another sampler than a graph's.
    """
    if isinstance(model, GraphTalker):
        return model.graph_for(steps, sampler)
    if sampler != "ddim" or model.config.uses_large_encoder:
        return None

    from dtalk.engine.torch_engine import TorchEngine
    from dtalk.model import DiffusionTalker

    assert isinstance(model, DiffusionTalker)
    return TorchEngine(model, steps)


def _animated_at_once(
    model: Talker, waveform: Array, options: AnimationOptions
) -> tuple[Animation, str]:
    made = _sampled(model, waveform, options)
    doubt = made.doubt(model.config.emotions, options.emotion_threshold)
    if doubt:
        calm = dataclasses.replace(options, emotion=NEUTRAL, emotion_strength=1.0)
        made = _sampled(model, waveform, calm)
    return made, doubt


def _sampled(model: Talker, waveform: Array, options: AnimationOptions) -> Animation:
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


def animate(
    speech: str | Path | Array,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    engine: str = AUTO,
    **options: Any,
) -> Motion:
    """Animate speech, a file or 16 kHz mono float32 samples ``[S]``: 52 ARKit curves, 30 frames/s.

    Args:
        speech: the file or the samples.
        weights, device: see :func:`load`.
        engine: ``onnx``, ``torch``, or ``auto`` for the first where the model has a graph.
        options: any of the settings of :class:`.AnimationOptions`: ``identity``, ``emotion``,
            ``emotion_strength``, ``seed``, ``steps``, ``temperature``, ``sampler``,
            ``close_in_silence``, ``track``, ``channel``.

    Raises:
        DtalkError: the speech cannot be used, a label is unknown, the weights cannot be loaded.
    """
    chosen = AnimationOptions(**with_new_names(AnimationOptions, options))
    place = None if weights is None else Path(weights)
    model = load_talker(EngineOptions(weights=place, device=device, engine=engine), chosen)
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
