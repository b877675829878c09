"""Whether an Ogg file is one unbroken stream, page by page (RFC 3533, section 6)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule, serial, number, crc, count
_FIRST = 2  # flag of a stream's first page
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """What the pages of an Ogg file say of it.

    Attributes:
        unbroken: one stream from its first page to the end of the file, no page lost or damaged.
        whole: the last page is; that it is marked as the last one is not asked for.
    """

    unbroken: bool
    whole: bool


@dataclass(frozen=True)
class _Page:
    flags: int
    serial: int
    number: int
    whole: bool


def read_pages(path: Path) -> OggPages:
    """Go through the pages of a file that starts with :data:`MAGIC`.

    Raises:
        OSError: it cannot be read.
    """
    serial, unbroken, whole = None, True, False
    with path.open("rb") as file:
        for count, page in enumerate(_pages(file)):
            serial = page.serial if serial is None else serial
            first = bool(page.flags & _FIRST) == (count == 0)
            unbroken &= first and page.whole and (page.serial, page.number) == (serial, count)
            whole = page.whole
    return OggPages(unbroken, whole)


def _pages(file: IO[bytes]) -> Iterator[_Page]:
    """Pages up to the end; where none begins, one that is not whole ends the search."""
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size or not header.startswith(MAGIC):
            yield _Page(0, 0, 0, False)
            return
        _, _, flags, _, serial, number, crc, count = _HEADER.unpack(header)
        lengths = file.read(count)
        body = file.read(sum(lengths))
        checked = header[:22] + bytes(4) + header[26:] + lengths + body
        whole = len(lengths) == count and len(body) == sum(lengths)
        yield _Page(flags, serial, number, whole and _crc(checked) == crc)


def _crc(data: bytes) -> int:
    """The checksum of a page: polynomial 0x04c11db7, most significant bit first, from 0.

    It is zlib's, which takes the least significant bit first and starts from all ones, on mirrored
    bytes.
    """
    mirrored = zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
