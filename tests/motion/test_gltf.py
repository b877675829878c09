from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avatars import HEAD, MESH, as_vrm0, as_vrm1, avatar, with_skeleton
from hypothesis import given, settings
from hypothesis import strategies as st
from node import needs, validate

from dtalk.errors import HeadError, MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.gltf import (
    add_animation,
    animate_avatar,
    channels_of,
    find_targets,
    missing_names,
    read_glb,
)
from dtalk.utils.glb import Glb, GlbError

ODD: list[Any] = [None, -1, 10**9, 0.5, "", "x", [], {}, [{}], True]
PLACEHOLDERS = [f"shape{k}" for k in range(52)]


def motion(frames: int = 7, fps: float = 30, **fields: Any) -> Motion:
    values = np.random.default_rng(0).random((frames, 52), dtype=np.float32)
    return Motion(values, fps=fps, **fields)


def rotated(frames: int = 7) -> Motion:
    turns = np.random.default_rng(1).uniform(-0.4, 0.4, (frames, 3))
    return motion(frames, head_rotation=turns)


def written(glb: Glb, path: Path) -> Path:
    glb.save(path)
    return path


class TestTargets:
    def test_by_name(self):
        table = find_targets(avatar(["smile", "eyeBlink_L", "JawOpen"]))[MESH]
        assert table.shape == (52, 3)
        assert table[ARKIT_NAMES.index("eyeBlinkLeft")].tolist() == [0, 1, 0]
        assert table[ARKIT_NAMES.index("jawOpen")].tolist() == [0, 0, 1]
        assert table.sum() == 2

    def test_a_channel_spelled_twice_moves_once(self):
        assert find_targets(avatar(["jawOpen", "jaw_open"]))[MESH].sum() == 1

    def test_names_where_older_exporters_put_them(self):
        glb = avatar()
        mesh = glb.content["meshes"][0]
        mesh["primitives"][0]["extras"] = mesh.pop("extras")
        assert channels_of(find_targets(glb)).all()

    @pytest.mark.parametrize("where", ["target", "accessor"])
    def test_names_of_targets_themselves(self, where):
        glb = avatar()
        mesh = glb.content["meshes"][0]
        del mesh["extras"]
        for name, target in zip(ARKIT_NAMES, mesh["primitives"][0]["targets"], strict=True):
            if where == "target":
                target["extras"] = {"name": name}
            else:
                glb.content["accessors"][target["POSITION"]]["name"] = name
        assert channels_of(find_targets(glb)).all()

    def test_meshes_that_share_names_all_move(self):
        """A face, and teeth that have the jaw's shapes alone."""
        glb = avatar()
        teeth = avatar(["jawOpen", "JawLeft"]).content["meshes"][0]
        glb.add("nodes", {"mesh": glb.add("meshes", teeth)})
        targets = find_targets(glb)
        assert [table.shape[1] for table in targets.values()] == [52, 2]
        add_animation(glb, motion(3), targets)
        moved = {
            channel["target"]["node"]: glb.read(sampler["output"]).reshape(3, -1)
            for channel, sampler in zip(
                glb.content["animations"][0]["channels"],
                glb.content["animations"][0]["samplers"],
                strict=True,
            )
        }
        np.testing.assert_array_equal(moved[0], motion(3).coefficients)
        chosen = [ARKIT_NAMES.index(name) for name in ("jawOpen", "jawLeft")]
        np.testing.assert_array_equal(moved[1], motion(3).coefficients[:, chosen])

    def test_nameless_targets_and_meshes_without_any(self):
        glb = avatar()
        del glb.content["meshes"][0]["extras"]
        assert find_targets(glb) == {}
        del glb.content["meshes"][0]["primitives"][0]["targets"]
        assert find_targets(glb) == {}

    @pytest.mark.parametrize(("wrapped", "share"), [(as_vrm0, 50), (as_vrm1, 0.5)])
    def test_expressions_of_a_vrm(self, wrapped, share):
        """Perfect sync: the expression has the ARKit name, its target any."""
        glb = wrapped(avatar(PLACEHOLDERS), share=share)
        np.testing.assert_array_equal(find_targets(glb)[MESH], np.eye(52) / 2)

    def test_targets_named_themselves_come_first(self):
        glb = as_vrm1(avatar(["jawOpen", *PLACEHOLDERS[1:]]), ["mouthClose", "jawOpen"])
        table = find_targets(glb)[MESH]
        assert table[ARKIT_NAMES.index("jawOpen")].argmax() == 0
        assert table.sum() == 2

    def test_missing_ones_are_named(self):
        assert missing_names(find_targets(avatar(ARKIT_NAMES[2:]))) == list(ARKIT_NAMES[:2])

    def test_fewer_than_ten_are_refused(self):
        assert len(missing_names(find_targets(avatar(ARKIT_NAMES[:10])))) == 42
        with pytest.raises(HeadError, match=r"^9 of its morph targets bear ARKit names"):
            missing_names(find_targets(avatar(ARKIT_NAMES[:9])))

    @pytest.mark.parametrize("key", ["meshes", "nodes"])
    @pytest.mark.parametrize("value", [[{}], [{"mesh": 9}], [{"primitives": 3}], [{"mesh": "a"}]])
    def test_damage(self, key, value):
        glb = avatar()
        glb.content[key] = value
        with suppress(GlbError):
            assert find_targets(glb) == {}


class TestWriting:
    def test_keys_by_hand(self):
        """One channel of weights, frames x targets, at (k + 0.5) / fps."""
        glb = avatar(["other", *ARKIT_NAMES])
        glb.content["meshes"][0]["weights"] = [0.25] + [0.0] * 52
        add_animation(glb, motion(3, fps=25), find_targets(glb), "talk")
        [animation] = glb.content["animations"]
        assert animation["name"] == "talk"
        [channel], [sampler] = animation["channels"], animation["samplers"]
        assert channel == {"sampler": 0, "target": {"node": MESH, "path": "weights"}}
        assert sampler["interpolation"] == "LINEAR"
        np.testing.assert_allclose(glb.read(sampler["input"])[:, 0], [0.02, 0.06, 0.1], rtol=1e-7)
        weights = glb.read(sampler["output"]).reshape(3, 53)
        np.testing.assert_array_equal(weights[:, 1:], motion(3).coefficients)
        assert (weights[:, 0] == 0.25).all()

    @pytest.mark.parametrize("fps", [24, 25, 30, 60])
    def test_every_key_lies_where_its_frame_does(self, fps):
        glb = avatar()
        add_animation(glb, motion(20 * fps, fps=fps), find_targets(glb))
        times = glb.read(glb.content["animations"][0]["samplers"][0]["input"])[:, 0]
        off = times.astype(float) - (np.arange(20 * fps) + 0.5) / fps
        assert np.abs(off).max() < 1e-6

    def test_everything_else_stays_as_it_was(self, tmp_path):
        glb = with_skeleton(avatar())
        glb.content["extensionsUsed"] = ["FOO_bar"]
        source = written(glb, tmp_path / "a.glb")
        notes = animate_avatar(source, rotated(), tmp_path / "b.glb", "talk")
        before, after = Glb.load(source), Glb.load(tmp_path / "b.glb")
        assert notes == []
        assert after.binary[: len(before.binary)] == before.binary
        for key, value in before.content.items():
            if key == "asset":
                assert after.content[key].pop("extras")["dtalk"]["fps"] == 30
            kept = after.content[key]
            assert key != "animations"
            if key not in ("asset", "buffers", "extensionsUsed", "scene"):
                kept = kept[: len(value)]
            assert kept == value or key == "buffers"

    @pytest.mark.parametrize("turns", [False, True])
    def test_what_it_cannot_show_is_said(self, tmp_path, turns):
        source = written(avatar(ARKIT_NAMES[2:]), tmp_path / "a.glb")
        notes = animate_avatar(source, rotated() if turns else motion(), tmp_path / "b.glb")
        head = ["has no joint called head, so its head does not turn"]
        assert notes == ["lacks 2 shapes: eyeBlinkLeft, eyeLookDownLeft"] + turns * head

    def test_the_newest_animation_is_the_first(self, tmp_path):
        source = written(avatar(), tmp_path / "a.glb")
        animate_avatar(source, motion(3), tmp_path / "b.glb", "first")
        animate_avatar(tmp_path / "b.glb", motion(5), tmp_path / "c.glb", "second")
        names = [one["name"] for one in Glb.load(tmp_path / "c.glb").content["animations"]]
        assert names == ["second", "first"]
        assert len(read_glb(tmp_path / "c.glb")) == 5

    @pytest.mark.parametrize(
        ("data", "message"),
        [(b"no", "cannot use head .*a.glb: no GLB file"), (None, "cannot read head .*No such")],
    )
    def test_avatars_that_are_none(self, tmp_path, data, message):
        if data is not None:
            (tmp_path / "a.glb").write_bytes(data)
        with pytest.raises(HeadError, match=message):
            animate_avatar(tmp_path / "a.glb", motion(), tmp_path / "b.glb")
        assert not (tmp_path / "b.glb").exists()


class TestReading:
    @pytest.mark.parametrize("fps", [12.5, 24, 25, 29.97, 30, 60, 120])
    @pytest.mark.parametrize("frames", [1, 2, 31])
    def test_there_and_back_exactly(self, tmp_path, fps, frames):
        wanted = motion(frames, fps, audio="a.wav", identity="x", emotion="sad", model="m", seed=7)
        glb = avatar()
        add_animation(glb, wanted, find_targets(glb))
        found = read_glb(written(glb, tmp_path / "a.glb"))
        np.testing.assert_array_equal(found.coefficients, wanted.coefficients)
        for name in ("fps", "audio", "identity", "emotion", "model", "seed", "head_rotation"):
            assert getattr(found, name) == getattr(wanted, name)

    @pytest.mark.parametrize("wrapped", [lambda glb: glb, as_vrm0, as_vrm1])
    @pytest.mark.parametrize(
        "hips",
        [
            {},
            {"rotation": [0.5, -0.5, 0.5, 0.5], "scale": [2, 2, 2]},
            {"matrix": [0, 0, -3, 0, 0, 3, 0, 0, 3, 0, 0, 0, 1, 2, 3, 1]},
        ],
    )
    def test_the_head_turns_and_is_read_back(self, tmp_path, wrapped, hips):
        glb = wrapped(with_skeleton(avatar(), hips))
        add_animation(glb, rotated(), find_targets(glb))
        found = read_glb(written(glb, tmp_path / "a.glb")).head_rotation
        assert found is not None
        np.testing.assert_allclose(found, rotated().head_rotation, atol=1e-6)

    def test_keys_elsewhere_are_interpolated(self, tmp_path):
        """Keys at 0, 0.1 and 0.2 s, as other programs have them, one every frame of 10."""
        glb = avatar()
        add_animation(glb, motion(3, fps=10), find_targets(glb))
        animation = glb.content["animations"][0]
        del animation["extras"]
        keys = glb.add_accessor(np.array([0, 0.1, 0.2], np.float32), bounds=True)
        animation["samplers"][0]["input"] = keys
        found = read_glb(written(glb, tmp_path / "a.glb"))
        values = motion(3).coefficients
        assert (len(found), found.fps) == (3, 10)
        between = [*(values[1:] + values[:-1]) / 2, values[2]]
        np.testing.assert_allclose(found.coefficients, between, atol=1e-6)

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ([0, 0.1, 0.2, 1e9], "too long"),
            ([0, 1e-5, 2e-5, 1], "apart"),
            ([0, 9, 18, 27], "apart"),
        ],
    )
    def test_odd_times(self, tmp_path, times, message):
        glb = avatar()
        add_animation(glb, motion(4), find_targets(glb))
        keys = glb.add_accessor(np.array(times, np.float32), bounds=True)
        glb.content["animations"][0]["samplers"][0]["input"] = keys
        with pytest.raises(MotionError, match=message):
            read_glb(written(glb, tmp_path / "a.glb"))

    def test_cubic_splines_lose_their_tangents(self, tmp_path):
        glb = avatar()
        add_animation(glb, motion(3), find_targets(glb))
        sampler = glb.content["animations"][0]["samplers"][0]
        values = glb.read(sampler["output"]).reshape(3, 1, 52)
        spline = np.concatenate((values + 9, values, values - 9), axis=1).astype(np.float32)
        sampler |= {"output": glb.add_accessor(spline.ravel()), "interpolation": "CUBICSPLINE"}
        found = read_glb(written(glb, tmp_path / "a.glb"))
        np.testing.assert_array_equal(found.coefficients, motion(3).coefficients)

    def test_the_animation_with_most_channels_counts(self, tmp_path):
        glb = with_skeleton(avatar())
        add_animation(glb, motion(4), find_targets(glb))
        glb.add("animations", {"channels": [], "samplers": []})
        assert len(read_glb(written(glb, tmp_path / "a.glb"))) == 4

    def test_nothing_to_read(self, tmp_path):
        for number, glb in enumerate((Glb(), avatar(), avatar(PLACEHOLDERS))):
            path = written(glb, tmp_path / f"{number}.glb")
            with pytest.raises(MotionError, match="no animation in it moves a target"):
                read_glb(path)

    @settings(max_examples=80)
    @given(st.data())
    def test_damage_gives_motion_or_a_motion_error(self, tmp_path_factory, data):
        """Any value of the json replaced by any other."""
        glb = with_skeleton(avatar(ARKIT_NAMES[:12]))
        add_animation(glb, rotated(3), find_targets(glb))
        place: Any = glb.content
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
                place[key] = data.draw(st.sampled_from(ODD))
                break
            place = place[key]
        path = tmp_path_factory.getbasetemp() / "damaged.glb"
        with suppress(MotionError, GlbError):
            glb.save(path)
            assert 1 <= len(read_glb(path)) <= 10_000

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
    def test_cut_off(self, tmp_path, share):
        glb = avatar()
        add_animation(glb, motion(), find_targets(glb))
        data = written(glb, tmp_path / "a.glb").read_bytes()
        (tmp_path / "a.glb").write_bytes(data[: int(share * len(data))])
        with pytest.raises(MotionError, match="cut off"):
            read_glb(tmp_path / "a.glb")


def test_the_head_of_a_vrm_is_that_of_its_skeleton():
    glb = as_vrm1(with_skeleton(avatar(), head="J_Kopf"))
    add_animation(glb, rotated(), find_targets(glb))
    turned = [one["target"]["node"] for one in glb.content["animations"][0]["channels"]]
    assert turned == [MESH, HEAD]


@pytest.mark.parametrize("wrapped", [lambda glb: glb, as_vrm0, as_vrm1], ids=["glb", "vrm", "vrm1"])
def test_the_validator_finds_nothing_that_the_avatar_had_not(wrapped, tmp_path):
    needs("gltf-validator")
    source = written(wrapped(with_skeleton(avatar())), tmp_path / "me.glb")
    animate_avatar(source, rotated(), tmp_path / "talk.glb")
    before, after = (validate(path)["issues"] for path in (source, tmp_path / "talk.glb"))
    for kind in ("numErrors", "numWarnings"):
        assert after[kind] == before[kind], after["messages"]
