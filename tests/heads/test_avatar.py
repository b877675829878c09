"""Avatars as heads: the built-in head, written as glTF, is the one that is known in every point."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from avatars import avatar

from dtalk.errors import HeadError
from dtalk.heads import avatar as avatars
from dtalk.heads.avatar import AvatarHead
from dtalk.heads.gltf import head_glb
from dtalk.heads.head import built_in
from dtalk.heads.load import load_head
from dtalk.heads.transfer.transfer import Transfer
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.glb import Glb


def own_glb() -> Glb:
    return copy.deepcopy(head_glb(built_in()))


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> AvatarHead:
    """The built-in head, turned, scaled and shifted by its nodes."""
    folder = tmp_path_factory.mktemp("avatar")
    glb = own_glb()
    del glb.content["nodes"][0]["skin"]
    turned = [0.1, 0.2, -0.3, 0.9]
    turned = (np.array(turned) / np.linalg.norm(turned)).tolist()
    glb.content["nodes"][0] |= {"rotation": turned, "scale": [100.0] * 3, "translation": [5, -7, 9]}
    glb.save(folder / "me.glb")
    found = load_head(folder / "me.glb", cache=folder)
    assert isinstance(found, AvatarHead)
    return found


def random_weights() -> np.ndarray:
    return np.random.default_rng(0).random((3, 52), dtype=np.float32)


class TestOwnShapes:
    def test_it_is_laid_upright_and_to_scale(self, head):
        """Vertices that lie and move alike are one, so surfaces are compared by their extremes."""
        for end in ("min", "max"):
            found, wanted = (
                getattr(head.vertices, end)(axis=0),
                getattr(built_in().vertices, end)(axis=0),
            )
            np.testing.assert_allclose(found, wanted, atol=1e-5)

    def test_its_shapes_are_its_own(self, head):
        weights = random_weights()
        found = head.deform(weights)
        wanted = built_in().deform(weights)
        near = [np.abs(built_in().vertices - place).sum(axis=1).argmin() for place in head.vertices]
        off = np.linalg.norm(found - wanted[:, near], axis=-1)
        assert np.quantile(off, 0.99) < 1e-5  # hairs cross: some have no nearest of their own

    def test_nothing_is_missing(self, head):
        assert head.missing == ()
        assert not head.transferred

    def test_landmarks_are_found(self, head):
        own = built_in()
        for name in ("opening", "corners"):
            found = head.vertices[list(getattr(head, name))]
            np.testing.assert_allclose(found, own.vertices[list(getattr(own, name))], atol=1e-4)

    def test_colours_come_with_it(self, head):
        assert np.isfinite(head.colors).all()
        assert head.colors.min() < 0.05
        assert head.colors.max() == 1


class TestMissingShapes:
    @pytest.fixture
    def lacking(self, tmp_path: Path) -> Path:
        glb = own_glb()
        names = ["x" if name in ("jawOpen", "tongueOut") else name for name in ARKIT_NAMES]
        glb.content["meshes"][0]["extras"]["targetNames"] = names
        glb.save(tmp_path / "me.glb")
        return tmp_path / "me.glb"

    def test_they_are_transferred(self, lacking, monkeypatch):
        def transferred(vertices, *_):
            count = len(vertices)
            none = np.zeros(0, np.int64)
            fields = np.full((52, count, 3), 0.25, np.float32)
            return Transfer(fields, none, none, none, none, none, none)

        monkeypatch.setattr(avatars, "transfer_to", transferred)
        head = load_head(lacking, cache=lacking.parent)
        assert isinstance(head, AvatarHead)
        assert (head.missing, head.transferred) == (("jawOpen", "tongueOut"), True)
        weights = np.zeros((2, 52))
        weights[0, ARKIT_NAMES.index("jawOpen")] = 1
        weights[1, ARKIT_NAMES.index("mouthPucker")] = 1
        opened, puckered = head.deform(weights) - head.vertices
        np.testing.assert_allclose(opened, 0.25, atol=1e-6)
        assert np.abs(puckered).max() < 0.05

    def test_where_they_cannot_be_they_do_nothing(self, lacking, monkeypatch):
        def refuse(*_):
            raise HeadError("no face")

        monkeypatch.setattr(avatars, "transfer_to", refuse)
        head = load_head(lacking, cache=lacking.parent)
        assert isinstance(head, AvatarHead)
        assert not head.transferred
        weights = np.zeros(52)
        weights[ARKIT_NAMES.index("jawOpen")] = 1
        np.testing.assert_array_equal(head.deform(weights), head.vertices)


def test_a_body_is_left_out(tmp_path):
    glb = own_glb()
    body = np.array([[0, -1, 0], [0.2, -1, 0], [0, -0.8, 0.1]], np.float32)
    mesh = {"primitives": [{"attributes": {"POSITION": glb.add_accessor(body, bounds=True)}}]}
    node = glb.add("nodes", {"mesh": glb.add("meshes", mesh)})
    glb.content["scenes"][0]["nodes"].append(node)
    glb.save(tmp_path / "me.glb")
    assert load_head(tmp_path / "me.glb", cache=tmp_path).vertices[:, 1].min() > 0.5


def test_shapes_that_move_nothing(tmp_path):
    glb = avatar()
    for target in glb.content["meshes"][0]["primitives"][0]["targets"]:
        target["POSITION"] = glb.add_accessor(np.zeros((3, 3), np.float32), bounds=True)
    glb.save(tmp_path / "me.glb")
    with pytest.raises(HeadError, match=r"me\.glb: its shapes do not move a face"):
        load_head(tmp_path / "me.glb", cache=tmp_path)


def test_few_targets_are_a_plain_mesh(tmp_path):
    """Shapes are transferred to it, or it is refused as any mesh without a face."""
    avatar(ARKIT_NAMES[:9]).save(tmp_path / "me.glb")
    with pytest.raises(HeadError, match="no mesh of a face"):
        load_head(tmp_path / "me.glb", cache=tmp_path)
