"""``dtalk evaluate`` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import (
    Result,
    tiny_model,
    write_data,
)

from dtalk.checkpoint import save_model


@pytest.mark.parametrize("steps", ["0", "1001", "9" * 30])
def test_absurd_numbers_of_steps(call: Callable[..., Result], steps: str) -> None:
    data = write_data(Path("mydata"))
    result = call("evaluate", "--data", data, "--weights", f"student@{steps}")
    assert (result.status, result.out) == (1, "")
    assert result.error == f"--weights student@{steps}: steps are 1 to 1000"
    assert call("evaluate", "--data", data, "--steps", steps).status == 2


@pytest.mark.parametrize("flag", ["--json", "--csv", "--clips", "--plot"])
def test_places_are_checked_before_anything_is_scored(
    call: Callable[..., Result], weights: Path, flag: str
) -> None:
    data = write_data(Path("mydata"))
    Path("a.txt").touch()
    result = call("evaluate", "--data", data, "--weights", weights, flag, "a.txt/x")
    assert (result.status, result.out) == (1, "")
    assert "a folder in its path is a file" in result.error


def test_evaluate(call: Callable[..., Result], data: Path, weights: Path) -> None:
    flags = ("--weights", weights, "--samples", 2, "--json", "new/figures.json")
    result = call("evaluate", "--data", data, *flags)
    assert (result.status, result.err.strip()) == (0, "")
    assert "tiny, val, one sample" in result.out
    assert "tiny, val, mean of 2 samples" in result.out
    figures = json.loads(Path("new/figures.json").read_text())["systems"]["tiny"]
    assert set(figures) == {"sample", "mean", "retrieval"}
    assert {"all", "a", "b", "seen speakers", "unseen speakers"} == set(figures["sample"])
    assert figures["sample"]["all"]["lve"] > 0
    assert figures["sample"]["all"]["lve_of_static"] > 0
    assert figures["mean"] != figures["sample"]


def test_evaluate_keeps_models_of_one_name_apart(
    call: Callable[..., Result], data: Path, weights: Path
) -> None:
    save_model(tiny_model(1), Path("tiny.safetensors"))
    flags = ("--weights", weights, "--weights", "tiny.safetensors", "--json", "figures.json")
    assert call("evaluate", "--data", data, *flags).status == 0
    figures = json.loads(Path("figures.json").read_text())["systems"]
    assert list(figures) == [str(weights), "tiny.safetensors"]


def test_evaluate_needs_motion(call: Callable[..., Result], data: Path, weights: Path) -> None:
    result = call("evaluate", "--data", data, "--weights", weights, "--split", "test")
    assert result.status == 1
    assert "no clip with motion in its test split" in result.error


def test_evaluate_is_repeatable(call: Callable[..., Result], data: Path, weights: Path) -> None:
    for name in ("one", "two"):
        flags = ("--weights", weights, "--seed", 4, "--steps", 1, "--sets", "a")
        assert call("evaluate", "--data", data, *flags, "--json", name).status == 0
    assert Path("one").read_bytes() == Path("two").read_bytes()


def test_evaluate_names_clips_it_leaves_out(call: Callable[..., Result], weights: Path) -> None:
    folder = write_data(Path("data"))
    (folder / "vb.wav").write_text("no sound any more")
    result = call("evaluate", "--data", folder, "--weights", weights, "--json", "figures.json")
    assert result.status == 0
    assert "warning: left out: vb: cannot read" in result.err
    scores = json.loads(Path("figures.json").read_text())["systems"]["tiny"]["sample"]
    assert sorted(scores) == ["a", "all", "seen speakers"]


def test_evaluate_compares_with_predictions_of_others(
    call: Callable[..., Result], data: Path, weights: Path
) -> None:
    """The curves that animate wrote for the whole folder score as the model itself."""
    animated = call("animate", data, "--weights", weights, "--out", "theirs", "--format", "csv")
    assert animated.status == 0
    flags = ("--weights", weights, "--pred", "theirs", "--intervals", "--json", "figures.json")
    more = ("--csv", "table.csv", "--clips", "clips.csv")
    result = call("evaluate", "--data", data, *flags, *more)
    assert (result.status, result.err.strip()) == (0, "")
    assert "theirs, val, one sample" in result.out
    assert "95 % over clips; *: differs from tiny" in result.out
    systems = json.loads(Path("figures.json").read_text())["systems"]
    assert list(systems) == ["tiny", "theirs"]
    ours, theirs = (system["sample"]["all"] for system in systems.values())
    for key, value in ours.items():
        assert theirs[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
    assert Path("table.csv").read_text().startswith("system,kind,group,")
    assert Path("clips.csv").read_text().startswith("system,set,clip,")


def test_evaluate_of_predictions_alone_loads_no_model(
    call: Callable[..., Result], data: Path, weights: Path
) -> None:
    assert call("animate", data, "--weights", weights, "--out", "theirs").status == 0
    next(Path("theirs").glob("v*.npz")).unlink()
    result = call("evaluate", "--data", data, "--pred", "theirs", "--json", "figures.json")
    assert result.status == 0
    assert "warning: theirs: left out: v" in result.err
    assert list(json.loads(Path("figures.json").read_text())["systems"]) == ["theirs"]
    assert "retrieval" not in result.out


def test_evaluate_keeps_folders_of_one_name_apart(
    call: Callable[..., Result], data: Path, weights: Path
) -> None:
    for folder in ("one/out", "two/out"):
        assert call("animate", data, "--weights", weights, "--out", folder).status == 0
    flags = ("--pred", "one/out", "--pred", "two/out", "--json", "figures.json")
    assert call("evaluate", "--data", data, *flags).status == 0
    systems = json.loads(Path("figures.json").read_text())["systems"]
    assert list(systems) == [str(Path("one/out")), str(Path("two/out"))]


def test_evaluate_refuses_a_folder_without_predictions(
    call: Callable[..., Result], data: Path
) -> None:
    Path("empty").mkdir()
    result = call("evaluate", "--data", data, "--pred", "empty", "--json", "figures.json")
    assert result.status == 1
    assert "empty predicts no clip of" in result.error
    assert not Path("figures.json").exists()
