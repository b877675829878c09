"""Claims on outputs: of several runs on this machine that would write one file, one does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from dtalk.errors import DtalkError


def default_folder() -> Path:
    """Get the folder of the locks, in the user's cache folder."""
    return user_cache_path("dtalk") / "locks"


@contextmanager
def claimed(paths: Sequence[Path], folder: Path | None = None) -> Iterator[None]:
    """Hold the outputs ``paths``, which need not exist, while the block runs.

    The system gives them up when the process ends, however it ends. Where no lock can be made, in
    a cache folder that cannot be written, nothing is held.

    Raises:
        DtalkError: another run holds one.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_claimed(path, default_folder() if folder is None else folder))
        yield


@contextmanager
def _claimed(path: Path, folder: Path) -> Iterator[None]:
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    place = folder / f"{digest[:32]}.lock"
    lock = FileLock(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DtalkError(f"another dtalk is writing {path}; wait for it to end") from error
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            place.unlink()
        lock.release()
