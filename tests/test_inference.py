"""The Python API: speech in, motion out, and what it refuses."""

from __future__ import annotations

import dataclasses
import inspect
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import EMOTIONS, IDENTITIES, JAW, large_model, one_line, speech, tiny_model

import dtalk
from dtalk import inference
from dtalk.config import AnimationOptions, RuntimeOptions
from dtalk.engine.graph import Graph
from dtalk.engine.talker import GraphTalker
from dtalk.engine.windows import Layout
from dtalk.errors import AudioError, CheckpointError, DataError, DtalkError
from dtalk.inference import (
    DEFAULT_WEIGHTS,
    animate_file,
    animate_waveform,
    load,
    shared_model,
    weights_folder,
    weights_path,
)
from dtalk.motion.curves import Motion

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "speech" / "jfk.flac"
SHIPPED = ROOT / "weights" / DEFAULT_WEIGHTS
RATE = 16000
TEMPERATURES: tuple[dict[str, float], ...] = ({}, {"temperature": 1.0}, {"temperature": 0.0})


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "hello.wav"
    soundfile.write(path, speech(RATE), RATE, subtype="FLOAT")
    return path


def test_a_file(weights: Path, wav: Path) -> None:
    motion = dtalk.animate(wav, weights=weights, seed=5)
    assert isinstance(motion, Motion)
    assert motion.coefficients.shape == (30, 52)
    assert motion.coefficients.min() >= 0
    assert motion.coefficients.max() <= 1
    assert (motion.fps, motion.audio, motion.seed) == (30.0, "hello.wav", 5)
    assert motion.model == "tiny"
    assert motion.identity in IDENTITIES
    assert motion.emotion in EMOTIONS


def test_paths_may_be_text(weights: Path, wav: Path) -> None:
    by_text = dtalk.animate(str(wav), weights=str(weights))
    by_path = dtalk.animate(wav, weights=weights)
    np.testing.assert_array_equal(by_text.coefficients, by_path.coefficients)


def test_samples_are_as_good_as_a_file(weights: Path, wav: Path) -> None:
    from_file = dtalk.animate(wav, weights=weights)
    from_samples = dtalk.animate(speech(RATE), weights=weights)
    np.testing.assert_array_equal(from_file.coefficients, from_samples.coefficients)
    assert from_samples.audio == ""


@pytest.mark.parametrize("samples", [1, 2, 100, 533, RATE // 2])
def test_short_sounds(weights: Path, samples: int) -> None:
    motion = dtalk.animate(speech(samples), weights=weights)
    assert len(motion) == max(1, round(samples / RATE * 30))


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_other_floats(weights: Path, kind: type) -> None:
    motion = dtalk.animate(speech(4000).astype(kind), weights=weights)
    assert motion.coefficients.dtype == np.float32


def test_views_are_fine(weights: Path) -> None:
    stereo = np.stack([speech(4000), speech(4000, 1)], axis=1)
    motion = dtalk.animate(stereo[:, 0], weights=weights)
    expected = dtalk.animate(speech(4000), weights=weights)
    np.testing.assert_array_equal(motion.coefficients, expected.coefficients)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros((100, 2), np.float32),
        np.zeros((1, 100), np.float32),
        np.array([0.0, np.nan], np.float32),
        np.array([0.0, np.inf], np.float32),
    ],
    ids=["none", "stereo", "batch", "nan", "infinite"],
)
def test_bad_samples(weights: Path, samples: np.ndarray) -> None:
    with pytest.raises(DtalkError, match=r"finite, of shape \[S\]"):
        dtalk.animate(samples, weights=weights)


@pytest.mark.parametrize("samples", [np.zeros(9, np.int16), ["a"], [None], b"ab"])
def test_samples_that_are_no_floats(weights: Path, samples: object) -> None:
    with pytest.raises(DtalkError, match="must be floats"):
        dtalk.animate(samples, weights=weights)


def test_bad_files(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is no sound")
    for name in ("missing.wav", "text.wav", "."):
        with pytest.raises(AudioError):
            dtalk.animate(tmp_path / name, weights=weights)


def test_labels_given_are_used_and_noted(weights: Path, wav: Path) -> None:
    motion = dtalk.animate(wav, weights=weights, identity="cat", emotion="sad")
    assert (motion.identity, motion.emotion) == ("cat", "sad")
    other = dtalk.animate(wav, weights=weights, identity="cat", emotion="happy")
    assert (motion.coefficients != other.coefficients).any()


def test_a_model_that_was_loaded_is_the_callers_own(weights: Path) -> None:
    """Whatever is done to it, later animations and later models are as before."""
    before = dtalk.animate(speech(4000), weights=weights)
    model = dtalk.load(weights)
    model.train()
    with torch.no_grad():
        model.mean.fill_(0.9)
    again = dtalk.load(weights)
    assert not again.training
    assert torch.equal(again.mean, torch.full((52,), 0.4))
    after = dtalk.animate(speech(4000), weights=weights)
    np.testing.assert_array_equal(after.coefficients, before.coefficients)


@pytest.mark.parametrize("label", [{"identity": "nobody"}, {"emotion": "grumpy"}])
def test_unknown_labels_are_answered_with_the_known(weights: Path, label: dict[str, str]) -> None:
    ((kind, name),) = label.items()
    known = IDENTITIES if kind == "identity" else EMOTIONS
    with pytest.raises(DataError, match=f"unknown {kind} '{name}'.* {', '.join(known)}"):
        dtalk.animate(speech(4000), weights=weights, **label)


def test_the_seed_decides(weights: Path) -> None:
    sound = speech(8000)
    one, again, other = (dtalk.animate(sound, weights=weights, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.coefficients, again.coefficients)
    assert (one.coefficients != other.coefficients).any()


def test_temperature(weights: Path) -> None:
    sound = speech(8000)
    own, same, none = (dtalk.animate(sound, weights=weights, **t) for t in TEMPERATURES)
    np.testing.assert_array_equal(own.coefficients, same.coefficients)
    assert (own.coefficients != none.coefficients).any()


def test_steps(weights: Path) -> None:
    sound = speech(8000)
    own, same, other = (dtalk.animate(sound, weights=weights, steps=n) for n in (None, 2, 5))
    np.testing.assert_array_equal(own.coefficients, same.coefficients)
    assert (own.coefficients != other.coefficients).any()


def test_the_parts(weights: Path, wav: Path) -> None:
    model = load(weights)
    manner = AnimationOptions(emotion="happy", seed=3)
    from_file = animate_file(model, wav, manner)
    from_samples = animate_waveform(model, speech(RATE), manner, "hello.wav")
    np.testing.assert_array_equal(from_file.coefficients, from_samples.coefficients)
    assert from_file.audio == from_samples.audio == "hello.wav"


def test_the_shared_model_is_loaded_once(weights: Path, tmp_path: Path) -> None:
    """As long as its file and what it computes with are the same."""
    path = shutil.copy(weights, tmp_path / "model.safetensors")
    model = shared_model(RuntimeOptions(weights=path))
    assert shared_model(RuntimeOptions(weights=path, threads=1)) is model
    assert shared_model(RuntimeOptions(weights=weights)) is not model
    os.utime(path, (1, 1))
    assert shared_model(RuntimeOptions(weights=path)) is not model


def test_what_is_loaded(weights: Path) -> None:
    model = dtalk.load(weights)
    assert model.name == "tiny"
    assert model.config.emotions == EMOTIONS
    assert not model.training


def test_load_refuses(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        dtalk.load(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        dtalk.load(tmp_path)
    (tmp_path / "text.safetensors").write_text("no model")
    with pytest.raises(CheckpointError, match="cannot load"):
        dtalk.load(tmp_path / "text.safetensors")
    with pytest.raises(DataError, match="cannot use device 'toaster'"):
        dtalk.load(weights, "toaster")


def test_written_and_read_again(weights: Path, wav: Path, tmp_path: Path) -> None:
    motion = dtalk.animate(wav, weights=weights)
    for suffix, tolerance in (("npz", 0), ("csv", 1e-8), ("json", 1e-8)):
        path = tmp_path / f"m.{suffix}"
        dtalk.write_motion(motion, path)
        read = dtalk.read_motion(path)
        np.testing.assert_allclose(read.coefficients, motion.coefficients, rtol=0, atol=tolerance)


def test_no_folder_hides_a_public_name() -> None:
    """A package's folders become its attributes as soon as they are imported."""
    folders = {path.name for path in Path(dtalk.__file__).parent.iterdir()}
    assert not folders & set(dtalk.__all__)
    assert not {f"{name}.py" for name in dtalk.__all__} & folders


def test_public_names() -> None:
    for name in dtalk.__all__:
        assert getattr(dtalk, name) is not None
        assert name in dir(dtalk)
    assert len(dtalk.ARKIT_NAMES) == 52
    assert issubclass(CheckpointError, dtalk.DtalkError)
    assert next(iter(inspect.signature(dtalk.render).parameters)) == "motion"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dtalk.nonsense  # noqa: B018


def test_nothing_heavy_is_imported_early() -> None:
    """A fresh interpreter: what `import dtalk`, the error class and a motion's names load."""
    code = """
import sys, dtalk
heavy = lambda: sorted({"torch", "numpy", "scipy", "rich", "typer", "pyrender"} & set(sys.modules))
print(heavy())
dtalk.DtalkError
print(heavy())
dtalk.read_motion
print(heavy())
"""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "[]", "['numpy']"]


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"no weights/{DEFAULT_WEIGHTS} in this checkout")
@pytest.mark.parametrize("name", ["student", "open", "tiny"])
def test_a_shipped_model_speaks(name: str) -> None:
    """The mouth of the example opens and closes, more while there is speech than in silence."""
    motion = dtalk.animate(EXAMPLE, weights=name)
    assert motion.coefficients.shape == (330, 52)
    assert motion.model == name
    silence = dtalk.animate(np.zeros(2 * RATE, np.float32), weights=name)
    assert motion.coefficients[:, JAW].std() > 2 * silence.coefficients[:, JAW].std()
    assert np.ptp(motion.coefficients[:, JAW]) > 0.1


class TestWeights:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        folder = tmp_path / "top" / "dtalk"
        folder.mkdir(parents=True)
        monkeypatch.setattr(inference, "__file__", str(folder / "inference.py"))
        return folder

    def test_none(self, package):
        with pytest.raises(CheckpointError) as error:
            weights_folder()
        assert "weights" in one_line(error)

    def test_in_a_checkout_they_lie_beside_the_package(self, package):
        (package.parent / "weights").mkdir()
        assert weights_folder() == package.parent / "weights"

    def test_in_an_installation_they_lie_inside(self, package):
        (package.parent / "weights").mkdir()
        (package / "weights").mkdir()
        assert weights_folder() == package / "weights"

    def test_by_name(self, package):
        (package / "weights").mkdir()
        file = package / "weights" / "student.safetensors"
        file.touch()
        assert weights_path("student.safetensors") == file
        with pytest.raises(CheckpointError) as error:
            weights_path("teacher.safetensors")
        assert "student.safetensors" in one_line(error)


class TestDoubtfulEmotions:
    """An inferred emotion below the threshold is neutral."""

    @pytest.fixture
    def model(self):
        return tiny_model(emotions=("happy", "sad", "neutral"))

    def heard(self, model, **options):
        return animate_waveform(model, speech(RATE // 2), AnimationOptions(**options))

    def test_below_it_is_neutral(self, model):
        doubtful = self.heard(model, emotion_threshold=1.0)
        neutral = self.heard(model, emotion="neutral", emotion_strength=1.0)
        assert (doubtful.emotion, doubtful.emotion_confidence) == ("neutral", None)
        np.testing.assert_array_equal(doubtful.coefficients, neutral.coefficients)

    def test_it_is_said_what_it_would_have_been(self, model):
        sure = self.heard(model, emotion_threshold=0.0)
        assert sure.emotion != "neutral"
        assert sure.notes == ""
        doubtful = self.heard(model, emotion_threshold=1.0)
        share = f"{sure.emotion_confidence:.0%}"
        assert doubtful.notes == f"emotion neutral, for {sure.emotion} is only {share} probable"

    def test_at_the_threshold_it_is_kept(self, model):
        sure = self.heard(model, emotion_threshold=0.0)
        kept = self.heard(model, emotion_threshold=sure.emotion_confidence)
        assert kept.emotion == sure.emotion
        np.testing.assert_array_equal(kept.coefficients, sure.coefficients)

    def test_named_ones_are_certain(self, model):
        named = self.heard(model, emotion="sad", emotion_threshold=1.0)
        assert (named.emotion, named.notes) == ("sad", "")

    def test_a_model_that_knows_no_neutral(self):
        found = self.heard(tiny_model(), emotion_threshold=1.0)
        assert found.emotion in EMOTIONS
        assert found.notes == ""


class TestLongSounds:
    """Sounds of several windows, which are made small here."""

    SOUND = np.concatenate([speech(RATE * 9), np.zeros(RATE * 4, np.float32), speech(RATE * 2)])

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        layout = Layout(grid=48, window=168, step=96, takeover=24, fade=12)
        monkeypatch.setattr(inference, "LAYOUT", layout)

    @pytest.fixture
    def long_wav(self, tmp_path):
        path = tmp_path / "long.wav"
        soundfile.write(path, self.SOUND, RATE, subtype="FLOAT")
        return path

    def test_files_samples_and_engines_agree(self, long_wav, exported):
        options = AnimationOptions(seed=4, emotion_threshold=0)
        talkers = [tiny_model(blinks=True), GraphTalker(Graph(exported, threads=1), "tiny")]
        talkers[1] = talkers[1].with_config(blinks=True)
        found = [animate_file(talker, long_wav, options) for talker in talkers]
        found.append(animate_waveform(talkers[1], self.SOUND, options, "long.wav"))
        one, other, samples = found
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-5)
        np.testing.assert_array_equal(other.coefficients, samples.coefficients)
        assert (one.identity, one.emotion) == (other.identity, other.emotion)
        assert other.emotion_confidence == pytest.approx(one.emotion_confidence, abs=1e-5)
        assert (one.audio, one.seed, len(one)) == ("long.wav", 4, 450)

    def test_the_mouth_rests_and_lids_blink_as_in_the_whole_clip(self, long_wav):
        options = AnimationOptions(identity="ann", emotion="sad", emotion_strength=1)
        model = tiny_model(blinks=True)
        found = animate_file(model, long_wav, options).coefficients
        whole = model.animate(self.SOUND, "ann", "sad", emotion_strength=1).coefficients
        # The last frame's noise is drawn in another way for a clip whose length is known.
        np.testing.assert_allclose(found[:420], whole[:420], atol=1e-5)
        assert found[330, JAW] == 0
        awake = dataclasses.replace(options, close_in_silence=False)
        assert animate_file(model, long_wav, awake).coefficients[330, JAW] > 0.1

    @pytest.mark.parametrize("level", [0.0, 0.01])
    def test_the_mouth_rests_in_steady_sound_as_in_a_short_one(self, level):
        """Also where it may move in silence."""
        noise = level * np.random.default_rng(0).standard_normal(RATE * 9).astype(np.float32)
        options = AnimationOptions(close_in_silence=False)
        assert not animate_waveform(tiny_model(), noise, options).coefficients[:, JAW].any()

    @pytest.mark.parametrize("threshold", [0.0, 1.0])
    def test_doubtful_emotions_are_neutral(self, threshold, long_wav):
        model = tiny_model(emotions=("happy", "sad", "neutral"))
        found = animate_file(model, long_wav, AnimationOptions(emotion_threshold=threshold))
        neutral = animate_file(model, long_wav, AnimationOptions(emotion="neutral"))
        same = np.array_equal(found.coefficients, neutral.coefficients)
        assert same == (found.emotion_confidence is None) == (threshold == 1)
        assert (
            (found.emotion == "neutral") == found.notes.startswith("emotion neutral, for") == same
        )

    def test_progress(self, long_wav):
        told = []
        animate_file(tiny_model(), long_wav, progress=lambda *done: told.append(done))
        assert told == [(0, 450), (96, 450), (192, 450), (288, 450), (450, 450)]

    def test_short_ones_are_told_of_no_progress(self, wav):
        animate_file(tiny_model(), wav, progress=lambda *_: pytest.fail("it is short"))

    def test_damage_is_said_once_and_before_the_work(self, long_wav):
        data = long_wav.read_bytes()
        long_wav.write_bytes(data[: len(data) * 3 // 4])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            counts = []
            animate_file(tiny_model(), long_wav, progress=lambda *_: counts.append(len(caught)))
        [warning] = caught
        assert "is damaged or cut off: 11.25 s of it are used" in str(warning.message)
        assert set(counts) == {1}

    def test_what_only_whole_clips_can_have(self, long_wav):
        """A teacher's windows are its encoder's; ancestral noise is drawn for the whole clip."""
        for model, options in (
            (large_model(), AnimationOptions(emotion_threshold=0)),
            (tiny_model(), AnimationOptions(emotion_threshold=0, sampler="ancestral", steps=3)),
        ):
            found = animate_file(model, long_wav, options).coefficients
            whole = model.animate(self.SOUND, steps=options.steps, sampler=options.sampler)
            np.testing.assert_array_equal(found, whole.coefficients)

    def test_a_graph_refuses_steps_that_it_cannot_take(self, long_wav, exported):
        talker = GraphTalker(Graph(exported, threads=1))
        with pytest.raises(CheckpointError, match="takes 2 steps, which are fixed"):
            animate_file(talker, long_wav, AnimationOptions(steps=3))
