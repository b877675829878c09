from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from avatars import HEAD, HIPS, MESH, avatar, with_skeleton
from PIL import Image

from dtalk.heads.gltf_mesh import read_surface, world_matrices
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.glb import Glb, GlbError

PLACES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
CORNERS = np.array([[0, 1, 2], [2, 1, 3]], np.uint16)
JAW = ARKIT_NAMES.index("jawOpen")


def square(**attributes: np.ndarray) -> Glb:
    """Two triangles with one target, jawOpen, which moves the last vertex by (0, -1, 2)."""
    glb = Glb()
    move = np.zeros((4, 3), np.float32)
    move[3] = (0, -1, 2)
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": glb.add_accessor(PLACES, bounds=True),
            **{name: glb.add_accessor(values) for name, values in attributes.items()},
        },
        "indices": glb.add_accessor(CORNERS.ravel()),
        "targets": [{"POSITION": glb.add_accessor(move, bounds=True)}],
    }
    mesh = {"primitives": [primitive], "extras": {"targetNames": ["jawOpen"]}}
    glb.add("nodes", {"mesh": glb.add("meshes", mesh)})
    glb.content["scene"] = glb.add("scenes", {"nodes": [0]})
    return glb


def primitive_of(glb: Glb) -> dict[str, Any]:
    primitive: dict[str, Any] = glb.content["meshes"][0]["primitives"][0]
    return primitive


def with_material(glb: Glb, material: dict[str, Any]) -> Glb:
    primitive_of(glb)["material"] = glb.add("materials", material)
    return glb


def with_texture(glb: Glb, data: bytes, **texture: Any) -> Glb:
    view = glb.add_view(np.frombuffer(data, np.uint8))
    source = glb.add("images", {"bufferView": view, "mimeType": "image/png"})
    index = glb.add("textures", {"source": source})
    look = {"baseColorTexture": {"index": index, **texture}}
    return with_material(glb, {"pbrMetallicRoughness": look, "alphaMode": "MASK"})


def png(pixels: list[list[tuple[int, int, int, int]]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.array(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


class TestPlaces:
    def test_plain(self):
        surface = read_surface(square())
        np.testing.assert_array_equal(surface.vertices, PLACES)
        np.testing.assert_array_equal(surface.faces, CORNERS)
        assert surface.fields.shape == (52, 4, 3)
        assert surface.fields[JAW, 3].tolist() == [0, -1, 2]
        assert not np.delete(surface.fields, JAW, axis=0).any()

    def test_nodes_turn_scale_and_shift(self):
        glb = square()
        quarter = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]  # about z: x becomes y
        glb.content["nodes"][0] |= {"rotation": quarter, "scale": [2, 2, 2]}
        glb.add("nodes", {"translation": [0, 0, 5], "children": [0]})
        glb.content["scenes"][0]["nodes"] = [1]
        surface = read_surface(glb)
        np.testing.assert_allclose(surface.vertices[1], [0, 2, 5], atol=1e-12)
        np.testing.assert_allclose(surface.fields[JAW, 3], [2, 0, 4], atol=1e-12)

    def test_matrices_are_columns_first(self):
        glb = square()
        glb.content["nodes"][0]["matrix"] = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 7, 8, 9, 1]
        assert read_surface(glb).vertices[1].tolist() == [9, 8, 9]

    def test_a_mirrored_node_keeps_its_outside(self):
        glb = square()
        glb.content["nodes"][0]["scale"] = [-1, 1, 1]
        surface = read_surface(glb)
        a, b, c = surface.vertices[surface.faces[0]]
        assert np.cross(b - a, c - a)[2] > 0

    def test_quantised_and_interleaved(self):
        glb = square()
        rows = np.zeros((4, 4), np.int16)
        rows[:, :3] = 100 * PLACES
        view = glb.add_view(rows)
        glb.content["bufferViews"][view]["byteStride"] = 8
        accessor = {"bufferView": view, "componentType": 5122, "count": 4, "type": "VEC3"}
        primitive_of(glb)["attributes"]["POSITION"] = glb.add("accessors", accessor)
        np.testing.assert_array_equal(read_surface(glb).vertices, 100 * PLACES)

    @pytest.mark.parametrize(("name", "counts"), [("jawOpen", False), ("smile", True)])
    @pytest.mark.parametrize("owner", ["meshes", "nodes"])
    def test_weights_at_rest(self, name, counts, owner):
        """They count but for the shapes that a motion sets."""
        glb = square()
        glb.content["meshes"][0]["extras"]["targetNames"] = [name]
        glb.content[owner][0]["weights"] = [0.5]
        assert read_surface(glb).vertices[3].tolist() == ([1, 0.5, 1] if counts else [1, 1, 0])

    def test_skins(self):
        """Joint 1 turns by a quarter about x; its vertices turn, those of joint 0 stay."""
        joints = np.array([[0, 0, 0, 0]] * 3 + [[1, 0, 0, 0]], np.uint8)
        weights = np.tile(np.array([1, 0, 0, 0], np.float32), (4, 1))
        glb = square(JOINTS_0=joints, WEIGHTS_0=weights)
        quarter = [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]  # y becomes z
        glb.add("nodes", {"name": "root"})
        glb.add("nodes", {"rotation": quarter})
        glb.content["scenes"][0]["nodes"] = [0, 1, 2]
        glb.content["nodes"][0] |= {"skin": glb.add("skins", {"joints": [1, 2]})}
        glb.content["nodes"][0]["translation"] = [9, 9, 9]  # of no effect on a skinned mesh
        surface = read_surface(glb)
        np.testing.assert_allclose(surface.vertices[:3], PLACES[:3], atol=1e-12)
        np.testing.assert_allclose(surface.vertices[3], [1, 0, 1], atol=1e-7)
        np.testing.assert_allclose(surface.fields[JAW, 3], [0, -2, -1], atol=1e-7)

    def test_several_meshes(self):
        glb = square()
        glb.add("nodes", {"mesh": 0, "translation": [0, 0, 3]})
        glb.content["scenes"][0]["nodes"] = [0, 1]
        surface = read_surface(glb)
        assert len(surface.vertices) == 8
        assert sorted(surface.nodes.tolist()) == [0] * 4 + [1] * 4
        assert surface.faces.max() == 7

    @pytest.mark.parametrize("children", [[HIPS], [HEAD, MESH]])
    def test_scenes_that_are_no_trees(self, children):
        glb = with_skeleton(avatar())
        glb.content["nodes"][HEAD]["children"] = children
        with pytest.raises(GlbError, match="parents"):
            world_matrices(glb)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"attributes": {}}, "damaged"),
            ({"mode": 1}, "no triangles"),
            ({"targets": [{"POSITION": 99}]}, "does not fit"),
        ],
    )
    def test_damage(self, change, message):
        glb = square()
        primitive_of(glb).update(change)
        with pytest.raises(GlbError, match=message):
            read_surface(glb)

    def test_triangles_of_vertices_that_are_not_there(self):
        glb = square()
        primitive_of(glb)["indices"] = glb.add_accessor(np.array([0, 1, 9], np.uint16))
        with pytest.raises(GlbError, match="lacks"):
            read_surface(glb)


class TestColours:
    def test_without_a_material_white(self):
        surface = read_surface(square())
        assert (surface.colors == 1).all()
        assert not surface.flat.any()

    def test_factor_times_vertex_colour(self):
        shades = np.array([[0, 51, 255, 255]] * 4, np.uint8)
        glb = square(COLOR_0=shades)
        look = {"baseColorFactor": [1, 0.5, 0.25, 1]}
        with_material(glb, {"pbrMetallicRoughness": look, "doubleSided": True})
        surface = read_surface(glb)
        np.testing.assert_allclose(surface.colors, [[0, 0.1, 0.25]] * 4)
        assert surface.flat.all()

    def test_textures_are_srgb_and_repeat(self):
        """The left half red, the right half grey 188, which is 0.5 in linear light."""
        picture = png([[(255, 0, 0, 255), (188, 188, 188, 255)]])
        places = np.array([[0.1, 0], [0.9, 0], [1.1, 0], [-0.1, 0]], np.float32)
        surface = read_surface(with_texture(square(TEXCOORD_0=places), picture))
        red, grey = [1, 0, 0], [0.5029] * 3
        np.testing.assert_allclose(surface.colors, [red, grey, red, grey], atol=1e-3)

    def test_textures_may_be_shifted(self):
        picture = png([[(255, 0, 0, 255), (0, 0, 255, 255)]])
        places = np.full((4, 2), 0.1, np.float32)
        moved = {"extensions": {"KHR_texture_transform": {"offset": [0.5, 0]}}}
        surface = read_surface(with_texture(square(TEXCOORD_0=places), picture, **moved))
        assert surface.colors.tolist() == [[0, 0, 1]] * 4

    def test_what_is_transparent_is_cut_away(self):
        picture = png([[(255, 0, 0, 0), (0, 0, 255, 255)]])
        places = np.array([[0.1, 0], [0.1, 0], [0.1, 0], [0.9, 0]], np.float32)
        surface = read_surface(with_texture(square(TEXCOORD_0=places), picture))
        assert surface.faces.tolist() == [[2, 1, 3]]

    @pytest.mark.parametrize("data", [b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(64), b"%!PS-Adobe", b""])
    def test_pictures_that_cannot_be_read_are_unknown(self, data):
        glb = with_texture(square(TEXCOORD_0=np.zeros((4, 2), np.float32)), data or b"x")
        assert np.isnan(read_surface(glb).colors).all()


class TestMerging:
    def test_seams_close(self):
        glb = square()
        glb.add("nodes", {"mesh": 0})
        glb.content["scenes"][0]["nodes"] = [0, 1]
        surface = read_surface(glb)
        surface.nodes[:] = 0  # as if a texture's seam had split one mesh
        merged = surface.merged()
        assert len(merged.vertices) == 4
        np.testing.assert_array_equal(
            merged.vertices[merged.faces].sum(axis=1), surface.vertices[surface.faces].sum(axis=1)
        )

    def test_lips_that_touch_stay_apart(self):
        """Places alike, moves not."""
        glb = square()
        mesh = glb.content["meshes"][0]
        other = {"primitives": [{**primitive_of(glb), "targets": []}]}
        del other["primitives"][0]["targets"]
        glb.add("nodes", {"mesh": glb.add("meshes", other)})
        glb.content["scenes"][0]["nodes"] = [0, 1]
        surface = read_surface(glb)
        surface.nodes[:] = 0
        merged = surface.merged()
        assert len(merged.vertices) == 5
        assert mesh["extras"]["targetNames"] == ["jawOpen"]


class TestCompressed:
    def test_meshopt(self):
        meshopt = pytest.importorskip("meshopt")
        glb = square()
        accessor = glb.content["accessors"][primitive_of(glb)["attributes"]["POSITION"]]
        packed = meshopt.encode_gltf_buffer(PLACES, "ATTRIBUTES")
        view = glb.add_view(np.frombuffer(packed, np.uint8))
        entry = glb.content["bufferViews"][view]
        how = {"buffer": 0, "byteOffset": entry["byteOffset"], "byteLength": len(packed)}
        how |= {"byteStride": 12, "mode": "ATTRIBUTES", "count": 4}
        entry |= {"buffer": 1, "byteOffset": 0, "byteLength": PLACES.nbytes}
        entry["extensions"] = {"EXT_meshopt_compression": how}
        glb.add("buffers", {"byteLength": PLACES.nbytes})
        accessor["bufferView"] = view
        np.testing.assert_array_equal(read_surface(glb).vertices, PLACES)

    def test_draco(self):
        draco = pytest.importorskip("DracoPy")
        glb = square()
        packed = draco.encode(PLACES, CORNERS, quantization_bits=20, preserve_order=True)
        view = glb.add_view(np.frombuffer(packed, np.uint8))
        how = {"bufferView": view, "attributes": {"POSITION": 0}}
        primitive_of(glb)["extensions"] = {"KHR_draco_mesh_compression": how}
        surface = read_surface(glb)
        np.testing.assert_allclose(surface.vertices, PLACES, atol=1e-5)
        assert sorted(map(sorted, surface.faces.tolist())) == [[0, 1, 2], [1, 2, 3]]

    @pytest.mark.parametrize(("module", "name"), [("meshopt", "meshopt"), ("DracoPy", "Draco")])
    def test_without_the_package_the_message_says_which(self, monkeypatch, module, name):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        glb = square()
        view = glb.add_view(np.zeros(4, np.uint8))
        if module == "DracoPy":
            how = {"bufferView": view, "attributes": {"POSITION": 0}}
            primitive_of(glb)["extensions"] = {"KHR_draco_mesh_compression": how}
        else:
            how = {"buffer": 0, "byteOffset": 0, "byteLength": 4, "byteStride": 12}
            how |= {"mode": "ATTRIBUTES", "count": 4}
            glb.content["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": how}
        with pytest.raises(
            GlbError, match=rf"compressed by {name}; pip install 'dtalk\[avatars\]'"
        ):
            read_surface(glb)
