"""``dtalk convert``, and the formats and reports of ``animate``: real runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from avatars import as_vrm0, as_vrm1, avatar, with_skeleton
from helpers import Result, smooth_motion, speech

from dtalk.heads.flame_head import FlameHead
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion
from dtalk.motion.resample import resample_motion
from dtalk.utils.glb import Glb

RATE = 16000
PRECISION = {"npz": 0, "glb": 0, "csv": 1e-10, "json": 1e-8}


Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def animate(call: Call, weights: Path) -> Call:
    """``dtalk animate`` of ``a.wav``, half a second, with the tiny model."""
    soundfile.write("a.wav", speech(RATE // 2), RATE)
    return lambda *arguments: call("animate", "--weights", weights, "a.wav", *arguments)


def motion(frames: int = 30, **fields: Any) -> Motion:
    return Motion(smooth_motion(frames), **fields)


@pytest.fixture(scope="module")
def flame_motion(flame_head: FlameHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames with FLAME's parameters."""
    from dtalk.heads.export import Exporter

    path = tmp_path_factory.mktemp("flame") / "a.flame.npz"
    Exporter(flame_head).write(motion(3), path)
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class TestConvert:
    @pytest.mark.parametrize("old", PRECISION)
    @pytest.mark.parametrize("new", PRECISION)
    def test_every_format_to_every_other(self, call, old, new):
        from dtalk.heads.export import Exporter

        turn = np.random.default_rng(0).uniform(-0.4, 0.4, (30, 3))
        wanted = motion(fps=25, audio="a.wav", emotion="sad", head_rotation=turn)
        Exporter().write(wanted, Path(f"a.{old}"))
        result = call("convert", f"a.{old}", "-o", f"out/b.{new}")
        assert (result.status, result.err) == (0, "")
        found = read_motion(f"out/b.{new}")
        off = PRECISION[old] + PRECISION[new]
        np.testing.assert_allclose(found.coefficients, wanted.coefficients, rtol=0, atol=off)
        assert found.fps == 25
        if "json" not in (old, new):
            assert found.head_rotation is not None
            np.testing.assert_allclose(found.head_rotation, turn, rtol=0, atol=1e-6)
        if "csv" not in (old, new):
            assert (found.audio, found.emotion) == ("a.wav", "sad")
        assert result.out.startswith(f"{Path('out', f'b.{new}')}: 30 frames, 1.2 s")

    @pytest.mark.parametrize("new", PRECISION)
    def test_from_flames_parameters(self, call, flame_motion, new):
        call("convert", flame_motion, "-o", f"b.{new}")
        found, wanted = read_motion(f"b.{new}"), read_motion(flame_motion)
        off = PRECISION[new]
        np.testing.assert_allclose(found.coefficients, wanted.coefficients, rtol=0, atol=off)

    @pytest.mark.usefixtures("flame_head")  # whose shapes lie in the cache
    def test_to_flames_parameters(self, call, flame_file, heads_cache, monkeypatch):
        monkeypatch.setattr("dtalk.heads.load.default_folder", lambda: heads_cache)
        write_motion(motion(3), "a.csv")
        assert call("convert", "a.csv", "--head", flame_file, "-o", "b.flame.npz").status == 0
        found = read_motion("b.flame.npz").coefficients
        np.testing.assert_allclose(found, motion(3).coefficients, rtol=0, atol=PRECISION["csv"])
        assert np.load("b.flame.npz")["expression"].shape == (3, 100)

    @pytest.mark.parametrize("wrapped", [as_vrm0, as_vrm1])
    def test_through_a_vrm_and_back(self, call, wrapped):
        write_motion(motion(fps=25, emotion="sad"), "a.npz")
        wrapped(with_skeleton(avatar())).save(Path("me.vrm"))
        assert call("convert", "a.npz", "--head", "me.vrm", "-o", "talk.vrm").status == 0
        assert call("convert", "talk.vrm", "-o", "back.npz").status == 0
        found = read_motion("back.npz")
        np.testing.assert_array_equal(found.coefficients, motion().coefficients)
        assert (found.fps, found.emotion) == (25, "sad")

    def test_the_frame_rate_of_a_file_that_names_none(self, call):
        """Its rows are frames at the rate asked for; without it 30 a second are assumed."""
        rows = "".join(f"{k / 100}\n" for k in range(50))
        Path("a.csv").write_text(f"jawOpen\n{rows}")
        assert call("convert", "a.csv", "-o", "b.npz", "--fps", "50").status == 0
        found = read_motion("b.npz")
        assert (found.fps, len(found)) == (50, 50)
        jaw = found.coefficients[:, ARKIT_NAMES.index("jawOpen")]
        np.testing.assert_array_equal(jaw, np.arange(50, dtype=np.float32) / 100)
        assert call("convert", "a.csv", "-o", "c.npz").status == 0
        assert read_motion("c.npz").fps == 30

    @pytest.mark.parametrize("fps", [24, 50, 60])
    def test_another_frame_rate(self, call, fps):
        write_motion(motion(), "a.npz")
        assert call("convert", "a.npz", "-o", "b.npz", "--fps", str(fps)).status == 0
        found, wanted = read_motion("b.npz"), resample_motion(motion(), fps)
        assert (found.fps, len(found)) == (fps, fps)
        np.testing.assert_array_equal(found.coefficients, wanted.coefficients)

    def test_folders_and_failures(self, call):
        Path("in/deep").mkdir(parents=True)
        write_motion(motion(), "in/a.npz")
        write_motion(motion(), "in/deep/b.csv")
        Path("in/bad.json").write_text("{}")
        result = call("convert", "in", "-o", "out", "--format", "json")
        assert result.status == 1
        assert "bad.json: not an Audio2Face export" in result.err
        assert result.out.splitlines()[-1] == "2 done, 1 failed"
        assert len(read_motion("out/deep/b.json")) == 30

    def test_an_existing_file_is_kept(self, call):
        write_motion(motion(), "a.npz")
        result = call("convert", "a.npz", "-o", "a.npz")
        assert result.status == 1
        assert "exists already" in result.err

    def test_onto_an_avatar_with_its_sound(self, call):
        write_motion(motion(audio="a.wav"), "a.npz")
        Path("a.wav").write_bytes(b"sound")
        with_skeleton(avatar(ARKIT_NAMES[1:])).save(Path("me.glb"))
        result = call("convert", "a.npz", "--head", "me.glb", "-o", "out/talk.glb")
        assert result.status == 0
        assert "me.glb lacks 1 shapes: eyeBlinkLeft" in result.err
        assert Path("out/a.wav").read_bytes() == b"sound"
        assert len(Glb.load(Path("out/talk.glb")).content["animations"]) == 1

    def test_idle_motion(self, call):
        write_motion(motion(90), "a.npz")
        result = call("convert", "a.npz", "-o", "b.npz", "--idle", "--seed", "4")
        assert result.status == 0
        found = read_motion("b.npz")
        assert found.notes.endswith("sampled from seed 4, not from the sound")
        assert found.head_rotation is not None

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-o", "b.vrm"], "name a .vrm avatar"),
            (["-o", "b.flame.npz"], "needs a FLAME model"),
            (["--head", "a.npz"], "need --format glb or flame"),
            (
                ["--format", "fbx"],
                "unknown format 'fbx'; there are npz, csv, json, glb, vrm",
            ),
            (["-o", "b.csv", "--format", "json"], "is a csv file"),
        ],
    )
    def test_what_cannot_be(self, call, arguments, message):
        write_motion(motion(), "a.npz")
        result = call("convert", "a.npz", *arguments)
        assert result.status == 1
        assert message in result.err
        assert len(result.err.splitlines()) == 1


class TestAnimate:
    def test_a_glb_with_its_sound(self, animate):
        assert animate("-o", "out/talk.glb").status == 0
        found = read_motion("out/talk.glb")
        assert (len(found), found.audio) == (15, "a.wav")
        assert Path("out/a.wav").read_bytes() == Path("a.wav").read_bytes()

    def test_formats_rate_and_idle_motion_together(self, animate):
        kinds = [flag for kind in PRECISION for flag in ("--format", kind)]
        assert animate(*kinds, "--fps", "60", "--idle").status == 0
        exact = read_motion("a.npz")
        assert (exact.fps, len(exact)) == (60, 30)
        for kind, off in PRECISION.items():
            found = read_motion(f"a.{kind}")
            assert found.fps == 60
            np.testing.assert_allclose(found.coefficients, exact.coefficients, rtol=0, atol=off)
            assert kind == "csv" or "not from the sound" in found.notes
        for kind in ("csv", "glb"):
            rotation = read_motion(f"a.{kind}").head_rotation
            np.testing.assert_allclose(rotation, exact.head_rotation, atol=1e-6)

    def test_a_vrm(self, animate):
        as_vrm1(with_skeleton(avatar())).save(Path("me.vrm"))
        assert animate("--head", "me.vrm", "-o", "talk.vrm").status == 0
        assert len(read_motion("talk.vrm")) == 15

    def test_an_avatar_without_a_face(self, animate):
        avatar(ARKIT_NAMES[:9]).save(Path("me.glb"))
        result = animate("--head", "me.glb", "-o", "talk.glb")
        assert result.status == 1
        assert "9 of its morph targets bear ARKit names" in result.err
        assert not Path("talk.glb").exists()

    def test_what_was_inferred_is_said_and_kept(self, animate):
        result = animate()
        found = read_motion("a.npz")
        assert found.emotion_confidence is not None
        assert found.identity_confidence is not None
        emotion = f"emotion {found.emotion} ({found.emotion_confidence:.0%})".replace("%", " %")
        voice = f"voice like {found.identity} ({found.identity_confidence:.0%})".replace("%", " %")
        assert result.out == f"a.npz: 15 frames, 0.5 s, {emotion}, {voice}\n"

    def test_what_was_named_is_certain(self, animate):
        result = animate("--emotion", "happy")
        assert "emotion happy, voice like" in result.out
        assert read_motion("a.npz").emotion_confidence is None

    def test_quiet(self, animate):
        result = animate("--quiet")
        assert (result.status, result.out, result.err) == (0, "", "")

    def test_for_programs(self, animate, call):
        result = animate("--json")
        assert result.status == 0
        [made] = lines(result.out)
        assert made["outputs"] == ["a.npz"]
        assert (made["frames"], made["seconds"]) == (15, 0.5)
        assert 0 < made["emotion_confidence"] <= 1
        assert [event["type"] for event in lines(result.err)] == ["start", "success"]
        again = animate("--json")
        assert again.status == 1
        assert "exists already" in lines(again.out)[0]["error"]
        missing = call("animate", "--json", "nothing.wav")
        assert missing.status == 1
        assert lines(missing.err)[-1]["type"] == "failure"
