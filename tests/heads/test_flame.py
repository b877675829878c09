"""FLAME heads: files, skinning as published, eyes, lids, the cache, and the fit of expressions."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from flames import (
    EYE,
    SKIN,
    FullSize,
    fake_classes,
    full_size,
    instance,
    published,
    small,
    with_chumpy,
    write_pickle,
)
from gl import needs_gl
from helpers import run_dtalk, speech
from scipy.spatial.transform import Rotation

from dtalk.errors import DtalkError, HeadError
from dtalk.heads import load
from dtalk.heads.eyes import gaze, seen
from dtalk.heads.flame import Flame, read_flame
from dtalk.heads.flame_export import export_flame, fit_flame
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import built_in
from dtalk.heads.load import load_head, parse_shape, with_masks
from dtalk.heads.transfer import cache as transfer_cache
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion

BALLS = {"Left": np.arange(SKIN, SKIN + EYE), "Right": np.arange(SKIN + EYE, SKIN + 2 * EYE)}


def weights_of(**values: float) -> np.ndarray:
    row = np.zeros(52, dtype=np.float32)
    for name, value in values.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


@pytest.fixture(scope="session")
def full() -> FullSize:
    return full_size()


@pytest.fixture(scope="session")
def place(full: FullSize, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full-size file, with chumpy's classes."""
    return with_chumpy(full.content, tmp_path_factory.mktemp("flame") / "FLAME.pkl")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def head(place: Path, cache: Path) -> FlameHead:
    found = load_head(place, cache=cache)
    assert isinstance(found, FlameHead)
    return found


# --- files --------------------------------------------------------------------------------------


def write_npz(path: Path, content: dict[str, Any]) -> Path:
    dense = {k: v.toarray() if hasattr(v, "toarray") else v for k, v in content.items()}
    np.savez(path, **dense)
    return path


def test_pkl_with_and_without_chumpy_and_npz_hold_the_same(tmp_path: Path) -> None:
    content = small()
    files = [
        with_chumpy(content, tmp_path / "chumpy.pkl"),
        write_pickle(tmp_path / "plain.pkl", content),
        write_pickle(tmp_path / "new.pkl", content, 4),
        write_npz(tmp_path / "arrays.npz", content),
    ]
    for flame in map(read_flame, files):
        np.testing.assert_array_equal(flame.template, content["v_template"].astype(np.float32))
        np.testing.assert_array_equal(flame.faces, content["f"])
        directions = content["shapedirs"].astype(np.float32)
        np.testing.assert_array_equal(flame.shapes, directions[:, :, :300])
        np.testing.assert_array_equal(flame.expressions, directions[:, :, 300:])
        np.testing.assert_array_equal(flame.pose, content["posedirs"].astype(np.float32))
        np.testing.assert_array_equal(flame.weights, content["weights"].astype(np.float32))
        regressor = content["J_regressor"].toarray().astype(np.float32)
        np.testing.assert_array_equal(flame.regressor, regressor)


def test_fewer_shapes_leave_no_expressions(tmp_path: Path) -> None:
    content = small()
    content["shapedirs"] = content["shapedirs"][:, :, :10]
    flame = read_flame(write_npz(tmp_path / "few.npz", content))
    assert flame.shapes.shape[2] == 10
    assert flame.expressions.shape[2] == 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"v_template": None, "weights": None}, "it lacks v_template, weights"),
        ({"v_template": np.zeros((40, 2))}, r"v_template must be \[V, 3\], got \[40, 2\]"),
        ({"f": np.zeros((9, 4), int)}, r"f must be \[F, 3\], got \[9, 4\]"),
        ({"f": np.full((9, 3), 40)}, "f points outside the 40 vertices"),
        ({"shapedirs": np.zeros((39, 3, 400))}, r"shapedirs must be \[40, 3, N\], got \[39, 3"),
        ({"shapedirs": np.zeros(())}, "shapedirs is no array of numbers"),
        ({"shapedirs": np.zeros((40, 3))}, r"shapedirs must be \[40, 3, N\], got \[40, 3\]"),
        ({"posedirs": np.zeros((40, 3, 207))}, r"posedirs must be \[40, 3, 36\], got"),
        ({"J_regressor": np.zeros((24, 40))}, r"J_regressor must be \[5, 40\], got \[24, 40\]"),
        ({"weights": np.zeros((40, 24))}, r"weights must be \[40, 5\], got \[40, 24\]"),
        ({"kintree_table": np.zeros((2, 5), int)}, "kintree_table does not join root, neck"),
        ({"kintree_table": np.zeros((2, 24), int)}, r"kintree_table must be \[2, 5\]"),
        ({"posedirs": np.full((40, 3, 36), np.nan)}, "posedirs holds values that are not finite"),
        ({"weights": [1, 2]}, "weights is no array of numbers"),
        ({"v_template": np.array(["x"])}, "v_template is no array of numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    content = {k: v for k, v in (small() | changes).items() if v is not None}
    path = write_pickle(tmp_path / "bad.pkl", content)
    with pytest.raises(HeadError, match=what) as caught:
        load_head(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_flame_model(tmp_path: Path) -> None:
    def refused(path: Path, what: str) -> None:
        with pytest.raises(HeadError, match=what) as caught:
            load_head(path)
        assert str(path) in str(caught.value)

    refused(tmp_path / "none.pkl", "no such file")
    refused(tmp_path / "none.npz", "No such file")
    refused(write_pickle(tmp_path / "list.pkl", [1]), "no dictionary")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "no npz file, or damaged")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    refused(tmp_path / "one.npz", "no npz file, or damaged")
    objects = small() | {"J_regressor": np.array([{}], dtype=object)}
    refused(write_npz(tmp_path / "objects.npz", objects), "J_regressor is a pickled object")
    with fake_classes("chumpy.ch.MatVecMult") as (product,):
        opaque = small() | {"J_regressor": instance(product, mtx=1)}
        write_pickle(tmp_path / "opaque.pkl", opaque)
    refused(tmp_path / "opaque.pkl", "J_regressor is chumpy.ch.MatVecMult")


def test_a_hostile_model_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = write_pickle(tmp_path / "evil.pkl", small() | {"bs_style": Evil()})
    with pytest.raises(HeadError, match="asks for"):
        load_head(path)
    assert not (tmp_path / "ran").exists()


def test_a_model_without_eyeballs_is_told(tmp_path: Path) -> None:
    content = small()
    content["weights"] = np.tile([0, 0.6, 0.4, 0, 0], (40, 1))
    with pytest.raises(HeadError, match="no eyeballs"):
        load_head(write_pickle(tmp_path / "blind.pkl", content))


def test_a_model_without_a_face_is_told(full: FullSize, tmp_path: Path) -> None:
    flat = full.content | {"v_template": 0 * full.content["v_template"]}
    with pytest.raises(HeadError, match="no face was found in it: its eyes lie in one place"):
        load_head(write_pickle(tmp_path / "flat.pkl", flat), cache=tmp_path)
    skin = full.content["v_template"].copy()
    skin[:SKIN] -= 5
    away = full.content | {"v_template": skin}
    with pytest.raises(HeadError, match="neither nose nor mouth below its eyes"):
        load_head(write_pickle(tmp_path / "away.pkl", away), cache=tmp_path)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("0.5,-1, 2e-1", (0.5, -1, 0.2)), (" ", ()), ("3", (3,))]
)
def test_shape_is_read(text: str, numbers: tuple[float, ...]) -> None:
    assert parse_shape(text) == numbers


@pytest.mark.parametrize("text", ["a", "1,,2", "1;2", ","])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(HeadError, match="write numbers like"):
        parse_shape(text)


# --- skinning -----------------------------------------------------------------------------------


def test_the_neutral_head_is_the_template(head: FlameHead, full: FullSize) -> None:
    np.testing.assert_allclose(head.deform(np.zeros(52)), full.content["v_template"], atol=2e-7)
    np.testing.assert_array_equal(head.faces, full.content["f"])


def test_identity_moves_the_template_as_published(place: Path, cache: Path, full: FullSize) -> None:
    betas = (0.5, -1.0, 0.2)
    shaped = load_head(place, betas, cache=cache)
    expected, joints = published(full.content, np.array(betas), np.zeros(0), np.zeros((5, 3)))
    np.testing.assert_allclose(shaped.deform(np.zeros(52)), expected, atol=1e-6)
    assert isinstance(shaped, FlameHead)
    np.testing.assert_allclose(shaped.joints, joints, atol=1e-6)
    assert shaped.betas == betas


def test_too_many_or_absurd_betas(head: FlameHead) -> None:
    with pytest.raises(HeadError, match="301 numbers, this head takes 300"):
        head.flame.shaped([0.1] * 301)
    for beta in (np.inf, np.nan, -1e30, 100.5):
        with pytest.raises(HeadError, match="numbers of -100 to 100"):
            head.flame.shaped([0.5, beta])


def test_head_and_eyes_turn_as_published(head: FlameHead, full: FullSize) -> None:
    """Neck and eye joints against skinning written out joint by joint; the shapes moved before."""
    row = weights_of(eyeLookOutLeft=0.7, eyeLookUpRight=0.5, eyeLookInRight=0.4, jawOpen=0.3)
    angles = np.array([0.3, -0.2, 0.1])
    lids_only = replace(head, eyes=())
    content = full.content | {"posedirs": full.content["posedirs"].copy()}
    content["posedirs"][:, :, 9:] = 0  # the lids' own shapes stand in for these
    turn = Rotation.from_euler("YXZ", angles).as_rotvec()
    pose = np.array([[0, 0, 0], turn, [0, 0, 0], *gaze(row[None])[0]])
    moved = lids_only.deform(row) - head.vertices
    expected, _ = published(content, np.zeros(0), np.zeros(0), pose, moved)
    found = head.deform(row, angles)
    np.testing.assert_allclose(found[SKIN:], expected[SKIN:], atol=1e-5)
    untouched = np.setdiff1d(np.arange(SKIN), np.concatenate([eye.lids for eye in head.eyes]))
    np.testing.assert_allclose(found[untouched], expected[untouched], atol=1e-5)


def test_a_clip_is_frame_by_frame(head: FlameHead) -> None:
    rng = np.random.default_rng(0)
    clip, turns = rng.random((4, 52), dtype=np.float32), rng.normal(scale=0.2, size=(4, 3))
    together = head.deform(clip, turns)
    for frame, row, turn in zip(together, clip, turns, strict=True):
        np.testing.assert_allclose(head.deform(row, turn), frame, atol=1e-6)
    assert head.deform(np.zeros((0, 52))).shape == (0, 5023, 3)
    with pytest.raises(HeadError, match=r"must be \[52\] or \[T, 52\]"):
        head.deform(np.zeros(51))


@pytest.mark.parametrize(
    ("name", "side", "axis", "degrees"),
    [
        ("eyeLookOutLeft", "Left", "Y", 24),
        ("eyeLookInLeft", "Left", "Y", -24),
        ("eyeLookOutRight", "Right", "Y", -24),
        ("eyeLookInRight", "Right", "Y", 24),
        ("eyeLookUpLeft", "Left", "X", -16),
        ("eyeLookDownRight", "Right", "X", 18),
    ],
)
def test_eyes_turn_about_their_joints(
    head: FlameHead, name: str, side: str, axis: str, degrees: float
) -> None:
    ball, joint = BALLS[side], head.joints[3 if side == "Left" else 4]
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    expected = (head.vertices[ball] - joint) @ turn.T + joint
    moved = head.deform(weights_of(**{name: 1}))
    np.testing.assert_allclose(moved[ball], expected, atol=1e-6)
    other = BALLS["Right" if side == "Left" else "Left"]
    np.testing.assert_allclose(moved[other], head.vertices[other], atol=1e-7)


def test_looking_left_turns_both_eyes_to_the_left(head: FlameHead) -> None:
    poses = gaze(weights_of(eyeLookOutLeft=1, eyeLookInRight=1)[None])[0]
    np.testing.assert_allclose(poses, [[0, np.deg2rad(24), 0]] * 2, atol=1e-7)


def test_the_jaw_is_not_doubled(head: FlameHead, full: FullSize) -> None:
    """The jaw's joint has no say: its share given to the neck, all stays as it is."""
    moved = head.deform(weights_of(jawOpen=1))
    shares = head.flame.weights.copy()
    shares[:, 1] += shares[:, 2]
    shares[:, 2] = 0
    without = replace(head, flame=replace(head.flame, weights=shares))
    np.testing.assert_array_equal(without.deform(weights_of(jawOpen=1)), moved)
    drop = np.linalg.norm(moved - head.vertices, axis=1)
    truth = np.linalg.norm(full.fields[ARKIT_NAMES.index("jawOpen")], axis=1)
    chin = truth > 0.9 * truth.max()
    assert chin.sum() > 10
    np.testing.assert_allclose(drop[chin].mean(), truth[chin].mean(), rtol=0.1)


# --- lids ---------------------------------------------------------------------------------------


def test_seen_by_hand() -> None:
    """An octahedron, before it a square that hides its upper half, or nothing, or all."""
    ball = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5],
                      [0, 3, 5]])  # fmt: skip

    def count(low: float, depth: float) -> int:
        plate = np.array([[-2, low, depth], [2, low, depth], [2, 2, depth], [-2, 2, depth]])
        both = np.concatenate((faces, [[6, 7, 8], [6, 8, 9]]))
        return seen(np.concatenate((ball, plate)), both, np.arange(6))

    everything = 1 + 4 + 4  # the tip, the edges' and the faces' middles before the centre
    assert count(1.5, 2) == everything
    assert count(-2, -2) == everything
    assert count(-2, 2) == 0
    assert count(0.01, 2) == everything - 1 - 2  # an edge and two faces lie above


def turned(head: FlameHead, degrees: float, **values: float) -> np.ndarray:
    """Vertices of an expression, seen from the side."""
    turn = Rotation.from_euler("Y", degrees, degrees=True).as_matrix().astype(np.float32)
    return head.deform(weights_of(**values)) @ turn.T


@pytest.mark.parametrize("degrees", [-30, 0, 30])
@pytest.mark.parametrize("side", ["Left", "Right"])
def test_closed_lids_leave_nothing_of_the_eye_to_be_seen(
    head: FlameHead, side: str, degrees: float
) -> None:
    def visible(blink: float) -> int:
        values = {f"eyeBlink{side}": blink}
        return seen(turned(head, degrees, **values), head.faces, BALLS[side])

    assert visible(0) > 300
    assert 0 < visible(0.5) < visible(0)
    assert visible(0.9) == 0
    assert visible(1) == 0


@pytest.mark.parametrize(
    "neutral",
    [
        {"eyeWideLeft": 1.0, "eyeWideRight": 1.0},
        {"eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4},
        {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "jawOpen": 0.2},
    ],
)
def test_lids_close_whatever_the_neutral_face(
    head: FlameHead, full: FullSize, neutral: dict[str, float]
) -> None:
    """A subject's own template, carried anew and by `with_template`."""
    template = full.content["v_template"] + np.einsum(
        "k,kvc->vc", weights_of(**neutral), full.fields
    )
    flame = replace(head.flame, template=template.astype(np.float32))
    from dtalk.heads.flame_head import flame_head
    from dtalk.heads.transfer.transfer import transfer

    anew = flame_head(flame, transfer(built_in(), template, flame.faces, flame.eyeballs))
    for other in (anew, head.with_template(template)):
        closed = other.deform(weights_of(eyeBlinkLeft=1, eyeBlinkRight=1))
        for ball in BALLS.values():
            assert seen(closed, head.faces, ball) == 0


def test_lids_never_enter_the_eyeball(head: FlameHead) -> None:
    rng = np.random.default_rng(3)
    clip = np.zeros((60, 52), dtype=np.float32)
    eyes = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith("eye")]
    clip[:, eyes] = rng.random((60, len(eyes)))
    moved = head.deform(clip)
    for eye, side in zip(head.eyes, BALLS):
        assert len(eye.lids) > 100
        radius = np.linalg.norm(head.vertices[BALLS[side]] - eye.centre, axis=1).max()
        before = np.linalg.norm(head.vertices[eye.lids] - eye.centre, axis=1)
        after = np.linalg.norm(moved[:, eye.lids] - eye.centre, axis=2)
        assert (after > np.minimum(before, radius) - 1e-6).all()


# --- another template, masks, the cache ---------------------------------------------------------


def test_its_own_template_changes_nothing(head: FlameHead) -> None:
    again = head.with_template(head.vertices)
    rows = np.random.default_rng(0).random((3, 52), dtype=np.float32)
    np.testing.assert_allclose(again.deform(rows), head.deform(rows), atol=2e-6)


def test_a_larger_template_moves_farther(head: FlameHead) -> None:
    larger = head.with_template(1.2 * head.vertices + np.float32(0.1))
    row = weights_of(mouthSmileLeft=1, jawOpen=0.5, browInnerUp=1)
    moved = larger.deform(row) - larger.vertices
    np.testing.assert_allclose(moved, 1.2 * (head.deform(row) - head.vertices), atol=2e-5)


@pytest.mark.parametrize("template", [np.zeros((5022, 3)), np.zeros(5023)])
def test_templates_of_another_size_are_refused(head: FlameHead, template: np.ndarray) -> None:
    with pytest.raises(HeadError, match=r"a template must be \[5023, 3\]"):
        head.with_template(template)


def test_masks_replace_regions(head: FlameHead, tmp_path: Path) -> None:
    masks = {
        "lips": np.array([5, 3, 3]),
        "forehead": np.array([7, 8]),
        "eye_region": np.array([8, 9, SKIN + 4]),
        "left_eyeball": BALLS["Left"],
    }
    masked = with_masks(head, write_pickle(tmp_path / "masks.pkl", masks))
    assert masked.lips.tolist() == [3, 5]
    assert masked.upper_face.tolist() == [7, 8, 9]
    assert masked.opening == head.opening


@pytest.mark.parametrize(
    ("masks", "what"),
    [
        ({"face": np.array([1])}, "no dictionary with `lips`"),
        ([1], "no dictionary"),
        ({"lips": np.array([1])}, "lacks `forehead`"),
        ({"lips": np.array([5023]), "forehead": np.array([1])}, "lips points outside the 5023"),
        ({"lips": np.array([0.5]), "forehead": np.array([1])}, "lips is no list of vertices"),
        ({"lips": np.array([1]), "forehead": np.array([-1])}, "forehead points outside"),
    ],
)
def test_masks_that_do_not_fit(head: FlameHead, tmp_path: Path, masks: Any, what: str) -> None:
    path = write_pickle(tmp_path / "masks.pkl", masks)
    with pytest.raises(HeadError, match=what) as caught:
        with_masks(head, path)
    assert str(path) in str(caught.value)


def test_shape_and_masks_are_for_flame(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="name it with --head"):
        load_head(None, (1.0,))
    with pytest.raises(HeadError, match="name it with --head"):
        load_head(None, masks=tmp_path)
    assert load_head() is built_in()


def test_the_cache_gives_the_same_and_is_asked_first(
    place: Path, head: FlameHead, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_cache, "transfer", None)  # whoever calls it fails
    told: list[tuple[int, int]] = []
    again = load_head(place, cache=cache, progress=lambda *done: told.append(done))
    assert not told
    for name in ("vertices", "colors", "lips", "upper_face", "parts"):
        assert getattr(again, name).tobytes() == getattr(head, name).tobytes()
    assert again.shapes.data.tobytes() == head.shapes.data.tobytes()
    assert (again.opening, again.corners) == (head.opening, head.corners)


def test_damaged_entries_are_made_anew(place: Path, head: FlameHead, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = load_head(place, cache=tmp_path, progress=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1] == len(told)
    assert first.shapes.data.tobytes() == head.shapes.data.tobytes()  # computed twice, the same
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", whole[:middle], flipped):
        entry.write_bytes(damaged)
        assert transfer_cache._read(entry, 5023) is None
    again = load_head(place, cache=tmp_path)
    assert again.shapes.data.tobytes() == head.shapes.data.tobytes()
    assert entry.read_bytes() == whole


# --- FLAME's own parameters ---------------------------------------------------------------------


def test_the_fit_finds_what_flame_itself_made(head: FlameHead, full: FullSize) -> None:
    """Vertices made by an expression and a jaw pose give both back."""
    from dtalk.heads.flame_export import _Fitter

    rng = np.random.default_rng(1)
    expression = np.concatenate((rng.normal(size=60), np.zeros(40)))
    pose = np.zeros((5, 3))
    pose[2] = 0.25, 0.03, -0.02
    vertices, _ = published(full.content, np.zeros(0), expression, pose)
    found, jaw, error = _Fitter(head).fit(vertices[None].astype(np.float32))
    np.testing.assert_allclose(jaw[0], pose[2], atol=0.03)
    assert error.mean() < 3e-4
    # Sixty mixtures of forty shapes: of all that explain the vertices the ridge takes a small one.
    assert np.linalg.norm(found) < 1.05 * np.linalg.norm(expression)


def test_the_exported_parameters_give_the_stated_error(
    head: FlameHead, full: FullSize, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    motion = Motion(
        0.5 * rng.random((40, 52), dtype=np.float32), head_rotation=np.full((40, 3), 0.1)
    )
    fit = export_flame(motion, head, tmp_path / "a.flame.npz")
    file = np.load(tmp_path / "a.flame.npz")
    assert file["expression"].shape == (40, 100)
    assert file["jaw_pose"].shape == file["neck_pose"].shape == (40, 3)
    assert file["eye_pose"].shape == (40, 6)
    assert file["fps"] == 30
    skin = slice(SKIN)
    errors = []
    for t in range(40):
        pose = np.zeros((5, 3))
        pose[2] = file["jaw_pose"][t]
        made, _ = published(full.content, np.zeros(0), file["expression"][t], pose)
        wanted = head.deform(motion.coefficients[t])
        errors.append(1000 * np.linalg.norm(made[skin] - wanted[skin], axis=1))
    assert np.max(errors) == pytest.approx(float(file["error_max_mm"]), rel=1e-3)
    assert np.mean(errors) == pytest.approx(float(file["error_mean_mm"]), rel=1e-3)
    assert fit.mean_error == file["error_mean_mm"]
    np.testing.assert_allclose(file["eye_pose"].reshape(-1, 2, 3), gaze(motion.coefficients))
    turn = Rotation.from_euler("YXZ", [0.1, 0.1, 0.1]).as_rotvec()
    np.testing.assert_allclose(file["neck_pose"], np.tile(turn, (40, 1)), atol=1e-6)
    again = read_motion(tmp_path / "a.flame.npz")
    np.testing.assert_array_equal(again.coefficients, motion.coefficients)


def test_the_fit_beats_doing_nothing(head: FlameHead) -> None:
    smile = {"mouthSmileLeft": 1, "mouthSmileRight": 1}
    for values, share in (({"jawOpen": 0.5}, 0.5), (smile, 0.5), ({"browInnerUp": 1}, 0.8)):
        row = weights_of(**values)
        moved = 1000 * np.linalg.norm(head.deform(row) - head.vertices, axis=1)[:SKIN]
        fit = fit_flame(head, Motion(row[None]))
        assert fit.mean_error < share * moved.mean()
        assert fit.max_error < moved.max()


def test_rest_is_all_zero(head: FlameHead) -> None:
    fit = fit_flame(head, Motion(np.zeros((3, 52))))
    for array in (fit.expression, fit.jaw, fit.eyes, fit.neck):
        np.testing.assert_allclose(array, 0, atol=1e-4)
    assert fit.max_error < 1e-3


def test_other_heads_have_no_parameters(head: FlameHead) -> None:
    with pytest.raises(DtalkError, match="needs a FLAME model"):
        fit_flame(built_in(), Motion(np.zeros((1, 52))))
    few = replace(head.flame, expressions=head.flame.expressions[:, :, :0])
    with pytest.raises(DtalkError, match="has shapes only"):
        fit_flame(replace(head, flame=few), Motion(np.zeros((1, 52))))


def test_flame_keeps_single_precision(head: FlameHead) -> None:
    flame: Flame = head.flame
    for array in (flame.template, flame.shapes, flame.pose, flame.weights, flame.regressor):
        assert array.dtype == np.float32


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def dtalk(
    tmp_path: Path, cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`dtalk` in an empty folder with the tiny model: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "default_folder", lambda: cache)
    soundfile.write("a.wav", speech(8000), 16000)

    def called(command: str, *arguments: str | Path) -> tuple[int, str, str]:
        own = ["--weights", str(weights)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run_dtalk(monkeypatch, command, *own, *arguments)
        return status, out.getvalue(), err.getvalue()

    return called


def test_animate_writes_flames_parameters(dtalk: Callable[..., Any], place: Path) -> None:
    status, out, err = dtalk("animate", "a.wav", "--format", "flame", "--head", place)
    assert (status, out) == (0, "a.flame.npz\n")
    file = np.load("a.flame.npz")
    assert file["expression"].shape == (15, 100)
    assert f"{file['error_mean_mm']:.2f} mm (mean)" in err
    named = ("-o", "out/b.flame.npz", "--shape=-1,0.5")
    assert dtalk("animate", "a.wav", *named, "--head", place)[0] == 0
    assert np.load("out/b.flame.npz")["shape"].tolist() == [-1, 0.5]
    both = ("--format", "flame", "--format", "csv", "-o", "both")
    assert dtalk("animate", "a.wav", *both, "--head", place)[0] == 0
    assert sorted(path.name for path in Path("both").iterdir()) == ["a.csv", "a.flame.npz"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--format", "flame"], "--format flame needs a FLAME model"),
        (["--head", "PLACE"], "need --format flame"),
        (["--format", "flame", "--head", "none.pkl"], "no such file: none.pkl"),
        (["--format", "flame", "--head", "a.wav"], "neither pkl, npz nor a known mesh"),
        (["--format", "flame", "--head", "PLACE", "--shape", "x"], "cannot read --shape 'x'"),
        (["--format", "flame", "--head", "PLACE", "--masks", "a.wav"], "cannot use a.wav"),
        (["--format", "flame", "-o", "a.csv"], "-o a.csv is a csv file"),
        (["--format", "npz", "-o", "b.flame.npz"], "is a flame file"),
    ],
)
def test_what_animate_refuses(
    dtalk: Callable[..., Any], place: Path, arguments: list[str], what: str
) -> None:
    chosen = [str(place) if word == "PLACE" else word for word in arguments]
    status, out, err = dtalk("animate", "a.wav", *chosen)
    assert (status, out) == (1, "")
    assert what in err
    assert err.count("\n") == 1
    assert list(Path().iterdir()) == [Path("a.wav")]


@needs_gl
def test_render_draws_the_head(dtalk: Callable[..., Any], place: Path) -> None:
    write_motion(Motion(np.tile(weights_of(jawOpen=0.4), (3, 1))), "m.npz")
    status, _, err = dtalk("render", "m.npz", "--size", "64", "--head", place)
    assert status == 0, err
    assert Path("m.mp4").stat().st_size > 500
