"""The ffmpeg that imageio-ffmpeg brings, or that IMAGEIO_FFMPEG_EXE names, as a child process."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import imageio_ffmpeg

from dtalk.errors import DtalkError

_MOST_LOG = 1 << 16  # bytes of what ffmpeg says that are looked at


class FfmpegError(DtalkError):
    """There is no ffmpeg that can be run."""


def executable() -> str:
    """The program to run.

    Raises:
        FfmpegError: there is none, or IMAGEIO_FFMPEG_EXE names none.
    """
    try:
        program = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegError(
            "no ffmpeg: reinstall imageio-ffmpeg, or name one in IMAGEIO_FFMPEG_EXE"
        ) from error
    if shutil.which(program) is None:
        raise FfmpegError(f"no ffmpeg: {program} is no program; correct IMAGEIO_FFMPEG_EXE")
    return program


class Ffmpeg:
    """A running ffmpeg: its pipes, how it ended, and what it said."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._process, self._log = process, log
        self.stdin, self.stdout = process.stdin, process.stdout

    def wait(self) -> int:
        """The exit status; its input is closed first."""
        if self.stdin is not None:
            with suppress(BrokenPipeError):
                self.stdin.close()
        return self._process.wait()

    def log(self) -> str:
        """What it said so far, the start of it if that is long."""
        self._log.seek(0)
        return self._log.read(_MOST_LOG).decode(errors="replace")

    def stop(self) -> None:
        """Kill it if it still runs, collect it, and close its pipes without waiting."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was still buffered has nowhere to go
                    pipe.close()


@contextmanager
def run_ffmpeg(arguments: Sequence[str], *, feed: bool = False) -> Iterator[Ffmpeg]:
    """Run ffmpeg; whatever happens, the process is gone afterwards.

    Its standard output is a pipe; its standard input is one too if it is to be fed, else empty.

    Raises:
        FfmpegError: there is none, or it cannot be started.
    """
    command = [executable(), "-hide_banner", "-nostdin", *arguments]
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to handle, ffmpeg must not see it
            )
        except OSError as error:
            raise FfmpegError(
                f"cannot run {command[0]}: {error.strerror or error}; correct IMAGEIO_FFMPEG_EXE"
            ) from error
        running = Ffmpeg(process, log)
        try:
            yield running
        finally:
            running.stop()


def first_complaint(log: str) -> str:
    """ffmpeg's first line, as what follows are consequences, without its memory addresses."""
    lines = (re.sub(r"^(\[[^\]]* @ \w+\] *)+", "", line).strip() for line in log.splitlines())
    return next((f"ffmpeg says: {line}" for line in lines if line), "ffmpeg gives no reason")
