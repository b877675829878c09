"""GLB files: the json of glTF 2.0 and its one binary buffer, read and written by hand.

A .gltf is read too, with the files that it names, as the GLB it would be. What is not understood
is kept as it is, so that an avatar's compressed meshes, materials and extensions come through
unchanged. Source: the glTF 2.0 specification, sections 3.6 and 4.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.utils.gltf_parts import LARGEST, PartError, take_in

Array = npt.NDArray[Any]

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
SUFFIXES = (".glb", ".vrm")
READ_SUFFIXES = (*SUFFIXES, ".gltf")

_MAGIC, _VERSION, _JSON, _BIN = b"glTF", 2, b"JSON", b"BIN\0"
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_TYPES: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
_CODES = {kind: code for code, kind in _TYPES.items()}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
ADVICE = "pip install 'dtalk[avatars]' to read it"
_MESHOPT = {"EXT_meshopt_compression", "KHR_meshopt_compression"}
MOST_VALUES = 1 << 26  # of one accessor: a file may declare more zeros than there is memory


class GlbError(ValueError):
    """A file is no GLB, or an accessor does not fit it; the text says in what way."""


@dataclass
class Glb:
    """A glTF asset, whose first buffer is in memory.

    Attributes:
        content: the json object.
        binary: the first buffer.
    """

    content: dict[str, Any] = field(default_factory=lambda: {"asset": {"version": "2.0"}})
    binary: bytearray = field(default_factory=bytearray)
    _views: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def load(path: Path) -> Glb:
        """Read a GLB or .gltf; parts in other files are taken into the buffer.

        Chunks that are neither json nor the buffer are dropped, as the format asks.

        Raises:
            GlbError: it is something else, damaged, or lacks a file that it names.
            OSError: it cannot be read.
        """
        if path.stat().st_size > LARGEST:
            raise GlbError(f"more than {LARGEST >> 20} MB")
        data = path.read_bytes()
        chunks = {_JSON: data} if path.suffix.lower() == ".gltf" else _chunks(data)
        try:
            content = json.loads(chunks[_JSON].decode("utf-8-sig"))
        except (KeyError, ValueError, RecursionError) as error:
            raise GlbError("its json is missing or damaged") from error
        if not isinstance(content, dict) or not isinstance(content.get("asset"), dict):
            raise GlbError("its json is no glTF asset")
        binary = bytearray(chunks.get(_BIN, b""))
        try:
            take_in(content, binary, path.parent)
        except PartError as error:
            raise GlbError(str(error)) from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise GlbError("its buffers are damaged") from error
        return Glb(content, binary)

    def save(self, path: Path) -> None:
        """Write the file, json first, both chunks padded to four bytes.

        Raises:
            GlbError: its first buffer lies outside the file.
            OSError: it cannot be written.
        """
        if self.binary:
            self._buffer()["byteLength"] = len(self.binary)
        text = json.dumps(self.content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        content = text.encode() + b" " * (-len(text.encode()) % 4)
        self.binary += bytes(-len(self.binary) % 4)
        both: list[tuple[bytes, bytes | bytearray]] = [(_JSON, content), (_BIN, self.binary)]
        chunks = [(kind, data) for kind, data in both if data]
        length = _HEADER.size + sum(_CHUNK.size + len(data) for _, data in chunks)
        with path.open("wb") as file:
            file.write(_HEADER.pack(_MAGIC, _VERSION, length))
            for kind, data in chunks:  # without a copy: hours of motion are large
                file.write(_CHUNK.pack(len(data), kind))
                file.write(data)

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Look up a list of the asset, such as ``nodes``; empty if it is missing.

        Raises:
            GlbError: it is no list of objects.
        """
        values = self.content.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise GlbError(f"`{name}` is no list of objects")
        return values

    def add(self, name: str, value: dict[str, Any]) -> int:
        """Append to a list of the asset, made if it is missing, and return the index."""
        values = self.content[name] = self.objects(name)
        values.append(value)
        return len(values) - 1

    def add_view(self, array: Array, target: int | None = None) -> int:
        """Append bytes to the buffer and return the index of their view."""
        buffer = self._buffer()
        self.binary.extend(bytes(-len(self.binary) % 4))
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": array.nbytes}
        self.binary += np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        buffer["byteLength"] = len(self.binary)
        return self.add("bufferViews", view if target is None else {**view, "target": target})

    def add_accessor(
        self,
        array: Array,
        target: int | None = None,
        *,
        normalized: bool = False,
        bounds: bool = False,
    ) -> int:
        """Append an array [N] or [N, width] of a type that glTF knows and return its index.

        ``bounds`` are its smallest and largest values, which positions and key times need;
        ``normalized`` whole numbers stand for shares of their largest.
        """
        accessor = _describe(array, len(array))
        accessor["bufferView"] = self.add_view(array, target)
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= _bounds(array)
        return self.add("accessors", accessor)

    def add_sparse(self, count: int, rows: Array, values: Array) -> int:
        """Append an accessor of ``count`` rows, 0 but for ``values`` [N, width] at ``rows`` [N].

        ``rows`` ascend; there is at least one. Bounds are given, as displacements need them.
        """
        kind = "<u2" if count <= 1 << 16 else "<u4"
        indices = np.asarray(rows, kind)
        whole = np.concatenate((values, np.zeros((int(len(rows) < count), values.shape[1]))))
        accessor = _describe(values, count) | _bounds(whole.astype(values.dtype))
        accessor["sparse"] = {
            "count": len(rows),
            "indices": {
                "bufferView": self.add_view(indices),
                "componentType": _CODES[indices.dtype],
            },
            "values": {"bufferView": self.add_view(values)},
        }
        return self.add("accessors", accessor)

    def read(self, index: int) -> Array:
        """Read the rows of an accessor, [N, width]; normalized ones as float32 shares.

        Raises:
            GlbError: it does not fit the file, is compressed, or is far too large.
        """
        try:
            return self._read(index)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            text = str(error) if isinstance(error, GlbError) else "it does not fit the file"
            raise GlbError(f"accessor {index}: {text}") from error

    def _read(self, index: int) -> Array:
        accessor = self.objects("accessors")[_index(index)]
        kind, width = _TYPES[accessor["componentType"]], WIDTHS[accessor["type"]]
        count = _index(accessor["count"])
        if count * width > MOST_VALUES:
            raise GlbError(f"{count} rows are too many")
        if "bufferView" in accessor:
            rows = self._rows(accessor["bufferView"], accessor, kind, count, width).copy()
        else:
            rows = np.zeros((count, width), kind)
        if "sparse" in accessor:
            self._fill(rows, accessor["sparse"], kind, width)
        return _shares(rows) if accessor.get("normalized") and kind.kind != "f" else rows

    def _fill(self, rows: Array, sparse: dict[str, Any], kind: np.dtype[Any], width: int) -> None:
        """Set the rows that a sparse accessor names."""
        count, indices, values = _index(sparse["count"]), sparse["indices"], sparse["values"]
        index_kind = _TYPES[indices["componentType"]]
        places = self._rows(indices["bufferView"], indices, index_kind, count, 1)[:, 0]
        rows[places] = self._rows(values["bufferView"], values, kind, count, width)

    def _rows(
        self, view_index: int, part: dict[str, Any], kind: np.dtype[Any], count: int, width: int
    ) -> Array:
        """Read rows of a view; ``part`` says where in it they begin."""
        data = self.view_bytes(view_index)
        row = kind.itemsize * width
        stride = _index(self.objects("bufferViews")[view_index].get("byteStride", row))
        start = _index(part.get("byteOffset", 0))
        end = start + stride * (count - 1) + row
        if stride < row or end > len(data):
            raise GlbError("it reaches beyond the file")
        flat = np.frombuffer(data[start:end], np.uint8)
        laid = np.lib.stride_tricks.as_strided(flat, (count, row), (stride, 1))
        rows: Array = np.ascontiguousarray(laid).view(kind)
        return rows

    def view_bytes(self, index: int) -> bytes:
        """Read the bytes of a view, decompressed if need be.

        Raises:
            GlbError: they lie outside the file, or nothing here can decompress them.
        """
        view = self.objects("bufferViews")[_index(index)]
        extensions = view.get("extensions") or {}
        for name in _MESHOPT & set(extensions):
            return self._decompressed(index, extensions[name])
        return self._slice(view)

    def _slice(self, place: dict[str, Any]) -> bytes:
        if place["buffer"] != 0 or "uri" in self._buffer():
            raise GlbError("its data lies outside the file")
        start = _index(place.get("byteOffset", 0))
        end = start + _index(place["byteLength"])
        if end > len(self.binary):
            raise GlbError("it reaches beyond the file")
        return bytes(self.binary[start:end])

    def _decompressed(self, index: int, how: dict[str, Any]) -> bytes:
        """Decompress a view by meshoptimizer, once: many accessors share views."""
        if index not in self._views:
            try:
                import meshopt
            except ImportError as error:
                raise GlbError(f"it is compressed by meshopt; {ADVICE}") from error
            count, stride = _index(how["count"]), _index(how["byteStride"])
            if count * stride > MOST_VALUES:
                raise GlbError(f"{count} rows are too many")
            rows = meshopt.decode_gltf_buffer(
                self._slice(how), count, stride, how["mode"], how.get("filter", "NONE")
            )
            self._views[index] = rows.tobytes()
        return self._views[index]

    def _buffer(self) -> dict[str, Any]:
        """Look up the entry of the buffer in this file.

        Raises:
            GlbError: the asset's first buffer is another file.
        """
        if not self.objects("buffers"):
            self.add("buffers", {"byteLength": 0})
        first = self.objects("buffers")[0]
        if "uri" in first:
            raise GlbError("its first buffer lies outside the file")
        return first


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Split a GLB into chunks: the first of each kind."""
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise GlbError("no GLB file")
    _, version, length = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise GlbError(f"glTF {version}, only glTF {_VERSION} is read")
    if length > len(data):
        raise GlbError("cut off")
    data = data[:length]
    found: dict[bytes, bytes] = {}
    start = _HEADER.size
    while start + _CHUNK.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, start)
        start += _CHUNK.size
        if start + length > len(data):
            raise GlbError("cut off")
        found.setdefault(kind, data[start : start + length])
        start += length
    return found


def _describe(array: Array, count: int) -> dict[str, Any]:
    width = 1 if array.ndim == 1 else array.shape[1]
    kinds = {width: name for name, width in WIDTHS.items()}
    return {"componentType": _CODES[array.dtype], "count": count, "type": kinds[width]}


def _bounds(array: Array) -> dict[str, list[float]]:
    rows = array.reshape(len(array), -1)
    return {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}


def _shares(rows: Array) -> Array:
    """Convert whole numbers to shares of their type's largest, not below -1."""
    largest = np.float32(np.iinfo(rows.dtype).max)
    return np.maximum(rows.astype(np.float32) / largest, np.float32(-1))


def _index(value: Any) -> int:
    """Check an index or count: -1 and True are none."""
    if type(value) is not int or value < 0:
        raise GlbError(f"{value!r} is no index or count")
    return value
