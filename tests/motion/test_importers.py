"""The table of importers in docs/formats.md: how far rows land from their place."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from importers import IMPORTERS, audio2face, by_rows

from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion

DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
ROW = r"^\| ([^|]+) \| [^|]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$"
RATES = (24, 25, 30, 50, 60)


def stamps(path: Path, fps: float, seconds: float = 4) -> list[str]:
    write_motion(Motion(np.zeros((round(seconds * fps), 52)), fps=fps), path)
    with path.open(newline="") as file:
        return [row[0] for row in csv.reader(file)][1:]


def before(fps: float, seconds: float = 4) -> list[str]:
    """Time codes as dtalk wrote them until 0.1, on a clock of the motion's own rate."""
    clock = math.ceil(fps)
    codes = []
    for frame in range(round(seconds * fps)):
        second, tick = divmod(frame, clock)
        codes.append(f"00:00:{second:02}:{tick:02}.000")
    return codes


def worst(times: list[float], fps: float) -> float:
    """The largest distance of a row from its place, milliseconds."""
    return float(np.abs(np.array(times) - np.arange(len(times)) / fps).max() * 1000)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("name", IMPORTERS)
def test_every_row_lands_where_it_should(tmp_path, name, fps):
    off = worst(IMPORTERS[name](stamps(tmp_path / "a.csv", fps)), fps)
    whole = 60 % fps == 0  # else importers that take whole frame numbers round down to a 60th
    if "MotionBuilder" in name:
        assert off < 4 + (0 if whole else 1000 / 60)  # 0.1 % slower over 4 s
    elif "Maya" in name:
        assert off < (0.01 if whole else 1000 / 60)
    else:
        assert off < 0.01


def test_a_rate_for_motionbuilder(tmp_path):
    """At 59.94 rows a second each row has the whole number that its script counts, for 16 s."""
    importer = IMPORTERS["MotionBuilder, LiveLinkFace-CSV-Retarget"]
    assert worst(importer(stamps(tmp_path / "a.csv", 59.94, 16)), 59.94) < 0.01


@pytest.mark.parametrize("fps", [24, 25])
def test_whole_numbers_would_move_rows_where_fractions_are_read(tmp_path, fps):
    """What docs/formats.md says of such a csv: rows on whole 60ths, values sampled there."""
    ticks = np.floor(60 * np.arange(4 * fps) / fps)
    uneven = [f"00:00:{int(tick) // 60:02}:{int(tick) % 60:02}.000" for tick in ticks]
    for name in ("Blender, Faceit", "Maya, Live-Link-CSV-Import"):
        assert np.abs(np.array(IMPORTERS[name](uneven)) - ticks / 60).max() < 1e-9
    # But a row a frame, as others lay them, is then off by as much as Maya's is now.
    apart = np.abs(np.array(by_rows(fps)(uneven)) - ticks / 60).max() * 1000
    assert apart == pytest.approx({24: 8.3, 25: 13.3}[fps], abs=0.1)


@pytest.mark.parametrize("name", IMPORTERS)
def test_before_they_did_not(name):
    """On a clock of 30 every importer but Epic's newer one was off by half a second."""
    off = worst(IMPORTERS[name](before(30)), 30)
    assert off > 480 or "newer" in name


def test_a_clip_of_half_a_second_plays_slowly_in_epics_newer_importer(tmp_path):
    """Nothing in the format can tell it: no frame number is above 30."""
    short = stamps(tmp_path / "a.csv", 30, 0.5)
    assert worst(IMPORTERS["Unreal, Epic's newer importer"](short), 30) == pytest.approx(467, abs=1)
    assert worst(IMPORTERS["Unreal, Epic's older importer"](short), 30) < 0.01


@pytest.mark.parametrize("fps", RATES)
def test_a_row_a_frame_fits_a_scene_of_that_rate(tmp_path, fps):
    """Blender's Simple Live Link Face animator: `--fps` is the scene's."""
    assert worst(by_rows(fps)(stamps(tmp_path / "a.csv", fps)), fps) == 0


@pytest.mark.parametrize("fps", RATES)
def test_a_json_is_read_at_its_rate(tmp_path, fps):
    """An integer: one reader for Unreal takes nothing else."""
    write_motion(Motion(np.zeros((4 * fps, 52)), fps=fps), tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert type(content["exportFps"]) is int
    assert worst(audio2face(content), fps) == 0


def test_the_table_in_the_documentation(tmp_path):
    """Every figure of the table is what the arithmetic gives."""
    rows = re.findall(ROW, DOCS.read_text(encoding="utf-8"), re.M)
    assert {name for name, *_ in rows} == set(IMPORTERS)
    for name, old, *new in rows:
        importer = IMPORTERS[name]
        assert round(worst(importer(before(30)), 30)) == int(old)
        for fps, off in zip((24, 25, 30, 60), new, strict=True):
            assert round(worst(importer(stamps(tmp_path / "a.csv", fps)), fps)) == int(off)
