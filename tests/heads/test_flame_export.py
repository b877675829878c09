"""Export of FLAME's parameters: the fit finds what FLAME itself made."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from flames import (
    SKIN,
    FullSize,
    published,
)
from gl import needs_gl
from helpers import run_dtalk, speech
from rigs import weights_of
from scipy.spatial.transform import Rotation

from dtalk.errors import DtalkError
from dtalk.heads import load
from dtalk.heads.eyes import gaze
from dtalk.heads.flame_export import export_flame, fit_flame
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import built_in
from dtalk.motion.curves import Motion
from dtalk.motion.files import read_motion, write_motion

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
    assert status == 0
    assert out.startswith("a.flame.npz: 15 frames")
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
        (["--head", "PLACE"], "need --format glb or flame"),
        (["--format", "flame", "--head", "none.pkl"], "no such file: none.pkl"),
        (["--format", "flame", "--head", "a.wav"], "neither pkl, npz, glb, gltf nor obj"),
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
