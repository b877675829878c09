"""Systems side by side: models and folders of predictions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import loaded_clip, smooth_motion, tiny_model
from systems import DATA, clips_of, judged, write_predictions

from dtalk.errors import DataError
from dtalk.evaluation.comparison import evaluate_folder, evaluate_model
from dtalk.heads.head import built_in
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion


def test_references_against_themselves_are_perfect(tmp_path):
    clips = clips_of(40, 31)
    found = judged(write_predictions(tmp_path / "true", clips), clips).tables["sample"]["all"]
    errors = {key for key in found if key.startswith(("lve", "eve", "fdd"))}
    assert len(errors) == 12
    assert {key: found[key] for key in errors} == dict.fromkeys(errors, 0.0)
    for key in ("opening_r", "rounding_r", "acceleration"):
        assert found[key] == pytest.approx(1), key


def test_a_folder_written_by_animate_scores_as_the_model(tmp_path):
    clips, model = clips_of(12, 5, 9), tiny_model(identities=("ann",))
    for clip in clips:
        made = model.animate(clip.waveform, seed=3)
        write_motion(Motion(made.coefficients), tmp_path / f"{clip.clip.name}.csv")
    ours = evaluate_model(model, "model", clips, built_in(), seed=3)
    theirs = judged(tmp_path, clips)
    assert ours.tables["sample"].keys() == theirs.tables["sample"].keys()
    for group, scores in ours.tables["sample"].items():
        for key, value in scores.items():
            found = theirs.tables["sample"][group][key]
            assert found == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (group, key)
    assert "retrieval" not in theirs.tables


def test_results_are_in_the_order_of_the_data(tmp_path):
    """A model works in the order of length."""
    clips = clips_of(12, 5, 9)
    for system in (
        evaluate_model(tiny_model(), "model", clips, built_in()),
        judged(write_predictions(tmp_path, clips), clips),
    ):
        assert [result.clip.clip.name for result in system.results] == ["c12", "c5", "c9"]


def test_what_a_folder_lacks_or_breaks_is_named_and_left_out(tmp_path):
    clips = [*clips_of(12, 5, 9, 20), loaded_clip("quiet", 8, moving=False)]
    write_predictions(tmp_path, clips[:2])
    (tmp_path / "c5.npz").write_text("no motion")
    write_motion(Motion(smooth_motion(60)), tmp_path / "c9.npz")
    calls: list[tuple[int, int]] = []
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    system = evaluate_folder(tmp_path, "x", clips, DATA, (), built_in(), progress)
    assert [result.clip.clip.name for result in system.results] == ["c12"]
    assert len(system.failures) == 3
    assert system.failures[0].startswith("c5: ")
    assert "60 frames" in system.failures[1]
    assert system.failures[2] == f"c20: {tmp_path} holds no prediction"
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert system.tables["sample"]["all"]["clips"] == 1


def test_a_folder_that_predicts_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such folder of predictions: .*missing"):
        judged(tmp_path / "missing", clips_of(5))
    with pytest.raises(DataError, match=r"predicts no clip of /data: c5: .* holds no prediction"):
        judged(tmp_path, clips_of(5))
    with pytest.raises(DataError, match="there is no clip with motion"):
        judged(tmp_path, [loaded_clip("quiet", 8, moving=False)])


def test_vertices_of_another_head_are_named(tmp_path):
    clips = clips_of(6)
    np.save(tmp_path / "c6.npy", np.zeros((6, 5023, 3), np.float32))
    count = len(built_in().vertices)
    with pytest.raises(DataError, match=rf"c6.npy has 5023 vertices a frame, the head {count}"):
        judged(tmp_path, clips)


@pytest.mark.parametrize("wrong", ["another head", "millimetres"])
def test_vertices_that_do_not_fit_stop_no_others(tmp_path, wrong):
    clips, own = clips_of(6, 7), built_in().vertices
    face = own[:100] if wrong == "another head" else 1000 * own
    np.save(tmp_path / "c6.npy", np.tile(face, (6, 1, 1)))
    np.save(tmp_path / "c7.npy", np.tile(own, (7, 1, 1)))
    system = judged(tmp_path, clips)
    assert [result.clip.clip.name for result in system.results] == ["c7"]
    [line] = system.failures
    assert line.startswith(f"c6: {tmp_path / 'c6.npy'} ")
    assert ("in metres" in line) == (wrong == "millimetres")


def test_several_samples_tell_their_diversity():
    (clip,), model, head = clips_of(12), tiny_model(), built_in()
    samples = [model.animate(clip.waveform, seed=seed).coefficients for seed in (0, 1)]
    first, second = (head.deform(sample)[:, head.lips] * 1000 for sample in samples)
    expected = np.linalg.norm(first - second, axis=-1).mean()
    found = evaluate_model(model, "m", [clip], head, samples=2).tables["sample"]["all"]
    assert found["diversity"] == pytest.approx(expected, rel=1e-3)
    assert expected > 0.1
    assert "diversity" not in evaluate_model(model, "m", [clip], head).tables["sample"]["all"]
