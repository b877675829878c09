"""Batches: what one file's fault does to the others, odd names, places that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases.kit import Case, Kit, NotTried, Result, Verdict


def _speech(kit: Kit, *names: str) -> list[Path]:
    """Copies of a speech file."""
    for name in names:
        (kit.work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kit.user("tracebacks/speech.wav"), kit.work / name)
    return [kit.work / name for name in names]


def _made(
    kit: Kit, result: Result, wanted: tuple[str, ...], status: int, word: str = ""
) -> Verdict:
    """Whether these files were made, with this exit status, no traceback, and ``word`` said."""
    there = {path.name for path in kit.work.rglob("*")}
    missing = [name for name in wanted if name not in there]
    said = not word or result.said(word)
    seen = [f"status {result.status}"]
    seen += ["traceback"] if result.crashed else []
    seen += [f"{', '.join(missing)} missing"] if missing else []
    seen += [] if said else [f"{word!r} not said"]
    good = not missing and not result.crashed and result.status == status and said
    return Verdict(good, ", ".join(seen))


def _latin_1(kit: Kit) -> Verdict:
    """A file name that is no UTF-8, in a batch."""
    _speech(kit, "a.wav", "z.wav")
    odd = os.fsencode(kit.work) + b"/caf\xe9.wav"
    try:
        shutil.copy(kit.work / "a.wav", odd)
    except OSError as error:
        raise NotTried("this file system knows no such names") from error
    result = kit.apart("animate", "a.wav", odd, "z.wav")
    made = os.path.exists(os.fsencode(kit.work) + b"/caf\xe9.npz")
    verdict = _made(kit, result, ("a.npz", "z.npz"), 0)
    return Verdict(verdict.good and made, f"{verdict.seen}{'' if made else ', itself missing'}")


def _control(kit: Kit) -> Verdict:
    """A file name with an escape sequence: done, and shown escaped."""
    _speech(kit, "a.wav", "b\x1b[31mred.wav")
    result = kit.apart("animate", "a.wav", "b\x1b[31mred.wav")
    raw = "\x1b[31m" in result.out + result.err
    verdict = _made(kit, result, ("a.npz", "b\x1b[31mred.npz"), 0)
    return Verdict(verdict.good and not raw, verdict.seen + (", printed raw" if raw else ""))


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    """A small file system of its own; Linux and its administrator only."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotTried("cannot mount a file system here") from error
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=False, capture_output=True)


def _read_only(kit: Kit) -> Verdict:
    """A place where nothing can be written, in a batch."""
    _speech(kit, "z.wav")
    with _mounted(kit.work / "ro", "size=1m"):
        shutil.copy(kit.work / "z.wav", kit.work / "ro" / "a.wav")
        subprocess.run(["mount", "-o", "remount,ro", str(kit.work / "ro")], check=True)
        result = kit.apart("animate", "ro/a.wav", "z.wav")
    return _made(kit, result, ("z.npz",), 1, "cannot write")


def _full(kit: Kit) -> Verdict:
    """A full disk, in a batch."""
    _speech(kit, "z.wav")
    with _mounted(kit.work / "full", "size=100k"):
        shutil.copy(kit.work / "z.wav", kit.work / "full" / "a.wav")
        (kit.work / "full" / "rest").write_bytes(bytes(16384))
        result = kit.apart("animate", "full/a.wav", "z.wav", "--format", "csv")
        left = [p.name for p in (kit.work / "full").iterdir() if p.name.startswith(".")]
    verdict = _made(kit, result, ("z.csv",), 1, "cannot write")
    return Verdict(verdict.good and not left, verdict.seen + (", temporaries left" if left else ""))


def _no_ffmpeg(kit: Kit) -> Verdict:
    """IMAGEIO_FFMPEG_EXE names nothing."""
    _speech(kit, "z.wav")
    result = kit.apart("render", "z.wav", "--size", 64, IMAGEIO_FFMPEG_EXE="/opt/no/ffmpeg")
    return _made(kit, result, (), 1, "ffmpeg")


def _other_encoding(kit: Kit) -> Verdict:
    """Output into a pipe whose encoding lacks the letters of a name."""
    _speech(kit, "日本語.wav", "z.wav")
    result = kit.apart("animate", "日本語.wav", "z.wav", PYTHONIOENCODING="cp1252")
    return _made(kit, result, ("日本語.npz", "z.npz"), 0)


def _missing(kit: Kit) -> Verdict:
    """An input that does not exist."""
    result = kit.dtalk("animate", "nowhere.wav", *_speech(kit, "a.wav"))
    return _made(kit, result, ("a.npz",), 1, "nowhere.wav")


def _one_output(kit: Kit) -> Verdict:
    """Two inputs of one name."""
    shutil.copytree(kit.user("batch-refused/folder"), kit.work / "folder")
    result = kit.dtalk("animate", "folder", "-o", "out")
    return _made(kit, result, ("other.npz",), 1, "talk.")


def _two_folders(kit: Kit) -> Verdict:
    paths = _speech(kit, "d1/x.wav", "d2/x.wav", "d2/y.wav")
    return _made(kit, kit.dtalk("animate", *paths, "-o", "out"), ("y.npz",), 1, "x.npz")


def _suffix(kit: Kit, name: str) -> Verdict:
    """``-o`` with a suffix that dtalk does not write."""
    result = kit.dtalk("animate", *_speech(kit, "a.wav"), "-o", name)
    folder = (kit.work / name).is_dir()
    verdict = _made(kit, result, (), 1, "csv")
    return Verdict(verdict.good and not folder, verdict.seen + (", a folder" if folder else ""))


def _pipes(kit: Kit) -> Verdict:
    """Speech on standard input, curves on standard output."""
    [path] = _speech(kit, "a.wav")
    result = kit.dtalk("animate", "-", "-o", "-", "--format", "csv", data=path.read_bytes())
    lines = result.out.splitlines()
    good = result.status == 0 and len(lines) == 76 and lines[0].startswith("Timecode")
    return Verdict(good, f"status {result.status}, {len(lines)} of 76 lines")


def _nothing_left(kit: Kit) -> Verdict:
    """Clips that are all left out."""
    folder = kit.user("evaluate-nothing")
    result = kit.dtalk("evaluate", "--data", folder, "--split", "val")
    return _made(kit, result, (), 1)


def _plot(kit: Kit) -> Verdict:
    """``--plot`` where matplotlib is missing: said before anything is scored."""
    (kit.work / "matplotlib.py").write_text("raise ImportError('none here')\n")
    place = os.pathsep.join([str(kit.work), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    flags = ("evaluate", "--data", kit.user("evaluate-nothing"), "--plot", kit.work / "plots")
    result = kit.apart(*flags, PYTHONPATH=place)
    return _made(kit, result, (), 1, "matplotlib")


def _cache(kit: Kit) -> Verdict:
    """A cache folder that cannot be used: a warning."""
    [path] = _speech(kit, "a.wav")
    result = kit.apart("render", path, "--still", 0, XDG_CACHE_HOME="/proc/nothing")
    return _made(kit, result, (), 0)


CASES = [
    Case("12", "a name in Latin-1", _latin_1),
    Case("12", "a name with escapes", _control),
    Case("12", "a read-only place", _read_only),
    Case("12", "a full disk", _full),
    Case("12", "no such ffmpeg", _no_ffmpeg),
    Case("12", "a pipe of another encoding", _other_encoding),
    Case("14", "an input is missing", _missing),
    Case("14", "talk.wav and talk.mp3", _one_output),
    Case("14", "d1/x.wav d2/x.wav", _two_folders),
    *(
        Case("14", f"-o {name}", lambda kit, name=name: _suffix(kit, name))  # type: ignore[misc]
        for name in ("talk.fbx", "face.cvs")
    ),
    Case("14", "animate - -o -", _pipes),
    Case("15", "evaluate, no clip left", _nothing_left),
    Case("15", "--plot without matplotlib", _plot),
    Case("15", "an unusable cache", _cache),
]
