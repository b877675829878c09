"""Weights of a graph that lie in the model's own file: its tensors as ONNX's external data.

A safetensors file is the length of a header in 8 bytes, the header, which is a json, and the
numbers of all tensors, little-endian. A graph says at which byte each begins, so it belongs to
files with this header; the numbers are those of the file, whichever they are.
Source: huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtalk.errors import CheckpointError

SUFFIX = ".safetensors"
_LENGTH = 8  # bytes
_LONGEST = 100_000_000  # bytes of a header, as the format says


class StaleGraphError(CheckpointError):
    """A graph was made from other weights than those beside it, or by another dtalk."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file; offset and length are in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def weights_of(graph: Path) -> Path:
    """The one file that a graph may have its weights in."""
    return graph.parent / f"{graph.stem}{SUFFIX}"


def header_checksum(path: Path) -> str:
    """Compute the CRC-32 of a safetensors file's header, eight hexadecimal digits.

    Raises:
        CheckpointError: it cannot be read, or has none.
    """
    return f"{zlib.crc32(_header(path)):08x}"


def places(path: Path) -> dict[str, Place]:
    """Where the tensors of a safetensors file lie.

    Raises:
        CheckpointError: it cannot be read, or has no header.
    """
    header = _header(path)
    try:
        tensors: dict[str, dict[str, Any]] = json.loads(header)
        tensors.pop("__metadata__", None)
        return {name: _place(about, _LENGTH + len(header)) for name, about in tensors.items()}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(f"cannot load {path}: it has no header of tensors") from error


def _place(about: dict[str, Any], first: int) -> Place:
    begin, end = about["data_offsets"]
    return Place(about["dtype"], tuple(about["shape"]), first + begin, end - begin)


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            header = file.read(length) if length <= _LONGEST else b""
    except OSError as error:
        raise CheckpointError(f"cannot load {path}: {error.strerror}") from error
    if not header or len(header) < length:
        raise CheckpointError(f"cannot load {path}: it is no safetensors file")
    return header


def check_weights(graph: Path, locations: Collection[str], checksum: str | None) -> None:
    """Refuse a graph whose weights are anywhere but in the file beside it that it was made from.

    Args:
        graph: its file.
        locations: the files that it names.
        checksum: of the header that it was made with.

    Raises:
        CheckpointError: it names others, or the file is missing or damaged.
        StaleGraphError: the file's header is another one.
    """
    weights = weights_of(graph)
    if set(locations) != {weights.name}:
        named = sorted(set(locations) - {weights.name})[0]
        raise CheckpointError(
            f"cannot load {graph}: its weights may only be in {weights.name}, not in {named!r}"
        )
    if not weights.is_file():
        raise CheckpointError(f"cannot load {graph}: its weights, {weights}, are not beside it")
    if header_checksum(weights) != checksum:
        raise StaleGraphError(
            f"{graph} was made from another {weights.name}; "
            f"dtalk export --external --force {weights} renews it"
        )
