"""Batches: where outputs go, and failures that stop nothing."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from dtalk.errors import AudioError, DtalkError
from dtalk.utils.jobs import Job, Made, Outcome, plan, run, run_elsewhere
from dtalk.utils.open_workers import open_workers


def test_outputs_lie_beside_their_inputs() -> None:
    found = [(Path("in/a.wav"), Path("a.wav")), (Path("in/deep/b.flac"), Path("deep/b.flac"))]
    jobs = plan(found, None, [".npz", ".csv"])
    assert jobs == [
        Job(Path("in/a.wav"), (Path("in/a.npz"), Path("in/a.csv"))),
        Job(Path("in/deep/b.flac"), (Path("in/deep/b.npz"), Path("in/deep/b.csv"))),
    ]


def test_an_output_folder_holds_the_same_tree() -> None:
    found = [(Path("in/a.wav"), Path("a.wav")), (Path("in/deep/b.wav"), Path("deep/b.wav"))]
    jobs = plan(found, Path("out"), [".npz"])
    assert [job.outputs for job in jobs] == [(Path("out/a.npz"),), (Path("out/deep/b.npz"),)]


@pytest.mark.parametrize(
    ("out", "suffixes", "expected"),
    [
        ("x.npz", [".npz"], ["x.npz"]),
        ("x.NPZ", [".npz"], ["x.NPZ"]),
        ("deep/x.mp4", [".mp4"], ["deep/x.mp4"]),
        ("folder", [".npz"], ["folder/a.npz"]),
        ("folder", [".npz", ".csv"], ["folder/a.npz", "folder/a.csv"]),
    ],
)
def test_out_names_a_file_or_a_folder(out: str, suffixes: list[str], expected: list[str]) -> None:
    (job,) = plan([(Path("in/a.wav"), Path("a.wav"))], Path(out), suffixes)
    assert job.outputs == tuple(map(Path, expected))


def test_dots_in_a_name_are_no_suffix() -> None:
    (job,) = plan([(Path("take.1.final.wav"), Path("take.1.final.wav"))], None, [".npz"])
    assert job.outputs == (Path("take.1.final.npz"),)


@pytest.mark.parametrize(
    ("first", "second", "out"),
    [
        (("in/a.wav", "a.wav"), ("in/a.flac", "a.flac"), None),
        (("x/a.wav", "a.wav"), ("y/a.wav", "a.wav"), "out"),
    ],
)
def test_two_inputs_to_one_output_are_refused(
    first: tuple[str, str], second: tuple[str, str], out: str | None
) -> None:
    found = [(Path(source), Path(relative)) for source, relative in (first, second)]
    found.append((Path("z/other.wav"), Path("other.wav")))
    one, two, other = plan(found, Path(out) if out else None, [".npz"])
    target = other.outputs[0].with_name("a.npz") if out else Path("in/a.npz")
    assert one.problem == (
        f"{first[0]} would write {target}, as would {second[0]}; rename one, or run them apart"
    )
    assert second[0] in two.problem
    assert other.problem == ""


def test_one_output_spelled_in_two_ways_is_refused() -> None:
    found = [(Path("a.wav"), Path("a.wav")), (Path("x/../a.wav"), Path("a.wav"))]
    assert all("as would" in job.problem for job in plan(found, None, [".npz"]))


def jobs_in(folder: Path, *names: str) -> list[Job]:
    return [Job(folder / f"{name}.wav", (folder / f"{name}.npz",)) for name in names]


def test_a_failure_is_told_and_stops_nothing(tmp_path: Path) -> None:
    def work(job: Job) -> Made:
        if job.source.stem == "bad":
            raise AudioError("this one is broken")
        return Made(7)

    outcomes = list(run(jobs_in(tmp_path, "a", "bad", "b"), work))
    assert [outcome.error for outcome in outcomes] == [None, "this one is broken", None]
    assert [outcome.frames for outcome in outcomes] == [7, 0, 7]
    assert all(outcome.seconds >= 0 for outcome in outcomes)


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("by\nnothing"), OSError(30, "Read-only"), MemoryError(), KeyError(1)],
)
def test_whatever_a_file_raises_is_its_failure_and_names_the_place(
    tmp_path: Path, error: Exception
) -> None:
    def work(job: Job) -> Made:
        if job.source.stem == "bad":
            raise error
        return Made(1)

    good, bad, after = run(jobs_in(tmp_path, "a", "bad", "b"), work)
    assert (good.error, after.error) == (None, None)
    assert bad.error is not None
    assert bad.error.startswith(f"{tmp_path / 'bad.wav'}: {type(error).__name__}")
    assert "at jobs.py:" in bad.error
    assert "\n" not in bad.error


def test_jobs_with_a_problem_are_not_done(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / "a.wav", (tmp_path / "a.npz",), "its name is taken")]
    assert [outcome.error for outcome in run(jobs, lambda job: Made(1))] == ["its name is taken"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_that_is_asked_for_is_one(tmp_path: Path, error: type[BaseException]) -> None:
    def work(job: Job) -> Made:
        raise error

    with pytest.raises(error):
        list(run(jobs_in(tmp_path, "a"), work))


@pytest.mark.parametrize("name", ["talk.fbx", "face.cvs", "x.mp4", "x.gltf"])
def test_a_file_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    found = [(Path("a.wav"), Path("a.wav"))]
    with pytest.raises(DtalkError, match=r"\.npz is written"):
        plan(found, tmp_path / name, [".npz"])
    (tmp_path / name).mkdir()
    [job] = plan(found, tmp_path / name, [".npz"])
    assert job.outputs == (tmp_path / name / "a.npz",)


@pytest.mark.parametrize("name", ["v1.2", "take.1", "a.folder", ".hidden"])
def test_a_folder_may_have_dots(name: str) -> None:
    [job] = plan([(Path("a.wav"), Path("a.wav"))], Path(name), [".npz"])
    assert job.outputs == (Path(name) / "a.npz",)


def test_outcomes_come_as_the_work_is_done(tmp_path: Path) -> None:
    done: list[str] = []

    def work(job: Job) -> Made:
        done.append(job.source.stem)
        return Made(1)

    outcomes = run(jobs_in(tmp_path, "a", "b"), work)
    assert done == []
    next(outcomes)
    assert done == ["a"]


def test_existing_outputs_are_left_alone_unless_forced(tmp_path: Path) -> None:
    job = Job(tmp_path / "a.wav", (tmp_path / "a.npz", tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("precious")
    worked: list[Job] = []

    def work(job: Job) -> Made:
        worked.append(job)
        return Made(1)

    (outcome,) = run([job], work)
    assert outcome.error is not None
    assert "a.csv exists already" in outcome.error
    assert "--force" in outcome.error
    assert "a.npz" not in outcome.error
    assert not worked

    (outcome,) = run([job], work, force=True)
    assert outcome.error is None
    assert worked == [job]


def test_warnings_belong_to_their_file(tmp_path: Path) -> None:
    def work(job: Job) -> Made:
        if job.source.stem == "b":
            warnings.warn("odd, but usable", UserWarning, stacklevel=1)
            warnings.warn("of no interest to a user", DeprecationWarning, stacklevel=1)
        return Made(1)

    outcomes: list[Outcome] = list(run(jobs_in(tmp_path, "a", "b", "c"), work))
    assert [outcome.warnings for outcome in outcomes] == [(), ("odd, but usable",), ()]


def test_warnings_are_told_when_they_come(tmp_path: Path) -> None:
    told: list[str] = []

    def work(job: Job) -> Made:
        warnings.warn("of no interest to a user", DeprecationWarning, stacklevel=1)
        warnings.warn("cut off", UserWarning, stacklevel=1)
        assert told == ["cut off"]
        return Made(1)

    [outcome] = run(jobs_in(tmp_path, "a"), work, tell=told.append)
    assert (outcome.error, outcome.warnings) == (None, ("cut off",))


def test_the_same_warning_is_told_for_every_file(tmp_path: Path) -> None:
    def work(job: Job) -> Made:
        warnings.warn("again", UserWarning, stacklevel=1)
        return Made(1)

    outcomes = run(jobs_in(tmp_path, "a", "b"), work)
    assert [outcome.warnings for outcome in outcomes] == [("again",), ("again",)]


# --- in several processes ---------------------------------------------------------------------


def measured(job: Job) -> Made:
    """Work that fails, warns, ends its process or does well, by the name of its source.

    What ends its process once has made its output by then, but has told nobody.
    """
    if job.source.stem == "bad":
        raise AudioError("bad.wav holds no sound")
    if job.source.stem == "odd":
        warnings.warn("odd.wav is odd", UserWarning, stacklevel=1)
    if job.source.stem == "deadly" or (job.source.stem == "once" and not Path("died").exists()):
        if job.source.stem == "once":
            Path("died").touch()
            job.outputs[0].touch()
        os._exit(3)
    return Made(len(job.source.stem))


def jobs_named(*names: str) -> list[Job]:
    return [Job(Path(f"{name}.wav"), (Path(f"{name}.npz"),)) for name in names]


def test_processes_give_what_one_process_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What kills its process twice is named, and stops nothing; what does so once is made."""
    monkeypatch.chdir(tmp_path)
    Path("kept.npz").touch()
    names = ("good", "bad", "deadly", "odd", "kept", "once", "another")
    jobs = jobs_named(*names)
    with open_workers(2) as workers:
        there = list(run_elsewhere(jobs, measured, False, workers))
    assert [outcome.job for outcome in there] == jobs
    found = {o.job.source.stem: (o.error, o.frames, o.warnings) for o in there}
    deadly, kept = str(found.pop("deadly")[0]), str(found.pop("kept")[0])
    assert deadly.startswith("deadly.wav: given up after 2 tries: a process was killed")
    assert kept.startswith("kept.npz exists already")
    assert found == {
        "good": (None, 4, ()),
        "bad": ("bad.wav holds no sound", 0, ()),
        "odd": (None, 3, ("odd.wav is odd",)),
        "once": (None, 4, ()),
        "another": (None, 7, ()),
    }
    here = list(run(jobs_named(*found), measured, force=True))
    assert {o.job.source.stem: (o.error, o.frames, o.warnings) for o in here} == found
