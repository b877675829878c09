"""numpy's files from anyone: only what is asked for is read, within a size, with one error."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: What numpy and zipfile let out on damaged files; tests/utils/test_arrays.py looks for more.
NUMPY_DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(tokenize.TokenError, SyntaxError, ValueError, TypeError, AttributeError, EOFError),
    *(LookupError, ArithmeticError, RuntimeError, AssertionError, MemoryError),
)
LARGEST = 1 << 30  # bytes of arrays in memory that a file may ask for
LONGEST_TEXT = 1 << 22  # bytes of an array of texts: each takes far more as an object of Python


class ArrayFileError(ValueError):
    """A file is none of numpy's, is damaged, or asks for too much memory."""


def read_npz(path: Path, names: Iterable[str], most: int = LARGEST) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named arrays that an npz file holds; others are not even unpacked.

    Arrays of objects, which could run code, are refused.

    Raises:
        ArrayFileError: no npz file, damaged, or the arrays take more than ``most`` bytes.
        OSError: it cannot be read.
    """
    try:
        # Opened here, because numpy leaves files open that turn out to be none of its own.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = [name for name in names if name in archive.files]
            files = [f"{name}{ending}" for name in wanted for ending in ("", ".npy")]
            members = archive.zip.filelist
            if sum(member.file_size for member in members if member.filename in files) > most:
                raise ArrayFileError(f"its arrays take more than {most >> 20} MB")
            return {name: _member(archive, name) for name in wanted}
    except ArrayFileError:
        raise
    except NUMPY_DAMAGE as error:
        raise ArrayFileError("no npz file, or damaged") from error


def _member(archive: Any, name: str) -> npt.NDArray[Any]:
    try:
        array = archive[name]
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of a member that is none
            raise ArrayFileError(f"{name} is no array")
        if array.dtype.kind in "SU" and array.nbytes > LONGEST_TEXT:
            raise ArrayFileError(f"{name} holds more than {LONGEST_TEXT >> 20} MB of text")
        if not _is_text(array):
            raise ArrayFileError(f"{name} holds characters that are none")
        return array
    except ArrayFileError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            message = f"{name} is a pickled object; save it as a plain array"
            raise ArrayFileError(message) from error
        raise


def _is_text(array: npt.NDArray[Any]) -> bool:
    """Whether an array's characters are Unicode's; numpy checks them no sooner than in use."""
    if array.dtype.kind != "U" or not array.nbytes:
        return True
    native = array.astype(array.dtype.newbyteorder("="), order="C").reshape(-1)
    codes = native.view(np.uint32)
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any()


def read_npy(path: Path, most: int = LARGEST) -> npt.NDArray[Any]:
    """Read the array of an npy file.

    Raises:
        ArrayFileError: no npy file of numbers, damaged, or larger than ``most`` bytes.
        OSError: it cannot be read.
    """
    try:
        # Mapped first: a header may claim any size.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.memmap):
            mapped.close()
            raise ArrayFileError("not an npy file of numbers, or damaged")
        if mapped.nbytes > most:
            raise ArrayFileError(f"its array takes more than {most >> 20} MB")
        return np.array(mapped)
    except ArrayFileError:
        raise
    except NUMPY_DAMAGE as error:
        raise ArrayFileError("not an npy file of numbers, or damaged") from error
