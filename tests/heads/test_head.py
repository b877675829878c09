"""Heads: what the arrays mean, hand-worked deformation, files, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtalk.errors import HeadError
from dtalk.heads.head import Head, built_in, shapes_from_fields, turns
from dtalk.motion.arkit import ARKIT_NAMES


def tiny_head() -> Head:
    """Two triangles; jawOpen moves vertex 3 by (0, -0.01, 0.002) m, tongueOut vertex 1."""
    fields = np.zeros((52, 4, 3), dtype=np.float32)
    fields[ARKIT_NAMES.index("jawOpen"), 3] = 0, -0.01, 0.002
    fields[ARKIT_NAMES.index("tongueOut"), 1] = 0, 0, 0.03
    return Head(
        vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=np.float32),
        faces=np.array([[0, 1, 2], [1, 3, 2]]),
        colors=np.full((4, 3), 0.5, dtype=np.float32),
        shapes=shapes_from_fields(fields),
        lips=np.array([0, 3]),
        upper_face=np.array([2]),
        opening=(2, 3),
        corners=(1, 0),
        parts=np.zeros(4, dtype=np.uint8),
    )


def weights(**values: float) -> np.ndarray:
    row = np.zeros(52, dtype=np.float32)
    for name, value in values.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


def test_deform_by_hand() -> None:
    head = tiny_head()
    moved = head.deform(weights(jawOpen=0.5, tongueOut=1))
    assert moved.shape == (4, 3)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved[[0, 2]], head.vertices[[0, 2]])
    np.testing.assert_allclose(moved[3], [1, 0.995, 0.001], rtol=1e-6)
    np.testing.assert_allclose(moved[1], [1, 0, 0.03], rtol=1e-6)


def test_deform_of_a_clip_is_frame_by_frame() -> None:
    clip = np.random.default_rng(0).random((5, 52), dtype=np.float32)
    moved = built_in().deform(clip)
    assert moved.shape == (5, len(built_in().vertices), 3)
    for frame, row in zip(moved, clip, strict=True):
        np.testing.assert_allclose(frame, built_in().deform(row), atol=1e-7)
    assert built_in().deform(np.zeros((0, 52))).shape == (0, len(built_in().vertices), 3)


def test_basis_is_in_millimetres_and_arkit_order() -> None:
    basis = tiny_head().basis([3, 1])
    assert basis.shape == (52, 2, 3)
    assert basis.dtype == np.float32
    expected = np.zeros((52, 2, 3))
    expected[ARKIT_NAMES.index("jawOpen"), 0] = 0, -10, 2
    expected[ARKIT_NAMES.index("tongueOut"), 1] = 0, 0, 30
    np.testing.assert_allclose(basis, expected, rtol=1e-6)


def test_basis_agrees_with_deform() -> None:
    head, row = built_in(), np.random.default_rng(1).random(52, dtype=np.float32)
    by_basis = np.einsum("k,knc->nc", row, head.basis(head.lips)) / 1000
    by_deform = head.deform(row)[head.lips] - head.vertices[head.lips]
    np.testing.assert_allclose(by_basis, by_deform, atol=1e-6)


@pytest.mark.parametrize("shape", [(51,), (3, 51), (52, 3), (), (1, 2, 52)])
def test_deform_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(HeadError, match=r"must be \[52\] or \[T, 52\]"):
        built_in().deform(np.zeros(shape))


def test_save_and_load(tmp_path: Path) -> None:
    tiny_head().save(tmp_path / "head.npz")
    head = Head.load(tmp_path / "head.npz")
    for name in ("vertices", "faces", "colors", "lips", "upper_face", "parts"):
        np.testing.assert_array_equal(getattr(head, name), getattr(tiny_head(), name))
    assert (head.opening, head.corners, head.names) == ((2, 3), (1, 0), ARKIT_NAMES)
    difference = (head.shapes - tiny_head().shapes).toarray()
    assert np.abs(difference).max() <= 1e-5 / 2


def test_large_displacements_survive_the_file(tmp_path: Path) -> None:
    fields = np.zeros((52, 4, 3), dtype=np.float32)
    fields[0, 0] = 2.5, -1, 0  # beyond int16 in steps of 10 um
    replace(tiny_head(), shapes=shapes_from_fields(fields)).save(tmp_path / "head.npz")
    loaded = Head.load(tmp_path / "head.npz").basis([0])[0, 0]
    np.testing.assert_allclose(loaded, [2500, -1000, 0], atol=0.05)


def test_files_sort_shapes_by_name(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    tiny_head().save(path)
    arrays = dict(np.load(path))
    arrays["names"] = arrays["names"][::-1]
    np.savez(path, **arrays)
    basis = Head.load(path).basis([3])
    mirrored = 51 - ARKIT_NAMES.index("jawOpen")
    np.testing.assert_allclose(basis[mirrored, 0], [0, -10, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": None}, "lacks parts"),
        ({"vertices": np.zeros((4, 2), np.float32)}, "vertices must be"),
        ({"faces": np.array([[0, 1, 4]])}, "faces points outside the 4 vertices"),
        ({"lips": np.array([9])}, "lips points outside"),
        ({"colors": np.zeros((3, 3), np.float16)}, "colors must be"),
        ({"names": np.array(["jawOpen"] * 52)}, "names are not the 52 ARKit names"),
        ({"opening": np.array([1, 2, 3])}, "arrays do not fit"),
        ({"shape_start": np.zeros(53, np.int32)}, "shape_start does not cover"),
        ({"shape_vertex": np.array([5, 1], np.uint16)}, "shape_vertex points outside"),
        ({"parts": np.full(4, 99, np.uint8)}, "parts must be below"),
        ({"vertices": np.full((4, 3), np.nan, np.float32)}, "vertices holds values that are not"),
        ({"names": np.array([None] * 52, dtype=object)}, "names is a pickled object"),
    ],
)
def test_load_names_what_is_wrong(
    tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    path = tmp_path / "head.npz"
    tiny_head().save(path)
    arrays = {**np.load(path), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(HeadError, match=message):
        Head.load(path)


def test_load_refuses_what_is_no_head(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("not a head")
    cut = tmp_path / "cut.npz"
    tiny_head().save(cut)
    cut.write_bytes(cut.read_bytes()[:-200])
    single = tmp_path / "single.npy"
    np.save(single, np.zeros(3))
    for path in (text, cut, single, tmp_path / "missing.npz", tmp_path):
        with pytest.raises(HeadError, match=path.name):
            Head.load(path)


def test_built_in_is_loaded_once() -> None:
    assert built_in() is built_in()


# --- turning on the neck ----------------------------------------------------------------------


def test_turns_by_hand() -> None:
    """Right-handed about y, x, z: to its left (+x), down, to its right shoulder."""
    quarter = np.pi / 2
    forward, up = np.array([0, 0, 1]), np.array([0, 1, 0])
    np.testing.assert_allclose(turns([quarter, 0, 0]) @ forward, [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(turns([0, quarter, 0]) @ forward, [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(turns([0, 0, quarter]) @ up, [-1, 0, 0], atol=1e-6)
    # Rolled first, yawed last: up goes to -x by the roll, then to +z by the yaw.
    np.testing.assert_allclose(turns([quarter, 0, quarter]) @ up, [0, 0, 1], atol=1e-6)
    assert turns(np.zeros((4, 3))).shape == (4, 3, 3)
    assert turns(np.zeros((0, 3))).shape == (0, 3, 3)
    assert turns([0, 0, 0]).dtype == np.float32


def test_the_face_turns_rigidly_and_the_bust_stays() -> None:
    head, row = built_in(), weights(jawOpen=0.4)
    straight, turned = head.deform(row), head.deform(row, [0.3, -0.1, 0.2])
    assert turned.dtype == np.float32
    bottom = head.vertices[:, 1] < head.vertices[:, 1].min() + 0.005
    assert np.abs(turned - straight)[bottom].max() < 1e-3
    face = np.unique(np.concatenate([head.lips, head.upper_face]))
    a, b = straight[face].astype(float), turned[face].astype(float)
    middle_a, middle_b = a.mean(axis=0), b.mean(axis=0)
    expected = (a - middle_a) @ turns([0.3, -0.1, 0.2]).T.astype(float)
    np.testing.assert_allclose(b - middle_b, expected, atol=1e-6)
    assert np.linalg.norm(middle_b - middle_a) > 0.02  # the joint lies behind the face


def test_the_joint_rests() -> None:
    joint, share = built_in().neck
    assert joint[0] == pytest.approx(0, abs=1e-4)
    assert built_in().vertices[:, 2].min() < joint[2] < built_in().vertices[:, 2].max()
    assert (share.min(), share.max()) == (0, 1)
    chin = np.abs(built_in().vertices[:, 0]) < 0.01
    chin &= (built_in().vertices[:, 1] < 0.63) & (built_in().vertices[:, 2] > 0.12)
    assert chin.any()
    assert share[chin].min() > 0.95  # it belongs to the head, though it hangs below the joint


def test_a_clip_turns_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    clip, angles = rng.random((3, 52), dtype=np.float32), rng.normal(0, 0.2, (3, 3))
    moved = built_in().deform(clip, angles)
    for frame, row, angle in zip(moved, clip, angles, strict=True):
        np.testing.assert_allclose(frame, built_in().deform(row, angle), atol=1e-6)
    np.testing.assert_array_equal(
        built_in().deform(clip, np.zeros((3, 3))), built_in().deform(clip)
    )


@pytest.mark.parametrize("shape", [(2,), (1, 3), (3, 1), ()])
def test_rotations_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(HeadError, match="rotation must be"):
        built_in().deform(np.zeros(52), np.zeros(shape))


def test_a_flat_head_can_be_turned() -> None:
    """A head without a neck: the joint lies at its lower end, all above it turns."""
    flat = replace(tiny_head(), vertices=np.zeros((4, 3), dtype=np.float32))
    assert np.isfinite(flat.deform(np.zeros(52), [0.1, 0, 0])).all()
