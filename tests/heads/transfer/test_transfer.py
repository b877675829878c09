"""Shapes on other heads, against the truth that the test head's maker knows."""

from __future__ import annotations

import numpy as np
import pytest
from flames import EYE, SKIN, FullSize, warp

from dtalk.heads.head import PARTS, built_in
from dtalk.heads.transfer.transfer import Transfer, transfer
from dtalk.motion.arkit import ARKIT_NAMES

BALLS = (np.arange(SKIN, SKIN + EYE), np.arange(SKIN + EYE, SKIN + 2 * EYE))


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
