"""What the command line shows."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from dtalk.cli import console
from dtalk.cli.console import TrainingProgress
from dtalk.cli.tables import FIGURES, score_table

SCORES = {column.key: 0.5 + 0.001 * k for k, column in enumerate(FIGURES)}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, on a page of 200 columns."""
    page = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=page, width=200))
    return page


def test_a_score_table_fits_a_usual_terminal() -> None:
    page = io.StringIO()
    score = {**SCORES, "lve": 254.567, "rounding_r": -0.217}
    Console(file=page, width=80).print(
        score_table("t", {"unseen speakers": {**score, "clips": 19.0}})
    )
    (line,) = [line for line in page.getvalue().splitlines() if "unseen speakers (19)" in line]
    assert all(f"{value:.3f}" in line for value in score.values())


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, wörld 世界 100 %", "plain, wörld 世界 100 %"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\x07\x9b\u202eb", "a\\x07\\x9b\\u202eb"),
        ("two\nlines\r", "two\\nlines\\r"),
        (os.fsdecode(b"caf\xe9") if os.name != "nt" else "caf\udce9", "caf\\xe9"),
    ],
)
def test_codes_for_the_terminal_are_shown_as_such(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.printable(text) == shown
    console.fail(text)
    console.warn(text)
    assert capsys.readouterr().err.splitlines() == [f"error: {shown}", f"warning: {shown}"]
