"""What a batch reports: to people, and to programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dtalk.cli import console, flags
from dtalk.cli.flags import Reporting
from dtalk.cli.reports import JsonReport, QuietReport, Report, describe, open_report
from dtalk.utils.jobs import Job, Made, Outcome

INFERRED: dict[str, Any] = {
    "emotion": "neutral",
    "emotion_confidence": 0.614,
    "identity": "grid-s1",
    "identity_confidence": 0.118,
}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, on a page of 200 columns."""
    page = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=page, width=200))
    return page


def job(name: str) -> Job:
    return Job(Path(f"/base/{name}.wav"), (Path(f"/base/{name}.npz"),))


def done(name: str, frames: int = 12, **about: Any) -> Outcome:
    return Outcome(job(name), None, Made(frames, frames / 30, about), 0.5)


def failed(name: str) -> Outcome:
    return Outcome(job(name), "broken", Made(0), 0.0)


def report(outcomes: list[Outcome], base: Path) -> int:
    found = Report(None)
    found.outcomes = outcomes
    return found.summarise(base)


class TestPeople:
    def test_one_file_is_told_by_its_outputs(self, wide):
        both = Job(Path("a.wav"), (Path("out/a.npz"), Path("out/[a] b.csv")))
        assert report([Outcome(both, None, Made(330, 11, INFERRED), 0.5)], Path("/base")) == 0
        said = "330 frames, 11.0 s, emotion neutral (61 %), voice like grid-s1 (12 %)"
        assert wide.getvalue().splitlines() == [f"{path}: {said}" for path in both.outputs]

    def test_what_was_named_has_no_share(self):
        assert describe(Made(1, 1 / 30, {"emotion": "sad", "identity": "me"})) == (
            "1 frame, 0.0 s, emotion sad, voice me"
        )

    def test_what_was_added_is_told(self):
        assert describe(Made(2, 0.1, {"notes": "blinks"})) == "2 frames, 0.1 s; blinks"

    def test_nothing_known(self):
        assert describe(Made(2)) == "2 frames"

    def test_one_failed_file_prints_nothing_more(self, wide):
        assert report([failed("a")], Path("/base")) == 1
        assert wide.getvalue() == ""

    def test_several_files_get_a_table(self, wide):
        assert report([done("a", 330, **INFERRED), done("deep/b")], Path("/base")) == 0
        lines = [" ".join(line.split()) for line in wide.getvalue().splitlines()]
        assert "input frames seconds result inferred" in lines
        said = "emotion neutral (61 %), voice like grid-s1 (12 %)"
        assert f"a.wav 330 0.5 a.npz {said}" in lines
        assert f"{Path('deep/b.wav')} 12 0.5 b.npz" in lines
        assert lines[-1] == "2 done, 0 failed"

    def test_failures_count(self, wide):
        assert report([done("a"), failed("b"), done("c")], Path("/base")) == 1
        lines = [" ".join(line.split()) for line in wide.getvalue().splitlines()]
        assert "b.wav 0.0 failed" in lines
        assert lines[-1] == "2 done, 1 failed"

    def test_brackets_in_names_are_no_markup(self, wide):
        report([done("[a] b"), done("[b]c")], Path("/base"))
        text = wide.getvalue()
        assert "[a] b.wav" in text
        assert "[b]c.npz" in text

    def test_files_elsewhere_keep_their_whole_path(self, wide):
        report([done("a"), done("b")], Path("/other"))
        assert str(Path("/base/a.wav")) in wide.getvalue()

    def test_notes_warnings_and_errors(self, capsys):
        with open_report("animate", 2, Reporting()) as found:
            made = Made(3, 0.1, notes=("a.flame.npz: 0.3 mm",))
            found.finished(Outcome(job("a"), None, made, 0.5, ("odd",)))
            found.finished(failed("b"))
        assert capsys.readouterr().err.splitlines() == [
            "warning: odd",
            "a.flame.npz: 0.3 mm",
            "error: broken",
        ]

    def test_warnings_are_told_when_they_come_and_once(self, capsys):
        with open_report("animate", 2, Reporting()) as found:
            found.warned("cut off")
            assert capsys.readouterr().err.splitlines() == ["warning: cut off"]
            found.finished(Outcome(job("a"), None, Made(3), 0.5, ("cut off", "odd")))
            assert capsys.readouterr().err.splitlines() == ["warning: odd"]
            found.finished(Outcome(job("b"), None, Made(3), 0.5, ("cut off",)))
        assert capsys.readouterr().err.splitlines() == ["warning: cut off"]


def test_the_bar_of_a_second_stage_begins_anew():
    bar = console.progress()
    bars = console.Bars(bar, "render", 1)
    for done in (0, 100, 200, 1):
        bars.frame_done("a.wav", done, 200)
    [_, current] = bar.tasks
    assert (current.completed, current.total, current.visible) == (1, 200, True)
    started = current.start_time
    bars.frame_done("a.wav", 2, 200)
    assert current.start_time == started


def test_quiet_prints_errors_alone(capsys, wide):
    flags.report_as(Reporting(quiet=True))
    with open_report("animate", 2, Reporting(quiet=True)) as found:
        assert isinstance(found, QuietReport)
        found.started(job("a"))
        found.frame_done("a", 1, 2)
        found.warned("odd")
        made = Made(3, notes=("note",))
        found.finished(Outcome(job("a"), None, made, 0.5, ("odd",)))
        assert found.summarise(Path("/base")) == 0
        console.warn("odd")
        found.finished(failed("b"))
        assert found.summarise(Path("/base")) == 1
    assert capsys.readouterr().err.splitlines() == ["error: broken"]
    assert wide.getvalue() == ""


class TestPrograms:
    @pytest.fixture(autouse=True)
    def _json(self):
        flags.report_as(Reporting(json=True))

    def events(self, text: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in text.splitlines()]

    def test_a_line_a_file(self, capsys):
        with open_report("animate", 2, Reporting(json=True)) as found:
            assert isinstance(found, JsonReport)
            made = Made(330, 11.0, INFERRED, ("note",))
            found.finished(Outcome(job("a"), None, made, 0.5, ("odd",)))
            found.finished(failed("b"))
            assert found.summarise(Path("/base")) == 1
        first, second = self.events(capsys.readouterr().out)
        assert first == {
            "input": str(Path("/base/a.wav")),
            "outputs": [str(Path("/base/a.npz"))],
            "frames": 330,
            "seconds": 11.0,
            **INFERRED,
            "notes": ["note"],
            "warnings": ["odd"],
        }
        assert second == {"input": str(Path("/base/b.wav")), "error": "broken", "warnings": []}

    def test_notes_of_the_motion_come_first(self, capsys):
        JsonReport().finished(Outcome(job("a"), None, Made(1, 1.0, {"notes": "m"}, ("f",)), 0.5))
        assert self.events(capsys.readouterr().out)[0]["notes"] == ["m", "f"]

    def test_progress_on_the_other_stream(self, capsys):
        found = JsonReport()
        found.started(job("a"))
        for frame in range(1, 1001):
            found.frame_done("a", frame, 1000)
        found.finished(done("a"))
        found.started(job("b"))
        found.finished(failed("b"))
        start, *steps, success, again, failure = self.events(capsys.readouterr().err)
        source = str(Path("/base/a.wav"))
        assert start == {"type": "start", "input": source}
        assert [step["value"] for step in steps] == pytest.approx(np_steps())
        assert {step["type"] for step in steps} == {"progress"}
        assert success == {"type": "success", "input": source}
        assert again["type"] == "start"
        other = str(Path("/base/b.wav"))
        assert failure == {"type": "failure", "input": other, "reason": "broken"}

    def test_errors_before_any_file(self, capsys):
        console.fail("no such file")
        console.warn("odd")
        assert self.events(capsys.readouterr().err) == [
            {"type": "failure", "reason": "no such file"},
            {"type": "warning", "reason": "odd"},
        ]

    def test_warnings_come_before_the_end_and_stages_follow_each_other(self, capsys):
        found = JsonReport()
        found.started(job("a"))
        found.warned("cut off")
        for done in (0, 100, 200, 1, 100):
            found.frame_done("a", done, 200)
        _, warning, *values = self.events(capsys.readouterr().err)
        source = str(Path("/base/a.wav"))
        assert warning == {"type": "warning", "input": source, "reason": "cut off"}
        assert [event["value"] for event in values] == [0.5, 1.0, 0.5]


def np_steps() -> list[float]:
    return [step / 20 for step in range(1, 21)]
