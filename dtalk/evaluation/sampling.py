"""Samples of a model for many clips, batched by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from dtalk.data.clips import LoadedClip
from dtalk.model import DiffusionTalker, clip_noise
from dtalk.utils.types import Array, Progress

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
            yield clip, model.finish(samples[:, : clip.frames], clip.waveform, seeds)
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
