"""What all cases use: dtalk run in this process or apart, sounds and videos made and measured."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from dtalk.cli import main

Signal = npt.NDArray[np.float32]

FPS, RATE = 30, 16000
SIZE = 64  # pixels of videos: enough to see a mouth open
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
MOUTH = np.s_[40:52, 24:40]  # where it is in a picture of that size
MOST_LAG = 75  # frames that a lag is searched in
GIGABYTE = 1 << 30
LONGEST, LARGEST = 10.0, GIGABYTE  # CPU seconds and bytes that a hostile file may take
DEADLINE = 300.0  # seconds by the clock; a busy machine is no fault


class NotTried(Exception):
    """A case that this machine has no means for."""


@dataclass(frozen=True)
class Verdict:
    """Whether a case went as users want, None where it was not tried, and what was seen."""

    good: bool | None
    seen: str

    def __post_init__(self) -> None:
        """Numpy's truths are no json."""
        object.__setattr__(self, "good", None if self.good is None else bool(self.good))


@dataclass(frozen=True)
class Result:
    """What a run of the command line left: exit status, both streams, CPU seconds, memory."""

    status: int
    out: str
    err: str
    seconds: float = 0.0
    memory: int = 0

    @property
    def crashed(self) -> bool:
        """Whether it ended in a traceback or was killed."""
        return "Traceback (most recent call last)" in self.err or self.status < 0

    @property
    def bounded(self) -> bool:
        """Whether it took neither too long nor too much memory."""
        return self.seconds <= LONGEST and self.memory <= LARGEST

    def said(self, *words: str) -> bool:
        """Whether a warning or error has all of these words."""
        text = " ".join(self.err.split()).lower()
        return all(word.lower() in text for word in words)


@dataclass(frozen=True)
class Case:
    """One input of users or attackers: its folder in ``../shared/cases``, its name, its check."""

    folder: str
    name: str
    check: Callable[[Kit], Verdict]


class Kit:
    """A folder to work in, the folder of the cases, and what is done with both."""

    def __init__(self, work: Path, cases: Path) -> None:
        self.work, self.cases = work, cases

    def user(self, name: str) -> Path:
        """A file or folder of ``users``, without its number: ``late-sound/late.mov``."""
        folder, _, rest = name.partition("/")
        [found] = (self.cases / "users").glob(f"*-{folder}")
        return found / rest if rest else found

    def dtalk(self, *arguments: object, data: bytes = b"") -> Result:
        """Run the command line here, in the folder to work in; ``data`` is its standard input."""
        with _streams(data) as texts:
            argv, sys.argv = sys.argv, ["dtalk", *map(str, arguments)]
            place = Path.cwd()
            started = time.perf_counter()
            os.chdir(self.work)
            try:
                status = _status_of_main()
            finally:
                sys.argv = argv
                os.chdir(place)
            seconds = time.perf_counter() - started
        out, err = texts
        return Result(status, out, err, seconds)

    def apart(self, *arguments: object, data: bytes = b"", **environment: str) -> Result:
        """Run it in a process of its own."""
        return run_apart(
            [sys.executable, "-m", "dtalk", *map(_text, arguments)],
            self.work,
            data,
            environment={"PYTHONPATH": os.pathsep.join(sys.path), **environment},
        )

    def ffmpeg(self, *arguments: object) -> None:
        """Make a file with ffmpeg."""
        command = [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        subprocess.run(command, check=True, cwd=self.work, capture_output=True)

    def jaw(self, path: Path) -> Signal:
        """The curve jawOpen of an npz motion file."""
        with np.load(path) as archive:
            names = list(archive["names"])
            return np.asarray(archive["coefficients"][:, names.index("jawOpen")], np.float32)

    def animated(self, sound: Path, *flags: object) -> tuple[Signal, Result]:
        """The curve jawOpen that ``dtalk animate`` makes, empty if none, and how it went."""
        place = self.work / f"{sound.stem}-{len(os.listdir(self.work))}.npz"
        result = self.dtalk("animate", sound, "-o", place, *flags)
        return self.jaw(place) if place.exists() else np.zeros(0, np.float32), result

    def rendered(self, source: Path, *flags: object) -> tuple[Path, Result]:
        """A small video of the source."""
        place = self.work / f"{source.stem}-{len(os.listdir(self.work))}.mp4"
        return place, self.dtalk("render", source, "-o", place, "--size", SIZE, *flags)

    def drawn(self, source: Path, *flags: object) -> Result:
        """How a still of the source went."""
        place = self.work / f"{source.stem}-{len(os.listdir(self.work))}.png"
        return self.dtalk("render", source, "-o", place, "--size", SIZE, "--still", 0, *flags)

    def lag(self, video: Path) -> tuple[float, float]:
        """Frames by which the mouth of a video is late for the voice in it, and how alike they are.

        The voice is what a player plays: it is taken out of the video and animated anew.
        """
        sound = self.work / f"{video.stem}-sound.wav"
        self.ffmpeg("-i", video, "-vn", "-af", "aresample=async=1:first_pts=0", sound)
        expected, _ = self.animated(sound)
        return lag(mouth_in(video), expected)


def _status_of_main() -> int:
    try:
        with warnings.catch_warnings():
            main()
    except SystemExit as end:
        return int(end.code or 0) if isinstance(end.code, int | None) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _streams(data: bytes) -> Iterator[list[str]]:
    """Standard streams as files, for Python and for libraries that write to the descriptors.

    What was written is in the list afterwards: standard output, then error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    texts: list[str] = []
    files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
    files[0].write(data)
    files[0].seek(0)
    kept = [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        yield texts
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, old in enumerate(kept):
            os.dup2(old, number)
            os.close(old)
        for file in files[1:]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))


def _text(argument: object) -> str | bytes:
    return argument if isinstance(argument, bytes) else str(argument)


def run_apart(
    command: Sequence[str | bytes],
    folder: Path,
    data: bytes = b"",
    deadline: float = DEADLINE,
    environment: dict[str, str] | None = None,
) -> Result:
    """Run a command, end it where it takes too long, and measure its CPU seconds and memory."""
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(data)
        given.seek(0)
        process = subprocess.Popen(
            command,
            stdin=given,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_limit_memory,
        )
        killer = threading.Timer(deadline, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        killer.cancel()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = used.ru_utime + used.ru_stime
    return Result(process.returncode, texts[0], texts[1], seconds, 1024 * used.ru_maxrss)


def _limit_memory() -> None:
    """What a file asks for beyond is refused by the system, before the machine is full."""
    resource.setrlimit(resource.RLIMIT_AS, (6 * GIGABYTE, 6 * GIGABYTE))


def decoded(path: Path, rate: int = RATE) -> Signal:
    """The sound of a file, mono, on the time line that players use."""
    command = [FFMPEG, "-v", "error", "-nostdin", "-i", path, "-vn", "-ac", "1", "-ar", str(rate)]
    command += ["-af", "aresample=async=1:first_pts=0", "-f", "f32le", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=False)
    return np.frombuffer(done.stdout, np.float32)


def mouth_in(video: Path) -> Signal:
    """How dark the mouth is in each frame of a video: how far it is open."""
    command = [FFMPEG, "-v", "error", "-nostdin", "-i", video, "-vf"]
    command += [f"scale={SIZE}:{SIZE},format=gray", "-f", "rawvideo", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=False)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, SIZE, SIZE)
    return -frames[(slice(None), *MOUTH)].mean((1, 2)).astype(np.float32)


def lag(late: Signal, early: Signal, most: int = MOST_LAG) -> tuple[float, float]:
    """Frames by which one curve is late for another, and their correlation there."""
    best = (0.0, -1.0)
    for shift in sorted(range(-most, most + 1), key=abs):
        a, b = (late[shift:], early) if shift >= 0 else (late, early[-shift:])
        count = min(len(a), len(b))
        if (
            count < max(15, min(len(late), len(early)) / 2)
            or a[:count].std() < 1e-6
            or b[:count].std() < 1e-6
        ):
            continue
        r = float(np.corrcoef(a[:count], b[:count])[0, 1])
        if r > best[1] + 1e-3:
            best = (float(shift), r)
    return best


def correlation(a: Signal, b: Signal) -> float:
    """Pearson's r of two curves, 0 where one does not move."""
    count = min(len(a), len(b))
    if count < 2 or a[:count].std() < 1e-6 or b[:count].std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a[:count], b[:count])[0, 1])
