"""Files and folders: atomic outputs, inputs given as files or folders."""

from __future__ import annotations

import os
import platform
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from dtalk.errors import DtalkError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` only if the block succeeds.

    The temporary path lies in the same folder (a rename across file systems is not atomic),
    is hidden and keeps the suffix, by which many writers choose their format. Missing parent
    folders are created. The block creates the file itself, so that it gets the permissions
    of any new file. On any failure, Ctrl-C included, the temporary file is removed and what
    was at ``path`` before stays as it was.

    Raises:
        DtalkError: the place cannot be written: no permission, disk full, a parent that is
            a file, or ``path`` itself is a folder or a device.
    """
    target = _writable_target(path)
    with temporary_path(target) as temporary:
        try:
            yield temporary
            os.replace(temporary, target)
        except OSError as error:
            if _concerns(error, temporary):
                raise _cannot_write(path, error) from error
            raise


@contextmanager
def temporary_path(near: Path) -> Iterator[Path]:
    """Give a hidden path in the folder of ``near``, with its suffix; the file is gone afterwards.

    Temporary files that ended processes of this machine left in that folder are removed.
    """
    _remove_stale(near.parent)
    name = f".dtalk-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{near.suffix}"
    temporary = near.with_name(name)
    try:
        yield temporary
    finally:
        # Where the folder cannot be written there is no file to remove either.
        with suppress(OSError):
            temporary.unlink()


_TEMPORARY = re.compile(r"\.dtalk-([0-9a-f]{8})-(\d+)-[0-9a-f]{16}(\..*)?")


@cache
def _machine() -> str:
    """A name for this machine: folders may be shared with others, whose processes are not seen."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


@cache
def _remove_stale(folder: Path) -> None:
    """Remove temporary files of processes that have ended, once a folder and process."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match and match[1] == _machine() and not _is_running(int(match[2])):
                Path(entry.path).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether there is a process of this number; where that cannot be asked for, yes."""
    if os.name == "nt":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def check_output(path: Path) -> None:
    """Check that a file may be written, before long work is done for it; make its folders.

    Raises:
        DtalkError: see :func:`atomic_path`.
    """
    _writable_target(path)


def _writable_target(path: Path) -> Path:
    """Find the file behind ``path`` (links are followed) and make its parent folders."""
    try:
        target = Path(os.path.realpath(path))
        # Renaming over a device such as /dev/null would destroy it.
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not a regular file"
            raise DtalkError(f"cannot write {path}: it is {kind}; name a file instead")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return target


def _concerns(error: OSError, temporary: Path) -> bool:
    """Whether an error is about the output: it names it, or (a full disk) names no file."""
    return error.filename is None or str(error.filename) == str(temporary)


def _cannot_write(path: Path, error: OSError) -> DtalkError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        reason = "a folder in its path is a file"
    else:
        reason = error.strerror or str(error)
    return DtalkError(f"cannot write {path}: {reason}; choose another place")


def expand_inputs(
    inputs: Sequence[Path], suffixes: set[str], *, batch: bool = False
) -> list[tuple[Path, Path]]:
    """List the files that ``inputs`` stand for, each with its path relative to what was named.

    A file stands for itself, whatever its suffix (relative path: its name). A folder stands
    for all files below it with one of ``suffixes`` (lower case, with the dot), sorted, hidden
    ones skipped; the relative path lets the same tree be written elsewhere. A file that is
    named twice, however it is spelled, is taken once.

    In a ``batch`` an input that is missing stands for itself while others are there: reading it
    will fail, and the others are done.

    Raises:
        DtalkError: an input is missing or unreadable, or a folder holds no such file.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    problems: list[DtalkError] = []
    for given in map(Path, inputs):
        try:
            files = _expand_one(given, suffixes)
        except DtalkError as error:
            problems.append(error)
            files = [(given, Path(given.name))]
        for file, relative in files:
            # A link to a file is a file of its own, one to a folder is not.
            found.setdefault(Path(os.path.realpath(file.parent)) / file.name, (file, relative))
    if problems and (not batch or len(problems) == len(inputs)):
        raise problems[0]
    return list(found.values())


def _expand_one(given: Path, suffixes: set[str]) -> list[tuple[Path, Path]]:
    try:
        if given.is_dir():
            return _files_below(given, suffixes)
        if given.exists():
            return [(given, Path(given.name))]
    except OSError as error:
        raise DtalkError(f"cannot read {given}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in it
        raise DtalkError(f"no file can be called {given}") from error
    raise DtalkError(f"no such file or folder: {given}")


def _files_below(folder: Path, suffixes: set[str]) -> list[tuple[Path, Path]]:
    files = sorted(file for file in walk(folder) if file.suffix.lower() in suffixes)
    if not files:
        kinds = ", ".join(sorted(suffixes))
        raise DtalkError(f"nothing to do in folder {folder}: it holds no file of kind {kinds}")
    return [(file, file.relative_to(folder)) for file in files]


def walk(folder: Path) -> Iterator[Path]:
    """List all files below ``folder`` that are not hidden, nor in a hidden folder.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if not name.startswith("."))
