from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtalk.utils.glb import Glb, GlbError


def saved(glb: Glb, path: Path) -> Glb:
    glb.save(path)
    return Glb.load(path)


class TestFile:
    def test_layout_by_hand(self, tmp_path):
        """Header, json padded with spaces, buffer padded with zeros; lengths in bytes."""
        glb = Glb()
        glb.add_accessor(np.array([1, 2, 3], np.uint8))
        glb.save(tmp_path / "a.glb")
        data = (tmp_path / "a.glb").read_bytes()
        magic, version, length, text_length, kind = struct.unpack_from("<4sII I4s", data)
        assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
        assert text_length % 4 == 0
        text = data[20 : 20 + text_length]
        assert json.loads(text)["buffers"] == [{"byteLength": 3}]
        assert data[20 + text_length :] == struct.pack("<I4s", 4, b"BIN\0") + b"\1\2\3\0"

    def test_what_is_unknown_comes_through(self, tmp_path):
        glb = Glb()
        glb.content["extensions"] = {"FOO_bar": {"values": [1, 2.5, None, "ä"], "deep": {"x": {}}}}
        glb.binary.extend(b"12345678")
        other = saved(glb, tmp_path / "a.glb")
        assert other.content["extensions"] == glb.content["extensions"]
        assert other.binary == b"12345678"

    def test_without_a_buffer_there_is_one_chunk(self, tmp_path):
        Glb().save(tmp_path / "a.glb")
        assert b"BIN" not in (tmp_path / "a.glb").read_bytes()
        assert saved(Glb(), tmp_path / "a.glb").binary == b""

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "no GLB"),
            (b"RIFF" + bytes(40), "no GLB"),
            (struct.pack("<4sII", b"glTF", 1, 12), "glTF 1"),
            (struct.pack("<4sII", b"glTF", 2, 999), "cut off"),
            (struct.pack("<4sII", b"glTF", 2, 12), "json is missing"),
            (struct.pack("<4sII I4s", b"glTF", 2, 20, 9, b"JSON"), "cut off"),
            (struct.pack("<4sII I4s", b"glTF", 2, 24, 4, b"JSON") + b"[]  ", "no glTF asset"),
            (struct.pack("<4sII I4s", b"glTF", 2, 24, 4, b"JSON") + b"{}  ", "no glTF asset"),
            (struct.pack("<4sII I4s", b"glTF", 2, 24, 4, b"JSON") + b"{{  ", "damaged"),
        ],
    )
    def test_bad_files(self, tmp_path, data, message):
        (tmp_path / "a.glb").write_bytes(data)
        with pytest.raises(GlbError, match=message):
            Glb.load(tmp_path / "a.glb")

    def test_a_buffer_elsewhere_is_not_extended(self, tmp_path):
        glb = Glb()
        glb.add("buffers", {"byteLength": 4, "uri": "a.bin"})
        with pytest.raises(GlbError, match="outside"):
            glb.add_accessor(np.zeros(1, np.float32))


class TestAccessors:
    @pytest.mark.parametrize("kind", ["<i1", "<u1", "<i2", "<u2", "<u4", "<f4"])
    @pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 3), (5, 4), (2, 16)])
    def test_there_and_back(self, tmp_path, kind, shape):
        glb, values = Glb(), np.arange(np.prod(shape)).reshape(shape).astype(kind)
        glb.add_accessor(np.zeros(3, np.uint8))  # so that the next has to be aligned
        index = glb.add_accessor(values)
        found = saved(glb, tmp_path / "a.glb").read(index)
        assert found.dtype == np.dtype(kind)
        np.testing.assert_array_equal(found, values.reshape(len(values), -1))
        assert glb.objects("bufferViews")[-1]["byteOffset"] == 4

    def test_bounds_and_targets(self):
        glb = Glb()
        index = glb.add_accessor(np.array([[1, -2, 0], [0, 5, 3]], np.float32), 34962, bounds=True)
        assert glb.content["accessors"][index] | {"bufferView": 0} == {
            "componentType": 5126,
            "count": 2,
            "type": "VEC3",
            "bufferView": 0,
            "min": [0, -2, 0],
            "max": [1, 5, 3],
        }
        assert glb.content["bufferViews"][0]["target"] == 34962

    def test_normalized(self):
        glb = Glb()
        shares = glb.add_accessor(np.array([0, 255, 51], np.uint8), normalized=True)
        signed = glb.add_accessor(np.array([-128, -127, 127], np.int8), normalized=True)
        np.testing.assert_allclose(glb.read(shares)[:, 0], [0, 1, 0.2])
        np.testing.assert_allclose(glb.read(signed)[:, 0], [-1, -1, 1])

    def test_strides(self):
        """Two floats of every twelve bytes, from the fourth byte on."""
        glb = Glb()
        glb.add_view(np.arange(9, dtype=np.float32))
        glb.content["bufferViews"][0]["byteStride"] = 12
        accessor = {"bufferView": 0, "byteOffset": 4, "componentType": 5126, "count": 3}
        index = glb.add("accessors", {**accessor, "type": "VEC2"})
        assert glb.read(index).tolist() == [[1, 2], [4, 5], [7, 8]]

    @given(st.sets(st.integers(0, 19), min_size=1), st.integers(0, 2**32 - 1))
    def test_sparse(self, rows, seed):
        dense = np.zeros((20, 3), np.float32)
        chosen = np.array(sorted(rows))
        dense[chosen] = np.random.default_rng(seed).normal(size=(len(chosen), 3))
        glb = Glb()
        index = glb.add_sparse(20, chosen, dense[chosen])
        np.testing.assert_array_equal(glb.read(index), dense)
        accessor = glb.content["accessors"][index]
        np.testing.assert_array_equal(accessor["min"], dense.min(axis=0))
        np.testing.assert_array_equal(accessor["max"], dense.max(axis=0))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"count": 4}, "beyond the file"),
            ({"count": -1}, "no index"),
            ({"count": 10**12}, "too many"),
            ({"byteOffset": 4}, "beyond the file"),
            ({"byteOffset": 1.5}, "no index"),
            ({"bufferView": 7}, "does not fit"),
            ({"bufferView": "a"}, "no index"),
            ({"componentType": 5130}, "does not fit"),
            ({"type": "VEC5"}, "does not fit"),
            ({"sparse": []}, "does not fit"),
        ],
    )
    def test_accessors_that_do_not_fit(self, change, message):
        glb = Glb()
        index = glb.add_accessor(np.zeros((3, 3), np.float32))
        glb.content["accessors"][index] |= change
        with pytest.raises(GlbError, match=message):
            glb.read(index)

    def test_zeros_that_no_memory_holds(self):
        glb = Glb()
        index = glb.add("accessors", {"componentType": 5126, "count": 2**31, "type": "MAT4"})
        with pytest.raises(GlbError, match="too many"):
            glb.read(index)

    def test_compressed_rows_that_no_memory_holds(self):
        pytest.importorskip("meshopt")
        glb = Glb()
        index = glb.add_accessor(np.zeros(3, np.float32))
        how = {"buffer": 0, "byteLength": 12, "byteStride": 4, "mode": "ATTRIBUTES", "count": 2**30}
        glb.content["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": how}
        with pytest.raises(GlbError, match="too many"):
            glb.read(index)

    @pytest.mark.parametrize("value", [{}, [1], "nodes", None])
    def test_lists_that_are_none(self, value):
        glb = Glb()
        glb.content["nodes"] = value
        with pytest.raises(GlbError, match="no list of objects"):
            glb.objects("nodes")
