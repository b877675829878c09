"""The command line as a user meets it: real files, real runs, a tiny model of random weights."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from gl import needs_gl
from helpers import (
    EMOTIONS,
    WIDTHS,
    Result,
    large_model,
    smooth_motion,
    speech,
    tiny_model,
    tiny_whisper,
    write_data,
)
from safetensors.numpy import load_file
from typer.main import get_command

import dtalk
from dtalk import inference
from dtalk.checkpoint import load_model, save_model
from dtalk.cli.app import app
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    *("animate", "render", "convert", "live", "info", "export", "evaluate", "train", "distill"),
)
RATE = 16000
FRAMES = 8  # of the clips here
SMALL = [f"--{name.replace('_', '-')}={value}" for name, value in WIDTHS.items()]
SMALL += ["--batch-frames=45", "--audio-only-batch=2"]


@pytest.fixture
def animate(call: Callable[..., Result], weights: Path) -> Callable[..., Result]:
    """``dtalk animate`` with the tiny model."""
    return lambda *arguments: call("animate", "--weights", weights, *arguments)


def write_speech(name: str | Path, seed: int = 0, frames: int = FRAMES) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(round(frames * RATE / 30), seed), RATE)
    return path


def write_curves(name: str | Path, audio: str = "") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_motion(Motion(smooth_motion(FRAMES), audio=audio), path)
    return path


def files() -> list[str]:
    """Everything in the working folder, hidden files too."""
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run(*arguments: str | Path) -> Result:
    """``python -m dtalk`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "dtalk", *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return Result(done.returncode, done.stdout, done.stderr)


# --- the entry --------------------------------------------------------------------------------


def test_version(call: Callable[..., Result]) -> None:
    assert call("--version") == Result(0, f"dtalk {dtalk.__version__}\n", "")


def test_as_a_module() -> None:
    done = run("--version")
    assert (done.status, done.out) == (0, f"dtalk {dtalk.__version__}\n")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_the_commands(call: Callable[..., Result], flag: str) -> None:
    result = call(flag)
    assert result.status == 0
    assert all(command in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(call: Callable[..., Result], command: str) -> None:
    result = call(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert "Usage:" in result.out
    threads = command not in ("convert", "info", "export")
    assert ("--threads" in result.out) == threads
    assert command in ("train", "live") or ("[all]" in result.out) == threads


def test_every_option_is_explained() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert sorted(commands) == sorted(COMMANDS)
    unexplained = [
        f"{name} {parameter.name}"
        for name, command in commands.items()
        for parameter in command.params
        if not getattr(parameter, "help", "")
    ]
    assert unexplained == []


def test_help_is_quick() -> None:
    """It loads none of the large libraries; all commands in one fresh interpreter."""
    code = f"""
import sys
from dtalk.cli import main
for command in ([], *([name] for name in {COMMANDS!r})):
    sys.argv = ["dtalk", *command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
large = {{"torch", "numpy", "scipy", "soundfile", "pyrender", "trimesh", "imageio_ffmpeg"}}
large |= {{"transformers", "huggingface_hub", "safetensors"}}
print("loaded:", sorted(large & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["--nonsense"],
        ["animate"],
        ["animate", "a.wav", "--nonsense"],
        ["animate", "a.wav", "--seed", "-1"],
        ["animate", "a.wav", "--seed", "one"],
        ["animate", "a.wav", "--seed", str(2**63)],
        ["animate", "a.wav", "--steps", "0"],
        ["animate", "a.wav", "--temperature", "-0.5"],
        ["animate", "a.wav", "--temperature", "inf"],
        ["animate", "a.wav", "--emotion-strength", "1e30"],
        ["animate", "a.wav", "--threads", "0"],
        ["render"],
        ["evaluate"],
        ["evaluate", "--data", "d", "--split", "exam"],
        ["train", "--data", "d"],
        ["train", "--data", "d", "--out", "o", "--precision", "half"],
        ["train", "--data", "d", "--out", "o", "--layer", "last"],
        ["train", "--data", "d", "--out", "o", "--without", "enhancer"],
        ["distill", "--data", "d", "--out", "o"],
        ["distill", "--teacher", "t", "--data", "d", "--out", "o", "--without", "teeth"],
        ["distill", "--teacher", "t", "--data", "d", "--out", "o", "--front-end", "fake"],
        ["distill", "--teacher", "t", "--data", "d", "--out", "o", "--steps", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage(call: Callable[..., Result], arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.status == 2
    assert "Usage:" in result.out + result.err
    assert files() == []


# --- animate ----------------------------------------------------------------------------------


def test_one_file(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav")
    assert (result.status, result.made) == (0, ["hello.npz"])
    assert files() == ["hello.npz", "hello.wav"]
    motion = read_motion("hello.npz")
    assert motion.coefficients.shape == (FRAMES, 52)
    assert (motion.audio, motion.seed, motion.model) == ("hello.wav", 0, "tiny")


def test_in_a_process_of_its_own(weights: Path) -> None:
    """And the same bytes as within another process."""
    write_speech("hello.wav")
    results = [
        run("animate", "hello.wav", "--weights", weights, "--threads", 1, "-o", name)
        for name in ("a.npz", "b.npz")
    ]
    assert [(r.status, r.made) for r in results] == [(0, ["a.npz"]), (0, ["b.npz"])]
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_several_formats(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    formats = ("--format", "json", "--format", "csv", "--format", "npz", "--format", "csv")
    result = animate("hello.wav", *formats)
    assert result.status == 0
    assert result.made == ["hello.json", "hello.csv", "hello.npz"]
    exact = read_motion("hello.npz").coefficients
    for name in ("hello.csv", "hello.json"):
        np.testing.assert_allclose(read_motion(name).coefficients, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["curves.csv", "curves.json", "curves.npz", "Curves.CSV"])
def test_the_suffix_of_out_tells_the_format(animate: Callable[..., Result], name: str) -> None:
    write_speech("hello.wav")
    assert animate("hello.wav", "-o", f"new/{name}").status == 0
    assert files() == ["hello.wav", f"new/{name}"]
    assert len(read_motion(f"new/{name}")) == FRAMES


def test_out_as_a_folder(animate: Callable[..., Result]) -> None:
    write_speech("in/hello.wav")
    assert animate("in/hello.wav", "--out", "new/folder", "--format", "csv").status == 0
    assert files() == ["in/hello.wav", "new/folder/hello.csv"]


def test_an_existing_folder_is_a_folder_whatever_its_name(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    Path("odd.csv").mkdir()
    assert animate("hello.wav", "-o", "odd.csv").status == 0
    assert files() == ["hello.wav", "odd.csv/hello.npz"]


def test_a_tree(animate: Callable[..., Result]) -> None:
    for seed, name in enumerate(("a.wav", "deep/b.flac", "deep/er/c.ogg")):
        write_speech(Path("in", name), seed)
    Path("in/notes.txt").write_text("not speech")
    result = animate("in", "-o", "out", "--format", "npz", "--format", "csv")
    assert result.status == 0
    made = [name for name in files() if name.startswith("out/")]
    trunks = ("out/a", "out/deep/b", "out/deep/er/c")
    assert made == sorted(f"{trunk}{suffix}" for trunk in trunks for suffix in (".npz", ".csv"))
    assert result.out.splitlines()[-1] == "3 done, 0 failed"


def test_a_tree_in_place_and_again(animate: Callable[..., Result]) -> None:
    write_speech("in/a.wav")
    write_speech("in/deep/a.wav", 1)
    assert animate("in").status == 0
    assert files() == ["in/a.npz", "in/a.wav", "in/deep/a.npz", "in/deep/a.wav"]
    again = animate("in")
    assert again.status == 1
    assert again.err.count("exists already") == 2


def test_files_and_folders_together(animate: Callable[..., Result]) -> None:
    write_speech("in/a.wav")
    write_speech("b.wav", 1)
    assert animate("in", "b.wav", "in/a.wav", "-o", "out").status == 0
    assert [name for name in files() if "out" in name] == ["out/a.npz", "out/b.npz"]


def test_the_seed(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    for name, seed in (("one.csv", 1), ("again.csv", 1), ("other.csv", 2)):
        assert animate("hello.wav", "--seed", seed, "-o", name).status == 0
    one, again, other = (Path(f"{name}.csv").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_the_sampler(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    sound = soundfile.read("hello.wav", dtype="float32")[0]
    for sampler in ("ddim", "ancestral"):
        name = f"{sampler}.npz"
        assert animate("hello.wav", "--sampler", sampler, "--steps", 3, "-o", name).status == 0
        expected = tiny_model().animate(sound, steps=3, sampler=sampler).coefficients
        np.testing.assert_allclose(read_motion(name).coefficients, expected, rtol=0, atol=1e-6)
    assert Path("ddim.npz").read_bytes() != Path("ancestral.npz").read_bytes()


def test_settings_reach_the_model(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    flags = ("--identity", "bob", "--emotion", "sad", "--steps", 3, "--temperature", 0.5)
    assert animate("hello.wav", *flags, "--seed", 9).status == 0
    made = read_motion("hello.npz")
    assert (made.identity, made.emotion, made.seed) == ("bob", "sad", 9)
    model = tiny_model()
    sound = soundfile.read("hello.wav", dtype="float32")[0]
    expected = model.animate(sound, "bob", "sad", 9, 3, 0.5).coefficients
    np.testing.assert_allclose(made.coefficients, expected, rtol=0, atol=1e-6)


def test_existing_outputs_stay(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    Path("hello.npz").write_text("precious")
    result = animate("hello.wav")
    assert result.status == 1
    assert result.error == "hello.npz exists already; add --force to replace it"
    assert Path("hello.npz").read_text() == "precious"
    assert animate("hello.wav", "--force").status == 0
    assert len(read_motion("hello.npz")) == FRAMES
    assert animate("hello.wav", "-f").status == 0


@pytest.mark.parametrize("kind", ["identity", "emotion"])
def test_unknown_labels(animate: Callable[..., Result], kind: str) -> None:
    write_speech("a.wav")
    write_speech("b.wav")
    result = animate("a.wav", "b.wav", f"--{kind}", "grumpy")
    assert result.status == 1
    assert result.error.startswith(f"unknown {kind} 'grumpy'; this model knows: ")
    assert kind != "emotion" or result.error.endswith(", ".join(EMOTIONS))
    assert files() == ["a.wav", "b.wav"]


def test_unknown_format(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav", "--format", "fbx")
    assert result.status == 1
    assert result.error == "unknown format 'fbx'; there are npz, csv, json, glb, vrm, flame"


def test_format_against_suffix(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav", "--format", "npz", "-o", "x.csv")
    assert result.status == 1
    assert "x.csv is a csv file, but --format says npz" in result.error


@pytest.mark.parametrize("name", ["x.mp4", "x.wav", "talk.fbx", "face.cvs"])
def test_out_of_a_foreign_kind(animate: Callable[..., Result], name: str) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav", "-o", name)
    assert result.status == 1
    known = ".npz, .csv, .json, .glb, .vrm, .flame.npz"
    assert result.error == f"-o {name}: what is written is {known}; or name a folder that exists"
    assert files() == ["hello.wav"]


def test_several_inputs_to_one_file(animate: Callable[..., Result]) -> None:
    write_speech("a.wav")
    write_speech("b.wav")
    result = animate("a.wav", "b.wav", "-o", "x.csv")
    assert result.status == 1
    assert "names one file, but there are 2 inputs" in result.error


def test_several_stills_to_one_file(call: Callable[..., Result]) -> None:
    write_curves("a.npz")
    result = call("render", "a.npz", "--still", "0,0.1", "-o", "x.png")
    assert result.status == 1
    assert result.error == "-o x.png names one file, but several are written; name a folder"
    assert files() == ["a.npz"]


def test_sizes_are_told_as_they_are_written(call: Callable[..., Result]) -> None:
    write_curves("a.npz")
    result = call("render", "a.npz", "--size", "512x8")
    assert result.status == 1
    assert result.err.splitlines()[-1] == "error: size must be 16 to 4096 pixels, got 512x8"


@pytest.mark.parametrize("threads", ["0", "1025", "9" * 30])
def test_absurd_numbers_of_threads(call: Callable[..., Result], threads: str) -> None:
    write_speech("a.wav")
    assert call("animate", "a.wav", "--threads", threads).status == 2
    assert call("train", "--data", ".", "--out", "run", "--threads", threads).status == 2
    assert files() == ["a.wav"]


def test_formats_in_capitals(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    assert animate("hello.wav", "--format", "CSV").made == ["hello.csv"]


def test_missing_inputs(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav", "gone.wav")
    assert (result.status, result.error) == (1, "no such sound file: gone.wav")
    assert files() == ["hello.npz", "hello.wav"]
    assert "1 done, 1 failed" in result.out
    assert animate("gone.wav", "too.wav").error == "no such file or folder: gone.wav"


def test_folder_without_speech(animate: Callable[..., Result]) -> None:
    Path("in").mkdir()
    Path("in/notes.txt").write_text("not speech")
    write_speech("in/.hidden.wav")
    result = animate("in")
    assert result.status == 1
    assert result.error.startswith("nothing to do in folder in: ")


def test_text_that_is_called_wav(animate: Callable[..., Result]) -> None:
    Path("text.wav").write_text("This is not a sound.\n" * 50)
    result = animate("text.wav")
    assert result.status == 1
    assert result.error.startswith("cannot read text.wav: ")
    assert files() == ["text.wav"]


@pytest.mark.parametrize("samples", [[], [0.1, float("nan")]], ids=["empty", "nan"])
def test_sound_that_cannot_be_used(animate: Callable[..., Result], samples: list[float]) -> None:
    soundfile.write("odd.wav", np.array(samples, np.float32), RATE, subtype="FLOAT")
    result = animate("odd.wav")
    assert result.status == 1
    assert "odd.wav" in result.error


def test_a_bad_file_stops_no_other(animate: Callable[..., Result]) -> None:
    write_speech("in/a.wav")
    Path("in/bad.wav").write_text("no sound")
    write_speech("in/c.wav")
    result = animate("in")
    assert result.status == 1
    assert result.error.startswith(f"cannot read {Path('in/bad.wav')}: ")
    assert files() == ["in/a.npz", "in/a.wav", "in/bad.wav", "in/c.npz", "in/c.wav"]
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert re.fullmatch(r"\S*bad.wav [\d.]+ failed", lines[2])
    assert lines[-1] == "2 done, 1 failed"


def test_cut_off_sound_is_used_with_a_warning(animate: Callable[..., Result]) -> None:
    whole = write_speech("hello.wav", frames=60).read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    result = animate("cut.wav")
    assert (result.status, result.made) == (0, ["cut.npz"])
    assert "warning: cut.wav is damaged or cut off" in result.err
    assert 25 <= len(read_motion("cut.npz")) <= 31


def test_two_inputs_to_one_output(animate: Callable[..., Result]) -> None:
    write_speech("in/a.wav")
    write_speech("in/a.flac")
    write_speech("in/b.wav")
    result = animate("in")
    assert result.status == 1
    assert "in/a.flac would write in/a.npz, as would in/a.wav" in result.err
    assert "in/a.wav would write in/a.npz, as would in/a.flac" in result.err
    assert files() == ["in/a.flac", "in/a.wav", "in/b.npz", "in/b.wav"]


@pytest.mark.parametrize(
    "name", ["two words.wav", "ünï çødé 世界.wav", "it's.wav", "100% [take] #1.wav", "a.b.c.wav"]
)
def test_odd_names(animate: Callable[..., Result], name: str) -> None:
    write_speech(name)
    made = Path(name).with_suffix(".npz").name
    result = animate(name)
    assert (result.status, result.made) == (0, [str(made)])
    assert read_motion(made).audio == name


def test_names_like_flags(animate: Callable[..., Result]) -> None:
    write_speech("-o.wav")
    assert animate("--", "-o.wav").status == 0
    assert files() == ["-o.npz", "-o.wav"]


def test_output_below_a_file(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    Path("file").write_text("in the way")
    result = animate("hello.wav", "-o", "file/x.npz")
    assert result.status == 1
    assert "a folder in its path is a file" in result.error
    assert animate("hello.wav", "-o", "file").status == 1
    assert files() == ["file", "hello.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permissions there")
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere"
)
def test_read_only_folder(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    Path("locked").mkdir(mode=0o555)
    result = animate("hello.wav", "-o", "locked/x.npz")
    assert result.status == 1
    assert "Permission denied" in result.error


def test_output_is_a_folder(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    Path("hello.npz").mkdir()
    result = animate("hello.wav", "--force")
    assert result.status == 1
    assert "cannot write hello.npz: it is a folder" in result.error


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.safetensors", "it does not exist"), ("hello.wav", "cannot load"), (".", "is a folder")],
)
def test_weights_that_are_none(call: Callable[..., Result], name: str, reason: str) -> None:
    write_speech("hello.wav")
    result = call("animate", "hello.wav", "--weights", name)
    assert result.status == 1
    assert reason in result.error
    assert files() == ["hello.wav"]


def test_no_such_device(animate: Callable[..., Result]) -> None:
    write_speech("hello.wav")
    result = animate("hello.wav", "--device", "toaster")
    assert result.status == 1
    assert result.error.startswith("cannot use device 'toaster'")


def test_interrupted(animate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    write_speech("a.wav")
    write_speech("b.wav")
    real = inference.animate_file

    def interrupted(model: object, path: Path, *others: object) -> Motion:
        if path.name == "b.wav":
            raise KeyboardInterrupt
        return real(model, path, *others)

    monkeypatch.setattr(inference, "animate_file", interrupted)
    result = animate("a.wav", "b.wav")
    assert result.status == 130
    assert "Traceback" not in result.err
    assert files() == ["a.npz", "a.wav", "b.wav"]


# --- render -----------------------------------------------------------------------------------


def streams(path: str | Path) -> str:
    """ffmpeg's own words on a video."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    done = subprocess.run([ffmpeg, "-hide_banner", "-i", path], capture_output=True)
    return done.stderr.decode(errors="replace")


@pytest.fixture
def render(call: Callable[..., Result], weights: Path) -> Callable[..., Result]:
    """``dtalk render``, small, with the tiny model."""
    return lambda *arguments: call("render", "--weights", weights, "--size", 64, *arguments)


@needs_gl
@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "wav"])
def test_render(render: Callable[..., Result], suffix: str) -> None:
    write_speech("a.wav")
    if suffix != "wav":
        write_curves(f"a.{suffix}", "a.wav")
    result = render(f"a.{suffix}")
    assert (result.status, result.made, result.err.strip()) == (0, ["a.mp4"], "")
    described = streams("a.mp4")
    assert "64x64" in described
    assert "30 fps" in described
    assert "Audio: aac" in described


@needs_gl
def test_render_a_folder_that_holds_both(render: Callable[..., Result]) -> None:
    """Curves are drawn with the speech of their name, other speech is animated first."""
    for name in ("a.wav", "deep/b.wav"):
        write_speech(Path("in", name))
    write_curves("in/a.csv")
    result = render("in", "-o", "out")
    assert result.status == 0
    assert [name for name in files() if name.startswith("out")] == ["out/a.mp4", "out/deep/b.mp4"]
    assert result.out.splitlines()[-1] == "2 done, 0 failed"
    assert all("Audio: aac" in streams(f"out/{name}.mp4") for name in ("a", "deep/b"))


@needs_gl
def test_render_draws_curves_of_several_formats_once(render: Callable[..., Result]) -> None:
    for name in ("in/a.npz", "in/a.csv", "in/a.json"):
        write_curves(name)
    write_speech("in/a.wav")
    result = render("in")
    assert (result.status, result.err) == (0, "")
    assert "in/a.mp4" in files()


@needs_gl
def test_render_from_nowhere(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    write_speech("a.wav")
    result = render("a.npz", "--yaw", "nan")
    assert result.status == 1
    assert result.error == "yaw must be a number, not nan"


@needs_gl
def test_render_with_a_sound_of_choice(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    write_speech("elsewhere/music.ogg")
    flags = ("--audio", "elsewhere/music.ogg", "--yaw", -30, "-o", "new/video.mp4")
    assert render("a.npz", *flags).status == 0
    assert "Audio: aac" in streams("new/video.mp4")


@needs_gl
def test_render_in_silence(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    result = render("a.npz")
    assert (result.status, result.made) == (0, ["a.mp4"])
    assert "warning: no sound found for a.npz: silent; name it with --audio" in result.err
    assert "Audio" not in streams("a.mp4")


@needs_gl
def test_render_sizes(call: Callable[..., Result]) -> None:
    write_curves("a.npz")
    assert call("render", "a.npz", "--size", "80x48").status == 0
    assert "80x48" in streams("a.mp4")


@needs_gl
def test_render_keeps_what_is_there(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    Path("a.mp4").write_text("precious")
    result = render("a.npz")
    assert result.status == 1
    assert "a.mp4 exists already" in result.error
    assert Path("a.mp4").read_text() == "precious"
    assert render("a.npz", "--force").status == 0
    assert "h264" in streams("a.mp4")


@needs_gl
def test_render_names_what_failed(render: Callable[..., Result]) -> None:
    write_curves("in/a.npz", "a.wav")
    write_speech("in/a.wav")
    Path("in/b.csv").write_text("no,curves\n1,2\n")
    Path("in/c.wav").write_text("no sound")
    result = render("in")
    assert result.status == 1
    errors = [line for line in result.err.splitlines() if line.startswith("error")]
    assert len(errors) == 2
    assert "b.csv" in errors[0]
    assert "c.wav" in errors[1]
    assert files() == ["in/a.mp4", "in/a.npz", "in/a.wav", "in/b.csv", "in/c.wav"]


@needs_gl
@pytest.mark.parametrize("sound", ["gone.wav", "text.wav"])
def test_render_with_no_such_sound(render: Callable[..., Result], sound: str) -> None:
    write_curves("a.npz")
    Path("text.wav").write_text("no sound")
    result = render("a.npz", "--audio", sound)
    assert result.status == 1
    assert sound in result.error
    assert files() == ["a.npz", "text.wav"]


@needs_gl
@pytest.mark.parametrize("size", ["0", "15", "5000", "64x5000"])
def test_sizes_out_of_range(call: Callable[..., Result], size: str) -> None:
    write_curves("a.npz")
    write_speech("a.wav")
    result = call("render", "a.npz", "--size", size)
    assert result.status == 1
    assert "size must be 16 to 4096 pixels" in result.error
    assert files() == ["a.npz", "a.wav"]


@pytest.mark.parametrize("size", ["big", "64x", "x64", "64x64x64", "-64", "6.4", ""])
def test_sizes_that_are_none(call: Callable[..., Result], size: str) -> None:
    write_curves("a.npz")
    result = call("render", "a.npz", f"--size={size}")
    assert result.status == 1
    assert result.error == f"cannot read size {size!r}; write pixels like 512 or 1280x720"


def test_one_sound_for_several_motions(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    write_curves("b.npz")
    result = render("a.npz", "b.npz", "--audio", "c.wav")
    assert result.status == 1
    assert result.error == "--audio names one sound, but there are 2 inputs"


# side by side, stills, looks


@needs_gl
def test_side_by_side(render: Callable[..., Result]) -> None:
    for name in ("student/a.npz", "teacher/a.csv", "truth.json"):
        write_curves(name)
    write_speech("student/a.wav")
    flags = ("--reference", "truth.json", "-o", "both.mp4")
    result = render("student", "teacher/a.csv", *flags)
    assert (result.status, result.made, result.err.strip()) == (0, ["both.mp4"], "")
    described = streams("both.mp4")
    assert "192x80" in described  # three panels of 64 pixels above strips of 16
    assert "Audio: aac" in described


@needs_gl
def test_side_by_side_in_silence_and_without_a_name(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    write_curves("b.npz")
    result = render("a.npz", "b.npz", "--labels")
    assert (result.status, result.made) == (0, ["side_by_side.mp4"])
    assert result.err == "warning: no sound found: silent; name it with --audio\n"
    again = render("a.npz", "b.npz", "--labels")
    assert again.status == 1
    assert "side_by_side.mp4 exists already" in again.error


@needs_gl
def test_a_panel_that_cannot_be_read(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    Path("b.csv").write_text("no,curves\n1,2\n")
    result = render("a.npz", "b.csv", "--labels")
    assert result.status == 1
    assert "b.csv" in result.error
    assert files() == ["a.npz", "b.csv"]
    assert "gone.npz" in render("a.npz", "--reference", "gone.npz").error


@needs_gl
def test_stills(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    result = render("a.npz", "--still", "0.1,0.2", "--still", "0", "-o", "out")
    assert (result.status, result.err) == (0, "")
    assert result.made == ["out/a.0.1s.png", "out/a.0.2s.png", "out/a.0s.png"]
    assert render("a.npz", "--still", "0.1", "-o", "one.png").status == 0
    assert Path("one.png").read_bytes() == Path("out/a.0.1s.png").read_bytes()


@needs_gl
@pytest.mark.parametrize("moments", ["1", "-1", "soon"])
def test_stills_that_cannot_be(render: Callable[..., Result], moments: str) -> None:
    write_curves("a.npz")
    result = render("a.npz", f"--still={moments}")
    assert result.status == 1
    assert "--still" in result.error
    assert files() == ["a.npz"]


@needs_gl
def test_life_is_noted(render: Callable[..., Result]) -> None:
    """On the console and in the file; the same seed gives the same bytes."""
    write_curves("a.npz")
    result = render("a.npz", "--life", "--seed", 3, "--still", "0.1")
    note = "blinks and head motion are sampled from seed 3, not from the sound"
    assert (result.out, result.err) == (f"a.png: 1 frame; {note}\n", "")
    assert note.encode() in Path("a.png").read_bytes()
    for name in ("b.mp4", "c.mp4"):
        assert render("a.npz", "--life", "--seed", 3, "-o", name).status == 0
    assert Path("b.mp4").read_bytes() == Path("c.mp4").read_bytes()
    assert f"comment         : {note}" in streams("b.mp4")


@needs_gl
def test_a_video_at_another_frame_rate(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    assert render("a.npz", "--fps", 24, "-o", "a.mp4").made == ["a.mp4"]
    assert " 24 fps" in streams("a.mp4")


@needs_gl
def test_looks(render: Callable[..., Result]) -> None:
    write_curves("a.npz")
    flags = ("--camera", "three-quarter", "--background", "navy", "--wireframe")
    assert render("a.npz", "--still", "0", *flags).status == 0
    for flag, word in (("--background", "no colour"), ("--camera", "three-quarter")):
        result = render("a.npz", flag, "nowhere", "-o", "b.mp4")
        assert result.status != 0
        assert word in result.err
    assert not Path("b.mp4").exists()


@needs_gl
def test_several_at_a_time_give_the_same_bytes(render: Callable[..., Result]) -> None:
    for name in ("in/a.npz", "in/b.npz", "in/c.csv"):
        write_curves(name)
    Path("in/broken.csv").write_text("no,curves\n1,2\n")
    for out, jobs in (("one", 1), ("two", 2)):
        result = render("in", "-o", out, "--jobs", jobs)
        assert result.status == 1
        assert "3 done, 1 failed" in result.out
        assert result.err.count("error: ") == 1
        assert result.err.count("warning: no sound found") == 3
    for name in ("a", "b", "c"):
        assert Path(f"one/{name}.mp4").read_bytes() == Path(f"two/{name}.mp4").read_bytes()


@pytest.mark.usefixtures("ctrl_c")
@needs_gl
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_renderings_leave_nothing(jobs: int) -> None:
    """Ctrl-C while frames are drawn: no half file, no process that goes on, none with the next."""
    names = ["a.npz", "b.npz", "c.npz", "d.npz"]
    for name, frames in zip(names, (9000, 9000, 3, 3)):
        write_motion(Motion(smooth_motion(frames)), name)
    command = [sys.executable, "-m", "dtalk", "render", *names, "--size", "64"]
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: any(name.startswith(".dtalk-") for name in files()))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert files() == names
    until(lambda: not group_lives(process.pid))
    until(lambda: not encoders_of(Path.cwd()))


def group_lives(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def encoders_of(folder: Path) -> list[str]:
    """Processes, which have a session of their own, that write into the folder."""
    commands = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):  # none where there is no /proc
        with contextlib.suppress(OSError):
            commands.append(place.read_bytes())
    wanted = f"file:{folder.resolve()}/.dtalk-".encode()
    return [command.decode(errors="replace") for command in commands if wanted in command]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds; fail if it takes too long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_render_checks_labels_before_it_draws(render: Callable[..., Result]) -> None:
    write_speech("a.wav")
    result = render("a.wav", "--emotion", "grumpy")
    assert result.status == 1
    assert result.error.startswith("unknown emotion 'grumpy'")


def test_render_nothing(render: Callable[..., Result]) -> None:
    Path("in").mkdir()
    assert render("in").error.startswith("nothing to do in folder in")
    assert render("gone.npz").error == "no such file or folder: gone.npz"


# --- train and evaluate -----------------------------------------------------------------------


@pytest.fixture
def train(call: Callable[..., Result], data: Path) -> Callable[..., Result]:
    """``dtalk train`` of a tiny model on a tiny data set."""
    return lambda *arguments: call("train", "--data", data, "--out", "run", *SMALL, *arguments)


def test_train_and_resume(
    train: Callable[..., Result], call: Callable[..., Result], data: Path
) -> None:
    result = train("--updates", 1)
    assert (result.status, result.err.strip()) == (0, "")
    assert "validation after update 1" in result.out
    assert files() == [
        f"run/{name}"
        for name in ("best.safetensors", "metrics.jsonl", "model.safetensors", "training.pt")
    ]
    start, entry = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    assert start["update"] == 0
    assert start["command"].startswith("dtalk train --data ")
    assert entry["update"] == 1
    assert entry["validation"]["all"]["lve"] > 0

    again = train("--updates", 1)
    assert again.status == 1
    assert "run/training.pt exists: add --resume" in again.error.replace(os.sep, "/")

    resumed = train("--updates", 1, "--resume")
    assert resumed.status == 0
    assert "going on after update 1" in resumed.out

    other = train("--updates", 1, "--resume", "--layers", 1)
    assert other.status == 1
    assert "other settings: model" in other.error

    write_speech("hello.wav")
    assert call("animate", "hello.wav", "--weights", "run/model.safetensors").status == 0
    assert read_motion("hello.npz").identity in ("ann", "bob", "cat")


def test_flags_of_training_reach_it(train: Callable[..., Result]) -> None:
    flags = ("--updates", 1, "--sets", "a", "--encoder", "cnn")
    assert train(*flags).status == 0
    model = inference.load("run/model.safetensors")
    assert model.config.identities == ("ann",)
    assert model.config.encoder == "cnn"
    assert model.config.hidden_width == WIDTHS["hidden_width"]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send there")
def test_training_interrupted_for_real(data: Path) -> None:
    """Ctrl-C in the middle saves; the state can be resumed from."""
    arguments = ["dtalk", "train", "--data", str(data), "--out", "run", *SMALL]
    arguments += ["--updates", "100000", "--validate-every", "100000", "--save-minutes", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not Path("run/training.pt").exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert files() == ["run/metrics.jsonl", "run/model.safetensors", "run/training.pt"]


@pytest.mark.parametrize("command", [["train", "--out", "run"], ["evaluate"]], ids=lambda c: c[0])
def test_wrong_data_folders(call: Callable[..., Result], weights: Path, command: list[str]) -> None:
    if command == ["evaluate"]:
        command = [*command, "--weights", str(weights)]
    Path("empty").mkdir()
    Path("odd").mkdir()
    Path("odd/clips.csv").write_text("clip,set\na,b\n")
    for folder, reason in (
        ("gone", "a data folder holds clips.csv"),
        ("empty", "a data folder holds clips.csv"),
        ("odd", "lacks the columns split, speaker, emotion, audio, motion"),
    ):
        result = call(*command, "--data", folder)
        assert result.status == 1
        assert reason in result.error
    assert files() == ["odd/clips.csv"]


def test_unknown_sets(
    train: Callable[..., Result], call: Callable[..., Result], data: Path, weights: Path
) -> None:
    expected = "no such set: zzz; there are a, b, x"
    assert train("--sets", "zzz").error == expected
    assert train("--sets", "a", "--without-sets", "zzz").error == expected
    flags = ("--data", data, "--weights", weights)
    assert call("evaluate", *flags, "--sets", "zzz").error == expected


def test_training_needs_motion(train: Callable[..., Result]) -> None:
    result = train("--sets", "x")
    assert result.status == 1
    assert "no clip with motion" in result.error


def test_nothing_to_resume(train: Callable[..., Result]) -> None:
    result = train("--resume", "--updates", 1)
    assert result.status == 1
    assert result.error.startswith("nothing to resume: ")


def test_training_without_parts_and_sets(train: Callable[..., Result]) -> None:
    flags = ("--updates", 1, "--without", "emotion", "--without-sets", "b", "--variants", 2)
    assert train(*flags).status == 0
    config = inference.load("run/model.safetensors").config
    assert (config.identities, config.emotions) == (("ann", "cat"), ())
    both = ("--updates", 1, "--without", "emotion", "--without", "identity", "--out", "bare")
    assert train(*both).status == 0
    config = inference.load("bare/model.safetensors").config
    assert config.identities == config.emotions == ()


def test_an_encoder_that_is_not_there(train: Callable[..., Result]) -> None:
    """Neither a kind nor a folder, and no name on a hub."""
    pytest.importorskip("transformers")
    result = train("--updates", 1, "--encoder", "ear")
    assert result.status == 1
    assert result.error == "no speech encoder: ear is neither a folder nor a hub id"
    assert files() == []


# --- distill ----------------------------------------------------------------------------------

STUDENT = ["--batch-frames=1000", "--encoder-width=12", "--updates=1", "--encoder-updates=1"]


@pytest.fixture
def distill(
    call: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """``dtalk distill`` on a tiny data set; how fast models are is measured in no time."""
    monkeypatch.setattr("dtalk.evaluation.benchmark.WARM_UP", 0)
    monkeypatch.setattr("dtalk.evaluation.benchmark.RUNS", 1)
    return lambda teacher, *arguments: call(
        "distill", "--teacher", teacher, "--data", data, "--out", "out", *STUDENT, *arguments
    )


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """A teacher of four steps with a small encoder, in the working folder."""
    save_model(tiny_model(steps=4), tmp_path / "slow.safetensors")
    return "slow.safetensors"


def test_distill_and_resume(
    distill: Callable[..., Result], call: Callable[..., Result], slow: str
) -> None:
    flags = ("--steps", 1, "--front-end", "cnn")
    result = distill(slow, *flags)
    assert (result.status, result.err.strip()) == (0, "")
    for expected in ("encoder: 1 updates", "2-steps: 1 updates", "1-steps: 1 updates"):
        assert expected in result.out
    for name in ("slow@4", "student@2", "student@1"):
        assert name in result.out
    made = {name for name in files() if name.startswith("out/")}
    assert made >= {"out/model.safetensors", "out/2-steps/training.pt", "out/encoder/training.pt"}
    write_speech("hello.wav")
    assert call("animate", "hello.wav", "--weights", "out/model.safetensors").status == 0
    assert read_motion("hello.npz").identity in ("ann", "bob", "cat")
    model = inference.load("out/model.safetensors")
    assert (model.config.steps, model.config.encoder, model.config.encoder_width) == (1, "cnn", 12)

    again = distill(slow, *flags)
    assert again.status == 1
    assert "add --resume" in again.error

    before = load_file("out/model.safetensors")
    resumed = distill(slow, *flags, "--resume")
    assert (resumed.status, resumed.err.strip()) == (0, "")
    assert "going on after update 1" in resumed.out
    after = load_file("out/model.safetensors")
    assert after.keys() == before.keys()
    assert all(np.array_equal(value, before[name]) for name, value in after.items())

    changed = distill(slow, *flags, "--resume", "--enhancer-weight", 0.5)
    assert changed.status == 1
    assert "other settings: enhancer_weight was 0.05, is 0.5" in changed.error


def test_distill_through_a_whisper(
    train: Callable[..., Result],
    distill: Callable[..., Result],
    call: Callable[..., Result],
    data: Path,
) -> None:
    """From training the teacher to animating with a student that needs no Whisper."""
    pytest.importorskip("transformers")
    tiny_whisper(Path("ears/tiny"))
    hears = ("--encoder", "ears/tiny", "--cache", "cache")
    flags = ("--updates", 1, "--steps", 4, "--layer", 1, "--layer", 2, "--out", "slow")
    result = train(*flags, *hears)
    assert (result.status, result.err.strip()) == (0, "")
    teacher = load_model(Path("slow/model.safetensors"))
    assert (teacher.config.encoder, teacher.config.layer) == ("tiny", (1, 2))
    assert teacher.config.large_width == 16

    write_speech("speech/a.wav", 5)
    result = distill("slow/model.safetensors", *hears, "--speech", "speech", "--front-end", "cnn")
    assert (result.status, result.err.strip()) == (0, "")
    assert "sampling motion for 3 clips of speech" in result.out
    assert [name for name in files() if name.startswith("cache/")]
    student = inference.load("out/model.safetensors")
    assert (student.config.steps, student.config.encoder) == (2, "cnn")

    write_speech("hello.wav")
    assert call("animate", "hello.wav", "--weights", "out/model.safetensors").status == 0
    lacking = call("animate", "hello.wav", "--weights", "slow/model.safetensors", "-f")
    assert lacking.status == 1
    assert "name its folder or hub id with --encoder" in lacking.error
    slowly = call("animate", "hello.wav", "--weights", "slow/model.safetensors", *hears, "-f")
    assert slowly.status == 0
    scored = call("evaluate", "--data", data, "--weights", "slow/model.safetensors", *hears)
    assert (scored.status, scored.err.strip()) == (0, "")


def test_distill_without_parts(distill: Callable[..., Result], slow: str) -> None:
    flags = [f"--without={part}" for part in ("enhancer", "identity", "distillation")]
    assert distill(slow, *flags).status == 0
    config = inference.load("out/model.safetensors").config
    assert (config.identities, config.emotions) == ((), EMOTIONS)
    assert not Path("out/encoder").exists()


@pytest.mark.parametrize(
    ("teacher", "reason"),
    [
        ("gone.safetensors", "cannot load gone.safetensors: it does not exist"),
        ("text.safetensors", "cannot load text.safetensors"),
        (".", "is a folder"),
    ],
)
def test_teachers_that_are_none(distill: Callable[..., Result], teacher: str, reason: str) -> None:
    Path("text.safetensors").write_text("no model")
    result = distill(teacher)
    assert result.status == 1
    assert reason in result.error
    assert files() == ["text.safetensors"]


def test_steps_that_cannot_be_halved(distill: Callable[..., Result], slow: str) -> None:
    result = distill(slow, "--steps", 3)
    assert result.status == 1
    assert "cannot be halved to 3" in result.error
    assert files() == [slow]


def test_a_teacher_whose_encoder_is_not_named(distill: Callable[..., Result]) -> None:
    save_model(large_model(steps=4), Path("large.safetensors"))
    result = distill("large.safetensors")
    assert result.status == 1
    assert result.error == (
        "large.safetensors uses the speech encoder fake, which is not in its file: "
        "name its folder or hub id with --encoder"
    )
    assert files() == ["large.safetensors"]


def test_nothing_to_resume_from_a_distillation(distill: Callable[..., Result], slow: str) -> None:
    result = distill(slow, "--resume")
    assert (result.status, result.error) == (1, "nothing to resume: out does not exist")


def test_distilling_on_data_without_validation(distill: Callable[..., Result], slow: str) -> None:
    folder = write_data(Path("data"))
    lines = (folder / "clips.csv").read_text().splitlines(keepends=True)
    (folder / "clips.csv").write_text("".join(x for x in lines if ",val," not in x))
    result = distill(slow, "--data", folder)
    assert (result.status, result.err.strip()) == (0, "")
    assert inference.load("out/model.safetensors").config.steps == 2
