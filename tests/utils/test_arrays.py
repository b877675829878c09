"""numpy's files from anyone: bounded, and one error for whatever is wrong."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dtalk.utils.arrays import NUMPY_DAMAGE, ArrayFileError, read_npy, read_npz


@pytest.fixture
def npz(tmp_path) -> Path:
    np.savez(tmp_path / "a.npz", a=np.arange(5), b=np.array(["x"]), c=np.ones((2, 3), np.float16))
    return tmp_path / "a.npz"


def test_only_what_is_named_is_read(npz):
    found = read_npz(npz, ("a", "c", "missing"))
    assert found.keys() == {"a", "c"}
    np.testing.assert_array_equal(found["a"], np.arange(5))


def test_a_member_that_is_not_asked_for_is_not_unpacked(npz):
    with zipfile.ZipFile(npz, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(1 << 20))
    assert read_npz(npz, ["a"], most=1 << 16).keys() == {"a"}
    with pytest.raises(ArrayFileError, match="more than 0 MB"):
        read_npz(npz, ["a", "bomb"], most=1 << 16)


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_characters_that_are_none_are_refused(tmp_path, code, order):
    """numpy reads them, and Python then ends in a SystemError, or cannot write them."""
    names = np.array([["jaw", "Open"]], f"{order}U4")
    names.view(f"{order}u4")[0, 5] = code
    np.savez(tmp_path / "a.npz", names=names, text=np.array("\U0010ffff\ud7ff\ue000", f"{order}U3"))
    with pytest.raises(ArrayFileError, match="names holds characters that are none"):
        read_npz(tmp_path / "a.npz", ["names"])
    assert read_npz(tmp_path / "a.npz", ["text"])["text"] == "\U0010ffff\ud7ff\ue000"


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_bounded(tmp_path, kind):
    """A few kilobytes in a file can be millions of empty names."""
    np.savez_compressed(tmp_path / "a.npz", names=np.zeros((1 << 22) + 1, f"{kind}1"))
    with pytest.raises(ArrayFileError, match="names holds more than 4 MB of text"):
        read_npz(tmp_path / "a.npz", ["names"])


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ArrayFileError, match="a is a pickled object"):
        read_npz(tmp_path / "a.npz", ["a"])


def test_a_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a", "text")
        archive.writestr("b.npy", "text")
    for name in "ab":
        with pytest.raises(ArrayFileError, match=f"{name} is no array|damaged"):
            read_npz(tmp_path / "a.npz", [name])


def test_an_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    found = read_npy(tmp_path / "a.npy")
    assert not isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, np.eye(3))
    with pytest.raises(ArrayFileError, match="more than 0 MB"):
        read_npy(tmp_path / "a.npy", most=50)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(2, 3", "(-4,)", "(1.5,)", "()"])
def test_a_header_that_promises_much(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = header.encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ArrayFileError):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("read", [lambda path: read_npz(path, ["a"]), read_npy])
@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"PK\x03\x04", b"text", bytes(99)])
def test_other_files(tmp_path, read, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArrayFileError):
        read(tmp_path / "a")


def test_the_list_of_numpy_s_errors_is_complete_as_far_as_a_thousand_damaged_files_show(tmp_path):
    """Whatever a damaged file raises is in the list: found by flipping bytes, always the same."""
    stored, packed = io.BytesIO(), io.BytesIO()
    np.savez(stored, a=np.arange(50), b=np.array(["jawOpen"]))
    np.savez_compressed(packed, a=np.arange(50), b=np.array(["jawOpen"]))
    single = io.BytesIO()
    np.save(single, np.ones((4, 5), np.float32))
    generator = np.random.default_rng(0)
    path = tmp_path / "a"
    raised = set()
    for source, read in ((stored, "npz"), (packed, "npz"), (single, "npy")):
        for _ in range(400):
            data = bytearray(source.getvalue())
            places = generator.integers(0, len(data), generator.integers(1, 6))
            for place in places:
                data[place] = generator.integers(0, 256)
            path.write_bytes(data[: generator.integers(len(data) // 2, len(data) + 1)])
            try:
                if read == "npz":
                    read_npz(path, ["a", "b"], most=1 << 20)
                else:
                    read_npy(path, most=1 << 20)
            except (ArrayFileError, OSError) as error:
                raised.add(type(error.__cause__ or error))
    assert len(raised & set(NUMPY_DAMAGE)) >= 3
