"""Distillation: rounds, targets, what is left out, exact resume, learning."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    FakeLarge,
    Recorder,
    distillation_config,
    large_model,
    quick_benchmark,
    same,
    speech,
    tiny_model,
    write_data,
)
from hypothesis import given
from hypothesis import strategies as st
from rounds import STEPS, refuse, write_teacher
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import Tensor

from dtalk import inference
from dtalk.checkpoint import load_model, read_description, save_model
from dtalk.diffusion import add_noise, ddim_step, schedule, time_grid
from dtalk.errors import CheckpointError, DataError, DtalkError
from dtalk.evaluation.evaluate import without_nan
from dtalk.model import DiffusionTalker, Enhancer
from dtalk.nn.frames import frame_mask
from dtalk.speech import pretrained
from dtalk.speech.bottom import WhisperBottom
from dtalk.speech.encoders import AdaptedEncoder, CompressedEncoder, SmallEncoder
from dtalk.training import hearing_emotions, losses, pseudo_labels, stages, starting
from dtalk.training.config import DistillationConfig
from dtalk.training.distillation import TABLE_FILE, distil, halvings, student_config
from dtalk.training.objective import EncodedSpeech, encode_speech
from dtalk.training.pseudo_labels import GENERATED_FILE
from dtalk.training.stages import EncoderStage, Round, Stage, pairwise_different
from dtalk.training.starting import load_compatible
from dtalk.training.trainer import LOG_FILE, MODEL_FILE, STATE_FILE, load_data

EVERY = 1000  # padded frames in a batch: all clips of the data there are
ENCODER = EncoderStage.folder
STAGES = (ENCODER, "4-steps", "2-steps")


@pytest.fixture(autouse=True, scope="module")
def heard():
    """Large encoders as they are loaded, by the folder ``ear``; the cost of models is measured in
    no time."""
    loaded: list[FakeLarge] = []

    def load(place, layers, device, precision):
        assert place == "ear"
        loaded.append(FakeLarge(layers=tuple(layers)))
        return loaded[-1]

    with pytest.MonkeyPatch.context() as patch:
        for module in (pretrained, starting):
            patch.setattr(module, "load_large_encoder", load)
        quick_benchmark(patch)
        yield loaded


def settings(data: Path, teacher: Path, out: Path, **changes: Any) -> DistillationConfig:
    plain = {"encoder": "ear", "updates": 3, "encoder_updates": 3, "batch_frames": EVERY}
    return distillation_config(data, out, teacher, **{**plain, **changes})


@dataclasses.dataclass
class Stopping(Recorder):
    """Interrupts after so many updates of all stages together."""

    after: int = 0

    def updated(self, update: int, *rest: Any) -> None:
        super().updated(update, *rest)
        if len(self.updates) == self.after:
            raise KeyboardInterrupt


def state_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / STATE_FILE, weights_only=True)


def copied(model: DiffusionTalker) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def part_of(weights: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name.startswith(parts)}


def logged(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's log, less the command that it begins with."""
    entries = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [entry for entry in entries if "command" not in entry]


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# Rounds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "last", "expected"),
    [(16, 2, [8, 4, 2]), (8, 2, [4, 2]), (4, 2, [2]), (8, 1, [4, 2, 1]), (12, 3, [6, 3])],
)
def test_halvings_by_hand(steps, last, expected):
    assert halvings(steps, last) == expected


@pytest.mark.parametrize(
    ("steps", "last"), [(16, 3), (12, 2), (7, 2), (1, 2), (2, 4), (6, 1), (2, 2)]
)
def test_steps_that_cannot_be_halved(steps, last):
    with pytest.raises(DataError, match=f"{steps} steps cannot be halved to {last}"):
        halvings(steps, last)


@given(st.integers(1, 9), st.integers(1, 6))
def test_every_student_has_half_the_steps_of_its_teacher(last, rounds):
    found = halvings(last * 2**rounds, last)
    assert len(found) == rounds
    assert [2 * n for n in found] == [last * 2**rounds, *found[:-1]]
    assert found[-1] == last


SMALL = {
    "encoder": "cnn",
    "encoder_width": 14,
    "encoder_blocks": 5,
    "encoder_dropout": 0.25,
    "layer": (),
    "large_width": 0,
}


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ((), SMALL),
        (("identity",), {**SMALL, "identities": ()}),
        (("emotion",), {**SMALL, "emotions": ()}),
        (("identity", "emotion"), {**SMALL, "identities": (), "emotions": ()}),
        (("enhancer",), SMALL),
        (("distillation",), SMALL),
        (("compression",), {}),
        (("compression", "emotion"), {"emotions": ()}),
    ],
)
def test_student_config(without, expected):
    teacher = large_model(steps=8, noise_shift=2.0, temperature=0.7).config
    config = DistillationConfig(
        Path("data"), Path("out"), teacher=Path("t"), front_end="cnn", encoder_width=14,
        encoder_blocks=5, encoder_dropout=0.25, without=without,
    )  # fmt: skip
    fingerprint = {"large_fingerprint": ""} if "encoder" in expected else {}
    found = student_config(teacher, config)
    assert found == dataclasses.replace(teacher, **expected, **fingerprint)
    assert found.uses_large_encoder is ("compression" in without)
    assert found.noise_shift == 2.0  # what the sampler does is the teacher's


def test_a_student_may_have_a_gru_and_blocks_of_its_own():
    teacher = large_model(steps=8).config
    config = DistillationConfig(
        Path("data"), Path("out"), teacher=Path("t"), front_end="whisper", hidden_width=7, layers=1,
        blocks_at_face_rate=True,
    )  # fmt: skip
    found = student_config(teacher, config)
    assert (found.hidden_width, found.layers, found.blocks_at_face_rate) == (7, 1, True)


# A whole run -------------------------------------------------------------------------------------


@dataclasses.dataclass
class DistillationRun:
    """What a stage began with, and what became of it and of its teachers."""

    name: str
    steps: int
    start: dict[str, Tensor]
    taught: dict[str, Tensor]
    first: dict[str, Tensor]
    still: bool
    end: dict[str, Tensor]


@pytest.fixture(scope="module")
def finished(data, teacher, tmp_path_factory):
    """Two rounds: the student, its settings, what every stage began with, what was reported."""
    config = settings(data, teacher, tmp_path_factory.mktemp("run") / "deep" / "er")
    courses: list[DistillationRun] = []
    plain = Stage.finish

    def finish(stage):
        teachers = [getattr(stage, "teacher", stage.first_teacher), stage.first_teacher]
        before = [copied(model) for model in teachers]
        start = copied(stage.model)
        student = plain(stage)
        still = all(same(old, copied(m)) for old, m in zip(before, teachers))
        weights = [p for model in teachers for p in model.parameters()]
        still &= not any(p.requires_grad or p.grad is not None for p in weights)
        still &= not any(m.training for model in teachers for m in model.modules())
        name, steps = stage.config.out.name, stage.model.config.steps
        end = copied(student)
        courses.append(DistillationRun(name, steps, start, before[0], before[1], still, end))
        return student

    observer = Recorder()
    reports: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "finish", finish)
        student = distil(config, observer, "dtalk distill", lambda rows: reports.append({**rows}))
    return student, config, courses, observer, reports


def test_a_run_writes_what_it_says(finished):
    _, config, _, observer, _ = finished
    per_round = [MODEL_FILE, "best.safetensors", STATE_FILE, LOG_FILE]
    expected = [f"{stage}/{name}" for stage in STAGES for name in per_round]
    expected.remove(f"{ENCODER}/best.safetensors")  # there is nothing to draw yet
    expected += [MODEL_FILE, GENERATED_FILE, TABLE_FILE]
    assert files(config.out) == sorted(expected)
    assert observer.updates == [1, 2, 3] * 3
    assert all(math.isfinite(loss) for loss in observer.losses)
    assert [update for update, _ in observer.tables] == [3, 3]
    for stage in STAGES:
        assert f"{stage}: 3 updates" in observer.notes


def test_the_last_student_is_fast_and_small(finished):
    student, config, _, _, _ = finished
    teacher = load_model(config.teacher)
    assert isinstance(student.encoder, SmallEncoder)
    assert not student.config.uses_large_encoder
    assert student.config == dataclasses.replace(student_config(teacher.config, config), steps=2)
    loaded = load_model(config.out / MODEL_FILE)
    assert loaded.config == student.config
    assert same(copied(loaded), copied(student))
    sound = speech(4000)
    found = loaded.animate(sound, "bob", "sad").coefficients
    assert np.array_equal(found, student.animate(sound, "bob", "sad").coefficients)
    assert not student.training
    assert not any(p.requires_grad for p in student.parameters())


def test_the_last_students_file_says_how_it_was_made(finished, data):
    _, config, _, _, _ = finished
    description = read_description(config.out / MODEL_FILE)
    assert description["command"] == "dtalk distill"
    assert description["settings"]["steps"] == 2
    assert len(description["settings"]["teacher"]) == 16  # of a hash
    for place in (data, config.out, config.teacher, config.cache):
        assert str(place) not in json.dumps(description)  # no paths of this machine
    weights = load_file(config.out / MODEL_FILE)
    assert same(weights, load_file(config.out / "2-steps" / MODEL_FILE))
    assert same(weights, state_of(config.out / "2-steps")["average"])


def test_a_run_reports_what_became_of_the_teacher_round_by_round(finished):
    student, config, _, _, reports = finished
    names = ["slow@8", "student@4", "student@2"]
    assert [list(rows) for rows in reports] == [names[:1], names[:2], names]
    assert json.loads((config.out / TABLE_FILE).read_text()) == without_nan(reports[-1])
    for row in reports[-1].values():
        assert row["sample"]["all"]["lve"] > 0
        assert set(row["retrieval"]["all"]) == {"identity", "emotion"}
    costs = [reports[-1][name]["cost"] for name in names]
    count = sum(p.numel() for p in student.parameters())
    assert costs[1]["parameters"] == costs[2]["parameters"] == count
    teacher = sum(p.numel() for p in load_model(config.teacher).parameters())
    assert costs[0]["parameters"] == teacher + 1000  # the large encoder's
    assert costs[2]["disk_megabytes"] * 1e6 == (config.out / "2-steps" / MODEL_FILE).stat().st_size


def test_every_stage_starts_from_what_was_before(finished):
    """From the teacher, but for a new encoder; then each from the one before it."""
    _, config, courses, _, _ = finished
    assert [(c.name, c.steps) for c in courses] == [
        (ENCODER, 8), ("4-steps", 4), ("2-steps", 2),
    ]  # fmt: skip
    encoder, slow, fast = courses
    source = load_file(config.teacher)
    rest = ("decoder.", "personalizer.", "mean", "std")
    assert same(part_of(encoder.start, *rest), part_of(source, *rest))
    assert "encoder.front_end.first.weight" in encoder.start
    assert same(slow.start, encoder.end)
    assert same(fast.start, slow.end)
    for course in courses:
        assert not same(course.start, course.end), course.name


def test_teachers_are_those_that_they_should_be(finished):
    """The first of all for the encoder; for the steps the student of the round before."""
    _, config, courses, _, _ = finished
    source = load_file(config.teacher)
    encoder, slow, fast = courses
    assert same(encoder.taught, source)
    assert same(slow.taught, source)
    assert same(fast.taught, slow.end)
    assert all(same(course.first, source) for course in courses)


def test_teachers_are_frozen_and_stay_as_they_are(finished):
    _, _, courses, _, _ = finished
    assert all(course.still for course in courses)


def test_the_encoder_is_trained_alone_at_first(finished):
    """The encoder, and what finds speakers and emotions in what it hears; no motion yet."""
    _, config, courses, _, _ = finished
    start, end = courses[0].start, courses[0].end
    assert same(part_of(start, "decoder.", "mean", "std"), part_of(end, "decoder.", "mean", "std"))
    integrator = "personalizer.integrator."
    assert same(part_of(start, integrator), part_of(end, integrator))
    for name in part_of(start, "encoder.", "personalizer.identity.enc"):
        assert not torch.equal(start[name], end[name]), name
    (entry,) = logged(config.out / ENCODER)
    assert set(entry) == {"update", "losses"}
    parts = {"encoder", "guide", "pooled", "match", "identity", "emotion"}
    assert set(entry["losses"]) == {"total", *parts}


def test_rounds_train_all_there_is(finished):
    """But not what the data say; the enhancer is trained and handed on."""
    _, config, courses, _, _ = finished
    for course in courses[1:]:
        for name, value in course.start.items():
            assert torch.equal(value, course.end[name]) is (name in ("mean", "std")), name
    helpers = [state_of(config.out / stage)["helpers"] for stage in STAGES]
    assert helpers[0] == {}
    assert set(helpers[1]) == {f"enhancer.{name}" for name in Enhancer(8).state_dict()}
    torch.manual_seed(0)
    assert all(not torch.equal(value, helpers[2][name]) for name, value in helpers[1].items())
    assert not [name for name in load_file(config.out / MODEL_FILE) if "enhancer" in name]


def test_rounds_log_all_parts_of_equation_16(finished):
    _, config, _, _, _ = finished
    for stage in STAGES[1:]:
        (entry,) = logged(config.out / stage)
        parts = entry["losses"]
        for name in ("distillation", "encoder", "enhancer", "coefficients", "lips", "upper_face",
                     "velocity", "guide", "identity", "emotion", "match", "total"):  # fmt: skip
            assert parts[name] > 0, name
        assert entry["validation"]["all"]["lve"] > 0


def test_clips_of_sound_get_motion_and_stay_as_they_are_too(finished, data):
    """Two clips of the data hold none; they go on teaching the personalizer."""
    _, config, _, observer, _ = finished
    assert "sampling motion for 2 clips of speech" in observer.notes
    assert set(load_arrays(config.out / GENERATED_FILE)) == {"0", "1"}
    description = read_description(config.out / MODEL_FILE)
    assert description["settings"]["clips"] == 10  # six with motion, two without, two drawn


# Resuming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2, 3, 5, 8])
def test_resuming_is_exact(finished, tmp_path, at):
    """Interrupted in the encoder's stage, in either round, and just at their ends."""
    _, config, _, _, _ = finished
    parts = dataclasses.replace(config, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        distil(parts, Stopping(after=at))
    assert not (parts.out / MODEL_FILE).exists()
    observer = Recorder()
    distil(dataclasses.replace(parts, resume=True), observer)
    assert observer.updates == ([1, 2, 3] * 3)[at:]
    assert same(load_file(config.out / MODEL_FILE), load_file(parts.out / MODEL_FILE))
    for stage in STAGES:
        first, second = state_of(config.out / stage), state_of(parts.out / stage)
        for name in ("update", "model", "helpers", "average", "optimizer"):
            assert same(first[name], second[name]), (stage, name)


def test_resuming_what_is_finished_changes_nothing(finished, monkeypatch):
    student, config, _, _, _ = finished
    monkeypatch.setattr(pseudo_labels, "generate", refuse)
    before = {name: load_file(config.out / name) for name in files(config.out) if "model" in name}
    observer = Recorder()
    reports: list[dict[str, Any]] = []
    again = distil(dataclasses.replace(config, resume=True), observer, "", reports.append)
    assert observer.updates == []
    assert observer.tables == []
    assert list(reports[-1]) == ["slow@8", "student@4", "student@2"]
    assert same(copied(again), copied(student))
    assert len(before) == 4
    for name, weights in before.items():
        assert same(weights, load_file(config.out / name)), name


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def refused(config: DistillationConfig, match: str, error: type[DtalkError]) -> None:
    """One clear line; nothing on disk is changed but what can be made again."""
    observer, before = Recorder(), contents(config.out)
    with pytest.raises(error, match=match) as caught:
        distil(config, observer)
    assert "\n" not in str(caught.value)
    assert observer.updates == []
    after = contents(config.out)
    derived = {TABLE_FILE: b"", GENERATED_FILE: b""}
    assert {**after, **derived} == {**before, **derived}


def test_the_figures_of_a_run_stay_if_another_is_refused(finished):
    _, config, _, _, _ = finished
    before = (config.out / TABLE_FILE).read_bytes()
    try:
        with pytest.raises(DataError, match="add --resume"):
            distil(config, Recorder())
        assert (config.out / TABLE_FILE).read_bytes() == before
    finally:
        (config.out / TABLE_FILE).write_bytes(before)


def test_nothing_to_resume(data, teacher, tmp_path):
    config = settings(data, teacher, tmp_path / "none", resume=True)
    with pytest.raises(CheckpointError, match=r"nothing to resume: .*none does not exist$"):
        distil(config, Recorder())
    assert not config.out.exists()


def test_an_existing_run_is_not_overwritten(finished):
    _, config, _, _, _ = finished
    refused(config, r"training\.pt exists: add --resume", DataError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed was 0, is 4"),
        ({"distillation_weight": 0.5}, "distillation_weight was 0.1, is 0.5"),
        ({"encoder_updates": 9}, "encoder_updates was 3, is 9"),
    ],
)
def test_resuming_with_other_settings_names_them(finished, change, message):
    _, config, _, _, _ = finished
    refused(dataclasses.replace(config, resume=True, **change), message, CheckpointError)


def test_resuming_with_another_teacher_is_refused(finished, data, tmp_path):
    _, config, _, _, _ = finished
    other = write_teacher(tmp_path / "slow.safetensors", data, seed=4, dropout=0.2)
    resumed = dataclasses.replace(config, resume=True, teacher=other)
    refused(resumed, "other settings: teacher was", CheckpointError)


def test_resuming_with_the_same_teacher_elsewhere(finished, tmp_path):
    _, config, _, _, _ = finished
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(config.teacher.read_bytes())
    observer = Recorder()
    distil(dataclasses.replace(config, resume=True, teacher=moved), observer)
    assert observer.updates == []


# What does not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"encoder": None}, CheckpointError, r"uses the speech encoder fake, .* with --encoder"),
        ({"steps": 3}, DataError, "cannot be halved to 3"),
        ({"teacher": Path("gone.safetensors")}, CheckpointError, "it does not exist"),
        ({"sets": ("x",)}, DataError, "no clip with motion in its train split"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    data, teacher, tmp_path, change, error, message
):
    config = dataclasses.replace(settings(data, teacher, tmp_path / "run"), **change)
    refused(config, message, error)
    assert not config.out.exists()


def test_speech_that_is_not_there_is_refused(data, teacher, tmp_path):
    config = settings(data, teacher, tmp_path / "run", speech=(tmp_path / "gone",))
    refused(config, "no such file or folder: .*gone", DtalkError)


@pytest.mark.parametrize("without", [(), ("distillation",)])
def test_a_teacher_that_has_the_steps_already_is_refused(data, teacher, tmp_path, without):
    """There is no round to run, and no student to write."""
    config = settings(data, teacher, tmp_path / "run", steps=STEPS, without=without)
    refused(config, "halve", DataError)


def test_data_without_validation_clips(teacher, tmp_path):
    folder = write_data(tmp_path / "data")
    index = folder / "clips.csv"
    index.write_text("".join(x for x in index.open() if ",val," not in x))
    reports: list[dict[str, Any]] = []
    plain = {"updates": 1, "encoder_updates": 0, "steps": 4}
    config = settings(folder, teacher, tmp_path / "run", **plain)
    assert distil(config, Recorder(), "", reports.append).config.steps == 4
    assert list(reports[-1]) == ["slow@8", "student@4"]
    assert not (config.out / ENCODER).exists()  # no updates were asked for


def test_another_large_encoder_is_refused(data, teacher, tmp_path, monkeypatch):
    other = FakeLarge(fingerprint="beef")
    monkeypatch.setattr(pretrained, "load_large_encoder", lambda *_: other)
    config = settings(data, teacher, tmp_path / "run")
    refused(config, r"was made with layers 3, 5 of fake", CheckpointError)


# Teachers with a small encoder -------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_teacher(data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "small.safetensors"
    model = tiny_model(5, steps=2)
    save_model(model, path)
    return path


def test_a_teacher_with_a_small_encoder(data, small_teacher, tmp_path):
    """The student takes its encoder over, and hears at first as its teacher does."""
    config = settings(data, small_teacher, tmp_path / "run", encoder=None, steps=1, updates=1)
    config = dataclasses.replace(config, encoder_updates=1, front_end="mel")
    student = distil(config, Recorder())
    assert (student.config.steps, student.config.encoder) == (1, "mel")
    assert not (config.out / ENCODER).exists()  # nothing to learn alone
    (entry,) = logged(config.out / "1-steps")
    assert entry["losses"]["encoder"] == pytest.approx(0, abs=1e-5)
    assert entry["losses"]["match"] == pytest.approx(0, abs=1e-5)
    assert entry["losses"]["identity"] > 0


def test_a_student_with_another_front_end_than_its_teacher(data, small_teacher, tmp_path):
    """Each hears the sound as it was prepared for it."""
    config = settings(data, small_teacher, tmp_path / "run", encoder=None, steps=1, updates=1)
    config = dataclasses.replace(config, encoder_updates=1, front_end="cnn")
    student = distil(config, Recorder())
    assert student.config.encoder == "cnn"
    (entry,) = logged(config.out / ENCODER)
    assert entry["losses"]["encoder"] > 0.1


def test_a_student_can_be_gone_on_with(finished, data, teacher, tmp_path):
    """In the last round alone, taught by the teacher itself; the encoder first, if wanted."""
    earlier = finished[1].out / MODEL_FILE
    config = settings(data, teacher, tmp_path / "run", init=earlier, updates=1, encoder_updates=0)
    starts: list[dict[str, Tensor]] = []
    plain = Round.finish

    def finish(stage):
        starts.append(copied(stage.model))
        assert stage.teacher is stage.first_teacher
        return plain(stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Round, "finish", finish)
        student = distil(config, Recorder())
    assert same(starts[0], copied(load_model(earlier)))
    assert len(starts) == 1
    assert student.config.steps == 2
    folders = sorted(path.name for path in config.out.iterdir() if path.is_dir())
    assert folders == ["2-steps"]


def test_an_encoder_that_is_named_goes_before_the_students(finished, data, teacher, tmp_path):
    earlier, other = finished[1].out / MODEL_FILE, finished[1].out / ENCODER / MODEL_FILE
    config = settings(
        data, teacher, tmp_path / "run", init=earlier, encoder_init=other, updates=1,
        encoder_updates=0, learning_rate=0.0,
    )  # fmt: skip
    found = copied(distil(config, Recorder()))
    sources = [copied(load_model(path)) for path in (earlier, other)]
    for part, [one, another] in {"encoder.": sources[::-1], "decoder.": sources}.items():
        assert same(part_of(found, part), part_of(one, part))
        assert not same(part_of(found, part), part_of(another, part))


def test_a_student_can_begin_with_the_last_round(data, teacher, tmp_path):
    """From its teacher, whose large encoder it does not need."""
    config = settings(data, teacher, tmp_path / "run", init=teacher, updates=1, encoder_updates=0)
    student = distil(config, Recorder())
    assert student.config.steps == 2
    assert [path.name for path in config.out.iterdir() if path.is_dir()] == ["2-steps"]


def test_a_narrow_student_keeps_all_but_its_gru(data, teacher, tmp_path):
    config = settings(
        data, teacher, tmp_path / "run", init=teacher, updates=1, encoder_updates=0,
        hidden_width=5, layers=1, learning_rate=1e-9,
    )  # fmt: skip
    student, its_teacher = distil(config, Recorder()), load_model(teacher)
    assert student.decoder.recurrent.hidden_size == 5
    theirs, mine = its_teacher.decoder.guide.heard.weight, student.decoder.guide.heard.weight
    torch.testing.assert_close(mine, theirs)
    last = student.decoder.output.get_parameter("2.weight")
    assert last.abs().max() < 0.05  # nearly linear at first


@pytest.mark.parametrize("encoder_updates", [0, 1])  # whose stage leaves its student frozen
def test_a_student_learns_what_emotions_sound_like_to_it(
    data, teacher, tmp_path, monkeypatch, encoder_updates
):
    """What its library hears by is learned; how an emotion looks stays its teacher's."""
    monkeypatch.setattr(hearing_emotions, "HEARING_UPDATES", 2)
    still = {"init": teacher, "encoder_updates": encoder_updates, "learning_rate": 1e-9}
    libraries = []
    for number, asked in enumerate((False, True)):
        student, _ = once(data, teacher, tmp_path / str(number), hear_emotions=asked, **still)
        libraries.append(student.personalizer.emotion)
    plain, learned = libraries
    torch.testing.assert_close(learned.entries, plain.entries)
    ears = [library.get_parameter("encode_audio.0.weight") for library in libraries]
    assert (ears[1] - ears[0]).abs().max() > 0.01


# Parts that are left out -------------------------------------------------------------------------


def once(data, teacher, out: Path, *without: str, **changes: Any):
    """A run of a single round with a single update, without some parts."""
    plain = {"updates": 1, "encoder_updates": 1, "steps": 4}
    config = settings(data, teacher, out, without=without, **{**plain, **changes})
    return distil(config, Recorder()), config


def test_without_the_enhancer(data, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(Enhancer, "forward", refuse)
    _, config = once(data, teacher, tmp_path / "run", "enhancer")
    (entry,) = logged(config.out / "4-steps")
    assert entry["losses"]["enhancer"] == 0
    assert entry["losses"]["distillation"] > 0


def test_without_compression(data, teacher, tmp_path, heard):
    student, config = once(data, teacher, tmp_path / "run", "compression")
    source = load_model(config.teacher)
    assert isinstance(student.encoder, AdaptedEncoder)
    assert student.config == dataclasses.replace(source.config, steps=4)
    assert student.large_encoder is heard[-1]
    assert not (config.out / ENCODER).exists()
    assert torch.equal(student.encoder.mean, source.encoder.mean)
    loaded = load_model(config.out / MODEL_FILE)
    loaded.attach(heard[-1])
    assert np.isfinite(loaded.animate(speech(3000)).coefficients).all()


def test_a_student_is_its_teacher_until_it_learns(data, teacher, tmp_path):
    """At a rate of 0 the weights stay, the large encoder's adapter and all."""
    student, config = once(data, teacher, tmp_path / "run", "compression", learning_rate=0.0)
    assert same(copied(student), load_file(config.teacher))
    assert student.config.steps == 4


@pytest.mark.parametrize("part", ["identity", "emotion"])
def test_without_a_library(data, teacher, tmp_path, part):
    student, config = once(data, teacher, tmp_path / "run", part)
    assert student.config.identities == (() if part == "identity" else ("ann", "bob", "cat"))
    assert student.config.emotions == (() if part == "emotion" else ("happy", "sad"))
    assert load_model(config.out / MODEL_FILE).config == student.config
    for stage in (ENCODER, "4-steps"):
        (entry,) = logged(config.out / stage)
        assert entry["losses"][part] == 0
        assert entry["losses"][{"identity": "emotion", "emotion": "identity"}[part]] > 0
    # Clips are told apart by what the teacher knows.
    assert entry["losses"]["enhancer"] > 0
    found = student.animate(speech(3000))
    assert getattr(found, part) == ""


def test_without_distillation(data, teacher, tmp_path, monkeypatch):
    """As many updates, on tracked faces alone; what a teacher says or hears makes no difference."""
    other = write_teacher(tmp_path / "other.safetensors", data, seed=9, dropout=0.2)
    for module, name in (
        (stages, "encode_speech"),
        (stages, "target_of"),
        (pseudo_labels, "generate"),
        (pseudo_labels, "read_speech"),
    ):
        monkeypatch.setattr(module, name, refuse)
    made = []
    for path in (teacher, other):
        config = settings(data, path, tmp_path / path.stem, without=("distillation",), updates=2)
        observer = Recorder()
        student = distil(config, observer)
        assert files(config.out) == sorted(
            [MODEL_FILE, TABLE_FILE, *(f"2-steps/{name}" for name in
             (MODEL_FILE, "best.safetensors", STATE_FILE, LOG_FILE))]
        )  # fmt: skip
        assert observer.updates == list(range(1, 8))  # three of the encoder, two rounds of two
        made.append(copied(student))
        assert (student.config.steps, student.config.encoder) == (2, "mel")
    assert not same(load_file(teacher), load_file(other))
    assert same(*made)
    (entry,) = logged(config.out / "2-steps")
    assert "distillation" not in entry["losses"]
    source = load_model(teacher)
    assert torch.equal(student.mean, source.mean)
    assert torch.equal(student.std, source.std)


def test_without_distillation_and_compression(data, teacher, tmp_path):
    """The student hears as the teacher does: through the same encoder, standardised alike."""
    without = ("distillation", "compression")
    config = settings(data, teacher, tmp_path / "run", without=without, updates=1)
    observer = Recorder()
    student = distil(config, observer)
    assert observer.updates == [1, 2]  # two rounds of one, and no stage for an encoder
    assert student.config == dataclasses.replace(load_model(teacher).config, steps=2)
    source, weights = load_file(teacher), student.state_dict()
    for name in ("encoder.mean", "encoder.std", "mean", "std"):
        assert torch.equal(weights[name], source[name]), name
    assert not torch.equal(weights["encoder.output.weight"], source["encoder.output.weight"])


def test_without_distillation_only_the_last_round_is_replaced_with_init(data, teacher, tmp_path):
    config = settings(data, teacher, tmp_path / "run", without=("distillation",), updates=1)
    observer = Recorder()
    distil(dataclasses.replace(config, init=teacher, encoder_updates=0), observer)
    assert observer.updates == [1]


def test_without_distillation_is_resumed_exactly(data, teacher, tmp_path):
    whole = settings(data, teacher, tmp_path / "whole", without=("distillation",), updates=2)
    distil(whole, Recorder())
    parts = dataclasses.replace(whole, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        distil(parts, Stopping(after=3))
    distil(dataclasses.replace(parts, resume=True), Recorder())
    assert same(load_file(whole.out / MODEL_FILE), load_file(parts.out / MODEL_FILE))


# Losses ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def still_teacher(data, tmp_path_factory) -> Path:
    """Without dropout, so that what is computed twice is the same."""
    return write_teacher(tmp_path_factory.mktemp("teacher") / "still.safetensors", data)


def begun(config: DistillationConfig, steps: int) -> tuple[DiffusionTalker, DiffusionTalker]:
    """A student as it starts, and its teacher."""
    teacher = inference.read_model(config.teacher, "cpu", "ear", config.cache)
    torch.manual_seed(config.seed)
    described = dataclasses.replace(student_config(teacher.config, config), steps=steps)
    student = DiffusionTalker(described)
    load_compatible(student, teacher)
    return student, teacher.requires_grad_(False)


def round_of(data: Path, teacher: Path, out: Path, **changes: Any) -> Round:
    """The first round, nothing of it run yet."""
    config = settings(data, teacher, out, **changes)
    student, model = begun(config, STEPS // 2)
    loaded = load_data(config, Recorder())
    course = stages.DistillationRun(config, Recorder(), "", loaded, model)
    return Round(course, student, model, Enhancer(8))


def batch_of(stage: Stage):
    source = stage.batches(0)
    batch = next(source)
    source.close()
    return batch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_total_is_equation_16(data, still_teacher, tmp_path):
    weights = {"distillation_weight": 0.3, "encoder_weight": 0.7, "enhancer_weight": 0.2}
    of_faces = {"lip_weight": 2.0, "upper_weight": 1.5, "velocity_weight": 3.0}
    stage = round_of(
        data, still_teacher, tmp_path, **weights, **of_faces, guide_weight=0.5, match_weight=0.4,
        pooled_weight=0.6,
    )  # fmt: skip
    found = stage.losses(batch_of(stage), generator())
    parts = {name: value.item() for name, value in found.items()}
    rec = parts["coefficients"] + 2 * parts["lips"] + 1.5 * parts["upper_face"]
    rec += 3 * parts["velocity"] + 0.5 * parts["guide"]
    expected = rec + 0.007 * (parts["identity"] + parts["emotion"])
    expected += 0.3 * parts["distillation"] + 0.7 * parts["encoder"] + 0.2 * parts["enhancer"]
    expected += 0.4 * parts["match"] + 0.6 * parts["pooled"]
    assert parts["total"] == pytest.approx(expected, rel=1e-6)
    assert all(value > 0 for value in parts.values())


def spied(stage: Round, batch, monkeypatch) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The losses, and what the functions between gave: predictions, targets, features."""
    seen: dict[str, Any] = {}
    for name in ("denoised", "target_of"):
        plain = getattr(stages, name)

        def noting(*args, name=name, plain=plain):
            seen[name] = plain(*args)
            seen["draw"] = args[-2]
            return seen[name]

        monkeypatch.setattr(stages, name, noting)
    return stage.losses(batch, generator()), seen


def test_the_distillation_loss_is_equation_11(data, tmp_path, monkeypatch):
    """In times that are evenly spread there are some with more signal than noise."""
    teacher = write_teacher(tmp_path / "even.safetensors", data, noise_shift=1.0)
    plain = {"lip_weight": 0.0, "upper_weight": 0.0, "velocity_weight": 0.0}
    stage = round_of(data, teacher, tmp_path / "run", **plain)
    batch = batch_of(stage)
    found, seen = spied(stage, batch, monkeypatch)
    predicted, target = seen["denoised"].detach(), seen["target_of"]
    assert predicted.shape == target.shape == batch.target.shape
    times = time_grid(4)[seen["draw"].step]
    assert set(times.tolist()) == {1.0, 0.75, 0.5, 0.25}
    weight = losses.truncated_snr(*schedule(times))
    assert weight.max() > 5
    mask = frame_mask(batch.lengths[: len(target)], target.shape[1])
    errors = weight[:, None] * (predicted - target).square().mean(-1)
    expected = errors[mask].mean()
    torch.testing.assert_close(found["distillation"].detach(), expected)
    assert not target.requires_grad


def test_a_teacher_that_knows_the_truth_teaches_it(data, still_teacher, tmp_path, monkeypatch):
    """And it is asked where two of its own steps go, from the student's time on."""
    stage = round_of(data, still_teacher, tmp_path)
    batch, asked = batch_of(stage), []

    def knowing(noisy, time, *_):
        asked.append((noisy, time))
        return batch.target

    monkeypatch.setattr(stage.teacher.decoder, "forward", knowing)
    _, seen = spied(stage, batch, monkeypatch)
    torch.testing.assert_close(seen["target_of"], batch.target, atol=1e-4, rtol=1e-4)
    grid = time_grid(8, shift=stage.model.config.noise_shift)
    (_, first), (_, second) = asked
    step = seen["draw"].step
    assert torch.equal(first, grid[2 * step])
    assert torch.equal(second, grid[2 * step + 1])
    assert torch.equal(first, time_grid(4, shift=stage.model.config.noise_shift)[step])


def test_the_target_is_where_two_steps_of_the_teachers_sampler_lead(
    data, still_teacher, tmp_path, monkeypatch
):
    """The student's one step with it ends at its own next time, where the teacher is by then."""
    stage = round_of(data, still_teacher, tmp_path)
    batch, teacher = batch_of(stage), stage.teacher
    _, seen = spied(stage, batch, monkeypatch)
    draw, config = seen["draw"], stage.config
    taught = encode_speech(teacher, batch.large, batch, draw, config)
    lengths = batch.lengths[: len(batch.target)]
    denoise = teacher.denoiser(taught.conditions(draw), taught.embedding, lengths)
    shift = teacher.config.noise_shift
    slow, fast = time_grid(8, shift=shift), time_grid(4, shift=shift)
    with torch.no_grad():
        x = start = add_noise(batch.target, draw.noise, fast[draw.step])
        for step in (2 * draw.step, 2 * draw.step + 1):
            x = ddim_step(x, denoise(x, slow[step]), slow[step], slow[step + 1])
        landed = ddim_step(start, seen["target_of"], fast[draw.step], fast[draw.step + 1])
    torch.testing.assert_close(landed, x, atol=1e-4, rtol=1e-4)
    assert (draw.step == 3).any()  # of which the last ends without noise


def test_in_later_rounds_the_encoder_still_learns_from_the_first_teacher(
    data, still_teacher, tmp_path
):
    """What the teacher of the round says is for the motion alone; it hears with a small encoder."""
    first = round_of(data, still_teacher, tmp_path, match_weight=0.5)
    student = first.model.new_like(steps=2)
    student.load_state_dict(copied(first.model))
    middle = first.model.new_like(steps=4).eval().requires_grad_(False)
    course = stages.DistillationRun(
        first.distillation, Recorder(), "", first.data, first.first_teacher
    )
    second = Round(course, student, middle, Enhancer(8))
    batch = batch_of(second)
    alike = [stage.losses(batch, generator()) for stage in (first, second)]
    for name in ("encoder", "match", "identity", "emotion"):
        torch.testing.assert_close(alike[1][name], alike[0][name])
    last = middle.decoder.output[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias.add_(9.0)
    taught = second.losses(batch, generator())
    assert taught["distillation"] > alike[1]["distillation"]
    assert torch.equal(taught["encoder"], alike[1]["encoder"])


def test_a_student_that_is_taught_its_own_steps_has_nothing_to_learn(
    data, still_teacher, tmp_path, monkeypatch
):
    """What two equal answers are worth: a student and a teacher that never look at x_t."""
    stage = round_of(data, still_teacher, tmp_path)
    batch = batch_of(stage)
    for model in (stage.model, stage.teacher):
        monkeypatch.setattr(model.decoder, "forward", lambda *_: batch.target + 1)
    found = stage.losses(batch, generator())
    assert found["distillation"].item() == pytest.approx(0, abs=1e-6)
    assert found["coefficients"].item() == pytest.approx(1, abs=1e-5)


def test_the_encoders_loss_is_equation_12_over_all_clips(data, still_teacher, tmp_path):
    """With motion and without; the first teacher's features, frame by frame."""
    stage = round_of(data, still_teacher, tmp_path)
    batch = batch_of(stage)
    found = stage.losses(batch, generator())["encoder"].item()
    cosines = []
    with torch.no_grad():
        for row, length in enumerate(batch.lengths):
            large, small = (
                model.encoder([inputs[row]], length[None])[0]
                for model, inputs in ((stage.teacher, batch.large), (stage.model, batch.inputs))
            )
            cosines.append(torch.cosine_similarity(large, small, dim=-1))
    assert len(cosines) == len(batch.target) + 2
    assert found == pytest.approx(1 - torch.cat(cosines).mean().item(), abs=1e-5)


def test_the_enhancers_loss_is_equation_14_over_clips_that_differ(
    data, still_teacher, tmp_path, monkeypatch
):
    stage = round_of(data, still_teacher, tmp_path, enhancer_temperature=0.3)
    batch = batch_of(stage)
    given_ = []
    plain = Enhancer.forward

    def noting(ours, *arguments):
        given_.append((*arguments, plain(ours, *arguments)))
        return given_[-1][-1]

    monkeypatch.setattr(Enhancer, "forward", noting)
    found, seen = spied(stage, batch, monkeypatch)
    (p, target, mask, taught), (q, predicted, also_mask, learned) = given_
    moving = len(batch.target)
    chosen = pairwise_different(batch.identity[:moving].tolist(), batch.emotion[:moving].tolist())
    assert len(chosen) == len(p) == 2
    assert torch.equal(target, seen["target_of"][chosen])
    assert torch.equal(predicted, seen["denoised"][chosen])
    assert torch.equal(mask, also_mask)
    assert mask.sum(1).tolist() == batch.lengths[chosen].tolist()
    assert not torch.equal(p, q)
    expected = losses.personal_contrast(taught, learned, 0.3)
    torch.testing.assert_close(found["enhancer"], expected)


def test_who_learns_from_a_round(data, still_teacher, tmp_path):
    """The student and the enhancer; no teacher."""
    stage = round_of(data, still_teacher, tmp_path)
    stage.losses(batch_of(stage), generator())["total"].backward()
    for name, parameter in [*stage.model.named_parameters(), *stage.helpers.named_parameters()]:
        assert parameter.grad is not None, name
        if name.startswith("enhancer."):
            assert parameter.grad.abs().max() > 0, name
    assert all(p.grad is None for p in stage.teacher.parameters())
    trained = [p for group in stage.optimizer.param_groups for p in group["params"]]
    assert len(trained) == len([*stage.model.parameters(), *stage.enhancer.parameters()])


def test_matching_is_nothing_where_both_find_the_same(data, still_teacher, tmp_path):
    """Else the divergence of what they find; of libraries that both have."""
    stage = round_of(data, still_teacher, tmp_path)
    teacher, audio = stage.teacher, torch.randn(5, 16, generator=generator())
    heard_, other = EncodedSpeech([], audio, audio), EncodedSpeech([], audio.flip(0), audio)
    nothing = stages.matching(teacher, heard_, teacher, heard_)
    assert nothing.item() == pytest.approx(0, abs=1e-6)
    expected = 0.0
    for library in (teacher.personalizer.identity, teacher.personalizer.emotion):
        wanted, found = library.match(audio.flip(0)).double(), library.match(audio).double()
        expected += float((wanted * (wanted / found).log()).sum(1).mean())
    assert expected > 0.01
    divergence = stages.matching(teacher, heard_, teacher, other).item()
    assert divergence == pytest.approx(expected, rel=1e-4)
    unlabelled = tiny_model(identities=(), emotions=())
    assert stages.matching(unlabelled, heard_, teacher, other).item() == 0


# Learning ----------------------------------------------------------------------------------------


def falls(stage: Stage, name: str, updates: int, share: float) -> None:
    """Of one batch, learned again and again, the loss of this name comes to a share."""
    batch = batch_of(stage)
    history = [stage.step(batch)[name] for _ in range(updates)]
    first, last = np.mean(history[:6]), np.mean(history[-6:])
    assert last < share * first, (first, last)


@pytest.fixture
def _quick(monkeypatch) -> None:
    monkeypatch.setattr("dtalk.training.trainer.WARM_UP", 1)


@pytest.mark.usefixtures("_quick")
def test_the_student_learns_to_do_in_one_step_what_its_teacher_does_in_two(
    data, still_teacher, tmp_path
):
    """By eq. 11 alone."""
    nothing = dict.fromkeys(
        ("reconstruction_weight", "contrast_weight", "encoder_weight", "enhancer_weight"), 0.0
    )
    stage = round_of(
        data, still_teacher, tmp_path, **nothing, distillation_weight=1.0, learning_rate=0.01,
        updates=40, augment=0.0, encoder_width=24,
    )  # fmt: skip
    falls(stage, "distillation", 40, 0.5)


@pytest.mark.usefixtures("_quick")
def test_the_small_encoder_learns_to_hear_what_the_large_one_hears(data, still_teacher, tmp_path):
    """By eq. 12."""
    config = settings(
        data, still_teacher, tmp_path, learning_rate=0.01, encoder_updates=40, augment=0.0,
        encoder_width=24, contrast_weight=0.0,
    )  # fmt: skip
    student, teacher = begun(config, STEPS)
    loaded = load_data(config, Recorder())
    course = stages.DistillationRun(config, Recorder(), "", loaded, teacher)
    stage = EncoderStage(course, student, config.encoder_updates)
    falls(stage, "encoder", 40, 0.5)


@pytest.mark.usefixtures("plain_kernels")
def test_distillation_in_bfloat16(data, teacher, tmp_path):
    student, config = once(data, teacher, tmp_path / "run", precision="bfloat16")
    assert all(p.dtype == torch.float32 for p in student.parameters())
    (entry,) = logged(config.out / "4-steps")
    assert all(math.isfinite(value) for value in entry["losses"].values())


def test_a_run_with_speech_is_resumed_exactly(data, teacher, spoken, tmp_path, monkeypatch):
    plain = {"updates": 1, "encoder_updates": 2, "steps": 4, "speech": (spoken,)}
    whole = settings(data, teacher, tmp_path / "whole", **plain)
    distil(whole, Recorder())
    assert set(load_arrays(whole.out / GENERATED_FILE)) == {"0", "1", "2", "3"}
    parts = dataclasses.replace(whole, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        distil(parts, Stopping(after=1))
    monkeypatch.setattr(pseudo_labels, "generate", refuse)
    observer = Recorder()
    distil(dataclasses.replace(parts, resume=True), observer)
    assert observer.updates == [2, 1]
    assert same(load_file(whole.out / MODEL_FILE), load_file(parts.out / MODEL_FILE))


def test_resuming_with_other_speech_is_refused(data, teacher, spoken, tmp_path):
    config = settings(data, teacher, tmp_path / "run", speech=(spoken,))
    with pytest.raises(KeyboardInterrupt):
        distil(config, Stopping(after=1))
    less = dataclasses.replace(config, resume=True, speech=(spoken / "deep",))
    with pytest.raises(CheckpointError, match=r"other settings: clips was 12, is 11$"):
        distil(less, Recorder())


# A bottom whose blocks are trained ---------------------------------------------------------------


@dataclasses.dataclass
class LargeWithBottom(FakeLarge):
    """A large encoder whose first layers can be copied."""

    def bottom(self, depth: int) -> WhisperBottom:
        torch.manual_seed(depth)
        return WhisperBottom(512, depth)


def blocks_of(path: Path) -> dict[str, Tensor]:
    return part_of(load_file(path), "encoder.bottom.blocks.")


@pytest.mark.parametrize("stopped", [None, 1, 3])
def test_the_blocks_of_a_bottom_are_trained_in_every_stage(
    stopped, data, teacher, tmp_path, monkeypatch
):
    """Narrowed first, by a tenth of the rate; interrupted, they go on exactly."""
    for module in (pretrained, starting):
        monkeypatch.setattr(module, "load_large_encoder", lambda *_: LargeWithBottom())
    config = settings(
        data, teacher, tmp_path / "run", init=teacher, front_end="whisper", encoder_depth=1,
        block_width=8, block_rate=0.1, encoder_updates=2, updates=2, blocks_at_face_rate=True,
        cache=tmp_path / "cache",
    )  # fmt: skip
    whole = distil(config, Recorder())
    after_encoder, after_round = (
        blocks_of(config.out / stage / MODEL_FILE) for stage in (ENCODER, "2-steps")
    )
    assert after_round["encoder.bottom.blocks.0.inner.weight"].shape == (8, 512)
    for name, value in after_encoder.items():
        assert not torch.equal(after_round[name], value), name
    if stopped is not None:
        parts = dataclasses.replace(config, out=tmp_path / "parts")
        with pytest.raises(KeyboardInterrupt):
            distil(parts, Stopping(after=stopped))
        again = distil(dataclasses.replace(parts, resume=True), Recorder())
        assert same(copied(again), copied(whole))


def test_without_distillation_a_bottom_is_copied_and_its_features_standardised(
    data, teacher, tmp_path, monkeypatch
):
    for module in (pretrained, starting):
        monkeypatch.setattr(module, "load_large_encoder", lambda *_: LargeWithBottom())
    config = settings(
        data, teacher, tmp_path / "run", without=("distillation",), front_end="whisper",
        encoder_depth=1, updates=1, cache=tmp_path / "cache",
    )  # fmt: skip
    student = distil(config, Recorder())
    encoder = student.encoder
    assert isinstance(encoder, CompressedEncoder)
    assert same(dict(encoder.bottom.state_dict()), dict(LargeWithBottom().bottom(1).state_dict()))
    sounds = [torch.from_numpy(c.waveform) for c in load_data(config, Recorder()).train]
    heard = torch.cat([encoder.prepare(sound) for sound in sounds])
    standard = (heard - encoder.mean) / encoder.std
    assert standard.mean(0).abs().mean() < 0.5
    assert standard.std(0).mean() == pytest.approx(1, abs=0.5)
    assert student.mean.tolist() == load_model(teacher).mean.tolist()
