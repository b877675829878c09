"""Loading of heads: what does not fit is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flames import (
    SKIN,
    FullSize,
    fake_classes,
    instance,
    small,
    write_pickle,
)
from rigs import BALLS, write_npz

from dtalk.errors import HeadError
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import built_in
from dtalk.heads.load import load_head, parse_shape, with_masks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"v_template": None, "weights": None}, "it lacks v_template, weights"),
        ({"v_template": np.zeros((40, 2))}, r"v_template must be \[V, 3\], got \[40, 2\]"),
        ({"f": np.zeros((9, 4), int)}, r"f must be \[F, 3\], got \[9, 4\]"),
        ({"f": np.full((9, 3), 40)}, "f points outside the 40 vertices"),
        ({"shapedirs": np.zeros((39, 3, 400))}, r"shapedirs must be \[40, 3, N\], got \[39, 3"),
        ({"shapedirs": np.zeros(())}, "shapedirs is no array of numbers"),
        ({"shapedirs": np.zeros((40, 3))}, r"shapedirs must be \[40, 3, N\], got \[40, 3\]"),
        ({"posedirs": np.zeros((40, 3, 207))}, r"posedirs must be \[40, 3, 36\], got"),
        ({"J_regressor": np.zeros((24, 40))}, r"J_regressor must be \[5, 40\], got \[24, 40\]"),
        ({"weights": np.zeros((40, 24))}, r"weights must be \[40, 5\], got \[40, 24\]"),
        ({"kintree_table": np.zeros((2, 5), int)}, "kintree_table does not join root, neck"),
        ({"kintree_table": np.zeros((2, 24), int)}, r"kintree_table must be \[2, 5\]"),
        ({"posedirs": np.full((40, 3, 36), np.nan)}, "posedirs holds values that are not finite"),
        ({"weights": [1, 2]}, "weights is no array of numbers"),
        ({"v_template": np.array(["x"])}, "v_template is no array of numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    content = {k: v for k, v in (small() | changes).items() if v is not None}
    path = write_pickle(tmp_path / "bad.pkl", content)
    with pytest.raises(HeadError, match=what) as caught:
        load_head(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_flame_model(tmp_path: Path) -> None:
    def refused(path: Path, what: str) -> None:
        with pytest.raises(HeadError, match=what) as caught:
            load_head(str(path))
        assert str(path) in str(caught.value)

    refused(tmp_path / "none.pkl", "no such file")
    refused(tmp_path / "none.npz", "No such file")
    refused(write_pickle(tmp_path / "list.pkl", [1]), "no dictionary")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "no npz file, or damaged")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    refused(tmp_path / "one.npz", "no npz file, or damaged")
    objects = small() | {"J_regressor": np.array([{}], dtype=object)}
    refused(write_npz(tmp_path / "objects.npz", objects), "J_regressor is a pickled object")
    with fake_classes("chumpy.ch.MatVecMult") as (product,):
        opaque = small() | {"J_regressor": instance(product, mtx=1)}
        write_pickle(tmp_path / "opaque.pkl", opaque)
    refused(tmp_path / "opaque.pkl", "J_regressor is chumpy.ch.MatVecMult")


def test_a_hostile_model_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = write_pickle(tmp_path / "evil.pkl", small() | {"bs_style": Evil()})
    with pytest.raises(HeadError, match="asks for"):
        load_head(path)
    assert not (tmp_path / "ran").exists()


def test_a_model_without_eyeballs_is_told(tmp_path: Path) -> None:
    content = small()
    content["weights"] = np.tile([0, 0.6, 0.4, 0, 0], (40, 1))
    with pytest.raises(HeadError, match="no eyeballs"):
        load_head(write_pickle(tmp_path / "blind.pkl", content))


def test_a_model_without_a_face_is_told(full: FullSize, tmp_path: Path) -> None:
    flat = full.content | {"v_template": 0 * full.content["v_template"]}
    with pytest.raises(HeadError, match="no face was found in it: its eyes lie in one place"):
        load_head(write_pickle(tmp_path / "flat.pkl", flat), cache=tmp_path)
    skin = full.content["v_template"].copy()
    skin[:SKIN] -= 5
    away = full.content | {"v_template": skin}
    with pytest.raises(HeadError, match="neither nose nor mouth below its eyes"):
        load_head(write_pickle(tmp_path / "away.pkl", away), cache=tmp_path)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("0.5,-1, 2e-1", (0.5, -1, 0.2)), (" ", ()), ("3", (3,))]
)
def test_shape_is_read(text: str, numbers: tuple[float, ...]) -> None:
    assert parse_shape(text) == numbers


@pytest.mark.parametrize("text", ["a", "1,,2", "1;2", ","])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(HeadError, match="write numbers like"):
        parse_shape(text)


def test_masks_replace_regions(head: FlameHead, tmp_path: Path) -> None:
    masks = {
        "lips": np.array([5, 3, 3]),
        "forehead": np.array([7, 8]),
        "eye_region": np.array([8, 9, SKIN + 4]),
        "left_eyeball": BALLS["Left"],
    }
    masked = with_masks(head, write_pickle(tmp_path / "masks.pkl", masks))
    assert masked.lips.tolist() == [3, 5]
    assert masked.upper_face.tolist() == [7, 8, 9]
    assert masked.opening == head.opening


@pytest.mark.parametrize(
    ("masks", "what"),
    [
        ({"face": np.array([1])}, "no dictionary with `lips`"),
        ([1], "no dictionary"),
        ({"lips": np.array([1])}, "lacks `forehead`"),
        ({"lips": np.array([5023]), "forehead": np.array([1])}, "lips points outside the 5023"),
        ({"lips": np.array([0.5]), "forehead": np.array([1])}, "lips is no list of vertices"),
        ({"lips": np.array([1]), "forehead": np.array([-1])}, "forehead points outside"),
    ],
)
def test_masks_that_do_not_fit(head: FlameHead, tmp_path: Path, masks: Any, what: str) -> None:
    path = write_pickle(tmp_path / "masks.pkl", masks)
    with pytest.raises(HeadError, match=what) as caught:
        with_masks(head, path)
    assert str(path) in str(caught.value)


def test_shape_and_masks_are_for_flame(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="name it with --head"):
        load_head(None, (1.0,))
    with pytest.raises(HeadError, match="name it with --head"):
        load_head(None, masks=tmp_path)
    assert load_head() is built_in()
