"""Training batches: clips sampled, augmented, prepared and padded, ahead of time in a thread.

What a batch holds depends on the seed and on the number of the update alone, and what is made of a
clip on its place in the batch too: so several ranks can share a batch, each making its own clips.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dtalk.data.clips import Clip, LoadedClip
from dtalk.model import NEUTRAL, UNKNOWN, DiffusionTalker
from dtalk.motion.arkit import MIRROR
from dtalk.motion.curves import FPS
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.training.augmentation import augment
from dtalk.training.config import TrainingConfig
from dtalk.training.distributed import rank, ranks
from dtalk.training.expressions import PROTOTYPES, posed
from dtalk.utils.types import Array

LARGE_VARIANTS = 8  # versions of a clip whose large features are kept, if nothing else is asked for
UNLABELLED_VARIANTS = 2  # of speech without labels or motion, which is plenty as it is
SPEECH = "speech"  # the set of clips without labels
AUDIO_ONLY_FRAMES = 240  # longer clips of sound only are cut to this


@dataclass(frozen=True)
class Share:
    """The places that a rank's clips have in the batch that all ranks share.

    rows: their places, among ``clips`` clips of which the first ``moving`` have motion.
    """

    rows: list[int]
    moving: int
    clips: int

    @staticmethod
    def of(moving: int, clips: int, rank: int = 0, ranks: int = 1) -> Share:
        """Give every ``ranks``-th clip to a rank; all clips to each if some would get no motion."""
        if moving < ranks:
            return Share(list(range(clips)), moving, clips)
        faces, sounds = range(moving)[rank::ranks], range(moving, clips)[rank::ranks]
        return Share([*faces, *sounds], moving, clips)

    def moving_rows(self) -> list[int]:
        """Get the places of the rank's clips with motion."""
        return [row for row in self.rows if row < self.moving]


@dataclass(frozen=True)
class Batch:
    """A batch, or a rank's share of one: clips with motion first, then clips of sound only.

    inputs: the encoder's, a tensor a clip; large: those of a first teacher, in distillation;
    lengths ``[B]`` in face frames; target ``[M, T, 52]`` standardised, of the M clips with motion;
    identity and emotion ``[B]``, -1 unknown; posed ``[B]``: the emotion laid over the face, -1
    none; share: which clips of the whole batch these are.
    """

    inputs: list[Tensor]
    large: list[Tensor]
    lengths: Tensor
    target: Tensor
    identity: Tensor
    emotion: Tensor
    posed: Tensor
    share: Share


def shares(clips: Sequence[LoadedClip], balance: float) -> npt.NDArray[np.float64] | None:
    """Compute each clip's probability, [N], by the shares of :func:`set_shares`.

    None where all are alike: NumPy samples otherwise, even from equal ones.
    """
    by_set = set_shares(clips, balance)
    if len(by_set) < 2:
        return None
    sizes = Counter(clip.clip.set for clip in clips)
    return np.array([by_set[clip.clip.set] / sizes[clip.clip.set] for clip in clips])


class BatchMaker:
    """Makes the batch of each update, ahead of time in a thread."""

    def __init__(
        self,
        clips: Sequence[LoadedClip],
        model: DiffusionTalker,
        config: TrainingConfig,
        first_teacher: DiffusionTalker | None = None,
    ):
        self._with_motion = [c for c in clips if c.coefficients is not None]
        self._without_motion = [c for c in clips if c.coefficients is None]
        self._model, self._first_teacher, self._config = model, first_teacher, config
        named = first_teacher or model
        few = LARGE_VARIANTS if named.config.uses_large_encoder else 0
        self._variants = few if config.variants is None else config.variants
        self._shares = shares(self._without_motion, config.balance)
        self._identity = {s: i for i, s in enumerate(named.config.identities)}
        self._none_of_them = len(self._identity) if named.config.open_set else UNKNOWN
        self._emotion = {e: i for i, e in enumerate(named.config.emotions)}
        self._poses = [name for name in PROTOTYPES if name in self._emotion]
        self._emotion_of = partial(emotion_of, config=config)

    def __call__(self, start: int) -> Generator[Batch, None, None]:
        """Yield batches from update ``start`` on, without end."""
        with ThreadPoolExecutor(1) as pool:
            plan = self._plan(start)
            ahead = [pool.submit(self._make, *next(plan)) for _ in range(3)]
            while True:
                yield ahead.pop(0).result()
                ahead.append(pool.submit(self._make, *next(plan)))

    def _plan(self, start: int) -> Iterator[tuple[int, list[LoadedClip]]]:
        """Yield (update, clips) from ``start`` on; earlier epochs are planned and skipped."""
        update, epoch = 0, 0
        while True:
            generator = np.random.default_rng([self._config.seed, 1, epoch])
            sampled = sample_epoch(self._with_motion, self._config.balance, generator)
            for group in batches(sampled, self._config.batch_frames, generator):
                if update >= start:
                    yield update, group
                update += 1
            epoch += 1

    def _make(self, update: int, moving: list[LoadedClip]) -> Batch:
        generator = np.random.default_rng([self._config.seed, 2, update])
        clips = [*moving, *self._sample_without_motion(generator)]
        share = Share.of(len(moving), len(clips), rank(), ranks())
        varied = [self._made(clips[row], update, row) for row in share.rows]
        made, poses = [(sound, motion) for sound, motion, _ in varied], [p for *_, p in varied]
        targets = [torch.from_numpy(motion) for _, motion in made if motion is not None]
        device, labels = self._model.device, [clips[row].clip for row in share.rows]
        lengths = [
            len(motion) if motion is not None else frame_count(len(sound)) for sound, motion in made
        ]
        who = [self._identity_of(label) for label in labels]
        how = [self._emotion.get(self._emotion_of(label), UNKNOWN) for label in labels]
        sounds = [torch.from_numpy(sound).to(device) for sound, _ in made]
        teacher = self._first_teacher
        # Of versions without end none is drawn again.
        keep = bool(self._variants) or not self._config.augment
        identity, emotion, pose = (
            torch.tensor(found, device=device) for found in (who, how, poses)
        )
        return Batch(
            [self._model.encoder.prepare(sound, keep) for sound in sounds],
            [] if teacher is None else [teacher.encoder.prepare(sound, keep) for sound in sounds],
            torch.tensor(lengths, device=device),
            self._model.normalise(pad_sequence(targets, batch_first=True).to(device)),
            identity,
            emotion,
            pose,
            share,
        )

    def _made(self, clip: LoadedClip, update: int, row: int) -> tuple[Array, Array | None, int]:
        """Make sound and motion of the clip at a place of a batch, and the index of its pose."""
        generator = np.random.default_rng([self._config.seed, 5, update, row])
        sound, motion = self._vary(clip, self._version(clip, generator))
        return sound, *self._posed(sound, motion, clip, generator)

    def _sample_without_motion(self, generator: np.random.Generator) -> list[LoadedClip]:
        count = min(self._config.audio_only_batch, len(self._without_motion))
        sampled = generator.choice(len(self._without_motion), count, replace=False, p=self._shares)
        return [self._without_motion[i] for i in sampled]

    def _version(self, clip: LoadedClip, generator: np.random.Generator) -> np.random.Generator:
        """Make the generator of a clip's augmented version.

        Of few versions each comes again and again, so that a large encoder's features can be kept.
        """
        if not self._variants:
            return generator
        unlabelled = clip.clip.set == SPEECH and clip.coefficients is None
        few = min(self._variants, UNLABELLED_VARIANTS) if unlabelled else self._variants
        name = zlib.crc32(f"{clip.clip.set}/{clip.clip.name}".encode())
        return np.random.default_rng([self._config.seed, 3, name, int(generator.integers(few))])

    def _vary(self, clip: LoadedClip, generator: np.random.Generator) -> tuple[Array, Array | None]:
        sound, motion = augment(clip.waveform, clip.coefficients, self._config.augment, generator)
        if motion is None:
            sound = sound[: round(AUDIO_ONLY_FRAMES * SAMPLE_RATE / FPS)]
        return sound, motion

    def _posed(
        self, sound: Array, motion: Array | None, clip: LoadedClip, generator: np.random.Generator
    ) -> tuple[Array | None, int]:
        """Mirror a face, or lay an emotion over a neutral one; the emotion's index, -1 for none."""
        if motion is None:
            return None, UNKNOWN
        if self._config.mirror and generator.random() < 0.5:
            motion = np.ascontiguousarray(motion[:, MIRROR])
        neutral = self._emotion_of(clip.clip) == NEUTRAL
        if not (neutral and self._poses and generator.random() < self._config.posed):
            return motion, UNKNOWN
        emotion = self._poses[int(generator.integers(len(self._poses)))]
        return posed(motion, sound, emotion, generator), self._emotion[emotion]

    def _identity_of(self, label: Clip) -> int:
        """The index of a clip's speaker: one past the last for a voice that is none of them."""
        if not label.speaker and label.set != SPEECH:
            return UNKNOWN
        return self._identity.get(label.speaker, self._none_of_them)


def emotion_of(label: Clip, config: TrainingConfig) -> str:
    """Get the label of a clip's emotion; neutral for the unlabelled ones of some sets."""
    neutral_sets = (*config.neutral_sets, SPEECH) if config.neutral_sets else ()
    return label.emotion or (NEUTRAL if label.set in neutral_sets else "")


def set_shares(clips: Sequence[LoadedClip], balance: float) -> dict[str, float]:
    """Compute the share of each set, by name, where a set of n clips counts as n ** balance."""
    sizes = Counter(clip.clip.set for clip in clips)
    total = sum(n**balance for n in sizes.values())
    return {name: sizes[name] ** balance / total for name in sorted(sizes)}


def sample_epoch(
    clips: Sequence[LoadedClip], balance: float, generator: np.random.Generator
) -> list[LoadedClip]:
    """Sample as many clips as there are, where a set of n clips counts as n ** balance.

    balance 1 takes every clip once; below 1 small sets come more often than their size says. A set
    is gone through in random order, again and again until its share is filled.
    """
    sampled: list[LoadedClip] = []
    for name, part in set_shares(clips, balance).items():
        members = [clip for clip in clips if clip.clip.set == name]
        share = round(len(clips) * part)
        order = [
            i for _ in range(-(-share // len(members))) for i in generator.permutation(len(members))
        ]
        sampled.extend(members[i] for i in order[:share])
    return sampled


def batches(
    clips: Sequence[LoadedClip], frames: int, generator: np.random.Generator
) -> Iterator[list[LoadedClip]]:
    """Group clips of like length, at most ``frames`` padded frames a batch, in random order."""
    jittered = sorted(clips, key=lambda clip: clip.frames * generator.uniform(0.9, 1.1))
    groups: list[list[LoadedClip]] = [[]]
    longest = 0
    for clip in jittered:
        longest = max(longest, clip.frames)
        if groups[-1] and longest * (len(groups[-1]) + 1) > frames:
            groups.append([])
            longest = clip.frames
        groups[-1].append(clip)
    for index in generator.permutation(len(groups)):
        if groups[index]:
            yield groups[index]
