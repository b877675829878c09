"""VOCASET in an evaluation: meshes as references, on a full-size head in FLAME's format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flames import full_size, write_pickle
from helpers import run_dtalk, smooth_motion, tiny_model

from dtalk.checkpoint import save_model
from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.evaluation.comparison import evaluate_folder, evaluate_model
from dtalk.evaluation.vertex_clips import VertexClip, vertex_clips
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import built_in
from dtalk.heads.load import load_head
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from tests.data.test_vocaset import OTHER, TEST, Folder, folder_of

FRAMES = 24  # at 60 a second


@pytest.fixture(scope="module")
def flame(tmp_path_factory) -> Path:
    return write_pickle(tmp_path_factory.mktemp("flame") / "flame.pkl", full_size().content)


@pytest.fixture(scope="module")
def head(flame) -> FlameHead:
    found = load_head(flame, cache=flame.parent / "cache")
    assert isinstance(found, FlameHead)
    return found


def truth() -> np.ndarray:
    """Coefficients of both sentences at 60 frames a second; every second frame is compared with."""
    return 0.4 * smooth_motion(FRAMES)


@pytest.fixture(scope="module")
def folder(head, tmp_path_factory) -> Path:
    """Two test subjects of whom one is 5 % larger, who move as :func:`truth` says."""
    made: Folder = folder_of(tmp_path_factory.mktemp("data"), FRAMES)
    for number, (subject, size) in enumerate([(TEST, 1.0), (OTHER, 1.05)], 1):
        template = size * head.vertices
        made.templates[subject] = template.astype(np.float64)
        rows = slice(FRAMES * number, FRAMES * (number + 1))
        made.vertices[rows] = head.with_template(template).deform(truth())
    return made.write()


@pytest.fixture(scope="module")
def clips(folder, head) -> list[LoadedClip]:
    notes: list[str] = []
    found = vertex_clips(folder, "test", head, notes.append, lambda *_: None)
    assert len(notes) == 1
    assert "38 of 40 sentences" in notes[0]
    return found


def test_sentences_become_clips(clips):
    assert [clip.clip.name for clip in clips] == [f"{TEST}/sentence21", f"{OTHER}/sentence22"]
    for clip in clips:
        assert isinstance(clip, VertexClip)
        assert clip.tracked
        assert clip.frames == FRAMES // 2
        assert (clip.clip.set, clip.clip.split, clip.clip.emotion) == ("vocaset", "test", "")
    assert [clip.clip.speaker for clip in clips] == [TEST, OTHER]


def test_the_coefficients_that_made_the_meshes_are_perfect(clips, folder, tmp_path, head):
    """On each subject's own neutral face; gaze turns eyeballs, which are no lips."""
    for clip in clips:
        place = tmp_path / f"{clip.clip.name.replace('/', '_')}.npz"
        write_motion(Motion(truth()[::2]), place)
    found = evaluate_folder(tmp_path, "p", clips, folder, (), head).tables["sample"]["all"]
    assert found["clips"] == 2
    assert found["lve"] < 1e-3
    assert found["lve_of_static"] < 1e-4
    assert found["opening_r"] == pytest.approx(1, abs=1e-3)
    assert found["fdd_abs"] < 0.3  # lids and eyes follow the gaze, which curves alone do not tell
    assert np.isnan(found["eve"])


def test_the_meshes_themselves_are_perfect_predictions(clips, folder, tmp_path, head):
    made = np.load(folder / "data_verts.npy")
    for number, clip in enumerate(clips, 1):
        vertices = made[FRAMES * number : FRAMES * (number + 1) : 2]
        path = tmp_path / f"{clip.clip.name}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, vertices.reshape(len(vertices), -1))
    found = evaluate_folder(tmp_path, "p", clips, folder, (), head).tables["sample"]["all"]
    for key in ("lve", "lve_mm", "eve_v", "fdd", "fdd_mm"):
        assert found[key] == 0, key


def test_a_model_is_judged_on_meshes(clips, head):
    system = evaluate_model(tiny_model(), "m", clips, head)
    assert set(system.tables["sample"]) == {"all", "vocaset", "unseen speakers"}
    found = system.tables["sample"]["all"]
    assert found["lve"] > 1
    assert np.isnan(found["eve"])
    for result in system.results:
        assert result.curves is not None
        assert result.curves.shape == (FRAMES // 2, 52)


def test_another_head_is_refused(folder):
    with pytest.raises(DataError, match=r"FLAME's meshes: name your FLAME model with --head"):
        vertex_clips(folder, "test", built_in(), print, lambda *_: None)


def test_the_command_line(folder, flame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtalk.heads.load.default_folder", lambda: flame.parent / "cache")
    save_model(tiny_model(), Path("tiny.safetensors"))
    flags = ("--data", folder, "--weights", "tiny.safetensors", "--split", "test")
    assert run_dtalk(monkeypatch, "evaluate", *flags) == 1
    more = ("--head", flame, "--json", "figures.json")
    assert run_dtalk(monkeypatch, "evaluate", *flags, *more) == 0
    scores = json.loads(Path("figures.json").read_text())["systems"]["tiny"]["sample"]
    assert scores["vocaset"]["lve"] > 1
    assert scores["vocaset"]["eve"] is None
