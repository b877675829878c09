"""``dtalk render`` when it writes web pages, which needs no OpenGL."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from helpers import run_dtalk, smooth_motion, speech

from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.motion.idle import idle_note
from dtalk.rendering.renderer import Renderer
from dtalk.speech.audio import SAMPLE_RATE

FRAMES = 12


@pytest.fixture
def render(monkeypatch, tmp_path, weights) -> Callable[..., int]:
    """``dtalk render`` in an empty folder, where nothing may be drawn."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a page needs no renderer")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Renderer, "__init__", refuse)
    return lambda *arguments: run_dtalk(monkeypatch, "render", "--weights", weights, *arguments)


def write_clip(name: str, seed: int = 0, frames: int = FRAMES) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(f"{name}.wav", speech(frames * SAMPLE_RATE // 30, seed), SAMPLE_RATE)
    write_motion(Motion(smooth_motion(frames, seed)), Path(f"{name}.npz"))


def has_sound(page: str) -> bool:
    return re.search('id="sound">[^<]', Path(page).read_text(encoding="utf-8")) is not None


def written() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*.html"))


def test_a_file_named_html_is_a_page(render, capsys):
    write_clip("a")
    assert render("a.npz", "-o", "new/talk.HTML") == 0
    assert capsys.readouterr().out.startswith("new/talk.HTML: 12 frames")
    assert has_sound("new/talk.HTML")


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_another_frame_rate_keeps_the_length(render, capsys, fps):
    write_clip("a", frames=30)
    assert render("a.npz", "--fps", fps, "-o", "a.html") == 0
    assert f": {fps} frames, 1.0 s" in capsys.readouterr().out
    assert has_sound("a.html")


def test_speech_becomes_a_page_and_what_is_added_is_told(render):
    write_clip("a")
    assert render("a.wav", "--format", "html", "--idle-motion", "--seed", 5) == 0
    page = Path("a.html").read_text(encoding="utf-8")
    assert idle_note(5) in page
    assert has_sound("a.html")


def test_a_folder_of_pages(render):
    for name in ("in/a", "in/deep/b"):
        write_clip(name)
    assert render("in", "--format", "html", "-o", "out") == 0
    assert written() == ["out/a.html", "out/deep/b.html"]


def test_a_page_without_sound_says_so(render, capsys):
    write_motion(Motion(smooth_motion(FRAMES)), Path("a.npz"))
    assert render("a.npz", "--format", "html") == 0
    assert "no sound found for a.npz" in capsys.readouterr().err
    assert not has_sound("a.html")


def test_side_by_side_in_a_page(render):
    write_clip("one/a")
    write_clip("two/a", seed=1, frames=FRAMES + 3)
    assert render("one/a.npz", "two/a.npz", "--labels", "--format", "html") == 0
    assert written() == ["side_by_side.html"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--still", "0", "--format", "html"), "--still makes PNGs; leave out --format html"),
        (("--still", "0", "-o", "a.html"), "-o a.html: .png is written"),
        (("--format", "html", "-o", "a.mp4"), "-o a.mp4: .html is written"),
        (("--format", "html", "--yaw", "nan"), "yaw must be a number"),
        (("--format", "html", "--background", "nowhere"), "'nowhere' is no colour"),
        (("--format", "html", "--audio", "gone.wav"), "gone.wav"),
        (("--format", "html", "--head", "gone.obj"), "no such head file: gone.obj"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(render, capsys, flags, message):
    write_clip("a")
    assert render("a.npz", *flags) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert written() == []


def test_what_exists_is_kept(render, capsys):
    write_clip("a")
    Path("a.html").write_text("precious")
    assert render("a.npz", "--format", "html") == 1
    assert "a.html exists already" in capsys.readouterr().err
    assert Path("a.html").read_text() == "precious"
    assert render("a.npz", "--format", "html", "--force") == 0
    assert has_sound("a.html")
