"""What the command line shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from dtalk.cli import console
from dtalk.cli.console import TrainingProgress, report
from dtalk.cli.tables import FIGURES, score_table
from dtalk.utils.jobs import Job, Outcome

SCORES = {column.key: 0.5 + 0.001 * k for k, column in enumerate(FIGURES)}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, on a page of 200 columns."""
    page = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=page, width=200))
    return page


def done(name: str, frames: int = 12) -> Outcome:
    return Outcome(Job(Path(f"/base/{name}.wav"), (Path(f"/base/{name}.npz"),)), None, frames, 0.5)


def failed(name: str) -> Outcome:
    return Outcome(Job(Path(f"/base/{name}.wav"), (Path(f"/base/{name}.npz"),)), "broken", 0, 0.0)


def test_one_file_is_told_by_its_outputs(wide: io.StringIO) -> None:
    job = Job(Path("a.wav"), (Path("out/a.npz"), Path("out/[a] b.csv")))
    assert report([Outcome(job, None, 12, 0.5)], Path("/base")) == 0
    assert wide.getvalue().splitlines() == [str(path) for path in job.outputs]


def test_one_failed_file_prints_nothing_more(wide: io.StringIO) -> None:
    assert report([failed("a")], Path("/base")) == 1
    assert wide.getvalue() == ""


def test_several_files_get_a_table(wide: io.StringIO) -> None:
    assert report([done("a", 330), done("deep/b")], Path("/base")) == 0
    lines = [" ".join(line.split()) for line in wide.getvalue().splitlines()]
    assert "input frames seconds result" in lines
    assert "a.wav 330 0.5 a.npz" in lines
    assert f"{Path('deep/b.wav')} 12 0.5 b.npz" in lines
    assert lines[-1] == "2 done, 0 failed"


def test_failures_count(wide: io.StringIO) -> None:
    assert report([done("a"), failed("b"), done("c")], Path("/base")) == 1
    lines = [" ".join(line.split()) for line in wide.getvalue().splitlines()]
    assert "b.wav 0.0 failed" in lines
    assert lines[-1] == "2 done, 1 failed"


def test_brackets_in_names_are_no_markup(wide: io.StringIO) -> None:
    report([done("[a] b"), done("[b]c")], Path("/base"))
    text = wide.getvalue()
    assert "[a] b.wav" in text
    assert "[b]c.npz" in text


def test_a_score_table_fits_a_usual_terminal() -> None:
    page = io.StringIO()
    score = {**SCORES, "lve": 254.567, "rounding_r": -0.217}
    Console(file=page, width=80).print(
        score_table("t", {"unseen speakers": {**score, "clips": 19.0}})
    )
    (line,) = [line for line in page.getvalue().splitlines() if "unseen speakers (19)" in line]
    assert all(f"{value:.3f}" in line for value in score.values())


def test_files_elsewhere_keep_their_whole_path(wide: io.StringIO) -> None:
    report([done("a"), done("b")], Path("/other"))
    assert str(Path("/base/a.wav")) in wide.getvalue()


def test_messages_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.fail("cannot read [bold]take[/bold] 1.wav: " + 30 * "long ")
    console.warn("odd: [/x] 5")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: cannot read [bold]take[/bold] 1.wav: " + 30 * "long ",
        "warning: odd: [/x] 5",
    ]


def test_score_table(wide: io.StringIO) -> None:
    console.out.print(score_table("a title", {"all": {**SCORES, "clips": 2.0}, "grid": SCORES}))
    text = wide.getvalue()
    assert text.startswith("a title")
    for column in FIGURES:
        assert column.heading in text
    for name in ("all (2)", "grid "):
        (line,) = [line for line in text.splitlines() if name in line]
        assert all(f"{value:.3f}" in line for value in SCORES.values())


def test_undefined_scores_are_shown_as_such(wide: io.StringIO) -> None:
    console.out.print(score_table("", {"all": {**SCORES, "rounding_r": float("nan")}}))
    assert "–" in wide.getvalue()
    assert "nan" not in wide.getvalue()


def test_bars_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=page, force_terminal=True, width=120))
    with console.batch_bars("render", 2) as bars:
        bars.frame_done("[a] b.npz", 3, 10)
        bars.file_done(1)
        bars.frame_done("c.npz", 10, 10)
        bars.file_done(2)
    text = page.getvalue()
    assert "render" in text
    assert "2/2" in text


def test_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=page, force_terminal=True, width=120))
    with console.counting("reading clips", "clips") as update:
        update(1, 4)
        update(4, 4)
    assert "reading clips" in page.getvalue()
    assert "4/4" in page.getvalue()


def test_progress_of_training(wide: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=page, force_terminal=True, width=120))
    with TrainingProgress() as observer:
        observer.loading(1, 2)
        observer.loading(2, 2)
        observer.updated(1, 3, 0.75, 0.5)
        observer.updated(2, 3, 0.5, 0.0)
        observer.validated(2, {"all": {**SCORES, "emotion_top1": 0.25}, "grid": SCORES})
        observer.note("left out: [b]x[/b]")
    assert "loss 0.500" in page.getvalue()
    text = wide.getvalue()
    assert "validation after update 2" in text
    assert "retrieval, top-1, all: emotion 0.250" in text
    assert "left out: [b]x[/b]" in text
