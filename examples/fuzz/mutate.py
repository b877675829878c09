"""Ways to damage bytes, all drawn from one generator."""

from __future__ import annotations

import io
import re
import struct
import zipfile

import numpy as np

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62)
_WORDS = (
    *(b"-1", b"0", b"1e999", b"nan", b"999999999999999999999", b"null", b"[]", b"{}", b'""'),
    *(b"\\", b"\x00", b"\x1b[31m", b"\xff\xfe", b"../../etc/passwd", b"1e9", b"0.0000001"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutate(data: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """Damage ``data`` in a way or more; ``other`` is a file to take parts of."""
    damaged = bytearray(data)
    for _ in range(int(generator.choice([1, 1, 1, 2, 4]))):
        way = _WAYS[int(generator.integers(len(_WAYS)))]
        damaged = bytearray(way(damaged, other, generator))
    return bytes(damaged)


def mutate_member(data: bytes, generator: np.random.Generator) -> bytes:
    """Damage a member of a zip file and pack it anew: its checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(generator.integers(len(members)))]
    members[name] = mutate(members[name], members[name], generator)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return packed.getvalue()


def _place(data: bytearray, generator: np.random.Generator) -> int:
    """A place, in the first part of a file as often as anywhere: headers lie there."""
    most = min(len(data), 256) if generator.random() < 0.5 else len(data)
    return int(generator.integers(0, most + 1))


def _flip(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    for _ in range(int(generator.choice([1, 1, 2, 8]))):
        place = _place(data, generator)
        if place < len(data):
            data[place] ^= 1 << int(generator.integers(8))
    return data


def _set(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    """A number that is the largest or smallest of its kind."""
    value = _NUMBERS[int(generator.integers(len(_NUMBERS)))]
    size, order = int(generator.choice([1, 2, 4, 8])), str(generator.choice(["<", ">"]))
    place = _place(data, generator)
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    packed = struct.pack(order + code, value & ((1 << 8 * size) - 1))
    data[place : place + size] = packed
    return data


def _cut(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    return data[: _place(data, generator)]


def _remove(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    place = _place(data, generator)
    del data[place : place + int(generator.integers(1, 65))]
    return data


def _double(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    start, place = _place(data, generator), _place(data, generator)
    part = bytes(data[start : start + int(generator.integers(1, 257))])
    data[place:place] = part * int(generator.choice([1, 1, 1, 50]))
    return data


def _splice(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    """A part of another file."""
    start, place = _place(bytearray(other), generator), _place(data, generator)
    data[place:place] = other[start : start + int(generator.integers(1, 257))]
    return data


def _word(data: bytearray, other: bytes, generator: np.random.Generator) -> bytearray:
    """A word instead of a number that is written out, or anywhere."""
    word = _WORDS[int(generator.integers(len(_WORDS)))]
    numbers = list(_NUMBER.finditer(data))
    if numbers and generator.random() < 0.8:
        start, end = numbers[int(generator.integers(len(numbers)))].span()
    else:
        start = end = _place(data, generator)
    data[start:end] = word
    return data


_WAYS = (_flip, _flip, _set, _set, _cut, _remove, _double, _splice, _word)
