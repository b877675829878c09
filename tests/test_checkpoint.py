"""Checkpoints: what goes in comes out, and anything else is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import speech, tiny_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dtalk.checkpoint import load_model, read_description, save_model
from dtalk.errors import CheckpointError, DtalkError
from dtalk.motion.arkit import ARKIT_NAMES


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(tiny_model(), path, {"command": "dtalk train", "licence": "MIT"})
    return path


def rewrite(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> None:
    """Save again with other tensors or another description (None leaves a key out)."""
    description = {**read_description(path), **changes}
    description = {key: value for key, value in description.items() if value is not None}
    save_file(tensors or load_file(path), path, {"dtalk": json.dumps(description)})


def refused(path: Path, *words: str) -> None:
    """Loading says in one line which file, and what is wrong."""
    with pytest.raises(CheckpointError) as error:
        load_model(path)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 500 + len(str(path))
    for word in (str(path), *words):
        assert word in line


@pytest.mark.parametrize("changes", [{}, {"encoder": "cnn"}])
def test_round_trip(tmp_path, changes):
    model = tiny_model(seed=3, **changes, retrieval="hard", steps=3, upper_temperature=0.5)
    model.mean.copy_(torch.linspace(0, 1, 52))
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert not again.training
    assert list(again.state_dict()) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    sound = speech(3000)
    first, second = model.animate(sound, seed=4), again.animate(sound, seed=4)
    assert first.coefficients.tobytes() == second.coefficients.tobytes()
    assert (first.identity, first.emotion) == (second.identity, second.emotion)


def test_round_trip_without_labels(tmp_path):
    save_model(tiny_model(identities=(), emotions=()), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").config.identities == ()


def test_a_model_in_training_is_loaded_for_evaluation(tmp_path):
    save_model(tiny_model(dropout=0.5).train(), tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert not any(module.training for module in again.modules())


def test_description(saved):
    description = read_description(saved)
    assert description["format_version"] == 2
    assert tuple(description["coefficients"]) == ARKIT_NAMES
    assert description["config"]["identities"] == ["ann", "bob", "cat"]
    assert (description["command"], description["licence"]) == ("dtalk train", "MIT")


def test_the_file_is_plain_safetensors(saved):
    """Readable by anyone, with one metadata key."""
    with safe_open(saved, framework="pt") as file:
        assert set(file.metadata()) == {"dtalk"}
        assert set(file.keys()) == set(tiny_model().state_dict())


def test_a_text_path_will_do(saved):
    assert load_model(str(saved)).config == tiny_model().config  # type: ignore[arg-type]


def test_missing_and_folder(tmp_path):
    refused(tmp_path / "none.safetensors", "does not exist")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("content", [b"", b"PK", b"these are no weights\n" * 100, b"\0" * 4096])
def test_other_files(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.999])
def test_truncated(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    refused(saved)


@pytest.mark.parametrize("place", [0, 8, 40])
def test_damaged_header(saved, place):
    content = bytearray(saved.read_bytes())
    content[place : place + 4] = b"\xff\xff\xff\xff"
    saved.write_bytes(content)
    refused(saved)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    refused(path, "no dtalk model")
    save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})
    refused(path, "no dtalk model")


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", '"text"'])
def test_a_description_that_is_none(saved, text):
    save_file(load_file(saved), saved, {"dtalk": text})
    refused(saved)


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_other_format_versions(saved, version):
    rewrite(saved, format_version=version)
    refused(saved, "version", "reads 2")


@pytest.mark.parametrize(
    "names", [None, [], list(ARKIT_NAMES[:-1]), list(reversed(ARKIT_NAMES)), 5, "jawOpen", {}]
)
def test_other_coefficients(saved, names):
    save = {**read_description(saved)}
    save.pop("coefficients")
    if names is not None:
        save["coefficients"] = names
    save_file(load_file(saved), saved, {"dtalk": json.dumps(save)})
    refused(saved, "ARKit")


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "three"},
        {"layers": 0},
        {"hidden_width": -3},
        {"encoder": "wavelet"},
        {"colour": "blue"},
        {"identities": 7},
        {"encoder_width": 10**15},
        {"dropout": 2},
    ],
)
def test_impossible_configurations(saved, change):
    rewrite(saved, config={**read_description(saved)["config"], **change})
    refused(saved, "configuration")


def test_a_setting_of_a_newer_dtalk_is_named(saved):
    rewrite(saved, config={**read_description(saved)["config"], "colour": "blue"})
    refused(saved, "bad configuration", "colour means nothing to this dtalk")


@pytest.mark.parametrize("config", [None, [], "tiny", {}])
def test_no_configuration(saved, config):
    rewrite(saved, config=config)
    refused(saved, "configuration")


def test_missing_and_foreign_names(saved):
    tensors = load_file(saved)
    mean = tensors.pop("mean")
    rewrite(saved, tensors)
    refused(saved, "lacks mean", "1 names differ")
    rewrite(saved, {**tensors, "average": mean.clone()})
    refused(saved, "lacks mean", "has average", "2 names differ")
    rewrite(saved, {**tensors, "mean": mean, "extra": mean.clone()})
    refused(saved, "has extra", "1 names differ")


def test_wrong_shapes(saved):
    rewrite(saved, {**load_file(saved), "std": torch.ones(51)})
    refused(saved, "std is [51]", "[52]")


def test_a_configuration_that_does_not_fit_the_tensors(saved):
    config = read_description(saved)["config"]
    rewrite(saved, config={**config, "identities": ["ann", "bob"]})
    refused(saved, "personalizer.identity.entries is [4, 3, 6]", "[3, 3, 6]")
    rewrite(saved, config={**config, "layers": 1})
    refused(saved, "names differ")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError(28, "disk full")])
def test_an_interrupted_write_leaves_the_old_file(saved, monkeypatch, error):
    before = saved.read_bytes()

    def broken(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:1000])
        raise error

    expected = DtalkError if isinstance(error, OSError) else error
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", broken)
        with pytest.raises(expected):
            save_model(tiny_model(seed=9), saved)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_model_may_be_read_by_whom_the_umask_lets(tmp_path, mask):
    """As any other new file; safetensors' own save_file shuts all others out."""
    before = os.umask(mask)
    try:
        save_model(tiny_model(), tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask


def test_saving_over_a_model_replaces_it(saved):
    other = tiny_model(seed=9)
    save_model(other, saved)
    sound = speech(1000)
    found = load_model(saved).animate(sound).coefficients
    assert np.array_equal(found, other.animate(sound).coefficients)


def test_saving_where_it_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DtalkError, match="cannot write"):
        save_model(tiny_model(), tmp_path / "file" / "m.safetensors")
    with pytest.raises(DtalkError, match="is a folder"):
        save_model(tiny_model(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 10**6}, "layers must be a whole number from 1 to 100"),
        ({"hidden_width": 10**9}, "hidden_width must be"),
        ({"temperature": 1e30}, "temperature must be"),
        ({"temperature": "hot"}, "temperature must be"),
        ({"hidden_width": 8192}, "a larger model than its tensors"),
        ({"layers": 100, "hidden_width": 512}, "a larger model than its tensors"),
    ],
)
def test_settings_of_a_model_that_would_fill_the_memory(saved, changes, words):
    """A few bytes of settings ask for gigabytes: refused before they are made."""
    rewrite(saved, config={**read_description(saved)["config"], **changes})
    refused(saved, words)
