"""FLAME's files, whatever their kind, and their shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flames import (
    small,
    with_chumpy,
    write_pickle,
)
from rigs import write_npz

from dtalk.errors import HeadError
from dtalk.heads.flame import read_flame
from dtalk.heads.flame_head import FlameHead


def test_pkl_with_and_without_chumpy_and_npz_hold_the_same(tmp_path: Path) -> None:
    content = small()
    files = [
        with_chumpy(content, tmp_path / "chumpy.pkl"),
        write_pickle(tmp_path / "plain.pkl", content),
        write_pickle(tmp_path / "new.pkl", content, 4),
        write_npz(tmp_path / "arrays.npz", content),
    ]
    for flame in map(read_flame, files):
        np.testing.assert_array_equal(flame.template, content["v_template"].astype(np.float32))
        np.testing.assert_array_equal(flame.faces, content["f"])
        directions = content["shapedirs"].astype(np.float32)
        np.testing.assert_array_equal(flame.shapes, directions[:, :, :300])
        np.testing.assert_array_equal(flame.expressions, directions[:, :, 300:])
        np.testing.assert_array_equal(flame.pose, content["posedirs"].astype(np.float32))
        np.testing.assert_array_equal(flame.weights, content["weights"].astype(np.float32))
        regressor = content["J_regressor"].toarray().astype(np.float32)
        np.testing.assert_array_equal(flame.regressor, regressor)


def test_fewer_shapes_leave_no_expressions(tmp_path: Path) -> None:
    content = small()
    content["shapedirs"] = content["shapedirs"][:, :, :10]
    flame = read_flame(write_npz(tmp_path / "few.npz", content))
    assert flame.shapes.shape[2] == 10
    assert flame.expressions.shape[2] == 0


def test_too_many_or_absurd_betas(head: FlameHead) -> None:
    with pytest.raises(HeadError, match="301 numbers, this head takes 300"):
        head.flame.shaped([0.1] * 301)
    for beta in (np.inf, np.nan, -1e30, 100.5):
        with pytest.raises(HeadError, match="numbers of -100 to 100"):
            head.flame.shaped([0.5, beta])
