from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from avatars import as_vrm1, avatar, with_skeleton

from dtalk.errors import DtalkError, HeadError
from dtalk.heads.export import EXPORTS, Exporter, copy_sound, needs_head
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion
from dtalk.utils.glb import Glb


def motion() -> Motion:
    values = np.random.default_rng(0).random((5, 52), dtype=np.float32)
    return Motion(
        values, fps=25, audio="a.wav", emotion="sad", emotion_confidence=0.5, notes="idle"
    )


@pytest.mark.parametrize(("kind", "off"), [("npz", 0), ("csv", 1e-10), ("json", 1e-8), ("glb", 0)])
def test_every_format_comes_back_as_precisely_as_it_says(tmp_path, kind, off):
    path = tmp_path / f"talk{EXPORTS[kind]}"
    assert Exporter().write(motion(), path) == []
    found = read_motion(path)
    np.testing.assert_allclose(found.coefficients, motion().coefficients, rtol=0, atol=off)
    assert found.fps == 25
    if kind != "csv":
        assert (found.audio, found.emotion, found.emotion_confidence) == ("a.wav", "sad", 0.5)
        assert found.notes == "idle"


class TestAvatars:
    def test_animation_is_appended(self, tmp_path):
        with_skeleton(avatar()).save(tmp_path / "me.glb")
        exporter = Exporter(avatar=tmp_path / "me.glb")
        exporter.check([tmp_path / "talk.glb"])
        assert exporter.write(motion(), tmp_path / "talk.glb") == []
        [animation] = Glb.load(tmp_path / "talk.glb").content["animations"]
        assert animation["name"] == "talk"

    def test_missing_shapes_are_named(self, tmp_path):
        avatar(ARKIT_NAMES[2:]).save(tmp_path / "me.glb")
        [note] = Exporter(avatar=tmp_path / "me.glb").write(motion(), tmp_path / "talk.glb")
        assert note.endswith("me.glb lacks 2 shapes: eyeBlinkLeft, eyeLookDownLeft")

    def test_too_few_are_refused_before_anything_is_made(self, tmp_path):
        avatar(ARKIT_NAMES[:9]).save(tmp_path / "me.glb")
        with pytest.raises(HeadError, match=r"me.glb: 9 of its morph targets .* at least 10"):
            Exporter(avatar=tmp_path / "me.glb").check([tmp_path / "talk.glb"])

    def test_a_vrm_stays_one(self, tmp_path):
        as_vrm1(with_skeleton(avatar())).save(tmp_path / "me.vrm")
        exporter = Exporter(avatar=tmp_path / "me.vrm")
        exporter.check([tmp_path / "talk.vrm"])
        exporter.write(motion(), tmp_path / "talk.vrm")
        np.testing.assert_array_equal(
            read_motion(tmp_path / "talk.vrm").coefficients, motion().coefficients
        )

    def test_no_vrm_without_one(self, tmp_path):
        with pytest.raises(HeadError, match=r"name a \.vrm avatar"):
            Exporter(head=built_in()).check([tmp_path / "talk.vrm"])

    def test_flame_needs_a_flame_head(self, tmp_path):
        with pytest.raises(HeadError, match="FLAME"):
            Exporter().check([tmp_path / "talk.flame.npz"])


def test_which_files_need_a_head():
    assert not needs_head([Path("a.npz"), Path("a.csv"), Path("a.json")])
    assert all(needs_head([Path(name)]) for name in ("a.glb", "a.vrm", "a.flame.npz", "A.GLB"))


class TestSound:
    def test_it_is_laid_beside(self, tmp_path):
        sound = tmp_path / "a.wav"
        sound.write_bytes(b"sound")
        (tmp_path / "out").mkdir()
        copy_sound(sound, tmp_path / "out" / "talk.glb")
        assert (tmp_path / "out" / "a.wav").read_bytes() == b"sound"

    def test_what_is_there_stays(self, tmp_path):
        sound = tmp_path / "a.wav"
        sound.write_bytes(b"sound")
        copy_sound(sound, tmp_path / "talk.glb")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.wav").write_bytes(b"other")
        copy_sound(sound, tmp_path / "out" / "talk.glb")
        assert (tmp_path / "out" / "a.wav").read_bytes() == b"other"
        assert sound.read_bytes() == b"sound"

    def test_a_place_that_cannot_be_written(self, tmp_path):
        sound = tmp_path / "a.wav"
        sound.write_bytes(b"sound")
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DtalkError, match="cannot write"):
            copy_sound(sound, tmp_path / "file" / "talk.glb")
