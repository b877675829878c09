"""Mesh files as they come: formats, limits, what is inside out."""

from __future__ import annotations

import base64
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from dtalk.errors import HeadError
from dtalk.heads import mesh_files
from dtalk.heads.avatar import _outwards
from dtalk.heads.gltf_mesh import Surface, has_ktx2
from dtalk.heads.head import HeadWarning, built_in
from dtalk.heads.mesh_files import read_mesh
from dtalk.heads.transfer.surface import facing_outwards
from dtalk.utils.glb import Glb

BALL = trimesh.creation.icosphere(3)


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def written(path: Path, faces: np.ndarray = BALL.faces, scale: float = 1.0) -> Path:
    vertices = BALL.vertices * [scale, 1, 1]
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    return path


def read_silently(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_mesh(path)


@pytest.mark.parametrize("kind", ["obj", "ply", "stl", "off", "glb", "gltf"])
def test_every_format(tmp_path, kind):
    vertices, faces = read_silently(written(tmp_path / f"a.{kind}"))
    assert (vertices.shape, faces.shape) == (BALL.vertices.shape, BALL.faces.shape)
    assert volume(vertices, faces) == pytest.approx(BALL.volume, rel=1e-4)


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
@pytest.mark.parametrize("way", ["corners the other way round", "mirrored"])
def test_inside_out(tmp_path, kind, way):
    if way == "mirrored":
        path = written(tmp_path / f"a.{kind}", scale=-1)
    else:
        path = written(tmp_path / f"a.{kind}", BALL.faces[:, ::-1])
    with pytest.warns(HeadWarning, match="is inside out: it is turned"):
        vertices, faces = read_mesh(path)
    assert volume(vertices, faces) == pytest.approx(BALL.volume, rel=1e-4)


def test_a_mask_of_a_face_tells_too():
    """An open surface: what lies in front of the ears of the built-in head."""
    own = built_in()
    places = own.vertices.astype(float)
    front = own.faces[(places[own.faces][:, :, 2] > 0.03).all(axis=1)]
    assert facing_outwards(places, front) is front
    np.testing.assert_array_equal(facing_outwards(places, front[:, ::-1]), front)


def test_a_flat_sheet_has_no_inside():
    places = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    faces = np.array([[0, 2, 1], [1, 2, 3]])
    assert facing_outwards(places, faces) is faces
    assert facing_outwards(places, faces[:0]) is not None


def refused(path: Path, words: str) -> None:
    with pytest.raises(HeadError, match=words) as caught:
        read_mesh(path)
    assert "\n" not in str(caught.value)


def gltf(path: Path, **changes: Any) -> Path:
    data = base64.b64encode(BALL.vertices.astype("<f4").tobytes()).decode()
    count = len(BALL.vertices)
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": f"data:;base64,{data}", "byteLength": 12 * count}],
        "bufferViews": [{"buffer": 0, "byteLength": 12 * count}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        **changes,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "bz2", "xyz", "fbx", "txt"])
def test_archives_and_other_files(tmp_path, kind):
    (tmp_path / f"a.{kind}").write_bytes(b"PK\x03\x04")
    refused(tmp_path / f"a.{kind}", "is neither pkl, npz, glb, gltf nor obj, ply, stl, off")


def test_a_file_outside_the_folder_is_not_opened(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(BALL.vertices.astype("<f4").tobytes())
    count = len(BALL.vertices)
    outside = [{"uri": "../secret.bin", "byteLength": 12 * count}]
    refused(gltf(tmp_path / "in" / "a.gltf", buffers=outside), "secret.bin does not lie in")


def test_declared_numbers_without_data(tmp_path):
    zeros = [{"componentType": 5126, "count": 10**9, "type": "VEC3"}]
    refused(gltf(tmp_path / "a.gltf", accessors=zeros), "1000000000 rows are too many")
    less = [{"componentType": 5126, "count": -1, "type": "VEC3"}]
    refused(gltf(tmp_path / "b.gltf", accessors=less), "-1 is no index or count")
    glb = Glb.load(written(tmp_path / "c.glb"))
    for accessor in glb.objects("accessors"):
        accessor["count"] = 10**9
        accessor.pop("bufferView")
    glb.save(tmp_path / "c.glb")
    refused(tmp_path / "c.glb", "1000000000 rows are too many")


def test_many_vertices(tmp_path, monkeypatch):
    monkeypatch.setattr("dtalk.heads.gltf_mesh.MOST_VERTICES", 100)
    refused(written(tmp_path / "a.glb"), "more than 100 vertices")


def test_large_files(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "LARGEST", 100)
    refused(written(tmp_path / "a.obj"), "more than 0 MB")


@pytest.mark.parametrize("brows", [False, True])
def test_an_avatar_inside_out_is_turned(brows):
    """Cards that are seen from both sides, such as brows, stay as they are."""
    count = len(BALL.vertices)
    flat = np.zeros(count, bool)
    flat[BALL.faces[0]] = brows
    nothing = np.zeros((52, count, 3)), np.ones((count, 3))
    surface = Surface(BALL.vertices, BALL.faces[:, ::-1], *nothing, flat, np.zeros(count, int))
    with pytest.warns(HeadWarning, match="is inside out"):
        found = _outwards(surface, Path("a.glb"))
    solid = ~flat[BALL.faces].any(axis=1)
    np.testing.assert_array_equal(found.faces[solid], BALL.faces[solid])
    np.testing.assert_array_equal(found.faces[~solid], BALL.faces[~solid, ::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _outwards(found, Path("a.glb")) is found


def test_textures_that_are_only_there_as_ktx2():
    glb = Glb({"asset": {}, "textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]})
    assert has_ktx2(glb)
    glb.content["textures"][0]["source"] = 1
    assert not has_ktx2(glb)
