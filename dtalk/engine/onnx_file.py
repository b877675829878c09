"""What an ONNX file says of itself, read without running it: metadata and the files it names.

The weights of a graph may lie in other files (ONNX's external data), which ONNX Runtime reads
wherever in its folder they are. So they are looked at before. An ONNX file is one message of
protocol buffers; source of the encoding: protobuf.dev/programming-guides/encoding, of the fields'
numbers: onnx.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_GRAPH, _METADATA = 7, 14  # of a model
_INITIALIZER = 5  # of a graph
_EXTERNAL_DATA = 13  # of a tensor
_KEY, _VALUE = 1, 2  # of a pair of strings
_LOCATION = b"location"
_LONGEST = 10  # bytes of a number


@dataclass
class OnnxFile:
    """What a file says.

    Attributes:
        metadata: by key.
        locations: files that hold weights, as the graph names them.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    locations: set[str] = field(default_factory=set)


def read_onnx(data: bytes) -> OnnxFile:
    """Read the metadata of a serialised model, and the names of all other files in it.

    Raises:
        ValueError: damaged, or it names files elsewhere than in its initializers.
    """
    found = OnnxFile()
    for number, part in _fields(memoryview(data)):
        if number == _METADATA:
            pair = dict(_fields(part))
            found.metadata[_text(pair.get(_KEY, b""))] = _text(pair.get(_VALUE, b""))
        elif number == _GRAPH:
            _read_graph(part, found.locations)
        else:
            _refuse_locations(part)
    return found


def _read_graph(graph: memoryview, locations: set[str]) -> None:
    for number, part in _fields(graph):
        if number == _INITIALIZER:
            locations.update(_locations_of(part))
        else:
            _refuse_locations(part)


def _locations_of(tensor: memoryview) -> Iterator[str]:
    """Every file that a tensor could mean: of a key that comes twice the last one counts."""
    for number, part in _fields(tensor):
        pair = list(_fields(part)) if number == _EXTERNAL_DATA else []
        if any(number == _KEY and value == _LOCATION for number, value in pair):
            yield from (_text(value) for number, value in pair if number == _VALUE)


def _refuse_locations(part: memoryview) -> None:
    """Refuse a part that could name a file: strings lie unbroken in a message."""
    if re.search(_LOCATION, part):
        raise ValueError("it names other files outside its initializers")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The number and content of a message's strings, lists and messages; numbers are skipped."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _number(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _number(message, at)
            if size > len(message) - at:
                raise ValueError("it is cut off")
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise ValueError("it is no ONNX file")


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("it is cut off, or no ONNX file")


def _text(value: memoryview | bytes) -> str:
    return str(value, "utf-8")
