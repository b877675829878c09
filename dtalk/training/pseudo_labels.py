"""Pseudo-labels: motion by the teacher for speech that has none."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dtalk.data.clips import LoadedClip
from dtalk.evaluation.sampling import predict
from dtalk.model import DiffusionTalker
from dtalk.training.batches import SPEECH
from dtalk.training.config import DistillationConfig
from dtalk.training.distributed import gathered, rank, ranks, share
from dtalk.training.expressions import PROTOTYPES, at_least_posed
from dtalk.training.observer import Observer
from dtalk.training.trainer import Data
from dtalk.training.unlabelled import read_speech
from dtalk.utils.devices import precision_of
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Array

GENERATED_FILE = "generated.safetensors"


def with_unlabelled(
    config: DistillationConfig, observer: Observer, data: Data, teacher: DiffusionTalker
) -> Data:
    """Add speech to the data, and motion by the teacher to every clip that has none.

    Clips of the data set without motion also stay as they are, so that they teach the personalizer
    as often as before. Voices without labels get no motion.
    """
    silent = [c for c in data.train if c.coefficients is None and c.clip.set != SPEECH]
    spoken = silent + read_speech(config.speech, observer)
    if not spoken:
        return data
    path, origin = config.out / GENERATED_FILE, _origin(teacher, spoken, config)
    motions = _read_generated(path, origin)
    if motions is None:
        motions = _together(generate(teacher, share(spoken), config, observer), spoken)
        if rank() == 0:
            _write_generated(path, motions, origin)
    moving = [
        dataclasses.replace(clip, coefficients=_expressive(clip, motion, config.seed))
        for clip, motion in zip(spoken, motions)
    ]
    return Data([*data.train, *moving], data.validation)


def _expressive(clip: LoadedClip, motion: Array, seed: int) -> Array:
    """Motion that shows the emotion a clip is labelled with: tracked faces have taught too few."""
    if clip.clip.emotion not in PROTOTYPES:
        return motion
    random = np.random.default_rng([seed, 4, zlib.crc32(clip.clip.name.encode())])
    return at_least_posed(motion, clip.waveform, clip.clip.emotion, random)


def generate(
    teacher: DiffusionTalker,
    clips: Sequence[LoadedClip],
    config: DistillationConfig,
    observer: Observer,
) -> list[np.ndarray]:
    """Sample the teacher's motion for each clip, ``[T, 52]`` in [0, 1]."""
    observer.note(f"sampling motion for {len(clips)} clips of speech")
    place = {id(clip): index for index, clip in enumerate(clips)}
    motions: dict[int, np.ndarray] = {}
    with precision_of(teacher.device, config.precision):
        drawn = predict(teacher, clips, [config.seed], config.drawn_steps, observer.loading)
        for clip, samples in drawn:
            motions[place[id(clip)]] = samples[0].astype(np.float16).astype(np.float32)
    return [motions[index] for index in range(len(clips))]


def _together(motions: list[np.ndarray], clips: Sequence[LoadedClip]) -> list[np.ndarray]:
    """Put together the motion ``[T, 52]`` of all clips, of which each rank has its share."""
    if ranks() == 1:
        return motions
    ends = np.cumsum([clip.frames for clip in clips])
    places = [np.arange(end - clip.frames, end) for clip, end in zip(clips, ends)]
    own = torch.from_numpy(np.concatenate(share(places)).astype(np.int64))
    whole = gathered(torch.from_numpy(np.concatenate(motions)), own, int(ends[-1]))
    return np.split(whole.numpy(), ends[:-1])


def _origin(
    teacher: DiffusionTalker, clips: Sequence[LoadedClip], config: DistillationConfig
) -> str:
    """Digest all that the sampled motion depends on."""
    digest = hashlib.sha256(
        f"{teacher.config} {config.seed} {config.drawn_steps} {config.precision}".encode()
    )
    for value in teacher.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    for clip in clips:
        digest.update(clip.waveform.tobytes())
    return digest.hexdigest()


def _read_generated(path: Path, origin: str) -> list[np.ndarray] | None:
    """Read the motion that an earlier run sampled from the same; None without one."""
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("origin") != origin:
                return None
            names = sorted(file.keys(), key=int)
            return [file.get_tensor(name).astype(np.float32) for name in names]
    except (OSError, SafetensorError):
        return None


def _write_generated(path: Path, motions: Sequence[np.ndarray], origin: str) -> None:
    halves = {f"{index}": motion.astype(np.float16) for index, motion in enumerate(motions)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(halves, {"origin": origin}))
