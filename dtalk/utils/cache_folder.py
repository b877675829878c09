"""A folder of files that can be made again: limited in size, least recently used first to go."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FRESH = 3600  # seconds in which a file counts as just used: its time is not written at every use
FILLED = 0.9  # of the limit that is left after files are removed
CHECKED = 0.05  # of the limit that is written before sizes are summed up again


class CacheFolder:
    """The files below ``folder`` whose relative paths match ``entry``, ``limit`` bytes at most.

    A file's time of change says when it was last used. Several processes may use one folder, and
    it may hold other files, which neither count nor go.
    """

    def __init__(self, folder: Path, entry: str, limit: float) -> None:
        self.folder, self.limit = folder, limit
        self._entry = re.compile(entry)
        self._unchecked = limit  # bytes written by this process; at first what is there is unknown

    def used(self, path: Path) -> None:
        """Note that a file was used."""
        with suppress(OSError):  # another process may have removed it, or own it
            if time.time() - path.stat().st_mtime > FRESH:
                os.utime(path)

    def written(self, size: int) -> None:
        """Note that a file of ``size`` bytes was written; remove others if it is time to."""
        self._unchecked += size
        if self._unchecked > CHECKED * self.limit:
            self._trim()
            self._unchecked = 0

    def _trim(self) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in entries:
            if total <= FILLED * self.limit:
                return
            with suppress(OSError):  # in use (Windows), or gone already
                path.unlink(missing_ok=True)
            total -= size

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield each file's time of last use in seconds, size in bytes, and place."""
        for root, _, names in os.walk(self.folder):
            for name in names:
                path = Path(root, name)
                with suppress(OSError):
                    if self._entry.fullmatch(path.relative_to(self.folder).as_posix()):
                        about = path.stat()
                        yield about.st_mtime, about.st_size, path
