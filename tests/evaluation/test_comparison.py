"""Systems side by side: folders of predictions, intervals, and the files with all figures."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import loaded_clip, smooth_motion, tiny_model

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.evaluation.bootstrap import add_intervals, difference
from dtalk.evaluation.comparison import System, evaluate_folder, evaluate_model
from dtalk.evaluation.config import EvaluationConfig
from dtalk.evaluation.evaluate import OF_STATIC, ClipResult, summarise
from dtalk.evaluation.report import write_clips, write_plots, write_report, write_table
from dtalk.heads.head import built_in
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion

DATA = Path("/data")


def clips_of(*frames: int) -> list[LoadedClip]:
    return [loaded_clip(f"c{n}", n, seed=n, speaker="ann") for n in frames]


def write_predictions(folder: Path, clips: list[LoadedClip], factor: float = 1.0) -> Path:
    for clip in clips:
        assert clip.coefficients is not None
        write_motion(Motion(factor * clip.coefficients), folder / f"{clip.clip.name}.npz")
    return folder


def judged(folder: Path, clips: list[LoadedClip], seen: tuple[str, ...] = ("ann",)) -> System:
    return evaluate_folder(folder, folder.name, clips, DATA, seen, built_in())


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


# How sure ----------------------------------------------------------------------------------------


def system(name: str, clips: list[LoadedClip], values: list[float]) -> System:
    """A system with one figure that matters; a static face scores 10 everywhere."""
    keys = [*OF_STATIC.values(), "opening_r"]
    results = [
        ClipResult(clip, dict.fromkeys(keys, value), None, dict.fromkeys(keys, 10.0))
        for clip, value in zip(clips, values)
    ]
    return System(name, results, {"sample": {"all": summarise(results)}})


def test_intervals_hold_the_figure_they_belong_to():
    clips = clips_of(*range(2, 22))
    values = list(np.random.default_rng(0).uniform(2, 4, 20))
    only = system("a", clips, values)
    add_intervals([only])
    scores = only.tables["sample"]["all"]
    assert set(only.tables["intervals"]) == set(scores)
    for key, (low, high) in only.tables["intervals"].items():
        assert low < scores[key] < high, key
    low, high = only.tables["intervals"]["lve"]
    assert only.tables["intervals"]["lve_of_static"] == pytest.approx((low / 10, high / 10))
    assert "difference" not in only.tables


def test_a_difference_is_judged_clip_by_clip():
    """Clips differ much more than the systems do: paired, that does not hide the difference."""
    clips = clips_of(*range(2, 22))
    values = np.random.default_rng(0).uniform(0, 100, 20)
    first, worse = system("a", clips, list(values)), system("b", clips, list(values + 1))
    add_intervals([first, worse])
    assert worse.tables["difference"]["lve"] == pytest.approx((1, 1))
    assert worse.tables["difference"]["lve_of_static"] == pytest.approx((0.1, 0.1))
    assert "difference" not in first.tables
    (low, high), (less, more) = (s.tables["intervals"]["lve"] for s in (first, worse))
    assert less < high
    assert low < more


def test_only_common_clips_tell_a_difference():
    clips = clips_of(*range(2, 12))
    first = system("a", clips, [1.0] * 10)
    other = system("b", clips[4:], [3.0] * 6)
    assert difference(first, other)["lve"] == pytest.approx((2, 2))
    none_common = difference(first, system("c", clips_of(40), [1.0]))
    assert none_common == {}


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
