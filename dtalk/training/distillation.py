"""Personalizer-guided distillation (section II-D): a slow teacher, a fast and small student.

The small encoder first learns alone to match the large one's features (eq. 12). Then rounds follow,
each halving the steps: a student starts from its teacher, learns (eq. 16) to do in one step what
the teacher does in two, and is the teacher of the next round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dtalk.checkpoint import load_model, save_model
from dtalk.config import ModelConfig
from dtalk.errors import CheckpointError, DataError
from dtalk.evaluation.benchmark import cost
from dtalk.evaluation.evaluate import write_figures
from dtalk.inference import read_model
from dtalk.model import DiffusionTalker, Enhancer
from dtalk.speech.encoders import CompressedEncoder
from dtalk.training.bottoms import copy_bottom, keep_features, load_encoder
from dtalk.training.config import DistillationConfig
from dtalk.training.distributed import rank
from dtalk.training.hearing_emotions import learn_to_hear
from dtalk.training.linear_start import fit_linear, quieten, refit_prior, standardise_bottom
from dtalk.training.observer import Observer
from dtalk.training.pseudo_labels import with_unlabelled
from dtalk.training.stages import (
    DirectTraining,
    DistillationRun,
    EncoderStage,
    Round,
    Stage,
    round_updates,
)
from dtalk.training.starting import load_compatible
from dtalk.training.trainer import (
    MODEL_FILE,
    STATE_FILE,
    Data,
    load_data,
    refuse_existing,
)
from dtalk.training.validation import validation_tables
from dtalk.utils.claims import claimed

TABLE_FILE = "rounds.json"


def halvings(steps: int, last: int) -> list[int]:
    """List the steps of the students: 16 and 2 -> [8, 4, 2].

    Raises:
        DataError: the first cannot be halved to the last.
    """
    found, count = [], steps
    while count > last and count % 2 == 0:
        count //= 2
        found.append(count)
    if count != last or not found:
        raise DataError(f"the teacher's {steps} steps cannot be halved to {last}")
    return found


Rows = dict[str, dict[str, Any]]
"""Tables of :func:`.summary_tables` by model, with ``cost`` beside them."""


def distil(
    config: DistillationConfig,
    observer: Observer,
    command: str = "",
    report: Callable[[Rows], None] = lambda rows: None,
) -> DiffusionTalker:
    """Run all rounds and return the last student, which is also saved in the output folder.

    Each stage has a folder of its own there, with its state. ``report`` is called with the figures
    so far: of the teacher, then of each student as it is ready. With ``resume``, what is done stays
    done.

    Raises:
        CheckpointError: the teacher or its large encoder cannot be loaded, or a state cannot.
        DataError: the data cannot be used, or the steps cannot be halved.
        DtalkError: another run writes there.
    """
    with claimed([config.out] if rank() == 0 else []):
        return _distil(config, observer, command, report)


def _distil(
    config: DistillationConfig, observer: Observer, command: str, report: Callable[[Rows], None]
) -> DiffusionTalker:
    if config.resume and not config.out.exists():
        raise CheckpointError(f"nothing to resume: {config.out} does not exist")
    if not config.resume:  # before any figures are written over those of another run
        for state in sorted(config.out.glob(f"*/{STATE_FILE}")):
            refuse_existing(state)
    teacher = read_model(
        config.teacher,
        config.device,
        config.encoder,
        config.cache,
        config.precision,
        config.cache_gigabytes,
    ).requires_grad_(False)
    students = halvings(teacher.config.steps, config.steps)
    if config.init is not None:
        students = students[-1:]  # whose teacher then is the first, in twice as many steps
    data = load_data(config, observer)
    stages = _without_distillation
    if "distillation" not in config.without:
        stages, data = _rounds, with_unlabelled(config, observer, data, teacher)
    figures = _Figures(config, data, report)
    figures.add(teacher, config.teacher)
    for stage in stages(DistillationRun(config, observer, command, data, teacher), students):
        student = stage.finish()
        figures.add(student, stage.config.out / MODEL_FILE)
    if rank() == 0:
        save_model(student, config.out / MODEL_FILE, stage.about({}))
    return student


def _rounds(course: DistillationRun, students: Sequence[int]) -> Iterator[Stage]:
    """Yield the rounds, each to be finished before the next is asked for."""
    config, teacher = course.config, course.teacher
    student = _new_student(course)
    quieten(student.decoder.output[-1])  # a GRU that is not its teacher's
    load_compatible(student, teacher, other_gru=True)
    if config.encoder_init is None and isinstance(student.encoder, CompressedEncoder):
        copy_bottom(student.encoder, teacher, config, course.data.train)
        fit_linear(student.encoder, teacher, course.data.train)
    if config.init is not None:
        load_compatible(student, load_model(config.init, teacher.device), other_gru=True)
    if config.encoder_init is not None:
        load_encoder(student, config.encoder_init, course.data.train)
    keep_features(student.encoder, config)
    enhancer = Enhancer(teacher.config.embedding_width).to(teacher.device)
    if _learns_encoder(student, teacher, config):
        student = EncoderStage(course, student, config.encoder_updates).finish()
        keep_features(student.encoder, config)
    if config.linear_start or config.refit:
        refit_prior(student, course.data.train, course.observer)
    if config.hear_emotions:
        learn_to_hear(student, course.data.train, config, course.observer)
    for steps in students:
        started = student.new_like(steps=steps)
        started.load_state_dict(student.state_dict())
        stage = Round(course, started, teacher, enhancer)
        yield stage
        student = teacher = stage.student


def _without_distillation(course: DistillationRun, students: Sequence[int]) -> Iterator[Stage]:
    """Yield one stage of direct training, with as many updates as the stages that it replaces."""
    config, teacher = course.config, course.teacher
    student = _new_student(course).new_like(steps=config.steps)
    measured = dict(student.named_buffers())  # statistics of the data, not what is learned
    if isinstance(student.encoder, CompressedEncoder):  # whose features are its own
        copy_bottom(student.encoder, teacher, config, course.data.train)
        standardise_bottom(student.encoder, course.data.train)
        measured = {"mean": student.mean, "std": student.std}
    by_teacher = dict(teacher.named_buffers())
    for name, buffer in measured.items():
        buffer.copy_(by_teacher[name])
    updates = sum(round_updates(config, steps) for steps in students)
    if _learns_encoder(student, teacher, config):
        updates += config.encoder_updates
    yield DirectTraining(course, student, updates)


def _learns_encoder(
    student: DiffusionTalker, teacher: DiffusionTalker, config: DistillationConfig
) -> bool:
    """Tell whether a stage for the student's encoder alone comes before the rounds."""
    return config.encoder_updates > 0 and student.config.encoder_key != teacher.config.encoder_key


class _Figures:
    """The table of a distillation, with a row for each student."""

    def __init__(
        self, config: DistillationConfig, data: Data, report: Callable[[Rows], None]
    ) -> None:
        self.rows: Rows = {}
        self._clips, self._report = data.validation, report
        self._path = config.out / TABLE_FILE

    def add(self, model: DiffusionTalker, path: Path) -> None:
        """Evaluate a model whose file is ``path``, and measure its cost."""
        name = f"{model.name}@{model.config.steps}"
        tables = validation_tables(model, self._clips)
        if rank() > 0:
            return
        self.rows[name] = {**tables, "cost": asdict(cost(model, path))}
        write_figures(self.rows, self._path)
        self._report(self.rows)


def student_config(teacher: ModelConfig, config: DistillationConfig) -> ModelConfig:
    """Derive the student's configuration: a small encoder, and less what is left out."""
    identities = () if "identity" in config.without else teacher.identities
    emotions = () if "emotion" in config.without else teacher.emotions
    personal = dataclasses.replace(
        teacher,
        identities=identities,
        emotions=emotions,
        hidden_width=config.hidden_width or teacher.hidden_width,
        layers=config.layers or teacher.layers,
    )
    if "compression" in config.without:
        return personal
    return dataclasses.replace(
        personal,
        encoder=config.front_end,
        encoder_width=config.encoder_width,
        encoder_blocks=config.encoder_blocks,
        encoder_residual=config.encoder_residual,
        encoder_depth=config.encoder_depth,
        stem_width=config.stem_width,
        block_width=config.block_width,
        blocks_at_face_rate=config.blocks_at_face_rate,
        encoder_dropout=config.encoder_dropout,
        layer=(),
        large_width=0,
        large_fingerprint="",
    )


def _new_student(course: DistillationRun) -> DiffusionTalker:
    """Make an untrained student; without compression it uses the teacher's large encoder."""
    teacher, config = course.teacher, course.config
    torch.manual_seed(config.seed)
    student = DiffusionTalker(student_config(teacher.config, config)).to(teacher.device)
    if student.config.uses_large_encoder and teacher.large_source is not None:
        student.attach(teacher.large_source)
    return student
