"""``dtalk info``: what ships and what files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trimesh
from avatars import avatar, with_skeleton
from flames import small, with_chumpy
from helpers import smooth_motion, speech

from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import npz_arrays, write_motion
from dtalk.version import __version__
from dtalk.video.html import write_html
from dtalk.video.mp4 import write_video
from dtalk.video.stills import write_stills

RATE = 16000
DAMAGED_PAGE = (
    b'<meta name="generator" content="dtalk 1"><script type="text/plain" id="head">AAAA</script>'
    b'<script type="text/plain" id="motions">AAAA</script>'
)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def flame_motion(tmp_path: Path) -> Path:
    """A motion with FLAME's parameters beside it."""
    arrays = npz_arrays(motion())
    np.savez(tmp_path / "a.flame.npz", **arrays, expression=np.zeros((30, 100), np.float32))
    return tmp_path / "a.flame.npz"


def motion(**fields: Any) -> Motion:
    return Motion(smooth_motion(30), **fields)


def test_what_ships(call):
    models = json.loads(call("info", "--json").out)
    assert {Path(model["file"]).stem for model in models} >= {"student", "open", "tiny", "teacher"}
    for model in models:
        assert model["kind"] == "model"
        assert model["megabytes"] == pytest.approx(4e-6 * model["parameters"], abs=0.01)
        assert "neutral" in model["emotions"]
        free = Path(model["file"]).stem == "open"
        assert ("non-commercial" in model["licence"]) != free


def test_plain_text_in_80_columns(call):
    text = call("info", "student").out
    assert max(map(len, text.splitlines())) <= 80
    assert "emotions" in text


def test_a_motion(call):
    write_motion(motion(fps=25, emotion="sad", emotion_confidence=0.25), "a.npz")
    facts = json.loads(call("info", "a.npz", "--json").out)
    assert (facts["kind"], facts["frames"], facts["fps"]) == ("motion", 30, 25)
    assert (facts["seconds"], facts["emotion"]) == (1.2, "sad")
    assert facts["emotion_confidence"] == 0.25


def test_a_motion_in_words(call):
    write_motion(motion(fps=25, emotion="sad", emotion_confidence=1 / 3), "a.npz")
    lines = [" ".join(line.split()) for line in call("info", "a.npz").out.splitlines()]
    assert lines[:4] == ["file a.npz", "kind motion", "frames 30", "fps 25"]
    assert "emotion confidence 0.3333" in lines
    assert "head rotation no" in lines


def test_a_sound(call):
    soundfile.write("a.wav", speech(RATE), RATE)
    facts = json.loads(call("info", "a.wav", "--json").out)
    assert (facts["kind"], facts["seconds"], facts["frames"]) == ("sound", 1, 30)


def test_an_avatar(call):
    with_skeleton(avatar(ARKIT_NAMES[3:])).save(Path("me.glb"))
    facts = json.loads(call("info", "me.glb", "--json").out)
    assert (facts["kind"], facts["shapes"]) == ("head", 49)
    assert facts["missing"] == list(ARKIT_NAMES[:3])
    assert facts["turns_its_head"]


def test_an_animated_avatar(call):
    write_motion(motion(emotion="sad"), "a.npz")
    call("convert", "a.npz", "-o", "a.glb")
    facts = json.loads(call("info", "a.glb", "--json").out)
    assert (facts["kind"], facts["shapes"], facts["animations"]) == ("head", 52, 1)
    assert (facts["meshes"], facts["other_targets"]) == (1, 0)
    assert (facts["frames"], facts["emotion"]) == (30, "sad")


@pytest.mark.parametrize("kind", ["csv", "json", "flame.npz"])
def test_motion_of_every_kind(call, kind, flame_motion):
    name = flame_motion if kind == "flame.npz" else f"a.{kind}"
    if kind != "flame.npz":
        write_motion(motion(), name)
    facts = json.loads(call("info", name, "--json").out)
    assert (facts["kind"], facts["fps"]) == ("motion", 30)
    assert facts.get("flame_parameters", False) == (kind == "flame.npz")


@pytest.mark.parametrize("kind", ["obj", "ply", "stl", "off", "gltf", "glb"])
def test_a_head_of_every_kind(call, kind):
    ball = trimesh.creation.icosphere(3)
    ball.export(f"a.{kind}")
    facts = json.loads(call("info", f"a.{kind}", "--json").out)
    assert facts["kind"] == "head"
    if kind in ("gltf", "glb"):
        assert (facts["shapes"], len(facts["missing"])) == (0, 52)
    else:
        assert (facts["vertices"], facts["triangles"]) == (len(ball.vertices), len(ball.faces))


@pytest.mark.parametrize("as_npz", [False, True])
def test_a_flame_model(call, as_npz):
    if as_npz:
        np.savez("a.npz", **{**small(), "J_regressor": small()["J_regressor"].toarray()})
    else:
        with_chumpy(small(), Path("a.pkl"))
    facts = json.loads(call("info", "a.npz" if as_npz else "a.pkl", "--json").out)
    assert (facts["kind"], facts["model"], facts["vertices"]) == ("head", "FLAME", 40)


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_sound_of_every_kind(call, kind):
    soundfile.write(f"a.{kind}", speech(RATE), RATE)
    facts = json.loads(call("info", f"a.{kind}", "--json").out)
    assert (facts["kind"], facts["frames"]) == ("sound", pytest.approx(30, abs=2))


def test_a_video(call):
    soundfile.write("a.wav", speech(RATE), RATE)
    frames = (np.full((48, 64, 3), 8 * k, np.uint8) for k in range(25))
    write_video(frames, "a.mp4", 25, "a.wav", "emotion: joy")
    write_video((np.zeros((36, 32), np.uint8) for _ in range(2)), "silent.mp4", 24)
    facts = json.loads(call("info", "a.mp4", "--json").out)
    assert (facts["kind"], facts["frames"], facts["fps"]) == ("video", 25, 25)
    assert (facts["width"], facts["height"], facts["seconds"]) == (
        64,
        48,
        pytest.approx(1, abs=0.1),
    )
    assert (facts["notes"], facts["sound"]) == ("emotion: joy", "aac, 16000 Hz")
    assert facts["made_by"] == f"dtalk {__version__}"
    silent = json.loads(call("info", "silent.mp4", "--json").out)
    assert (silent["width"], silent["height"], silent["sound"]) == (32, 24, "none")


def test_a_page(call):
    write_html([motion(emotion="joy"), motion()], ["a", "b"], Path("a.html"), comment="<hello>")
    facts = json.loads(call("info", "a.html", "--json").out)
    assert (facts["kind"], facts["frames"], facts["fps"], facts["seconds"]) == ("page", 30, 30, 1)
    assert (facts["heads"], facts["labels"], facts["vertices"]) == (2, ["a", "b"], 11816)
    assert "<hello>" in facts["notes"]
    assert "emotion joy" in facts["notes"]
    assert facts["made_by"] == f"dtalk {__version__}"


def test_a_picture(call):
    write_stills([np.zeros((20, 30, 3), np.uint8)], [Path("a.png")], "hello")
    facts = json.loads(call("info", "a.png", "--json").out)
    assert (facts["kind"], facts["width"], facts["height"]) == ("picture", 30, 20)
    assert facts["notes"] == "hello"


def test_the_head_that_ships(call):
    built_in().save(Path("head.npz"))
    facts = json.loads(call("info", "head.npz", "--json").out)
    assert (facts["kind"], facts["vertices"], facts["shapes"]) == ("head", 11816, 52)


def test_an_evaluation(call):
    Path("report.json").write_text('{"settings": {}, "machine": {}, "systems": {"student": {}}}')
    Path("clips.csv").write_text("system,set,clip\nstudent,a,1\nteacher,a,1\nstudent,a,2\n")
    facts = [json.loads(call("info", name, "--json").out) for name in ("report.json", "clips.csv")]
    assert [each["kind"] for each in facts] == ["evaluation", "evaluation"]
    assert [each["systems"] for each in facts] == [["student"], ["student", "teacher"]]
    assert facts[1]["clips"] == 2


def test_the_state_of_a_run(call):
    torch = pytest.importorskip("torch")
    torch.save({"update": 7, "seconds": 3.6, "model": {"a": torch.zeros(2, 3)}}, "training.pt")
    facts = json.loads(call("info", "training.pt", "--json").out)
    assert (facts["kind"], facts["updates"], facts["parameters"]) == ("training state", 7, 6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"no", "no moving pictures"),
        ("a.html", b"<html>", "none that dtalk wrote"),
        ("a.htm", b"\xff\xfe", "none that dtalk wrote"),
        ("a.html", DAMAGED_PAGE, "the page is damaged"),
        ("a.png", b"no", "no PNG"),
        ("a.pt", b"no", "no state of a training run"),
        ("a.json", b"{}", "a.json"),
        ("a.csv", b"x,y\n1,2\n", "a.csv"),
        ("missing.npz", None, "does not exist"),
        ("a.npz", b"no", "a.npz"),
        ("a.glb", b"no", "no GLB"),
        ("a.safetensors", b"no", "a.safetensors"),
        ("a.onnx", b"no", "cannot load a.onnx"),
        ("a.xyzzy", b"no", "neither motion, sound, head nor model"),
    ],
)
def test_other_files(call, name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    result = call("info", name)
    assert result.status == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_an_exported_model(call, exported):
    facts = json.loads(call("info", str(exported), "--json").out)
    assert (facts["kind"], facts["bytes"]) == ("graph", exported.stat().st_size)
    assert facts["emotions"] == ["happy", "sad"]
    assert (
        facts["steps"]
        == json.loads(call("info", str(exported.with_suffix(".safetensors")), "--json").out)[
            "steps"
        ]
    )
