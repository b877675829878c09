"""Shapes on other heads, against the truth that the test head's maker knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from flames import EYE, SKIN, FullSize, full_size, warp
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.eyes import RiggedHead
from dtalk.heads.head import PARTS, built_in
from dtalk.heads.load import load_head
from dtalk.heads.mesh import Similarity, place_face, umeyama
from dtalk.heads.transfer.correspondence import local_maps
from dtalk.heads.transfer.landmarks import face_of, landmarks
from dtalk.heads.transfer.surface import Skin, sphere
from dtalk.heads.transfer.transfer import Transfer, transfer
from dtalk.motion.arkit import ARKIT_NAMES

BALLS = (np.arange(SKIN, SKIN + EYE), np.arange(SKIN + EYE, SKIN + 2 * EYE))


@pytest.fixture(scope="module")
def full() -> FullSize:
    return full_size()


@pytest.fixture(scope="module")
def mesh(full: FullSize) -> tuple[np.ndarray, np.ndarray]:
    return full.content["v_template"], full.content["f"].astype(np.int64)


@pytest.fixture(scope="module")
def carried(mesh: tuple[np.ndarray, np.ndarray]) -> Transfer:
    return transfer(built_in(), *mesh, BALLS)


def errors(carried: Transfer, full: FullSize) -> np.ndarray:
    """Millimetres, [52, SKIN]."""
    return 1000 * np.linalg.norm(carried.fields - full.fields, axis=2)[:, :SKIN]


def moves(full: FullSize) -> np.ndarray:
    return 1000 * np.linalg.norm(full.fields, axis=2)[:, :SKIN]


@pytest.mark.parametrize("name", [n for n in ARKIT_NAMES if n != "tongueOut"])
def test_every_shape_comes_close_to_the_truth(carried: Transfer, full: FullSize, name: str) -> None:
    k = ARKIT_NAMES.index(name)
    true = moves(full)[k]
    moved = true > 0.3
    assert moved.sum() > 20
    error = errors(carried, full)[k]
    assert error[moved].mean() < 0.2 * true[moved].mean()
    assert np.percentile(error[moved], 99) < 0.35 * true.max()
    assert error[~moved].mean() < 0.05


def test_lips_are_not_mixed_up(carried: Transfer, full: FullSize) -> None:
    """At jawOpen the lower lip goes, the upper stays, however close the two are."""
    k = ARKIT_NAMES.index("jawOpen")
    true, found = (
        1000 * np.linalg.norm(fields[k, carried.lips], axis=1)
        for fields in (full.fields, carried.fields)
    )
    assert (true > 25).sum() > 40
    assert (true < 5).sum() > 30
    assert np.abs(found - true).max() < 8
    assert found[true < 5].max() < found[true > 25].min()


def test_regions_lie_where_they_belong(carried: Transfer, full: FullSize) -> None:
    own = built_in()
    inside = np.zeros(full.skin.shape[1])
    for name, least in (("lips", 0.95), ("upper_face", 0.85)):
        inside[:] = 0
        inside[getattr(own, name)] = 1
        true = np.flatnonzero(full.skin @ inside > 0.5)
        found = getattr(carried, name)
        both = len(np.intersect1d(true, found))
        assert both > least * len(true)
        assert both > least * len(found)
    template = full.content["v_template"]
    for name in ("opening", "corners"):
        true = warp(own.vertices[list(getattr(own, name))].astype(float))
        apart = np.linalg.norm(template[getattr(carried, name)] - true, axis=1)
        assert apart.max() < 0.004
    assert (carried.parts[:SKIN] == PARTS.index("skin")).all()
    assert (carried.parts[SKIN:] == PARTS.index("eye")).all()


def test_the_lip_opening_can_be_measured(carried: Transfer, full: FullSize) -> None:
    upper, lower = carried.opening
    template = full.content["v_template"]
    gaps = [
        float((template + w * carried.fields[ARKIT_NAMES.index("jawOpen")])[[upper, lower], 1]
              @ [1, -1]) for w in (0, 0.5, 1)
    ]  # fmt: skip
    assert -0.003 < gaps[0] < 0.002
    assert 0.012 < gaps[1] < 0.025
    assert 0.028 < gaps[2] < 0.045


def test_colours_follow(carried: Transfer, full: FullSize) -> None:
    lips, cheeks = (carried.colors[v].mean(axis=0) for v in (carried.lips, carried.upper_face))
    assert lips[0] / lips[1] > 1.2 * cheeks[0] / cheeks[1]  # redder
    front = [ball[np.argmax(full.content["v_template"][ball, 2])] for ball in BALLS]
    back = [ball[np.argmin(full.content["v_template"][ball, 2])] for ball in BALLS]
    assert carried.colors[front].max() < 0.1  # pupils
    assert carried.colors[back].min() > 0.3  # sclera


def test_onto_the_built_in_head_itself_nothing_changes() -> None:
    """Stated tolerance: 0.02 mm."""
    own = built_in()
    kept = np.flatnonzero(own.parts <= PARTS.index("eye"))
    place = np.full(len(own.vertices), -1)
    place[kept] = np.arange(len(kept))
    faces = place[own.faces[np.isin(own.faces, kept).all(axis=1)]]
    vertices = own.vertices[kept]
    eye = own.parts[kept] == PARTS.index("eye")
    balls = [np.flatnonzero(eye & (side * vertices[:, 0] > 0)) for side in (1, -1)]
    found = transfer(own, vertices, faces, balls)
    fields = own.shapes.toarray().reshape(-1, 3, 52)[kept].transpose(2, 0, 1)
    apart = np.linalg.norm(found.fields - fields, axis=2)[:, ~eye]
    assert apart.max() < 2e-5
    assert found.lips.tolist() == own.lips.tolist()
    assert found.upper_face.tolist() == own.upper_face.tolist()
    assert (tuple(found.opening), tuple(found.corners)) == (own.opening, own.corners)


def test_size_and_place_do_not_matter(
    mesh: tuple[np.ndarray, np.ndarray], carried: Transfer
) -> None:
    vertices, faces = mesh
    found = transfer(built_in(), 1.3 * vertices + [1, -2, 3], faces, BALLS)
    np.testing.assert_allclose(found.fields, 1.3 * carried.fields, atol=1e-6)
    np.testing.assert_array_equal(found.lips, carried.lips)


def test_twice_the_same_bytes(mesh: tuple[np.ndarray, np.ndarray], carried: Transfer) -> None:
    again = transfer(built_in(), *mesh, BALLS)
    for name, array in vars(again).items():
        assert array.tobytes() == getattr(carried, name).tobytes()


# --- its parts ----------------------------------------------------------------------------------


def test_landmarks_of_the_built_in_head() -> None:
    """Found by geometry alone, they lie where the head's file says mouth and corners are."""
    own = built_in()
    nose, mouth, left, right, chin, *ears = landmarks(face_of(own))[:7]
    corners = own.vertices[list(own.corners)]
    assert np.abs((left - corners[0])[:2]).max() < 0.002
    assert np.abs((right - corners[1])[:2]).max() < 0.002
    assert np.abs((mouth - own.vertices[list(own.opening)].mean(axis=0))[:2]).max() < 0.002
    assert nose[2] == own.vertices[:, 2].max()
    assert chin[1] < mouth[1] - 0.02
    np.testing.assert_allclose(ears[0], ears[1] * [-1, 1, 1], atol=0.001)


def test_sphere_by_hand() -> None:
    points = np.array([[1, 2, 3]]) + 2 * np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0.6, 0.8]]
    )
    centre, radius = sphere(points)
    np.testing.assert_allclose(centre, [1, 2, 3])
    assert radius == pytest.approx(2)


def test_local_maps_are_exact_for_a_linear_map() -> None:
    points = np.random.default_rng(0).normal(scale=0.01, size=(200, 3))
    linear = np.array([[1.1, 0.2, 0], [0, 0.9, 0.1], [0.1, 0, 1.3]])
    maps = local_maps(points, points @ linear.T + 4)
    np.testing.assert_allclose(maps, np.tile(linear, (200, 1, 1)), atol=1e-9)


def test_laplacian_of_a_linear_field_is_zero_inside() -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.arange(5.0), np.arange(4.0)))
    cells = [(r * 5 + c) for r in range(3) for c in range(4)]
    faces = np.array([t for i in cells for t in ((i, i + 1, i + 6), (i, i + 6, i + 5))])
    skin = Skin(np.stack((x, y, 0 * x), axis=1), faces)
    inner = ~skin.border()
    assert inner.sum() == 6
    found = skin.laplacian() @ (2 * x - 3 * y + 1)
    # The cotangents are kept above 0, so it is not exact.
    assert np.abs(found[inner]).max() < 0.5
    np.testing.assert_allclose(skin.laplacian() @ np.ones(20), 0, atol=1e-12)
    np.testing.assert_allclose(skin.normals(), np.tile([0, 0, 1], (20, 1)))


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
    refused(tmp_path / "head.txt", "neither pkl, npz, glb nor obj")
    good = written(tmp_path / "good.obj", ball.vertices, ball.faces)
    with pytest.raises(HeadError, match="plain mesh"):
        load_head(good, (1.0,))
