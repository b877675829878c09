"""Settings are checked where they are made, whoever gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import run_dtalk, speech, training_config, write_data

import dtalk
from dtalk.config import AnimationOptions, Look, ModelConfig, OutputOptions, RuntimeOptions
from dtalk.errors import CheckpointError, DtalkError
from dtalk.evaluation.config import EvaluationConfig
from dtalk.training.config import DistillationConfig, TrainingConfig
from dtalk.utils.settings import Settings, setting

WITHOUT_PLACES = (AnimationOptions, Look, OutputOptions, RuntimeOptions, EvaluationConfig)


@dataclass(frozen=True)
class Sample(Settings):
    """A field of every kind."""

    count: int = setting(3, "", least=1, most=9)
    share: float | None = setting(None, "", most=0.99)
    rate: float = setting(1.0, "")
    angle: float = setting(0.0, "", least=None)
    name: str = setting("a", "")
    kind: str = setting("x", "", ("x", "y"))
    place: Path | None = setting(None, "")
    switch: bool | None = setting(None, "")
    parts: tuple[str, ...] = setting((), "", ("p", "q"))
    layers: tuple[int, ...] = setting((), "")
    places: tuple[Path, ...] = setting((), "")


def same(found: Any, wanted: Any) -> bool:
    """Equal and of one type: 1 is not 1.0, nor True."""
    if isinstance(found, tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("count", 1, 1),
        ("count", np.int64(9), 9),
        ("count", torch.tensor(4), 4),
        ("share", None, None),
        ("share", 0, 0.0),
        ("share", np.float32(0.5), 0.5),
        ("rate", 10**6, 1e6),
        ("angle", -400, -400.0),
        ("name", Path("folder"), "folder"),
        ("kind", "y", "y"),
        ("place", "file.npz", Path("file.npz")),
        ("switch", True, True),
        ("switch", np.bool_(False), False),
        ("parts", ["p", "q"], ("p", "q")),
        ("layers", (np.int32(2), 4), (2, 4)),
        ("places", ["a", Path("b")], (Path("a"), Path("b"))),
    ],
)
def test_values_become_what_the_field_says(name: str, given: object, wanted: object) -> None:
    assert same(getattr(Sample(**{name: given}), name), wanted)
    assert same(getattr(replace(Sample(), **{name: given}), name), wanted)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("count", 0, "a whole number from 1 to 9"),
        ("count", 10, "a whole number from 1 to 9"),
        ("count", 2.0, "a whole number from 1 to 9"),
        ("count", "3", "a whole number from 1 to 9"),
        ("count", True, "a whole number from 1 to 9"),
        ("count", None, "a whole number from 1 to 9"),
        ("count", 10**400, "a whole number from 1 to 9"),
        ("share", 1, "a number from 0 to 0.99"),
        ("share", float("nan"), "a number from 0 to 0.99"),
        ("share", "half", "a number from 0 to 0.99"),
        ("rate", -1e-9, "a number of at least 0"),
        ("rate", float("inf"), "a number of at least 0"),
        ("rate", 10**400, "a number of at least 0"),
        ("rate", False, "a number of at least 0"),
        ("angle", float("-inf"), "a number"),
        ("angle", np.zeros(2), "a number"),
        ("name", 3, "a text"),
        ("kind", "z", "one of x, y"),
        ("kind", None, "one of x, y"),
        ("place", 3, "a path"),
        ("switch", 1, "True or False"),
        ("switch", "yes", "True or False"),
        ("parts", "p", "a list, each one of p, q"),
        ("parts", ["p", "r"], "a list, each one of p, q"),
        ("layers", 3, "a list, each a whole number of at least 0"),
        ("layers", [1, -1], "a list, each a whole number of at least 0"),
        ("places", "folder", "a list, each a path"),
        ("places", Path("folder"), "a list, each a path"),
        ("places", [3], "a list, each a path"),
    ],
)
def test_other_values_are_one_clear_line(name: str, given: object, wanted: str) -> None:
    with pytest.raises(DtalkError) as caught:
        Sample(**{name: given})
    told = str(caught.value)
    assert told.startswith(f"{name} must be {wanted}, not ")
    assert "\n" not in told
    assert len(told) < 160
    with pytest.raises(DtalkError):
        replace(Sample(), **{name: given})


@pytest.mark.parametrize("kind", WITHOUT_PLACES)
def test_all_defaults_are_allowed(kind: type[Settings]) -> None:
    assert kind() == kind()


def test_defaults_of_models_and_runs_are_allowed(tmp_path: Path) -> None:
    ModelConfig((), ())
    TrainingConfig(tmp_path, tmp_path)
    assert DistillationConfig(str(tmp_path), "run", teacher="t").teacher == Path("t")


# Whoever sets them --------------------------------------------------------------------------------


BAD = [
    ("steps", "0"),
    ("steps", "1001"),
    ("temperature", "nan"),
    ("temperature", "-1"),
    ("temperature", "101"),
    ("emotion_strength", "1e30"),
    ("seed", "-1"),
    ("seed", str(2**63)),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_python_refuses_what_the_command_line_refuses(
    weights: Path,
    name: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = float(text) if "." in text or not text.lstrip("-").isdecimal() else int(text)
    with pytest.raises(DtalkError, match=f"^{name} must be a (whole )?number from"):
        dtalk.animate(speech(800), weights=weights, **{name: value})
    monkeypatch.chdir(tmp_path)
    dtalk.write_motion(dtalk.Motion(np.zeros((1, 52), np.float32)), "a.npz")
    flag = f"--{name.replace('_', '-')}={text}"
    assert run_dtalk(monkeypatch, "animate", "a.npz", flag, "--weights", weights) in (1, 2)
    assert name.replace("_", "-") in capsys.readouterr().err.replace("_", "-")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"updates": 0}, "updates must be a whole number of at least 1, not 0"),
        ({"learning_rate": -1}, "learning_rate must be a number of at least 0, not -1"),
        ({"without": ("hair",)}, "without must be a list, each one of identity, emotion, not"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, not 'half'"),
        ({"model": {"dropout": 1.0}}, "dropout must be a number from 0 to 0.99, not 1.0"),
        ({"model": {"nose": 1}}, "a model has no setting nose"),
    ],
)
def test_a_run_refuses_settings_before_it_reads_data(change: dict[str, Any], told: str) -> None:
    with pytest.raises(DtalkError, match=f"^{told}"):
        training_config(Path("none"), Path("run"), **change)


def test_whole_numbers_do_for_floats_in_a_run(tmp_path: Path) -> None:
    """The run is the same, and can be resumed by whoever writes 1.0."""
    from helpers import Recorder

    from dtalk.training.trainer import Trainer

    data = write_data(tmp_path / "data")
    config = training_config(data, tmp_path / "run", augment=1, learning_rate=1, updates=1)
    Trainer(config, Recorder()).run()
    with pytest.raises(CheckpointError, match="other settings: updates was 1, is 2"):
        Trainer(replace(config, augment=1.0, resume=True, updates=2), Recorder()).run()


def test_a_loaded_model_cannot_be_sampled_in_no_steps(weights: Path) -> None:
    with pytest.raises(DtalkError, match=r"^steps must be"):
        dtalk.load(weights).with_config(steps=0)
