"""Arrays for a web page."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load

from dtalk.utils.tensors import METADATA, PackError, describe, pack


def unpacked(data: bytes):
    """What ``viewer/tensors.js`` reads, read here."""
    content = gzip.decompress(data)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = json.loads(header["__metadata__"][METADATA])
    found = load(content)
    for name in metadata["differences"]:
        found[name] = np.cumsum(found[name], axis=-1, dtype=np.int32)
    for name, step in metadata["steps"].items():
        found[name] = found[name] * step
    return found, metadata


def test_floats_stay_and_metadata_is_kept():
    values = np.array([[1.5, -2.25], [0.1, 1e-9]], np.float32)
    found, metadata = unpacked(pack({"a": values}, {"fps": 30.0}))
    np.testing.assert_array_equal(found["a"], values)
    assert metadata == {"fps": 30.0, "steps": {}, "differences": []}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], np.uint8),
        ([0, 256], np.int16),
        ([-1, 0], np.int16),
        ([0, 32768], np.int32),
        ([True, False], np.uint8),
    ],
)
def test_whole_numbers_take_the_fewest_bytes(values, kind):
    data = gzip.decompress(pack({"a": np.array(values)}, {}))
    assert load(data)["a"].dtype == kind


@given(
    arrays.arrays(
        np.float64, arrays.array_shapes(max_dims=3, max_side=5), elements=st.floats(-3, 3)
    ),
    st.booleans(),
)
def test_rounding_is_to_half_a_step(values, differences):
    found, _ = unpacked(pack({"a": values}, {}, {"a": 1e-3}, ["a"] if differences else []))
    assert found["a"].shape == values.shape
    assert np.abs(found["a"] - values).max(initial=0) <= 0.5e-3 + 1e-12


@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 3), st.integers(0, 9))))
def test_differences_of_whole_numbers_are_exact(values):
    steps = np.diff(values.astype(np.int64), axis=-1, prepend=0)
    assume(np.abs(steps).max(initial=0) < 2**31)
    found, _ = unpacked(pack({"a": values}, {}, differences=["a"]))
    np.testing.assert_array_equal(found["a"], values)


def test_an_empty_array_stays_empty():
    found, _ = unpacked(pack({"a": np.zeros((2, 0), int)}, {}, differences=["a"]))
    assert found["a"].shape == (2, 0)


def test_equal_arrays_give_equal_bytes():
    arrays_ = {"b": np.arange(5), "a": np.linspace(0, 1, 4)}
    assert pack(arrays_, {"x": 1}) == pack(dict(arrays_), {"x": 1})


def test_shapes_and_metadata_without_the_arrays() -> None:
    data = pack({"a": np.zeros((2, 3)), "b": np.arange(4)}, {"fps": 25.0}, {"a": 0.1})
    shapes, about = describe(data)
    assert shapes == {"a": [2, 3], "b": [4]}
    assert about["fps"] == 25.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no",
        gzip.compress(b""),
        gzip.compress(b"\xff" * 9),
        gzip.compress(b"\2" + b"\0" * 7 + b"{}"),
    ],
)
def test_no_packed_arrays(data: bytes) -> None:
    with pytest.raises(PackError):
        describe(data)
