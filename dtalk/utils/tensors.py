"""Arrays for a web page: a gzipped safetensors file with rounded numbers.

Browsers unzip by themselves, and reading safetensors takes a dozen lines of JavaScript
(``viewer/tensors.js``). Differences of neighbours compress better than the numbers themselves.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

Array = npt.NDArray[Any]

METADATA = "dtalk"  # the key of the json in the file's metadata
_MOST_HEADER = 1 << 20  # bytes


class PackError(ValueError):
    """Bytes are not what `pack` gives."""


def pack(
    arrays: Mapping[str, Array],
    metadata: Mapping[str, Any],
    steps: Mapping[str, float] | None = None,
    differences: Collection[str] = (),
) -> bytes:
    """Pack arrays by name; equal arrays give equal bytes.

    Args:
        arrays: floats or whole numbers, each of any shape with at least one axis.
        metadata: what json can hold.
        steps: by name, what a float array is rounded to multiples of; others stay float32.
        differences: names of rounded or whole arrays that are kept as differences along the last
            axis.
    """
    steps = steps or {}
    stored = {name: _rounded(array, steps.get(name)) for name, array in arrays.items()}
    for name in differences:
        stored[name] = np.diff(stored[name], axis=-1, prepend=0)
    text = json.dumps({**metadata, "steps": steps, "differences": sorted(differences)})
    small = {name: np.ascontiguousarray(_smallest(array)) for name, array in stored.items()}
    return gzip.compress(save(small, metadata={METADATA: text}), mtime=0)


def describe(data: bytes) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """Read the shapes by name, and the metadata, of what `pack` gave; arrays are not unpacked.

    Raises:
        PackError: it did not give that.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MOST_HEADER:
                raise PackError("its header is too long")
            header = json.loads(file.read(size))
        about = json.loads(header.pop("__metadata__")[METADATA])
        return {name: list(entry["shape"]) for name, entry in header.items()}, dict(about)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as e:
        raise PackError("these are no packed arrays") from e


def _rounded(array: Array, step: float | None) -> Array:
    """Whole numbers as int64, floats as float32, or as multiples of a step."""
    if step is not None:
        return np.rint(np.asarray(array, np.float64) / step).astype(np.int64)
    whole = np.asarray(array).dtype.kind in "biu"
    return np.asarray(array, np.int64 if whole else np.float32)


def _smallest(array: Array) -> Array:
    """Whole numbers in the fewest bytes of those that ``tensors.js`` knows."""
    if array.dtype == np.float32:
        return array
    kinds = (np.uint8, np.int16, np.int32)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return array.astype(next(fitting))
