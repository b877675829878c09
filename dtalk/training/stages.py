"""Stages of a distillation: the encoder alone (eq. 12), rounds of eq. 16, direct training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dtalk.diffusion import distillation_target, schedule, time_grid
from dtalk.model import DiffusionTalker, Enhancer, Library
from dtalk.nn.frames import frame_mask
from dtalk.speech.encoders import CompressedEncoder
from dtalk.training import losses
from dtalk.training.batches import Batch, BatchMaker
from dtalk.training.bottoms import keep_features
from dtalk.training.config import DistillationConfig
from dtalk.training.distributed import gathered, mean_count
from dtalk.training.objective import (
    Draw,
    EncodedSpeech,
    contrasts,
    denoised,
    encode_speech,
    motion_errors,
    noised,
    parts_of,
    sampled_times,
    teacher_losses,
    weighted,
)
from dtalk.training.observer import Observer
from dtalk.training.trainer import STATE_FILE, Data, Trainer
from dtalk.utils.devices import precision_of


def round_updates(config: DistillationConfig, steps: int) -> int:
    """Get the number of updates in the round of the student with ``steps`` steps."""
    if steps == config.steps and config.last_updates is not None:
        return config.last_updates
    return config.updates


@dataclass(frozen=True)
class DistillationRun:
    """Settings and teacher that all stages of one distillation share."""

    config: DistillationConfig
    observer: Observer
    command: str
    data: Data
    teacher: DiffusionTalker


class Stage(Trainer):
    """One stage: training of a student, in a folder named by its steps unless named."""

    folder = ""

    def __init__(
        self,
        course: DistillationRun,
        started: DiffusionTalker,
        updates: int,
        helpers: Mapping[str, nn.Module] | None = None,
    ) -> None:
        config = course.config
        out = config.out / (self.folder or f"{started.config.steps}-steps")
        going_on = config.resume and (out / STATE_FILE).exists()
        self._started, self.first_teacher = started, course.teacher
        self.distillation = dataclasses.replace(config, out=out, updates=updates, resume=going_on)
        if config.block_rate and isinstance(started.encoder, CompressedEncoder):
            started.encoder.train_blocks()
            keep_features(started.encoder, config)
        super().__init__(self.distillation, course.observer, course.command, course.data, helpers)

    def build(self) -> DiffusionTalker:
        return self._started

    def batch_maker(self) -> BatchMaker:
        return BatchMaker(self.data.train, self.model, self.config, self.first_teacher)

    def settings(self) -> dict[str, Any]:
        """Add the teacher's digest and the number of clips to the settings."""
        digest = hashlib.sha256(self.distillation.teacher.read_bytes()).hexdigest()
        plain = {**super().settings(), "teacher": digest[:16], "clips": len(self.data.train)}
        del plain["last_updates"]  # already in this round's updates
        return plain

    def finish(self) -> DiffusionTalker:
        """Run to the end and return the averaged student, frozen; also :attr:`student`."""
        self.observer.note(f"{self.config.out.name}: {self.config.updates} updates")
        self.run()
        self.student = self.averaged().requires_grad_(False)
        self.student.name = "student"
        return self.student


class EncoderStage(Stage):
    """Training of the small encoder alone: eq. 12, and eqs. 5 and 6 on top of it.

    Beside eq. 12 what the teacher's linear prior makes of both encoders' features is compared: few
    of their directions move the face, and a cosine tells none from another. (Not in the paper.)
    """

    folder = "encoder"

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.distillation
        draw = Draw.of(batch, self.model.config.steps, generator, config)
        encoded = encode_speech(self.model, batch.inputs, batch, draw, config)
        with torch.no_grad():
            by_teacher = encode_speech(self.first_teacher, batch.large, batch, draw, config)
        parts = {
            "encoder": alignment(by_teacher, encoded, batch),
            "pooled": losses.pooled_alignment(by_teacher.audio, encoded.audio),
            "match": matching(self.model, encoded, self.first_teacher, by_teacher),
            "guide": self._guide_errors(encoded, by_teacher, batch),
            **contrasts(self.model, encoded.audio, batch),
        }
        total = (
            config.encoder_weight * parts["encoder"]
            + config.guide_weight * parts["guide"]
            + config.contrast_weight * (parts["identity"] + parts["emotion"])
            + config.pooled_weight * parts["pooled"]
            + config.match_weight * parts["match"]
        )
        return {"total": total, **parts}

    def _guide_errors(
        self, encoded: EncodedSpeech, by_teacher: EncodedSpeech, batch: Batch
    ) -> Tensor:
        """Compute the error of the motion that the teacher's prior makes of the features."""
        lengths, guide = batch.lengths[: len(batch.target)], self.first_teacher.decoder.guide
        heard, wanted = (
            guide(speech.features[0], by_teacher.embedding, lengths)
            for speech in (encoded, by_teacher)
        )
        mask = frame_mask(lengths, wanted.shape[1])
        closed = mask & self.grams.closed(wanted)
        return weighted(motion_errors(heard, wanted, self.grams, mask, closed), self.config)

    def validate(self, parts: dict[str, float]) -> None:
        """Log the losses; the decoder cannot use this encoder yet, so nothing is sampled."""
        self.log({"update": self.update, "losses": parts})


class Round(Stage):
    """One halving of the steps: eq. 16."""

    def __init__(
        self,
        course: DistillationRun,
        student: DiffusionTalker,
        teacher: DiffusionTalker,
        enhancer: Enhancer,
    ) -> None:
        updates = round_updates(course.config, student.config.steps)
        super().__init__(course, student, updates, {"enhancer": enhancer})
        self.teacher, self.enhancer = teacher, enhancer

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        config, student, teacher = self.distillation, self.model, self.teacher
        draw = Draw.of(batch, student.config.steps, generator, config)
        encoded = encode_speech(student, batch.inputs, batch, draw, config)
        predicted = denoised(student, encoded, batch, draw, config)
        parts = teacher_losses(student, encoded, predicted, batch, draw, self.grams, config)
        with torch.no_grad():
            inputs = batch.large if teacher is self.first_teacher else batch.inputs
            by_teacher = encode_speech(teacher, inputs, batch, draw, config)
            target = target_of(teacher, by_teacher, student, batch, draw, config)
            first = by_teacher
            if teacher is not self.first_teacher:
                first = encode_speech(self.first_teacher, batch.large, batch, draw, config)
        parts["distillation"] = self._distillation(predicted, target, batch, draw)
        parts["encoder"] = alignment(first, encoded, batch)
        parts["enhancer"] = self._enhanced(encoded, predicted, by_teacher, target, batch)
        parts["pooled"] = losses.pooled_alignment(first.audio, encoded.audio)
        parts["match"] = matching(student, encoded, self.first_teacher, first)
        total = losses.student_loss(
            parts["total"],
            parts["distillation"],
            parts["encoder"],
            parts["enhancer"],
            config.distillation_weight,
            config.encoder_weight,
            config.enhancer_weight,
        )
        total = total + config.pooled_weight * parts["pooled"]
        return {**parts, "total": total + config.match_weight * parts["match"]}

    def _distillation(self, predicted: Tensor, target: Tensor, batch: Batch, draw: Draw) -> Tensor:
        """Compute eq. 11, in the same norm as the reconstruction."""
        mask = frame_mask(batch.lengths[: len(predicted)], predicted.shape[1])
        closed = mask & self.grams.closed(batch.target)

        def error(found: Tensor, wanted: Tensor) -> Tensor:
            return weighted(motion_errors(found, wanted, self.grams, mask, closed), self.config)

        scales = schedule(sampled_times(self.model, draw))
        return losses.distillation(predicted, target, *scales, error)

    def _enhanced(
        self,
        encoded: EncodedSpeech,
        predicted: Tensor,
        by_teacher: EncodedSpeech,
        target: Tensor,
        batch: Batch,
    ) -> Tensor:
        """Compute eq. 14 over clips of the batch whose identities and emotions all differ."""
        if "enhancer" in self.distillation.without:
            return predicted.new_zeros(())
        moving, rows = len(predicted), batch.share.moving_rows()
        places = torch.tensor(rows, device=predicted.device)
        labels = torch.stack([batch.identity[:moving], batch.emotion[:moving]], 1).float()
        who, how = gathered(labels, places, batch.share.moving).long().T.tolist()
        chosen = pairwise_different(who, how)
        own = [index for index, row in enumerate(rows) if row in chosen]
        to = torch.tensor([chosen.index(rows[index]) for index in own], device=predicted.device)
        mask = frame_mask(batch.lengths[:moving], predicted.shape[1])[own]
        wanted = self.enhancer(by_teacher.embedding[own], target[own], mask)
        found = self.enhancer(encoded.embedding[own], predicted[own], mask)
        return losses.personal_contrast(
            gathered(wanted, to.long(), len(chosen)),
            gathered(found, to.long(), len(chosen)),
            self.distillation.enhancer_temperature,
        )


class DirectTraining(Stage):
    """Training of a student without distillation: eq. 15 from the start."""

    def batch_maker(self) -> BatchMaker:
        return Trainer.batch_maker(self)


def pairwise_different(identities: Sequence[int], emotions: Sequence[int]) -> list[int]:
    """Choose clips of which no two share an identity or an emotion; unknown ones (-1) left out.

    Taken in order, so the largest such set is not promised.
    """
    chosen: list[int] = []
    who: set[int] = {-1}
    how: set[int] = {-1}
    for index, (identity, emotion) in enumerate(zip(identities, emotions)):
        if identity not in who and emotion not in how:
            chosen.append(index)
            who.add(identity)
            how.add(emotion)
    return chosen


def target_of(
    teacher: DiffusionTalker,
    by_teacher: EncodedSpeech,
    student: DiffusionTalker,
    batch: Batch,
    draw: Draw,
    config: DistillationConfig,
) -> Tensor:
    """Compute eq. 10 ``[M, T, 52]``: where two teacher steps lead from the student's x_t."""
    noisy, times = noised(student, batch, draw)
    steps = student.config.steps
    # Every second time of the teacher's grid is one of the student's.
    grid = time_grid(2 * steps, teacher.device, teacher.config.noise_shift)
    middle, earlier = grid[2 * draw.step + 1], grid[2 * draw.step + 2]
    lengths = batch.lengths[: len(batch.target)]
    denoise = teacher.denoiser(by_teacher.conditions(draw), by_teacher.embedding, lengths)
    with precision_of(teacher.device, config.precision):
        target = distillation_target(denoise, noisy, times, middle, earlier)
    return target.float()


def alignment(large: EncodedSpeech, small: EncodedSpeech, batch: Batch) -> Tensor:
    """Compute eq. 12 over all clips of a batch, those of sound only included."""
    masks = [
        frame_mask(batch.lengths[part], features.shape[1])
        for part, features in zip(parts_of(batch), small.features)
    ]
    # Padded apart, and yet one mean: ranks without clips of sound only take part in it too.
    return losses.encoder_alignment(
        torch.cat([features.flatten(0, 1) for features in large.features]),
        torch.cat([features.flatten(0, 1) for features in small.features]),
        torch.cat([mask.flatten() for mask in masks]),
    )


def matching(
    student: DiffusionTalker,
    encoded: EncodedSpeech,
    teacher: DiffusionTalker,
    by_teacher: EncodedSpeech,
) -> Tensor:
    """Compute the divergence of the student's retrieval from the teacher's."""
    pairs = [
        (student.personalizer.identity, teacher.personalizer.identity),
        (student.personalizer.emotion, teacher.personalizer.emotion),
    ]
    return sum(
        (_divergence(mine, encoded.audio, theirs, by_teacher.audio) for mine, theirs in pairs),
        encoded.audio.new_zeros(()),
    )


def _divergence(mine: Library, audio: Tensor, theirs: Library, by_teacher: Tensor) -> Tensor:
    """Compute the mean Kullback-Leibler divergence of two libraries' matches; 0 without labels."""
    if not mine.labels or mine.labels != theirs.labels:
        return audio.new_zeros(())
    wanted, found = theirs.match(by_teacher), mine.match(audio)
    total = nn.functional.kl_div(found.clamp(min=1e-8).log(), wanted, reduction="sum")
    return total / mean_count(audio.new_ones(len(audio)))
