"""Curves and heads as they come: time codes, names, ranges, meshes."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

import dtalk
from cases.kit import Case, Kit, Signal, Verdict, mouth_in

CLOCK = 60
MOST_ERROR = 0.03  # of a curve at the time of any row
BLINK = "eyeBlinkLeft"


def _clock(seconds: float) -> str:
    whole, ticks = divmod(round(seconds * CLOCK * 1000), CLOCK * 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    stamp = f"{hours % 24:02}:{minute:02}:{second:02}"
    return f"{stamp}:{ticks // 1000:02}.{ticks % 1000:03}"


def _truth(times: Signal) -> Signal:
    """A jaw that opens and shuts, twice a second and ever more slowly."""
    return 0.4 - 0.4 * np.cos(2 * np.pi * (2 * times - 0.1 * times**2))


def _rows(kit: Kit, name: str, stamps: Sequence[str], times: Signal) -> Path:
    lines = ["Timecode,BlendShapeCount,JawOpen"]
    lines += [f"{s},61,{v:.5f}" for s, v in zip(stamps, _truth(times), strict=True)]
    (kit.work / name).write_text("\n".join(lines) + "\n")
    return kit.work / name


def _read(path: Path) -> tuple[Signal, float]:
    """The jaw's curve and its rate, as dtalk reads them."""
    motion = dtalk.read_motion(path)
    return motion.coefficients[:, dtalk.ARKIT_NAMES.index("jawOpen")], motion.fps


def _at_own_times(path: Path, times: Signal, values: Signal) -> Verdict:
    """Whether a motion has these values at these times, counted from its first row."""
    curve, fps = _read(path)
    own = np.arange(len(curve)) / fps
    error = float(np.abs(np.interp(times - times[0], own, curve) - values).max())
    lasts, wanted = len(curve) / fps, times[-1] - times[0]
    good = error <= MOST_ERROR and abs(lasts - wanted) <= 2 / 30
    return Verdict(good, f"off by {error:.2f}; {lasts:.2f} of {wanted:.2f} s at {fps:g} fps")


def _of_user(kit: Kit, name: str, clock: int) -> Verdict:
    """A recording whose time codes are true; ``clock``: its ticks a second."""
    path = kit.user(f"csv-dropped-frames/{name}")
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    parts = [[float(p) for p in row[0].split(":")] for row in rows]
    times = np.array([3600 * h + 60 * m + s + f / clock for h, m, s, f in parts])
    jaws = np.array([float(row[2]) for row in rows])
    kept = np.concatenate([[True], np.diff(times) > 0])
    return _at_own_times(path, times[kept], jaws[kept])


def _holes(kit: Kit) -> Verdict:
    """No rows from 2 to 3 s."""
    times = np.array([t for t in np.arange(360) / CLOCK if not 2 <= t < 3])
    return _at_own_times(
        _rows(kit, "hole.csv", [_clock(50000 + t) for t in times], times), times, _truth(times)
    )


def _doubled(kit: Kit) -> Verdict:
    """Rows that are there twice, and pairs in the wrong order."""
    times = np.arange(240) / CLOCK
    order = np.sort(np.concatenate([np.arange(240), np.arange(30, 200, 7)]))
    path = _rows(kit, "doubled.csv", [_clock(100 + t) for t in times[order]], times[order])
    return _at_own_times(path, times, _truth(times))


def _clock_set(kit: Kit, change: float) -> Verdict:
    """The clock is set on or back at 4 s; the rows go on as before."""
    times = np.arange(480) / CLOCK
    stamps = [_clock(40000 + t + (change if t >= 4 else 0)) for t in times]
    return _at_own_times(_rows(kit, "set.csv", stamps, times), times, _truth(times))


def _midnight(kit: Kit) -> Verdict:
    times = np.array([t for t in np.arange(480) / CLOCK if not 1 <= t < 1.5])
    stamps = [_clock(86400 - 3 + t) for t in times]
    return _at_own_times(_rows(kit, "night.csv", stamps, times), times, _truth(times))


def _short(kit: Kit) -> Verdict:
    """Twenty rows at 30 a second on the app's 60 Hz clock, within one second."""
    times = np.arange(20) / 30
    path = _rows(kit, "short.csv", [_clock(t) for t in times], times)
    return _at_own_times(path, times, _truth(times))


def _in_seconds(kit: Kit, scale: float, column: str, form: str) -> Verdict:
    """Time codes as plain numbers, 60 rows a second."""
    times = np.arange(300) / CLOCK
    path = _rows(kit, "seconds.csv", [form % (t * scale) for t in times], times)
    path.write_text(path.read_text().replace("Timecode", column))
    return _at_own_times(path, times, _truth(times))


def _rate_named(kit: Kit) -> Verdict:
    """No time codes at all: ``--fps`` says the rate."""
    times = np.arange(120) / CLOCK
    path = _rows(kit, "none.csv", ["" for _ in times], times)
    video, result = kit.rendered(path, "--fps", CLOCK)
    if result.status:
        return Verdict(False, f"no --fps: {result.err.strip()[-60:]}")
    return Verdict(len(mouth_in(video)) == 120, f"{len(mouth_in(video))} of 120 frames")


# Names -----------------------------------------------------------------------------------------


def _channels(path: Path) -> Verdict:
    """Whether all 52 channels move, though no name is reported as unknown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        moving = int((dtalk.read_motion(path).coefficients.max(axis=0) > 0).sum())
    told = [str(warning.message) for warning in caught if "ignored" in str(warning.message)]
    return Verdict(moving == 52 and not told, f"{moving} channels{', warned' if told else ''}")


def _named(kit: Kit, name: str, spell: object, separator: str = ",", decimal: str = ".") -> Verdict:
    """A csv with all channels under other names."""
    assert callable(spell)
    lines = [separator.join(["timeCode", *map(spell, dtalk.ARKIT_NAMES)])]
    for row in range(30):
        values = [f"{0.01 * (row + 1):.3f}" for _ in dtalk.ARKIT_NAMES]
        lines.append(separator.join([f"{row / 30:.4f}", *values]).replace(".", decimal))
    (kit.work / name).write_text("\n".join(lines) + "\n")
    return _channels(kit.work / name)


def _unity(name: str) -> str:
    return name.replace("Left", "_L").replace("Right", "_R")


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _nvidia(name: str) -> str:
    return f"blendShapes.{name[0].upper()}{name[1:]}"


def _mediapipe(kit: Kit) -> Verdict:
    """A json with the names of MediaPipe's Face Landmarker, ``_neutral`` first."""
    names = ["_neutral", *dtalk.ARKIT_NAMES]
    content = {"facsNames": names, "weightMat": [[0.5] * 53] * 3, "exportFps": 30}
    (kit.work / "mp.json").write_text(json.dumps(content))
    return _channels(kit.work / "mp.json")


def _user_csv(kit: Kit, name: str, moving: int) -> Verdict:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = dtalk.read_motion(kit.user(f"foreign-csv/{name}"))
    found = int((motion.coefficients.std(axis=0) > 0).sum())
    ignored = any("ignored" in str(w.message) for w in caught)
    return Verdict(
        found >= moving and not ignored,
        f"{found} channels move{', some are ignored' if ignored else ''}, {motion.fps:g} fps",
    )


def _take(kit: Kit) -> Verdict:
    """The sound of a take in the .mov of its name."""
    folder = kit.work / "take"
    shutil.copytree(kit.user("foreign-csv/take"), folder)
    _, result = kit.rendered(folder / "MySlate_1_iPhone.csv")
    silent = result.said("silent")
    return Verdict(not result.status and not silent, "silent" if silent else "with its sound")


def _windows(kit: Kit) -> Verdict:
    """A ``trackPath`` written on Windows."""
    shutil.copy(kit.user("foreign-csv/base.wav"), kit.work)
    content = {
        "exportFps": 30,
        "trackPath": r"C:\Users\anna\Documents\base.wav",
        "facsNames": ["jawOpen"],
        "weightMat": [[0.1 * (k % 5)] for k in range(30)],
    }
    (kit.work / "windows.json").write_text(json.dumps(content))
    _, result = kit.rendered(kit.work / "windows.json")
    silent = result.said("silent")
    return Verdict(not result.status and not silent, "silent" if silent else "with its sound")


# Ranges ----------------------------------------------------------------------------------------


def _percent(path: Path) -> Verdict:
    """Values from 0 to 100 become 0 to 1, with a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        top = float(dtalk.read_motion(path).coefficients.max())
    told = any("100" in str(warning.message) for warning in caught)
    return Verdict(top <= 1.5 and told, f"up to {top:.2f}, {'told' if told else 'not a word'}")


def _percent_json(kit: Kit) -> Verdict:
    rows = [[10.0 * (k % 9), 5.0] for k in range(30)]
    content = {"facsNames": ["jawOpen", "mouthFunnel"], "weightMat": rows, "exportFps": 30}
    (kit.work / "p.json").write_text(json.dumps(content))
    return _percent(kit.work / "p.json")


def _percent_npz(kit: Kit) -> Verdict:
    values = np.array([[10.0 * (k % 9), 5.0] for k in range(30)], np.float32)
    path = kit.work / "p.npz"
    np.savez(path, coefficients=values, names=["jawOpen", "mouthFunnel"], fps=30.0)
    return _percent(path)


def _beyond(kit: Kit, value: float) -> Verdict:
    """One value far outside: refused, with its channel and frame."""
    values = np.full((30, 2), 0.3, np.float32)
    values[12, 1] = value
    path = kit.work / "beyond.npz"
    np.savez(path, coefficients=values, names=["jawOpen", "mouthFunnel"], fps=30.0)
    result = kit.drawn(path)
    named = result.said("mouthFunnel")
    return Verdict(
        result.status == 1 and named and not result.crashed,
        f"status {result.status}, {'named' if named else 'not named'}",
    )


# Heads -----------------------------------------------------------------------------------------


def _lids(kit: Kit, name: str) -> Verdict:
    """How far the lids of a head move, and whether its triangles look outwards."""
    from dtalk.heads import load_head

    source = (kit.user("inside-out-head/make.py")).read_text()
    source = source.replace("from dtalk.head import built_in", "from dtalk.heads import load_head")
    (kit.work / "make.py").write_text(source.replace("built_in()", "load_head()"))
    place = Path.cwd()
    os.chdir(kit.work)
    try:
        runpy.run_path(str(kit.work / "make.py"))
    finally:
        os.chdir(place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        head = load_head(kit.work / name, cache=kit.work / "cache")
    coefficients = np.zeros((2, 52), np.float32)
    coefficients[1, dtalk.ARKIT_NAMES.index(BLINK)] = 1
    rest, shut = (head.deform(row) for row in coefficients)
    moved = 1000 * float(np.linalg.norm(shut - rest, axis=1).max())
    a, b, c = (rest[head.faces[:, corner]] for corner in range(3))
    volume = float(np.einsum("ij,ij->", a, np.cross(b, c)))
    told = any("inside out" in str(w.message) for w in caught)
    return Verdict(
        9 < moved < 18 and volume > 0 and told,
        f"lids move {moved:.0f} mm, {'outwards' if volume > 0 else 'inside out'}, "
        f"{'told' if told else 'not a word'}",
    )


def _compressed(kit: Kit, extension: str, word: str) -> Verdict:
    """A damaged glTF whose mesh is compressed: Draco is named, meshopt read and found to be bad."""
    packed = {"bufferView": 0, "buffer": 0, "byteLength": 64, "byteStride": 12, "count": 900}
    extensions = {extension: {**packed, "mode": "ATTRIBUTES"}}
    primitive = {"attributes": {"POSITION": 0}, "extensions": extensions}
    content = {
        "asset": {"version": "2.0"},
        "extensionsUsed": [extension],
        "extensionsRequired": [extension],
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 900, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 64, "extensions": extensions}],
        "buffers": [{"byteLength": 64}],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunk = len(text).to_bytes(4, "little") + b"JSON" + text
    chunk += (64).to_bytes(4, "little") + b"BIN\0" + bytes(64)
    data = b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunk)).to_bytes(4, "little") + chunk
    (kit.work / "mesh.glb").write_bytes(data)
    times = np.arange(3) / 30
    motion = _rows(kit, "m.csv", [_clock(t) for t in times], times)
    result = kit.drawn(motion, "--head", kit.work / "mesh.glb")
    named = result.said(word)
    return Verdict(result.status == 1 and named, "named" if named else result.err.strip()[-60:])


CASES = [
    *(
        Case("05", name, partial(_of_user, name=name, clock=clock))
        for name, clock in (("drop.csv", 60), ("lost_end.csv", 30))
    ),
    Case("05", "hole.csv", _holes),
    Case("05", "doubled rows", _doubled),
    Case("05", "clock set on by an hour", lambda kit: _clock_set(kit, 3600)),
    Case("05", "clock set back by an hour", lambda kit: _clock_set(kit, -3600)),
    Case("05", "clock set back by 1.5 s", lambda kit: _clock_set(kit, -1.5)),
    Case("05", "midnight and a hole", _midnight),
    Case("05", "20 rows within a second", _short),
    Case("06", "inside_out.obj", lambda kit: _lids(kit, "inside_out.obj")),
    Case("06", "mirrored.obj", lambda kit: _lids(kit, "mirrored.obj")),
    Case("06", "Draco", lambda kit: _compressed(kit, "KHR_draco_mesh_compression", "Draco")),
    Case("06", "meshopt", lambda kit: _compressed(kit, "EXT_meshopt_compression", "fit")),
    Case("08", "percent.csv", lambda kit: _percent(kit.user("values-to-100/percent.csv"))),
    Case("08", "percent, json", _percent_json),
    Case("08", "percent, npz", _percent_npz),
    Case("08", "a value of 3", lambda kit: _beyond(kit, 3.0)),
    Case("08", "a value of 80", lambda kit: _beyond(kit, 80.0)),
    Case("08", "a value of -2", lambda kit: _beyond(kit, -2.0)),
    Case("13", "unity.csv", lambda kit: _user_csv(kit, "unity.csv", 40)),
    Case("13", "semicolon.csv", lambda kit: _user_csv(kit, "semicolon.csv", 20)),
    Case("13", "animation_frames.csv", lambda kit: _named(kit, "animation_frames.csv", _nvidia)),
    Case("13", "snake_case", lambda kit: _named(kit, "snake.csv", _snake)),
    Case("13", "_L and _R", lambda kit: _named(kit, "lr.csv", _unity)),
    Case(
        "13",
        "semicolons, decimal commas",
        lambda kit: _named(kit, "excel.csv", str, ";", ","),
    ),
    Case("13", "MediaPipe's names", _mediapipe),
    Case("13", "seconds.csv", lambda kit: _in_seconds(kit, 1, "Timecode", "%.5f")),
    Case("13", "milliseconds", lambda kit: _in_seconds(kit, 1000, "time_ms", "%.2f")),
    Case("13", "timeCode", lambda kit: _in_seconds(kit, 1, "timeCode", "%.6f")),
    Case("13", "--fps", _rate_named),
    Case("13", "take/ (sound in its mov)", _take),
    Case("13", "windows.json", _windows),
]
