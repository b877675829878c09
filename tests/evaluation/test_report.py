"""Files of a comparison: pictures, csv and json."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import loaded_clip, tiny_model
from systems import clips_of, judged, write_predictions

from dtalk.evaluation.bootstrap import add_intervals
from dtalk.evaluation.comparison import evaluate_model
from dtalk.evaluation.config import EvaluationConfig
from dtalk.evaluation.report import write_clips, write_plots, write_report, write_table
from dtalk.heads.head import built_in

# Pictures ----------------------------------------------------------------------------------------


def test_pictures_of_the_first_common_clip_of_each_set(tmp_path):
    pytest.importorskip("matplotlib")
    clips = [
        loaded_clip("only/ours", 9, set="t"),
        loaded_clip("both/a", 9, seed=1, set="t"),
        loaded_clip("b", 9, seed=2, set="s"),
        loaded_clip("c", 9, seed=3, set="s"),
    ]
    ours = evaluate_model(tiny_model(), "m", clips, built_in())
    theirs = judged(write_predictions(tmp_path / "true", clips[1:]), clips)
    add_intervals([ours, theirs])
    found = write_plots([ours, theirs], tmp_path / "new" / "plots", "title")
    names = ["table", "errors-both-a", "curves-both-a", "errors-b", "curves-b"]
    assert found == [tmp_path / "new" / "plots" / f"{name}.png" for name in names]
    for path in found:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_curves_and_errors_are_those_that_were_judged(tmp_path):
    clips = clips_of(9)
    (result,) = judged(write_predictions(tmp_path, clips, 0.5), clips).results
    assert clips[0].coefficients is not None
    np.testing.assert_allclose(result.curves, 0.5 * clips[0].coefficients, atol=1e-6)
    assert result.errors is not None
    assert result.errors.mean() == pytest.approx(result.sample["lve_mm"])


def test_vertices_have_errors_but_no_curves(tmp_path):
    pytest.importorskip("matplotlib")
    clips = clips_of(6)
    assert clips[0].coefficients is not None
    np.save(tmp_path / "c6.npy", built_in().deform(0.5 * clips[0].coefficients))
    found = write_plots([judged(tmp_path, clips)], tmp_path / "plots", "")
    assert [path.name for path in found] == ["table.png", "errors-c6.png"]


# Files -------------------------------------------------------------------------------------------


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_as_csv(tmp_path):
    clips = clips_of(12, 5)
    ours = evaluate_model(tiny_model(), "m", clips, built_in(), samples=2)
    ours.tables["cost"] = {"frames_per_second": 5000.0}
    theirs = judged(write_predictions(tmp_path / "true", clips), clips)
    write_table([ours, theirs], tmp_path / "new" / "t.csv")
    rows = rows_of(tmp_path / "new" / "t.csv")
    found = [(row["system"], row["kind"], row["group"]) for row in rows]
    groups = ["all", "s", "seen speakers"]
    assert found == [
        *[("m", kind, group) for kind in ("sample", "mean") for group in groups],
        *[("true", "sample", group) for group in groups],
    ]
    assert float(rows[0]["lve"]) == ours.tables["sample"]["all"]["lve"]
    assert [row["frames_per_second"] for row in rows] == ["5000.0", *[""] * 8]
    assert rows[-1]["diversity"] == ""
    assert rows[-1]["lve"] == "0.0"


def test_clips_as_csv(tmp_path):
    clips = clips_of(12, 2)
    write_clips([judged(write_predictions(tmp_path / "true", clips), clips)], tmp_path / "c.csv")
    first, second = rows_of(tmp_path / "c.csv")
    labels = {key: first[key] for key in ("system", "set", "clip", "speaker", "frames", "lve")}
    assert labels == {
        "system": "true",
        "set": "s",
        "clip": "c12",
        "speaker": "ann",
        "frames": "12",
        "lve": "0.0",
    }
    assert second["acceleration"] == ""  # two frames have none


def test_the_report_says_what_was_asked_and_where(tmp_path):
    clips = clips_of(12, 2)
    found = judged(write_predictions(tmp_path / "true", clips), clips)
    add_intervals([found])
    write_report([found], tmp_path / "r.json", Path("mydata"), EvaluationConfig(seed=4))
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["data"] == "mydata"
    assert report["settings"]["seed"] == 4
    assert report["machine"]["torch"]
    assert report["systems"]["true"]["sample"]["all"]["lve"] == 0
    low, high = report["systems"]["true"]["intervals"]["opening_r"]
    assert math.isclose(low, 1)
    assert math.isclose(high, 1)
