"""Settings: documented, within limits; names of earlier versions go on working."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_type_hints

import pytest
from helpers import (
    tiny_model,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.main import get_command

from dtalk import config as config_module
from dtalk.checkpoint import load_model, save_model
from dtalk.cli.app import app
from dtalk.config import AnimationOptions, ModelConfig
from dtalk.errors import CheckpointError
from dtalk.training.config import DistillationConfig, TrainingConfig
from dtalk.utils.settings import with_new_names


@pytest.mark.parametrize(("kind", "before", "after"), [
    (AnimationOptions, {"rest": True, "seed": 3}, {"close_in_silence": True, "seed": 3}),
    (ModelConfig, {"rest": False}, {"close_in_silence": False}),
    (
        TrainingConfig,
        {"deaf_share": 0.1, "match_share": 0.2, "rest": 1},  # not a setting of training
        {"audio_dropout": 0.1, "retrieval_share": 0.2, "rest": 1},
    ),
    (TrainingConfig, {"audio_dropout": 0.1}, {"audio_dropout": 0.1}),
    (ModelConfig, {"bidirectional": True, "layers": 2}, {"layers": 2}),  # no longer a setting
    (ModelConfig, {"bidirectional": False}, {"bidirectional": False}),  # cannot be had any more
])  # fmt: skip
def test_names_of_earlier_versions(kind, before, after):
    assert with_new_names(kind, before) == after


def earlier(path: Path, closes: bool, both: bool) -> None:
    """Write a model as an earlier version did."""
    save_model(tiny_model(close_in_silence=closes), path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["dtalk"])
    about["config"]["rest"] = about["config"].pop("close_in_silence")
    about["config"]["bidirectional"] = both
    save_file(load_file(path), path, {"dtalk": json.dumps(about)})


@pytest.mark.parametrize("closes", [False, True])
def test_a_checkpoint_of_an_earlier_version(tmp_path, closes):
    earlier(tmp_path / "model.safetensors", closes, both=True)
    assert load_model(tmp_path / "model.safetensors").config.close_in_silence is closes


def test_a_checkpoint_that_saw_the_past_alone(tmp_path):
    earlier(tmp_path / "model.safetensors", closes=True, both=False)
    with pytest.raises(CheckpointError, match="bidirectional means nothing to this dtalk"):
        load_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("command", "new", "old"), [
    ("animate", "--close-in-silence", "--rest"),
    ("render", "--close-in-silence", "--rest"),
    ("render", "--idle-motion", "--life"),
    ("evaluate", "--close-in-silence", "--rest"),
    ("train", "--close-in-silence", "--rest"),
    ("train", "--audio-dropout", "--deaf-share"),
    ("train", "--retrieval-share", "--match-share"),
    ("distill", "--audio-dropout", "--deaf-share"),
    ("distill", "--retrieval-share", "--match-share"),
])  # fmt: skip
def test_flags_of_earlier_versions_are_hidden(command, new, old):
    options = {
        name: option
        for option in get_command(app).commands[command].params  # type: ignore[attr-defined]
        for name in option.opts
    }
    assert not options[new].hidden
    assert options[old].hidden


@pytest.mark.parametrize("flags", [["--deaf-share", "0.3", "--no-rest"], []])
def test_flags_of_earlier_versions_set_what_the_new_ones_set(flags, monkeypatch, tmp_path):
    seen = []

    class Trainer:
        def __init__(self, config, *_):
            seen.append(config)

        def run(self): ...

    monkeypatch.setattr("dtalk.training.trainer.Trainer", Trainer)
    place = [f"--data={tmp_path}", f"--out={tmp_path}"]
    get_command(app).main(["train", *place, *flags], standalone_mode=False)
    [config] = seen
    assert config.audio_dropout == (0.3 if flags else 0.0)
    assert config.model["close_in_silence"] is not bool(flags)


# Settings ----------------------------------------------------------------------------------------

CLASSES = (
    config_module.AnimationOptions,
    config_module.RuntimeOptions,
    config_module.ModelConfig,
    TrainingConfig,
    DistillationConfig,
)
# What a command asks for in another way, or the data or the large encoder say; the last is no
# setting of a distillation, where it stays 0.
UNDOCUMENTED = {
    *("identities", "emotions", "data", "out", "teacher", "init", "model"),
    *("large_width", "large_fingerprint"),
    "emotion_channels",
}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_setting_has_help_and_a_default_within_its_limits(kind):
    hints = get_type_hints(kind)
    documented = [field for field in dataclasses.fields(kind) if "help" in field.metadata]
    undocumented = {field.name for field in dataclasses.fields(kind)} - {
        field.name for field in documented
    }
    assert undocumented <= UNDOCUMENTED
    for field in documented:
        help_, choices = field.metadata["help"], field.metadata["choices"]
        least, most = field.metadata["least"], field.metadata["most"]
        assert help_.strip() == help_ != "", field.name
        chosen = field.default if isinstance(field.default, tuple) else (field.default,)
        assert not choices or set(chosen) <= set(choices), field.name
        if hints[field.name] in (int, float):
            assert least <= field.default, field.name
            assert most is None or field.default <= most, field.name


def test_limits_by_hand():
    limits = {
        field.name: (field.metadata["least"], field.metadata["most"])
        for kind in CLASSES[:3]
        for field in dataclasses.fields(kind)
        if "least" in field.metadata
    }
    assert limits["steps"] == (1, 1000)
    assert limits["threads"] == (1, 1024)
    assert limits["temperature"] == limits["emotion_strength"] == (0, 10)
    assert limits["seed"] == (0, 2**63 - 1)
    assert limits["dropout"] == (0, 0.99)


def test_a_manner_is_frozen_and_automatic():
    assert config_module.AnimationOptions() == config_module.DEFAULT_OPTIONS
    assert config_module.DEFAULT_OPTIONS.identity == config_module.DEFAULT_OPTIONS.emotion == "auto"
    assert config_module.DEFAULT_OPTIONS.temperature == 1
    assert (
        config_module.DEFAULT_OPTIONS.steps
        is config_module.DEFAULT_OPTIONS.emotion_strength
        is None
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config_module.DEFAULT_OPTIONS.seed = 1  # type: ignore[misc]
