"""Personalizer-guided distillation (section II-D): a slow teacher becomes a fast, small student.

The small encoder first learns alone to hear what the large one hears (eq. 12). Then rounds follow,
each halving the steps: a student starts from its teacher, learns (eq. 16) to do in one step what
the teacher does in two, and is the teacher of the next round.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from dtalk.checkpoint import save_model
from dtalk.config import DistillationConfig, ModelConfig
from dtalk.data.clips import Clip, LoadedClip, few
from dtalk.diffusion import distillation_target, schedule, time_grid
from dtalk.errors import CheckpointError, DataError, DtalkError
from dtalk.evaluation.benchmark import cost
from dtalk.evaluation.evaluate import assess, evaluate, predict, write_figures
from dtalk.heads.head import built_in
from dtalk.inference import read_model
from dtalk.model import DiffusionTalker, Enhancer, Library
from dtalk.speech.audio import AUDIO_SUFFIXES, SAMPLE_RATE, load_audio
from dtalk.speech.encoders import frame_mask
from dtalk.training import losses
from dtalk.training.batches import SPEECH, Batch, BatchMaker
from dtalk.training.objective import (
    Draw,
    Heard,
    contrasts,
    denoised,
    drawn_times,
    hear,
    motion_errors,
    noised,
    parts_of,
    teacher_losses,
    weighted,
)
from dtalk.training.trainer import (
    MODEL_FILE,
    STATE_FILE,
    Data,
    Observer,
    Trainer,
    adopt,
    load_data,
    refuse_existing,
)
from dtalk.utils.devices import precision_of
from dtalk.utils.files import atomic_path, expand_inputs

GENERATED_FILE = "generated.safetensors"
TABLE_FILE = "rounds.json"
PIECE_SECONDS = 4.0  # longer speech without labels is cut into pieces of this


def halvings(steps: int, last: int) -> list[int]:
    """Steps of the students: 16 and 2 -> [8, 4, 2].

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


def round_updates(config: DistillationConfig, steps: int) -> int:
    """Updates in the round of the student with ``steps`` steps."""
    if steps == config.steps and config.last_updates is not None:
        return config.last_updates
    return config.updates


Rows = dict[str, dict[str, Any]]
"""Tables of :func:`dtalk.evaluation.evaluate.assess` by model, with ``cost`` beside them."""


def distil(
    config: DistillationConfig,
    observer: Observer,
    command: str = "",
    report: Callable[[Rows], None] = lambda rows: None,
) -> DiffusionTalker:
    """Run all rounds; the last student, which also lies in the output folder.

    Each stage has a folder of its own there, with its state. ``report`` is called with the figures
    so far: of the teacher, then of each student as it is ready. With ``resume``, what is done stays
    done.

    Raises:
        CheckpointError: the teacher or its large encoder cannot be loaded, or a state cannot.
        DataError: the data cannot be used, or the steps cannot be halved.
    """
    if config.resume and not config.out.exists():
        raise CheckpointError(f"nothing to resume: {config.out} does not exist")
    if not config.resume:  # before any figures are written over those of another run
        for state in sorted(config.out.glob(f"*/{STATE_FILE}")):
            refuse_existing(state)
    teacher = read_model(
        config.teacher, config.device, config.encoder, config.cache, config.precision
    ).requires_grad_(False)
    students = halvings(teacher.config.steps, config.steps)
    data = load_data(config, observer)
    stages = _untaught
    if "distillation" not in config.without:
        stages, data = _taught, with_unlabelled(config, observer, data, teacher)
    figures = _Figures(config, data, report)
    figures.add(teacher, config.teacher)
    for stage in stages(Course(config, observer, command, data, teacher), students):
        student = stage.finish()
        figures.add(student, stage.config.out / MODEL_FILE)
    save_model(student, config.out / MODEL_FILE, stage.about({}))
    return student


@dataclass(frozen=True)
class Course:
    """What all stages of one distillation share; ``teacher`` is the first of all."""

    config: DistillationConfig
    observer: Observer
    command: str
    data: Data
    teacher: DiffusionTalker


def _taught(course: Course, students: Sequence[int]) -> Iterator[Stage]:
    """The rounds, each to be finished before the next is asked for."""
    config, teacher = course.config, course.teacher
    student = _new_student(teacher, config)
    adopt(student, teacher)
    if config.init is not None:
        adopt(student, read_model(config.init, config.device))
        students = students[-1:]  # whose teacher then is the first, in twice as many steps
    enhancer = Enhancer(teacher.config.embedding_width).to(teacher.device)
    if config.encoder_updates and student.config.hearing != teacher.config.hearing:
        student = EncoderStage(course, student, config.encoder_updates).finish()
    for steps in students:
        started = student.twin(steps=steps)
        started.load_state_dict(student.state_dict())
        stage = Round(course, started, teacher, enhancer)
        yield stage
        student = teacher = stage.student


def _untaught(course: Course, students: Sequence[int]) -> Iterator[Stage]:
    """Without distillation: random weights, and as many updates as all rounds have."""
    config, teacher = course.config, course.teacher
    student = _new_student(teacher, config).twin(steps=config.steps)
    measured = dict(teacher.named_buffers())  # statistics of the data, not what was learned
    for name, buffer in student.named_buffers():
        buffer.copy_(measured[name])
    yield Untaught(course, student, sum(round_updates(config, steps) for steps in students))


class _Figures:
    """The table of a distillation, which grows round by round."""

    def __init__(
        self, config: DistillationConfig, data: Data, report: Callable[[Rows], None]
    ) -> None:
        self.rows: Rows = {}
        self._clips, self._report = data.validation, report
        self._path = config.out / TABLE_FILE

    def add(self, model: DiffusionTalker, path: Path) -> None:
        """Score and weigh a model whose file is ``path``."""
        name = f"{model.name}@{model.config.steps}"
        results = evaluate(model, self._clips, built_in())
        measured = asdict(cost(model, path))
        self.rows[name] = {**assess(model, self._clips, results), "cost": measured}
        write_figures(self.rows, self._path)
        self._report(self.rows)


def student_config(teacher: ModelConfig, config: DistillationConfig) -> ModelConfig:
    """The teacher's configuration with a small encoder, less what is to be done without."""
    identities = () if "identity" in config.without else teacher.identities
    emotions = () if "emotion" in config.without else teacher.emotions
    personal = dataclasses.replace(teacher, identities=identities, emotions=emotions)
    if "compression" in config.without:
        return personal
    return dataclasses.replace(
        personal,
        encoder=config.front_end,
        encoder_width=config.encoder_width,
        encoder_blocks=config.encoder_blocks,
        encoder_dropout=config.encoder_dropout,
        layer=(),
        large_width=0,
        large_fingerprint="",
    )


def _new_student(teacher: DiffusionTalker, config: DistillationConfig) -> DiffusionTalker:
    """An untrained student; without compression it hears through the teacher's encoder."""
    torch.manual_seed(config.seed)
    student = DiffusionTalker(student_config(teacher.config, config)).to(teacher.device)
    if student.config.hears_large and teacher.large_source is not None:
        student.attach(teacher.large_source)
    return student


class Stage(Trainer):
    """Training of a student, in a folder of its own: of the student's steps unless named."""

    folder = ""

    def __init__(
        self,
        course: Course,
        started: DiffusionTalker,
        updates: int,
        helpers: Mapping[str, nn.Module] | None = None,
    ) -> None:
        config = course.config
        out = config.out / (self.folder or f"{started.config.steps}-steps")
        going_on = config.resume and (out / STATE_FILE).exists()
        self._started, self.first_teacher = started, course.teacher
        self.distillation = dataclasses.replace(config, out=out, updates=updates, resume=going_on)
        super().__init__(self.distillation, course.observer, course.command, course.data, helpers)

    def build(self) -> DiffusionTalker:
        return self._started

    def batch_maker(self) -> BatchMaker:
        return BatchMaker(self.data.train, self.model, self.config, self.first_teacher)

    def settings(self) -> dict[str, Any]:
        """Also which teacher it is, and how many clips were made from speech."""
        digest = hashlib.sha256(self.distillation.teacher.read_bytes()).hexdigest()
        plain = {**super().settings(), "teacher": digest[:16], "clips": len(self.data.train)}
        del plain["last_updates"]  # already in this round's updates
        return plain

    def finish(self) -> DiffusionTalker:
        """Run to the end; the averaged student, frozen, which then is :attr:`student`."""
        self.observer.note(f"{self.config.out.name}: {self.config.updates} updates")
        self.run()
        self.student = self.averaged().requires_grad_(False)
        self.student.name = "student"
        return self.student


class EncoderStage(Stage):
    """The small encoder alone: eq. 12, and eqs. 5 and 6 on top of it."""

    folder = "encoder"

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.distillation
        draw = Draw.of(batch, self.model.config.steps, generator, config)
        heard = hear(self.model, batch.inputs, batch, draw, config)
        with torch.no_grad():
            taught = hear(self.first_teacher, batch.large, batch, draw, config)
        parts = {
            "encoder": alignment(taught, heard, batch),
            "pooled": losses.pooled_alignment(taught.audio, heard.audio),
            "match": matching(self.model, heard, self.first_teacher, taught),
            **contrasts(self.model, heard.audio, batch),
        }
        total = (
            config.encoder_weight * parts["encoder"]
            + config.contrast_weight * (parts["identity"] + parts["emotion"])
            + config.pooled_weight * parts["pooled"]
            + config.match_weight * parts["match"]
        )
        return {"total": total, **parts}

    def validate(self, parts: dict[str, float]) -> None:
        """Nothing to draw yet: the decoder has not met this encoder."""
        self.log({"update": self.update, "losses": parts})


class Round(Stage):
    """One halving: eq. 16."""

    def __init__(
        self,
        course: Course,
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
        heard = hear(student, batch.inputs, batch, draw, config)
        predicted = denoised(student, heard, batch, draw, config)
        parts = teacher_losses(student, heard, predicted, batch, draw, self.grams, config)
        with torch.no_grad():
            inputs = batch.large if teacher is self.first_teacher else batch.inputs
            taught = hear(teacher, inputs, batch, draw, config)
            target = target_of(teacher, taught, student, batch, draw, config)
            first = taught
            if teacher is not self.first_teacher:
                first = hear(self.first_teacher, batch.large, batch, draw, config)
        parts["distillation"] = self._distillation(predicted, target, batch, draw)
        parts["encoder"] = alignment(first, heard, batch)
        parts["enhancer"] = self._enhanced(heard, predicted, taught, target, batch)
        parts["pooled"] = losses.pooled_alignment(first.audio, heard.audio)
        parts["match"] = matching(student, heard, self.first_teacher, first)
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
        """Eq. 11, in the same norm as the reconstruction."""
        weight = losses.truncated_snr(*schedule(drawn_times(self.model, draw)))
        predicted, target = losses.weigh(predicted, weight), losses.weigh(target, weight)
        mask = frame_mask(batch.lengths[: len(predicted)], predicted.shape[1])
        closed = mask & self.grams.closed(batch.target)
        errors = motion_errors(predicted, target, self.grams, mask, closed)
        return weighted(errors, self.config)

    def _enhanced(
        self, heard: Heard, predicted: Tensor, taught: Heard, target: Tensor, batch: Batch
    ) -> Tensor:
        """Eq. 14 over clips of the batch whose identities and emotions all differ."""
        if "enhancer" in self.distillation.without:
            return predicted.new_zeros(())
        moving = len(predicted)
        chosen = pairwise_different(
            batch.identity[:moving].tolist(), batch.emotion[:moving].tolist()
        )
        mask = frame_mask(batch.lengths[:moving], predicted.shape[1])[chosen]
        return losses.personal_contrast(
            self.enhancer(taught.embedding[chosen], target[chosen], mask),
            self.enhancer(heard.embedding[chosen], predicted[chosen], mask),
            self.distillation.enhancer_temperature,
        )


class Untaught(Stage):
    """A student that never meets a teacher: eq. 15 from the start, as any training."""

    def batch_maker(self) -> BatchMaker:
        return Trainer.batch_maker(self)


def pairwise_different(identities: Sequence[int], emotions: Sequence[int]) -> list[int]:
    """Indices of clips of which no two share an identity or an emotion; unknown ones (-1) left out.

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
    taught: Heard,
    student: DiffusionTalker,
    batch: Batch,
    draw: Draw,
    config: DistillationConfig,
) -> Tensor:
    """Eq. 10 ``[M, T, 52]``: where two of the teacher's steps lead from the student's x_t."""
    noisy, times = noised(student, batch, draw)
    steps = student.config.steps
    # Every second time of the teacher's grid is one of the student's.
    grid = time_grid(2 * steps, teacher.device, teacher.config.noise_shift)
    middle, earlier = grid[2 * draw.step + 1], grid[2 * draw.step + 2]
    lengths = batch.lengths[: len(batch.target)]
    denoise = teacher.denoiser(taught.conditions(draw), taught.embedding, lengths)
    with precision_of(teacher.device, config.precision):
        target = distillation_target(denoise, noisy, times, middle, earlier)
    return target.float()


def alignment(large: Heard, small: Heard, batch: Batch) -> Tensor:
    """Eq. 12 over all clips of a batch, those of sound only included."""
    parts = parts_of(batch)
    per_part = [
        losses.encoder_alignment(a, b, frame_mask(batch.lengths[p], b.shape[1])) * _frames(batch, p)
        for a, b, p in zip(large.features, small.features, parts)
    ]
    return sum(per_part[1:], per_part[0]) / _frames(batch, slice(None))


def _frames(batch: Batch, part: slice) -> Tensor:
    return batch.lengths[part].sum()


def matching(
    student: DiffusionTalker, heard: Heard, teacher: DiffusionTalker, taught: Heard
) -> Tensor:
    """How far the student's retrieval is from the teacher's: cross-entropies less entropies."""
    pairs = [
        (student.personalizer.identity, teacher.personalizer.identity),
        (student.personalizer.emotion, teacher.personalizer.emotion),
    ]
    return sum(
        (_divergence(mine, heard.audio, theirs, taught.audio) for mine, theirs in pairs),
        heard.audio.new_zeros(()),
    )


def _divergence(mine: Library, audio: Tensor, theirs: Library, taught: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of two libraries' matches; 0 without common labels."""
    if not mine.labels or mine.labels != theirs.labels:
        return audio.new_zeros(())
    wanted, found = theirs.match(taught), mine.match(audio)
    return nn.functional.kl_div(found.clamp(min=1e-8).log(), wanted, reduction="batchmean")


# Speech without motion ---------------------------------------------------------------------------


def with_unlabelled(
    config: DistillationConfig, observer: Observer, data: Data, teacher: DiffusionTalker
) -> Data:
    """The data with more speech, and motion by the teacher for every clip that has none.

    Clips of the data set without motion also stay as they are, so that they teach the personalizer
    as often as before. Speech that is to be heard only gets no motion.
    """
    silent = [clip for clip in data.train if clip.coefficients is None]
    spoken = silent + read_speech(config.speech, observer)
    data = Data([*data.train, *read_speech(config.heard, observer)], data.validation)
    if not spoken:
        return data
    path, origin = config.out / GENERATED_FILE, _origin(teacher, spoken, config)
    motions = _read_generated(path, origin)
    if motions is None:
        motions = generate(teacher, spoken, config, observer)
        _write_generated(path, motions, origin)
    moving = [
        dataclasses.replace(clip, coefficients=motion) for clip, motion in zip(spoken, motions)
    ]
    return Data([*data.train, *moving], data.validation)


def read_speech(folders: Sequence[Path], observer: Observer) -> list[LoadedClip]:
    """Speech files below folders, in pieces, without labels; unreadable ones are named.

    Raises:
        DtalkError: a folder is missing or holds no sound.
    """
    pieces, failures = [], []
    files = expand_inputs(folders, set(AUDIO_SUFFIXES)) if folders else []
    for done, (path, relative) in enumerate(files, 1):
        try:
            waveform = load_audio(path)
        except DtalkError as error:
            failures.append(str(error))
            continue
        count = max(1, round(len(waveform) / SAMPLE_RATE / PIECE_SECONDS))
        for number, piece in enumerate(np.array_split(waveform, count)):
            clip = Clip(f"{relative.as_posix()}#{number}", SPEECH, "train", "", "", path, None)
            pieces.append(LoadedClip(clip, np.ascontiguousarray(piece), None))
        observer.loading(done, len(files))
    for line in few(failures):
        observer.note(f"left out: {line}")
    return pieces


def generate(
    teacher: DiffusionTalker,
    clips: Sequence[LoadedClip],
    config: DistillationConfig,
    observer: Observer,
) -> list[np.ndarray]:
    """One sample of the teacher for each clip, ``[T, 52]`` in [0, 1]."""
    observer.note(f"drawing motion for {len(clips)} clips of speech")
    place = {id(clip): index for index, clip in enumerate(clips)}
    motions: dict[int, np.ndarray] = {}
    with precision_of(teacher.device, config.precision):
        for clip, samples in predict(teacher, clips, [config.seed], progress=observer.loading):
            motions[place[id(clip)]] = samples[0].astype(np.float16).astype(np.float32)
    return [motions[index] for index in range(len(clips))]


def _origin(
    teacher: DiffusionTalker, clips: Sequence[LoadedClip], config: DistillationConfig
) -> str:
    """A digest of all that the drawn motion depends on."""
    digest = hashlib.sha256(f"{teacher.config} {config.seed} {config.precision}".encode())
    for value in teacher.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    for clip in clips:
        digest.update(clip.waveform.tobytes())
    return digest.hexdigest()


def _read_generated(path: Path, origin: str) -> list[np.ndarray] | None:
    """What an earlier run has drawn from the same."""
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
