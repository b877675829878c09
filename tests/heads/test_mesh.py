"""Heads of any mesh: found, scaled and rigged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from flames import EYE, SKIN
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.eyes import RiggedHead
from dtalk.heads.head import PARTS, built_in
from dtalk.heads.load import load_head
from dtalk.heads.mesh import Similarity, place_face, umeyama
from dtalk.motion.arkit import ARKIT_NAMES


def test_umeyama_by_hand() -> None:
    points = np.random.default_rng(0).normal(size=(10, 3))
    turn = Rotation.from_rotvec([0.3, 2, -1]).as_matrix()
    found = umeyama(points, 2.5 * points @ turn.T + [1, 2, 3])
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    np.testing.assert_allclose(found.inverse()(found(points)), points, atol=1e-12)


# --- meshes -------------------------------------------------------------------------------------


def written(path: Path, vertices: np.ndarray, faces: np.ndarray) -> Path:
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    return path


@pytest.mark.parametrize("seed", [0, 1])
def test_a_face_is_found_however_it_lies(mesh: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    vertices, faces = mesh
    upright = place_face(vertices, faces)
    turn = Rotation.random(random_state=seed).as_matrix()
    found = place_face(1000 * vertices @ turn.T + [50, 60, -70], faces)
    assert isinstance(upright, Similarity)
    assert isinstance(found, Similarity)
    assert found.scale == pytest.approx(1000 * upright.scale, rel=1e-6)
    np.testing.assert_allclose(found.rotation, turn @ upright.rotation, atol=1e-6)
    assert np.rad2deg(Rotation.from_matrix(upright.rotation).magnitude()) < 8


def test_a_mesh_in_millimetres_lying_down(
    mesh: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    vertices, faces = mesh
    turn = Rotation.from_euler("XYZ", [90, 0, 30], degrees=True).as_matrix()
    path = written(tmp_path / "head.ply", 1000 * vertices @ turn.T, faces)
    head = load_head(path, cache=tmp_path / "cache")
    assert isinstance(head, RiggedHead)
    assert len(head.vertices) == SKIN + 2 * EYE
    assert [len(eye.vertices) for eye in head.eyes] == [EYE, EYE]
    height = np.ptp(head.vertices, axis=0)
    assert 0.2 < height[1] < 0.35  # upright, metres
    mouth, eyes = head.vertices[list(head.corners)].mean(axis=0), head.eyes[0].centre
    assert 0.04 < eyes[1] - mouth[1] < 0.09
    jaw = head.basis(head.lips)[ARKIT_NAMES.index("jawOpen")]
    assert -50 < jaw[:, 1].min() < -20
    assert jaw[:, 1].max() < 2


def test_the_built_in_head_as_a_mesh_keeps_teeth_and_tongue(tmp_path: Path) -> None:
    own = built_in()
    path = written(tmp_path / "own.obj", own.vertices, own.faces)
    head = load_head(path, cache=tmp_path / "cache")
    assert isinstance(head, RiggedHead)
    assert len(head.eyes) == 2
    for part in ("teeth", "tongue", "brow", "lash"):
        count = np.count_nonzero(own.parts == PARTS.index(part))
        found = np.count_nonzero(head.parts == PARTS.index(part))
        assert found == pytest.approx(count, rel=0.05)
    row = np.zeros(52, dtype=np.float32)
    row[ARKIT_NAMES.index("jawOpen")] = 0.5
    low = own.deform(row)[:, 1].min(), head.deform(row)[:, 1].min()
    assert low[0] == pytest.approx(low[1], abs=0.001)


def test_a_mesh_without_eyes(mesh: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    vertices, faces = mesh
    path = written(tmp_path / "skin.obj", vertices[:SKIN], faces[(faces < SKIN).all(axis=1)])
    head = load_head(path, cache=tmp_path / "cache")
    assert isinstance(head, RiggedHead)
    assert head.eyes == ()
    assert head.basis(head.lips)[ARKIT_NAMES.index("jawOpen"), :, 1].min() < -20


def test_meshes_that_are_no_head(tmp_path: Path) -> None:
    def refused(path: Path, what: str) -> None:
        with pytest.raises(HeadError, match=what) as caught:
            load_head(path, cache=tmp_path / "cache")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    ball = trimesh.creation.icosphere(4)
    refused(written(tmp_path / "ball.obj", ball.vertices, ball.faces), "no face was found")
    box = trimesh.creation.box()
    refused(written(tmp_path / "box.obj", box.vertices, box.faces), r"no mesh of a face \(8")
    refused(tmp_path / "none.obj", "no such head file")
    (tmp_path / "bad.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    refused(tmp_path / "bad.ply", "damaged|no mesh")
    (tmp_path / "empty.obj").write_bytes(b"")
    refused(tmp_path / "empty.obj", "damaged|no mesh")
    (tmp_path / "head.txt").write_text("x")
    refused(tmp_path / "head.txt", "neither pkl, npz, glb, gltf nor obj")
    good = written(tmp_path / "good.obj", ball.vertices, ball.faces)
    with pytest.raises(HeadError, match="plain mesh"):
        load_head(good, (1.0,))
