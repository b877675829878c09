from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtalk.utils.glb import Glb, GlbError

VALUES = np.arange(6, dtype="<f4")
PNG = b"\x89PNG\r\n\x1a\n and the rest"


def gltf(folder: Path, uris: list[str], name: str = "a.gltf", **fields: Any) -> Path:
    """An asset with an accessor of three numbers in each of two buffers."""
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": uri, "byteLength": 12} for uri in uris],
        "bufferViews": [{"buffer": k, "byteLength": 12} for k in range(len(uris))],
        "accessors": [
            {"bufferView": k, "componentType": 5126, "count": 3, "type": "SCALAR"}
            for k in range(len(uris))
        ],
        **fields,
    }
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def data_uri(values: np.ndarray) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(values.tobytes()).decode()}"


def test_buffers_of_a_gltf_are_taken_in(tmp_path):
    """A file with an umlaut and a space in its name, and data in the uri."""
    (tmp_path / "größe 1.bin").write_bytes(VALUES[:3].tobytes())
    glb = Glb.load(gltf(tmp_path, ["gr%C3%B6%C3%9Fe%201.bin", data_uri(VALUES[3:])]))
    assert glb.read(0)[:, 0].tolist() == [0, 1, 2]
    assert glb.read(1)[:, 0].tolist() == [3, 4, 5]
    glb.add_accessor(VALUES)
    glb.save(tmp_path / "b.glb")
    again = Glb.load(tmp_path / "b.glb")
    assert again.content["buffers"] == [{"byteLength": 48}]
    assert again.read(1)[:, 0].tolist() == [3, 4, 5]
    assert again.read(2)[:, 0].tolist() == VALUES.tolist()


def test_a_second_buffer_of_a_glb_beside_it(tmp_path):
    glb = Glb()
    glb.add_accessor(VALUES[:1])
    glb.add("buffers", {"uri": "more.bin", "byteLength": 8})
    view = glb.add("bufferViews", {"buffer": 1, "byteOffset": 4, "byteLength": 4})
    glb.add("accessors", {"bufferView": view, "componentType": 5126, "count": 1, "type": "SCALAR"})
    glb.save(tmp_path / "a.glb")
    (tmp_path / "more.bin").write_bytes(VALUES[1:3].tobytes())
    found = Glb.load(tmp_path / "a.glb")
    assert [found.read(index).item() for index in (0, 1)] == [0, 2]
    assert len(found.objects("buffers")) == 1


def test_what_stands_for_a_compressed_buffer_stays_last(tmp_path):
    """Views of it keep their place; the extension's bytes move with the file they came from."""
    how = {"buffer": 0, "byteLength": 8, "byteStride": 4, "count": 3, "mode": "ATTRIBUTES"}
    views = [{"buffer": 1, "byteLength": 12, "extensions": {"EXT_meshopt_compression": how}}]
    (tmp_path / "a.bin").write_bytes(bytes(12))
    path = gltf(tmp_path, ["a.bin"], bufferViews=views)
    content = json.loads(path.read_text())
    content["buffers"].insert(0, {"uri": data_uri(VALUES[:3]), "byteLength": 12})
    content["buffers"].append({"byteLength": 12, "extensions": {"EXT_meshopt_compression": {}}})
    content["bufferViews"][0] |= {"buffer": 2}
    how["buffer"] = 1
    content["bufferViews"][0]["extensions"]["EXT_meshopt_compression"] = how
    path.write_text(json.dumps(content))
    [view] = Glb.load(path).objects("bufferViews")
    assert (view["buffer"], view["byteOffset"]) == (1, 0)
    moved = view["extensions"]["EXT_meshopt_compression"]
    assert (moved["buffer"], moved["byteOffset"]) == (0, 12)


def test_pictures_are_taken_in_and_others_left(tmp_path):
    (tmp_path / "skin.png").write_bytes(PNG)
    (tmp_path / "note.txt").write_bytes(b"no picture")
    inside = {"uri": "data:image/png;base64,AAAA"}
    images = [{"uri": "skin.png"}, {"uri": "gone.png"}, {"uri": "note.txt"}, inside]
    images.append({"uri": "https://example.com/skin.png"})
    glb = Glb.load(gltf(tmp_path, [data_uri(VALUES[:3])], images=images))
    first, *others = glb.objects("images")
    assert first == {"bufferView": 1, "mimeType": "image/png"}
    assert glb.view_bytes(1) == PNG
    assert others == images[1:]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gone.bin", "gone.bin is not beside it"),
        ("../out.bin", "out.bin does not lie in its folder"),
        ("%2e%2e/out.bin", "does not lie in its folder"),
        ("/etc/hostname", "does not lie in its folder"),
        ("https://example.com/a.bin", "does not lie in its folder"),
        ("file:a.bin", "does not lie in its folder"),
        ("short.bin", "buffer 0 is cut off"),
        ("data:;base64,####", "damaged"),
        ("a\0b", "damaged"),
        (3, "damaged"),
    ],
)
def test_parts_that_are_not_to_be_had(tmp_path, uri, message):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.bin").write_bytes(bytes(12))
    (folder / "short.bin").write_bytes(bytes(11))
    with pytest.raises(GlbError, match=message):
        Glb.load(gltf(folder, [uri]))


@pytest.mark.parametrize("key", ["buffers", "bufferViews", "images"])
@pytest.mark.parametrize("value", [3, [3], [None], {"a": 1}, "x"])
def test_damage(tmp_path, key, value):
    path = gltf(tmp_path, [data_uri(VALUES[:3])], **{key: value})
    with suppress(GlbError):
        Glb.load(path)


def test_a_gltf_with_a_byte_order_mark(tmp_path):
    path = gltf(tmp_path, [data_uri(VALUES[:3])])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Glb.load(path).read(0)[:, 0].tolist() == [0, 1, 2]
