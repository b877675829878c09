"""``-``: standard input as a file to be read, a file that is written as standard output."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dtalk.cli.process import at_end
from dtalk.errors import DtalkError
from dtalk.utils.jobs import Job

STANDARD = Path("-")
# What files of motion begin with; all else is sound, or a table of text.
_STARTS = {b"PK\x03\x04": ".npz", b"glTF": ".glb", b"{": ".json"}
_OUT = "out"  # the folder of what goes to standard output
_MOST_START = 512  # bytes by which text is told


def from_standard(inputs: Sequence[Path]) -> list[Path]:
    """Replace ``-`` by a file of what comes in, which is gone when the command ends.

    Raises:
        DtalkError: it is named twice.
    """
    if list(inputs).count(STANDARD) > 1:
        raise DtalkError("- is standard input, which can be read once only")
    return [_received() if path == STANDARD else path for path in inputs]


def to_standard(out: Path | None, inputs: Sequence[Path], suffixes: Sequence[str]) -> Path | None:
    """Replace ``-`` by a file that :func:`deliver` passes on.

    Raises:
        DtalkError: there are several inputs, or several files of one.
    """
    if out != STANDARD:
        return out
    if len(inputs) != 1 or inputs[0].is_dir() or len(suffixes) != 1:
        raise DtalkError("-o - takes one file: name one input and one format")
    return _folder() / _OUT / f"-{suffixes[0]}"


def is_piped(job: Job) -> bool:
    """Check whether a job's output is meant for standard output."""
    return _place is not None and any(path.parent == _place / _OUT for path in job.outputs)


def deliver(job: Job) -> None:
    """Write the outputs of a job that are meant for standard output."""
    for path in job.outputs if is_piped(job) else ():
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _received() -> Path:
    start = sys.stdin.buffer.read(_MOST_START)
    path = _folder() / f"-{_suffix(start)}"
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _suffix(data: bytes) -> str:
    """The suffix of a motion file by its first bytes; none for sound."""
    for start, suffix in _STARTS.items():
        if data.lstrip(b"\xef\xbb\xbf \r\n").startswith(start):
            return suffix
    return ".csv" if _is_text(data) else ""


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8", errors="strict" if len(data) < _MOST_START else "ignore")
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)


_place: Path | None = None
"""The folder of this command's files."""


def _folder() -> Path:
    """The folder of this command's files, made at first, gone when the command ends."""
    global _place
    if _place is None:
        stack = at_end()
        stack.callback(_forget)
        _place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dtalk-")))
    return _place


def _forget() -> None:
    global _place
    _place = None
