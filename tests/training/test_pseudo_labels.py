"""Motion that the teacher samples for speech that has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    Recorder,
    distillation_config,
    loaded_clip,
    tiny_model,
)
from rounds import refuse
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.training import pseudo_labels
from dtalk.training.config import DistillationConfig
from dtalk.training.pseudo_labels import GENERATED_FILE, with_unlabelled
from dtalk.training.trainer import Data
from dtalk.training.unlabelled import read_speech


def few(labelled: bool = True) -> Data:
    """A clip with motion and two without, not in the order of their lengths."""
    clips = [
        loaded_clip("b", 14, 2, moving=False, speaker="bob", emotion="calm"),
        loaded_clip("a", 10, 1),
        loaded_clip("c", 11, 3, moving=False, speaker="cat", emotion="calm"),
    ]
    return Data(clips if labelled else clips[1:2], [loaded_clip("v", 9, 4)])


def drawing(tmp_path, spoken: Path | None = None, **changes: Any) -> DistillationConfig:
    speech_ = () if spoken is None else (spoken,)
    return distillation_config(Path("data"), tmp_path / "run", Path("t"), speech=speech_, **changes)


def test_motion_is_drawn_for_all_that_has_none(tmp_path, spoken):
    """One sample of the teacher's, of the run's seed; rounded as it is kept."""
    data, teacher = few(), tiny_model(6)
    observer = Recorder()
    found = with_unlabelled(drawing(tmp_path, spoken, seed=5), observer, data, teacher)
    assert found.train[:3] == data.train  # as they are: they teach the personalizer as before
    assert found.validation is data.validation
    drawn = found.train[3:]
    assert [clip.clip.name for clip in drawn] == ["b", "c", "deep/short.flac#0", "long.wav#0"]
    assert [clip.clip.speaker for clip in drawn] == ["bob", "cat", "", ""]
    assert "sampling motion for 4 clips of speech" in observer.notes
    for clip in drawn:
        assert clip.coefficients is not None
        assert clip.coefficients.dtype == np.float32
        expected = teacher.animate(clip.waveform, seed=5).coefficients
        np.testing.assert_allclose(clip.coefficients, expected, atol=1e-3)
        assert np.array_equal(clip.coefficients, clip.coefficients.astype(np.float16))
    other = with_unlabelled(drawing(tmp_path / "x", spoken, seed=6), Recorder(), data, teacher)
    first, second = other.train[3].coefficients, drawn[0].coefficients
    assert first is not None
    assert second is not None
    assert np.abs(first - second).max() > 0.01


def test_nothing_is_drawn_where_all_have_motion(tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_labels, "generate", refuse)
    data = few(labelled=False)
    found = with_unlabelled(drawing(tmp_path), Recorder(), data, tiny_model())
    assert found == data
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("labelled", [True, False])
def test_no_motion_is_drawn_for_voices_without_labels(tmp_path, spoken, labelled):
    data = few(labelled=labelled)
    voices = read_speech([spoken], Recorder())
    data = Data([*data.train, *voices], data.validation)
    observer = Recorder()
    found = with_unlabelled(drawing(tmp_path), observer, data, tiny_model(6))
    kept = [clip for clip in found.train if clip.clip.set == "speech"]
    assert kept == voices
    assert len(found.train) == len(data.train) + (2 if labelled else 0)
    assert ("sampling motion for 2 clips of speech" in observer.notes) is labelled


def test_drawn_motion_shows_the_emotion_a_clip_is_labelled_with(tmp_path):
    calm, happy = (
        with_unlabelled(
            drawing(tmp_path / emotion),
            Recorder(),
            Data([loaded_clip("b", 14, 2, moving=False, emotion=emotion)], []),
            tiny_model(6),
        ).train[-1]
        for emotion in ("calm", "happy")
    )
    assert happy.coefficients is not None
    assert calm.coefficients is not None
    raised = happy.coefficients - calm.coefficients
    smile = ARKIT_NAMES.index("mouthSmileLeft")
    assert raised.min() == 0  # never less than was drawn
    assert raised[:, smile].mean() > 0.1
    assert raised[:, ARKIT_NAMES.index("jawOpen")].max() == 0


def test_drawn_motion_is_kept(tmp_path, monkeypatch):
    config, teacher = drawing(tmp_path), tiny_model(6)
    first = with_unlabelled(config, Recorder(), few(), teacher)
    monkeypatch.setattr(pseudo_labels, "generate", refuse)
    observer = Recorder()
    resumed = dataclasses.replace(config, resume=True)
    again = with_unlabelled(resumed, observer, few(), teacher)
    assert observer.notes == []
    for ours, theirs in zip(first.train[3:], again.train[3:], strict=True):
        assert np.array_equal(ours.coefficients, theirs.coefficients)


@pytest.mark.parametrize("change", ["teacher", "seed", "sound"])
def test_motion_that_was_drawn_from_something_else_is_drawn_again(tmp_path, change):
    """By another teacher, with another seed, or for other speech of the same length."""
    config, data = drawing(tmp_path), few()
    with_unlabelled(config, Recorder(), data, tiny_model(6))
    if change == "seed":
        config = dataclasses.replace(config, seed=1)
    if change == "sound":
        others = [dataclasses.replace(c, waveform=-c.waveform[::-1].copy()) for c in data.train]
        data = Data(others, data.validation)
    teacher = tiny_model(7 if change == "teacher" else 6)
    found = with_unlabelled(config, Recorder(), data, teacher).train[3]
    expected = teacher.animate(found.waveform, seed=config.seed).coefficients
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-3)


def damaged(path: Path, how: str) -> None:
    kept = load_arrays(path)
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "text":
        path.write_text("no motion")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "fewer":
        save_arrays({"0": kept["0"]}, path)
    else:
        save_arrays({"0": kept["0"][:-1], "1": kept["1"]}, path)


@pytest.mark.parametrize("how", ["gone", "cut", "text", "empty", "fewer", "shorter"])
def test_drawn_motion_that_is_damaged_or_does_not_fit_is_drawn_again(tmp_path, how):
    config, teacher = drawing(tmp_path), tiny_model(6)
    first = with_unlabelled(config, Recorder(), few(), teacher)
    path = config.out / GENERATED_FILE
    kept = path.read_bytes()
    damaged(path, how)
    observer = Recorder()
    resumed = dataclasses.replace(config, resume=True)
    again = with_unlabelled(resumed, observer, few(), teacher)
    assert observer.notes == ["sampling motion for 2 clips of speech"]
    for ours, theirs in zip(first.train[3:], again.train[3:], strict=True):
        assert np.array_equal(ours.coefficients, theirs.coefficients)
    assert path.read_bytes() == kept
