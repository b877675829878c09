"""Evaluation: models on clips, figures by group, and what a perfect or a static face scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from helpers import loaded_clip, tiny_model

from dtalk.data.clips import LoadedClip
from dtalk.evaluation import sampling
from dtalk.evaluation.evaluate import (
    ClipResult,
    evaluate,
    groups,
    mean_scores,
    retrieval,
    set_row,
    summarise,
    without_nan,
    write_figures,
)
from dtalk.evaluation.sampling import predict
from dtalk.evaluation.scoring import Geometry, score, static_scores
from dtalk.heads.head import built_in
from dtalk.motion.arkit import ARKIT_NAMES, MOUTH_NAMES


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return Geometry(built_in())


# Means -------------------------------------------------------------------------------------------


FRACTIONS = {
    "lve_of_static": "lve",
    "lve_mm_of_static": "lve_mm",
    "eve_of_static": "eve",
    "fdd_mm_of_static": "fdd_mm_abs",
}


def result(clip: LoadedClip, geometry: Geometry, predicted: np.ndarray | None = None):
    reference = clip.coefficients
    assert reference is not None
    static = static_scores(reference, geometry)
    sample = static if predicted is None else score(predicted, reference, geometry)
    return ClipResult(clip, sample, None, static)


def test_mean_scores_leave_out_what_is_undefined():
    nan = float("nan")
    found = mean_scores([{"a": 1.0, "b": nan, "c": nan}, {"a": 3.0, "b": 5.0, "c": nan}])
    assert found["a"] == 2
    assert found["b"] == 5
    assert math.isnan(found["c"])
    assert mean_scores([]) == {}


@pytest.mark.parametrize("name", ["all", "seen speakers", "unseen speakers"])
def test_a_data_set_that_is_called_like_a_row_has_one_of_its_own(geometry, name):
    clips = [loaded_clip("1", 5, set=name), loaded_clip("2", 5, set="s", speaker="zoe")]
    found = groups([result(clip, geometry) for clip in clips], ("ann",))
    named = {row: [r.clip.clip.name for r in members] for row, members in found.items()}
    assert named == {
        "all": ["1", "2"],
        f"{name} (set)": ["1"],
        "s": ["2"],
        "seen speakers": ["1"],
        "unseen speakers": ["2"],
    }
    hits = retrieval(tiny_model(), clips)
    assert set(hits) == {"all", f"{name} (set)", "s"}


def test_rows_of_data_sets_are_never_one():
    names = ["all", "all (set)", "all (set) (set)", "s", "s (set)"]
    assert len({set_row(name) for name in names}) == len(names)


def test_the_static_fraction_of_a_static_face_is_1(geometry):
    clips = [loaded_clip("a", 12), loaded_clip("b", 20, seed=1)]
    found = summarise([result(clip, geometry) for clip in clips])
    for name in FRACTIONS:
        assert found[name] == pytest.approx(1), name


def test_fractions_of_static_are_ratios_of_means(geometry):
    """Not means of ratios: a calm clip weighs no more than it moves."""
    calm, lively = loaded_clip("a", 12), loaded_clip("b", 12, seed=1)
    assert calm.coefficients is not None
    calm.coefficients[:] *= 0.1
    results = [result(calm, geometry), result(lively, geometry, lively.coefficients)]
    assert results[1].sample["lve"] == 0
    found = summarise(results)
    for name, of in FRACTIONS.items():
        static = [r.static[of] for r in results]
        expected = static[0] / (static[0] + static[1])
        assert found[name] == pytest.approx(expected), name
        assert 0 < expected < 0.15, name


def test_fractions_of_static_by_hand():
    """Means over the clips where a figure is defined, the static one in the denominator."""
    nan = float("nan")
    sample = {"lve": 2.0, "lve_mm": 3.0, "eve": 5.0, "fdd_mm_abs": 1.0}
    static = {"lve": 8.0, "lve_mm": 6.0, "eve": 0.0, "fdd_mm_abs": nan}
    other = {"lve": 4.0, "lve_mm": nan, "eve": 1.0, "fdd_mm_abs": nan}
    clip = loaded_clip("a", 2)
    found = summarise(
        [ClipResult(clip, sample, None, static), ClipResult(clip, other, None, other)]
    )
    assert found["lve_of_static"] == pytest.approx((2 + 4) / (8 + 4))
    assert found["lve_mm_of_static"] == pytest.approx(3 / 6)
    assert found["eve_of_static"] == pytest.approx((5 + 1) / (0 + 1))
    assert math.isnan(found["fdd_mm_of_static"])


def test_a_figure_whose_static_one_is_0_has_no_fraction():
    figures = dict.fromkeys(FRACTIONS.values(), 1.0)
    still = {**figures, "eve": 0.0}
    found = summarise([ClipResult(loaded_clip("a", 2), figures, None, still)])
    assert math.isnan(found["eve_of_static"])
    assert [found[name] for name in FRACTIONS if name != "eve_of_static"] == [1, 1, 1]


def test_a_summary_of_nothing_is_undefined():
    found = summarise([])
    assert set(found) == set(FRACTIONS)
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("frames", [1, 12])
def test_references_that_do_not_move_have_no_fraction_of_static(geometry, frames):
    """A clip of one frame, or of a face that stays neutral, must not stop an inference."""
    clip = loaded_clip("a", frames)
    assert clip.coefficients is not None
    clip.coefficients[:] = 0
    found = summarise([result(clip, geometry)])
    assert found["lve"] == 0
    for name in FRACTIONS:
        assert math.isnan(found[name]), name


def test_summaries_of_samples_and_of_their_mean(geometry):
    clip = loaded_clip("a", 12)
    assert clip.coefficients is not None
    sample = score(0.5 * clip.coefficients, clip.coefficients, geometry)
    mean = score(0.8 * clip.coefficients, clip.coefficients, geometry)
    both = [ClipResult(clip, sample, mean, static_scores(clip.coefficients, geometry))]
    assert summarise(both)["lve"] == sample["lve"]
    assert summarise(both, mean_of_samples=True)["lve"] == mean["lve"] < sample["lve"]
    for mean_of_samples, error in ((False, 0.5), (True, 0.2)):
        found = summarise(both, mean_of_samples)
        assert found["lve_of_static"] == pytest.approx(error**2, rel=1e-4)
        assert found["lve_mm_of_static"] == pytest.approx(error, rel=1e-4)
        assert found["eve_of_static"] == pytest.approx(error**2, rel=1e-4)
        assert found["fdd_mm_of_static"] == pytest.approx(error, rel=1e-4)


def test_groups():
    clips = [
        loaded_clip("1", set="grid", speaker="ann"),
        loaded_clip("2", set="grid", speaker="zoe"),
        loaded_clip("3", set="crema", speaker=""),
    ]
    results = [ClipResult(clip, {}, None, {}) for clip in clips]
    found = {
        name: [r.clip.clip.name for r in members]
        for name, members in groups(results, ("ann", "bob")).items()
    }
    assert found == {
        "all": ["1", "2", "3"],
        "crema": ["3"],
        "grid": ["1", "2"],
        "seen speakers": ["1"],
        "unseen speakers": ["2"],
    }
    assert next(iter(found)) == "all"
    assert "unseen speakers" not in groups(results[:1], ("ann",))


# Models ------------------------------------------------------------------------------------------


def clips_of(*frames: int) -> list[LoadedClip]:
    return [loaded_clip(f"c{n}", n, seed=n) for n in frames]


@pytest.mark.parametrize("budget", [4000, 20, 1])
@pytest.mark.parametrize(("kind", "sampler"), [
    ("mel", "ddim"), ("cnn", "ddim"), ("mel", "ancestral"),
])  # fmt: skip
def test_predict_equals_animate(kind, sampler, budget, monkeypatch):
    """Whatever is batched together, and though clips are padded to the longest."""
    monkeypatch.setattr(sampling, "BATCH_FRAMES", budget)
    model = tiny_model(encoder=kind, steps=3, temperature=0.7)
    clips = clips_of(9, 4, 16, 1)
    found = list(predict(model, clips, seeds=[3, 8], sampler=sampler))
    assert sorted(c.clip.name for c, _ in found) == sorted(c.clip.name for c in clips)
    for clip, samples in found:
        assert samples.shape == (2, clip.frames, 52)
        for sample, seed in zip(samples, (3, 8)):
            expected = model.animate(clip.waveform, seed=seed, sampler=sampler).coefficients
            np.testing.assert_allclose(sample, expected, atol=1e-5)


def test_predict_with_other_steps():
    model, clips = tiny_model(steps=3), clips_of(6)
    _, sample = next(predict(model, clips, [0], steps=5))
    expected = model.animate(clips[0].waveform, steps=5).coefficients
    np.testing.assert_allclose(sample[0], expected, atol=1e-5)
    assert np.abs(expected - model.animate(clips[0].waveform).coefficients).max() > 1e-4


def test_no_steps_are_not_the_models_own():
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        next(predict(tiny_model(), clips_of(6), [0], steps=0))


def test_predict_strays_as_far_as_the_model_says():
    """By channel: none of the mouth's deviations from the mean, twice all others."""
    clips = clips_of(6, 9)
    still, plain, found = (
        {c.clip.name: sample[0] for c, sample in predict(tiny_model(steps=3, **own), clips, [4])}
        for own in (
            {"temperature": 0.0, "upper_temperature": 0.0},
            {},
            {"temperature": 0.0, "upper_temperature": 2.0},
        )
    )
    factor = np.where(np.isin(ARKIT_NAMES, list(MOUTH_NAMES)), 0, 2)
    for name, mean in still.items():
        deviation = plain[name] - mean
        assert np.abs(deviation).max() > 1e-3
        np.testing.assert_allclose(found[name], mean + factor * deviation, atol=1e-6)


def test_clips_of_one_length_have_noise_of_their_own():
    """In one batch and with one seed."""
    first, second = loaded_clip("a", 8), loaded_clip("b", 8, seed=1)
    [noise] = sampling._padded_noise([first, second, first], 3, 1, "ddim")
    assert noise.shape == (3, 8, 52)
    assert torch.equal(noise[0], noise[2])
    assert (noise[0] - noise[1]).abs().mean() > 0.5


def test_predict_gives_as_many_frames_as_the_reference():
    """The motion may be a frame shorter or longer than the sound."""
    clip = loaded_clip("a", 10)
    assert clip.coefficients is not None
    shorter = LoadedClip(clip.clip, clip.waveform, clip.coefficients[:8])
    assert next(predict(tiny_model(), [shorter], [0]))[1].shape == (1, 8, 52)


def test_predict_tells_its_progress(monkeypatch):
    monkeypatch.setattr(sampling, "BATCH_FRAMES", 12)
    calls = []
    list(predict(tiny_model(), clips_of(9, 3, 4), [0], progress=lambda *c: calls.append(c)))
    assert calls == [(2, 3), (3, 3)]


def test_evaluate_scores_one_sample_and_the_mean_of_several(geometry):
    model, clips = tiny_model(), clips_of(12, 7)
    results = evaluate(model, clips, built_in(), samples=3, seed=5)
    assert sorted(r.clip.clip.name for r in results) == ["c12", "c7"]
    for found in results:
        reference = found.clip.coefficients
        samples = [model.animate(found.clip.waveform, seed=s).coefficients for s in (5, 6, 7)]
        expected = {
            "sample": score(samples[0], reference, geometry),
            "mean": score(np.mean(samples, axis=0), reference, geometry),
            "static": static_scores(reference, geometry),
        }
        for part, scores in expected.items():
            for name, value in scores.items():
                actual = getattr(found, part)[name]
                assert actual == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True), name
        assert found.mean is not None
        assert found.mean["lve"] != found.sample["lve"]


def test_evaluate_leaves_clips_without_motion_out():
    clips = [loaded_clip("a", 8), loaded_clip("b", 8, moving=False)]
    results = evaluate(tiny_model(), clips, built_in())
    assert [r.clip.clip.name for r in results] == ["a"]
    assert results[0].mean is None
    assert evaluate(tiny_model(), clips[1:], built_in()) == []


def test_evaluate_of_a_model_that_knows_the_truth(monkeypatch):
    """With the reference for a denoiser all errors are gone: nothing is mixed up on the way."""
    clips = clips_of(9, 14, 5)
    model = tiny_model()
    by_length = {clip.frames: clip.coefficients for clip in clips}

    def knowing(denoise, noise, *_):
        found = torch.zeros_like(noise)
        # Batches come in order of length: each row is told from its number of frames.
        for row, frames in enumerate(sorted(by_length)):
            found[row, :frames] = model.normalise(torch.from_numpy(by_length[frames]))
        return found

    monkeypatch.setattr("dtalk.model.sample_ddim", knowing)
    for found in evaluate(model, clips, built_in()):
        assert found.sample["lve"] < 1e-6
        assert found.sample["eve"] < 1e-9
        assert found.sample["opening_r"] > 0.9999


# Retrieval ---------------------------------------------------------------------------------------


def finding(model, names: dict[int, tuple[int, int]], monkeypatch) -> None:
    """Let the model find entries by the length of a clip."""

    def infer(features, lengths, kind=None):
        assert kind == "hard"
        chosen = [names[int(n)] for n in lengths]
        library = model.personalizer
        return (
            library.identity.weights_of(torch.tensor([i for i, _ in chosen])),
            library.emotion.weights_of(torch.tensor([e for _, e in chosen])),
        )

    monkeypatch.setattr(model, "infer_weights", infer)


def test_retrieval_by_hand(monkeypatch):
    model = tiny_model()  # ann, bob, cat; happy, sad
    clips = [
        loaded_clip("1", 3, speaker="ann", emotion="sad", set="t"),  # seen: identity alone
        loaded_clip("2", 4, speaker="bob", emotion="happy"),
        loaded_clip("3", 5, speaker="cat", emotion=""),
        loaded_clip("4", 6, speaker="zoe", emotion="happy"),  # unseen: for emotion
        loaded_clip("5", 7, speaker="", emotion="sad", moving=False),
        loaded_clip("6", 8, speaker="zoe", emotion="bored"),  # known to neither
    ]
    names = {3: (0, 0), 4: (0, 0), 5: (2, 0), 6: (0, 1), 7: (1, 1), 8: (0, 0)}
    finding(model, names, monkeypatch)
    found = retrieval(model, clips)
    assert found.keys() == {"all", "s", "t"}
    assert found["all"] == {"identity": pytest.approx(2 / 3), "emotion": pytest.approx(1 / 2)}
    assert found["s"] == {"identity": pytest.approx(1 / 2), "emotion": pytest.approx(1 / 2)}
    assert found["t"]["identity"] == 1
    assert math.isnan(found["t"]["emotion"])


def test_retrieval_without_anything_to_judge():
    found = retrieval(tiny_model(), [loaded_clip("1", 5, speaker="zoe", emotion="bored")])
    assert found.keys() == {"all"}
    assert found["all"].keys() == {"identity", "emotion"}
    assert all(math.isnan(value) for value in found["all"].values())
    assert all(math.isnan(value) for value in retrieval(tiny_model(), [])["all"].values())


def test_retrieval_with_libraries_without_labels():
    model = tiny_model(identities=(), emotions=())
    found = retrieval(model, clips_of(5, 6))
    assert found.keys() == {"all"}
    assert all(math.isnan(value) for value in found["all"].values())


# Figures -----------------------------------------------------------------------------------------


def test_without_nan():
    nan = float("nan")
    found = without_nan({"a": nan, "b": {"c": np.float64("nan"), "d": 0.0}, "e": "nan", "f": 3})
    assert found == {"a": None, "b": {"c": None, "d": 0.0}, "e": "nan", "f": 3}
    assert without_nan(nan) is None
    assert without_nan({}) == {}


def test_written_figures_are_strict_json(tmp_path):
    path = tmp_path / "new" / "figures.json"
    write_figures({"direct": {"all": {"lve": 1.25, "opening_r": float("nan")}}}, path)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"direct": {"all": {"lve": 1.25, "opening_r": None}}}
    assert "NaN" not in text
    assert text.endswith("}\n")
