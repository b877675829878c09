"""Parts of a glTF asset in other files: its buffers and pictures, taken into the first buffer.

What is written beside a sound in another folder has to hold all of itself. Only files of the
asset's own folder and below are read, never an address.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

LARGEST = 1 << 30  # bytes of an asset
_DATA = "data:"
_PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class PartError(ValueError):
    """A part is missing, or lies elsewhere; the text says which."""


def take_in(content: dict[str, Any], binary: bytearray, folder: Path) -> None:
    """Append buffers and pictures that lie outside to ``binary``, and rewrite who points at them.

    Raises:
        PartError: a buffer is missing, too short, or not in the folder.
        OSError: a part cannot be read.
    """
    buffers, views = content.get("buffers", []), content.get("bufferViews", [])
    if any("uri" in buffer for buffer in buffers):
        places = _joined(content, binary, lambda uri: _read(uri, folder))
        for view in views:
            _move(view, places)
            for extension in (view.get("extensions") or {}).values():
                if "buffer" in extension:
                    _move(extension, places)
    for image in content.get("images", []):
        _take_picture(image, content, binary, folder)


def _joined(
    content: dict[str, Any], binary: bytearray, read: Callable[[str], bytes]
) -> list[tuple[int, int]]:
    """Join the buffers that have data, and list the number and start of each old one."""
    joined: list[dict[str, Any]] = [{"byteLength": 0}]
    places = []
    for index, buffer in enumerate(content["buffers"]):
        if "uri" not in buffer and index > 0:  # of no data: what meshopt's extension stands for
            places.append((len(joined), 0))
            joined.append(buffer)
            continue
        data = read(buffer["uri"]) if "uri" in buffer else b""
        if "uri" in buffer and len(data) < buffer["byteLength"]:
            raise PartError(f"its buffer {index} is cut off")
        places.append((0, _append(binary, data) if data else 0))
    joined[0]["byteLength"] = len(binary)
    content["buffers"] = joined
    return places


def _move(place: dict[str, Any], places: list[tuple[int, int]]) -> None:
    number, start = places[place["buffer"]]
    place["buffer"] = number
    place["byteOffset"] = start + place.get("byteOffset", 0)


def _take_picture(
    image: dict[str, Any], content: dict[str, Any], binary: bytearray, folder: Path
) -> None:
    """Take in a picture, if it is there; without it the asset is grey, but moves."""
    uri = image.get("uri")
    if not isinstance(uri, str) or uri.startswith(_DATA):
        return
    try:
        data = _read(uri, folder)
    except (PartError, OSError):
        return
    kind = next((name for mark, name in _PICTURES.items() if data.startswith(mark)), None)
    if kind is None:
        return
    if not content.get("buffers"):
        content["buffers"] = [{"byteLength": 0}]
    view = {"buffer": 0, "byteOffset": _append(binary, data), "byteLength": len(data)}
    content["buffers"][0]["byteLength"] = len(binary)
    content.setdefault("bufferViews", []).append(view)
    del image["uri"]
    image |= {"bufferView": len(content["bufferViews"]) - 1, "mimeType": kind}


def _append(binary: bytearray, data: bytes) -> int:
    """Append bytes at a multiple of four, and return where they start."""
    binary.extend(bytes(-len(binary) % 4))
    start = len(binary)
    binary.extend(data)
    if len(binary) > LARGEST:
        raise PartError(f"more than {LARGEST >> 20} MB")
    return start


def _read(uri: str, folder: Path) -> bytes:
    """Read what a uri names: the data in it, or a file of the folder."""
    if uri.startswith(_DATA):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise PartError("the data of a buffer is damaged") from error
    place = (folder / unquote(uri)).resolve()
    if ":" in uri.partition("/")[0] or not place.is_relative_to(folder.resolve()):
        raise PartError(f"{uri} does not lie in its folder")
    if not place.is_file():
        raise PartError(f"{unquote(uri)} is not beside it")
    if place.stat().st_size > LARGEST:
        raise PartError(f"more than {LARGEST >> 20} MB")
    return place.read_bytes()
