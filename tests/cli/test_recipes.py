"""Settings from a TOML file: ``--config`` of ``train`` and ``distill``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import WIDTHS, run_dtalk, write_data
from typer.main import get_command

from dtalk.checkpoint import read_description
from dtalk.cli.app import app
from dtalk.cli.recipes import read_recipe
from dtalk.errors import DtalkError

TRAIN = get_command(app).commands["train"]  # type: ignore[attr-defined]
WHERE = ("--data", "data", "--out", "out")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def parsed(text: str, *arguments: str) -> dict[str, object]:
    """What ``dtalk train`` is called with."""
    Path("run.toml").write_text(text, encoding="utf-8")
    return TRAIN.make_context("train", ["--config", "run.toml", *arguments]).params


def refused(text: str | bytes, *arguments: str) -> str:
    """Why ``dtalk train`` does not take a file."""
    Path("run.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DtalkError) as refusal:
        TRAIN.make_context("train", ["--config", "run.toml", *WHERE, *arguments])
    line = str(refusal.value)
    assert line.startswith("run.toml")
    assert "\n" not in line
    return line


def test_values_of_every_kind():
    text = (
        "learning-rate = 1e-4\nupdates = 7\nlayer = [2, 4]\nsets = ['grid']\n"
        "close_in_silence = false\nencoder = 'whisper'\nwithout = ['emotion']\n"
        "precision = 'bfloat16'\nresume = true\n"
    )
    found = parsed(text, *WHERE)
    assert found["learning_rate"] == 1e-4
    assert found["updates"] == 7
    assert found["layer"] == [2, 4]
    assert found["sets"] == ["grid"]
    assert found["close_in_silence"] is False
    assert found["encoder"] == "whisper"
    assert [part.value for part in found["without"]] == ["emotion"]  # type: ignore[attr-defined]
    assert found["precision"] == "bfloat16"
    assert found["resume"] is True
    assert found["config"] == Path("run.toml")


def test_flags_win_over_the_file_wherever_they_stand():
    text = "updates = 7\nlayer = [2, 4]\nclose-in-silence = false\nseed = 3\n"
    flags = ("--updates", "9", "--layer", "1", "--close-in-silence", *WHERE)
    found = parsed(text, *flags)
    assert (found["updates"], found["layer"], found["close_in_silence"]) == (9, [1], True)
    assert found["seed"] == 3
    assert TRAIN.make_context("train", [*flags, "--config", "run.toml"]).params == found


def test_a_required_flag_may_stand_in_the_file():
    found = parsed("data = 'there'\nout = 'here'\n")
    assert (found["data"], found["out"]) == (Path("there"), Path("here"))


def test_what_the_file_does_not_say_has_its_default():
    without = TRAIN.make_context("train", [*WHERE]).params
    assert parsed("", *WHERE) == {**without, "config": Path("run.toml")}


def test_a_single_value_for_a_flag_that_may_be_repeated():
    assert parsed("layer = 2\n", *WHERE)["layer"] == [2]


def test_an_earlier_name_of_a_flag():
    assert parsed("match-share = 0.1\n", *WHERE)["match_share"] == 0.1


@pytest.mark.parametrize("key", ["learnin-rate", "config", "help", "teacher", "inputs", "model"])
def test_unknown_keys(key):
    line = refused(f"updates = 7\n{key} = 1\n")
    assert line == (f"run.toml: `{key}` is no flag of dtalk train; see dtalk train --help")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("updates = 0", "`updates`: "),
        ("updates = 1.5", "`updates`: "),
        ("updates = 'many'", "`updates`: "),
        ("updates = true", "`updates` cannot be True"),
        ("updates = [1]", "`updates` cannot be [1]"),
        ("layer = [1, 'x']", "`layer`: "),
        ("layer = [[1]]", "`layer` cannot be [1]"),
        ("precision = 'float8'", "`precision`: "),
        ("without = ['head']", "`without`: "),
        ("resume = 1", "`resume` is true or false, not 1"),
        ("resume = 'yes'", "`resume` is true or false, not 'yes'"),
        ("seed = 2020-01-01", "`seed` cannot be datetime.date(2020, 1, 1)"),
        ("[updates]\nmany = 1", "`updates` cannot be {'many': 1}"),
        ("learning-rate = 1\nlearning_rate = 2", "`learning_rate` is there twice"),
        ("updates = ", "no TOML file, or damaged"),
        ("updates = 1\nupdates = 2", "no TOML file, or damaged"),
        (b"encoder = '\xff'", "no TOML file, or damaged"),
    ],
)
def test_bad_files(text, reason):
    assert reason in refused(text)


def test_a_bad_value_is_refused_even_where_a_flag_wins():
    assert "`updates`: " in refused("updates = 0", "--updates", "5")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DtalkError, match=r"^no such file: none\.toml$"):
        read_recipe(Path("none.toml"))
    with pytest.raises(DtalkError, match="cannot read "):
        read_recipe(tmp_path)


def test_one_line_and_status_1(monkeypatch, capsys):
    Path("run.toml").write_text("updats = 7\n")
    assert run_dtalk(monkeypatch, "distill", "--config", "run.toml") == 1
    assert capsys.readouterr().err == (
        "error: run.toml: `updats` is no flag of dtalk distill; see dtalk distill --help\n"
    )


def test_a_run_by_a_file_names_it_in_its_log(monkeypatch):
    write_data(Path("data"))
    widths = "".join(f"{name} = {value!r}\n" for name, value in WIDTHS.items())
    recipe = f"{widths}batch_frames = 45\naudio_only_batch = 2\nupdates = 50\n"
    Path("run.toml").write_text(recipe)
    flags = ("--config", "run.toml", *WHERE, "--updates", "2")
    assert run_dtalk(monkeypatch, "train", *flags) == 0
    entries = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    command = "dtalk train --config run.toml --data data --out out --updates 2"
    assert entries[0] == {"update": 0, "command": command}
    assert [entry["update"] for entry in entries] == [0, 2]
    about = read_description(Path("out/model.safetensors"))
    assert about["command"] == command
    assert about["settings"]["updates"] == 2
    assert about["settings"]["batch_frames"] == 45
    assert about["config"]["hidden_width"] == WIDTHS["hidden_width"]
