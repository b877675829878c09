"""Pickles: what files of arrays hold comes through exactly; nothing of a hostile one runs."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flames import fake_classes, instance, write_pickle
from scipy import sparse

from dtalk.errors import DtalkError, PickleError
from dtalk.utils.pickles import Opaque, load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
TABLE = np.arange(12, dtype=np.float64).reshape(3, 4) / 7


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "file.pkl"


def read(place: Path, content: bytes) -> Any:
    place.write_bytes(content)
    return load_pickle(place)


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts if self.parts[2] is not None else self.parts[:2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        TABLE,
        np.asfortranarray(TABLE),
        TABLE[::2, ::-1],
        TABLE.astype(">f4"),
        np.arange(5, dtype=np.uint32),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 3), dtype=np.int64),
        np.array(["lip", "jaw bone"]),
        np.array([b"a", b"\xff\x00b"]),
        np.array([1 + 2j]),
    ],
    ids=str,
)
def test_arrays_come_through(place: Path, array: np.ndarray, protocol: int) -> None:
    found = load_pickle(write_pickle(place, {"a": array}, protocol))["a"]
    assert type(found) is np.ndarray
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_things_come_through(place: Path, protocol: int) -> None:
    content = {
        "numbers": [1, -2.5, 10**30, True, None],
        "texts": ("a", "Zürich", b"\x00\xff", b""),
        "sets": [{1, 2}, frozenset({3})],
        "ordered": OrderedDict([("z", 1), ("a", TABLE)]),
        "scalar": np.float32(0.25),
        "nested": {1: {"x": [TABLE[0]]}},
    }
    found = load_pickle(write_pickle(place, content, protocol))
    assert list(found) == list(content)
    assert found["numbers"] == content["numbers"]
    assert found["texts"] == content["texts"]
    assert found["sets"] == content["sets"]
    assert list(found["ordered"]) == ["z", "a"]
    assert found["scalar"] == np.float32(0.25)
    np.testing.assert_array_equal(found["nested"][1]["x"][0], TABLE[0])


def test_python_2_wrote_strings_and_arrays_as_bytes_without_a_type(place: Path) -> None:
    """By hand, the opcodes of Python 2.7's cPickle, protocol 2."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
        b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\x09U\x02i2q\x0aK\x00"
        b"K\x01\x87q\x0bRq\x0c(K\x03U\x01>q\x0dNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0e"
        b"b\x89U\x04\x00\x07\xff\xfeq\x0ftq\x10b"
    )
    found = read(place, b"\x80\x02}q\x00U\x03a\xe9bq\x01" + array + b"s.")
    assert list(found) == ["a\xe9b"]
    np.testing.assert_array_equal(found["a\xe9b"], np.array([7, -2], dtype=np.int16))


def test_python_2_rebuilt_instances_through_copy_reg(place: Path) -> None:
    """Protocol 0: ``copy_reg._reconstructor(chumpy.ch.Ch, object, None)``, then its state."""
    made = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR"
    assert read(place, made + b"(dS'x'\nI5\nsb.") == 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("suffix", ["matrix", "array"])
def test_sparse_matrices_come_through(place: Path, protocol: int, kind: str, suffix: str) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    matrix = getattr(sparse, f"{kind}_{suffix}")(dense)
    found = load_pickle(write_pickle(place, [matrix], protocol))[0]
    assert found.shape == (2, 3)
    np.testing.assert_array_equal(found.toarray(), dense)


def test_an_old_scipys_sparse_matrix(place: Path) -> None:
    with fake_classes("scipy.sparse.csc.csc_matrix") as (csc,):
        parts = {"indices": np.array([1, 0]), "indptr": np.array([0, 1, 2, 2]), "_shape": (2, 3)}
        write_pickle(place, instance(csc, data=np.array([2, 1.5]), maxprint=50, **parts))
    np.testing.assert_array_equal(load_pickle(place).toarray(), [[0, 1.5, 0], [2, 0, 0]])


@pytest.mark.parametrize("indices", [[1, 2**40], [1, 2], [-1, 0]])
def test_a_sparse_matrix_that_points_outside_is_refused(place: Path, indices: list[int]) -> None:
    with fake_classes("scipy.sparse.csc.csc_matrix") as (csc,):
        parts = {"indices": np.array(indices), "indptr": np.array([0, 1, 2, 2]), "_shape": (2, 3)}
        write_pickle(place, instance(csc, data=np.array([2, 1.5]), **parts))
    with pytest.raises(PickleError, match="damaged"):
        load_pickle(place)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpy_objects_become_their_arrays(place: Path, protocol: int) -> None:
    with fake_classes("chumpy.ch.Ch", "chumpy.reordering.Select", "chumpy.ch.MatVecMult") as found:
        ch, select, product = found
        leaf = instance(ch, x=TABLE, _dirty_vars={"x"}, _itr=None)
        part = instance(select, a=leaf, idxs=np.array([5, 0, 11, 1]), preferred_shape=(2, 2))
        flat = instance(select, a=leaf, idxs=np.array([3]))
        other = instance(product, mtx=1, vec=leaf)
        write_pickle(place, [leaf, part, flat, other], protocol)
    leaf, part, flat, other = load_pickle(place)
    np.testing.assert_array_equal(leaf, TABLE)
    np.testing.assert_array_equal(part, np.array([[5, 0], [11, 1]]) / 7)
    np.testing.assert_array_equal(flat, [3 / 7])
    assert isinstance(other, Opaque)
    assert other.name == "chumpy.ch.MatVecMult"


def test_objects_in_arrays_are_resolved_as_all_others(place: Path) -> None:
    array = np.array([{"a": TABLE}, None, "x"], dtype=object)
    found = load_pickle(write_pickle(place, array))
    np.testing.assert_array_equal(found[0]["a"], TABLE)
    assert list(found[1:]) == [None, "x"]


def test_a_shared_array_stays_shared(place: Path) -> None:
    found = load_pickle(write_pickle(place, [TABLE, {"again": TABLE}]))
    assert found[1]["again"] is TABLE or found[1]["again"] is found[0]


# --- hostile ones -----------------------------------------------------------------------------


def _system(path: Path) -> Any:
    return Calls(os.system, f"touch {path}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_command_runs(place: Path, tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    write_pickle(place, {"v_template": _system(trace)}, protocol)
    with pytest.raises(PickleError, match=r"asks for (posix|nt)\.system") as caught:
        load_pickle(place)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os system", "posix system", "subprocess Popen", "builtins eval", "builtins exec",
        "__builtin__ eval", "builtins getattr", "builtins __import__", "builtins open",
        "builtins type", "builtins bytearray", "builtins list", "functools partial",
        "functools reduce", "operator attrgetter", "importlib import_module",
        "copyreg add_extension", "copyreg __newobj__", "copy_reg constructor", "copyreg pickle",
        "_codecs decode", "codecs encode", "collections namedtuple",
        "collections defaultdict", "numpy load", "numpy fromfile", "numpy memmap",
        "numpy save", "numpy core", "numpy ufunc",
        "numpy.core.multiarray fromfile", "numpy._core.multiarray fromstring",
        "numpy._core._internal _ctypes", "numpy.testing._private.utils runstring",
        "scipy.sparse save_npz", "scipy.sparse lil_matrix", "scipy.sparse._csc issparse",
        "scipy csc_matrix", "scipy.sparse.csc.evil csc_matrix", "chumpyevil Ch",
        "dtalk.utils.pickles Path",
    ],
)  # fmt: skip
def test_other_names_are_refused_even_uncalled(place: Path, name: str) -> None:
    module, attribute = name.split()
    by_line = f"c{module}\n{attribute}\n0N.".encode()
    with pytest.raises(PickleError, match=r"asks for [\w.]+, which no file of arrays needs"):
        read(place, by_line)
    module_text, attribute_text = (struct.pack("<B", len(t)) + t.encode() for t in name.split())
    by_stack = b"\x80\x04\x8c" + module_text + b"\x8c" + attribute_text + b"\x93."
    with pytest.raises(PickleError, match=attribute):
        read(place, by_stack)


@pytest.mark.parametrize(
    "name",
    ["numpy ndarray.tofile", "numpy dtype.__reduce__", "builtins object.__subclasses__",
     "numpy.core.multiarray _reconstruct.__globals__", "collections OrderedDict.__init__",
     "chumpy.ch Ch.__globals__", "_codecs encode.__self__"],
)  # fmt: skip
def test_dotted_names_lead_nowhere(place: Path, name: str) -> None:
    module, attribute = (struct.pack("<B", len(t)) + t.encode() for t in name.split())
    with pytest.raises(PickleError, match="which no file of arrays needs"):
        read(place, b"\x80\x04\x8c" + module + b"\x8c" + attribute + b"\x93.")


GETATTR_STATE = b"}(\x8c\x09__class__\x8c\x01xu"  # {"__class__": "x"}


@pytest.mark.parametrize(
    "target",
    [b"cchumpy.ch\nCh\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n",
     b"cnumpy.core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n", b"cbuiltins\nset\n",
     b"ccopyreg\n_reconstructor\n", b"cscipy.sparse\ncsc_matrix\n"],
)  # fmt: skip
def test_classes_cannot_be_changed_by_a_state(place: Path, target: bytes) -> None:
    """BUILD on the class itself, with a dictionary and with the state of slots."""
    from dtalk.utils import pickles

    kinds = {*pickles._ALLOWED.values(), pickles._Chumpy, pickles._Sparse}
    before = {kind: dict(vars(kind)) for kind in kinds}
    state = b"(S'value'\nS'x'\nS'__setstate__'\nNd"
    for hostile in (state, b"N" + state + b"\x86"):
        with pytest.raises(PickleError):
            read(place, b"\x80\x02" + target + hostile + b"b.")
    assert {kind: dict(vars(kind)) for kind in kinds} == before


@pytest.mark.parametrize("attribute", ["__class__", "value", "args", "__setstate__", "state"])
def test_states_of_instances_are_kept_not_set(place: Path, attribute: str) -> None:
    name = f"S'{attribute}'\n".encode()
    made = b"\x80\x02cchumpy.ch\nCh\n)\x81"
    for state in (b"(" + name + b"NdS'x'\nI5\ns", b"(S'x'\nI5\nd(" + name + b"Nd\x86"):
        found = read(place, made + state + b"b.")
        assert found == 5 or isinstance(found, Opaque)


@pytest.mark.parametrize(
    "dtype",
    [Calls(np.dtype, "V8"), np.dtype([("a", "O")]), np.dtype("M8[s]"), np.dtype("(2,)f8"),
     np.dtype({"names": ["a"], "formats": ["f8"], "offsets": [64], "itemsize": 128})],
    ids=["raw", "objects", "times", "parts", "wide"],
)  # fmt: skip
def test_types_of_structures_and_raw_memory_are_refused(place: Path, dtype: Any) -> None:
    reduced = np.zeros(1).__reduce__()
    state = (1, (1,), dtype, False, b"\x41" * 8)
    with pytest.raises(PickleError, match="no plain number"):
        load_pickle(write_pickle(place, Calls(reduced[0], *reduced[1], state=state)))


def test_raw_memory_never_becomes_pointers_to_objects(place: Path) -> None:
    reduced = np.zeros(1).__reduce__()
    state = (1, (1,), np.dtype("O"), False, b"\x41" * 8)
    with pytest.raises(PickleError, match="objects given as raw memory"):
        load_pickle(write_pickle(place, Calls(reduced[0], *reduced[1], state=state)))
    hidden = Calls(reduced[0], *reduced[1], state=(1, (1,), np.dtype("O"), False, [_system(place)]))
    with pytest.raises(PickleError, match="system"):
        load_pickle(write_pickle(place, hidden))


@pytest.mark.parametrize("shape", [(2**40,), (-1, 3), (5,), (2**62, 2**62), "x"])
def test_a_shape_must_fit_its_bytes(place: Path, shape: Any) -> None:
    reduced = np.zeros(1).__reduce__()
    state = (1, shape, np.dtype("f8"), False, b"\0" * 32)
    with pytest.raises(PickleError, match="damaged"):
        load_pickle(write_pickle(place, Calls(reduced[0], *reduced[1], state=state)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "Invalid argument|damaged"),
        (b"not a pickle at all", "damaged"),
        (b"\x80\x09N.", "damaged"),
        (b"\x80\x02Nq\xff.", "counts"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "counts"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00abc.", "damaged"),
        (b"\x80\x05\x96" + b"\xff" * 6 + b"\x00\x00abc.", "damaged"),
        (b"\x80\x02]q\x00h\x00a.", "contains itself"),
        (b"\x80\x02}q\x00K\x01h\x00s.", "contains itself"),
        (b"(" * 100000 + b"l" * 100000 + b".", "nested too deeply|damaged"),
        (b"]" * 100000 + b"a" * 99999 + b".", "nested too deeply"),
        (b"\x80\x02}N" + b"\x85" * 10**6 + b"Ns.", "more tuples"),
        (b"\x80\x02}N" + b"\x85" * 40000 + b"Ns.", "nested too deeply"),
        (b"\x80\x02\x82\x01.", "by a number"),
        (b"Pid\n.", "damaged"),
        (b"\x80\x05\x97.", "damaged"),
        (b"c_codecs\nencode\n(Vabc\nVpunycode\ntR.", "encodes text as 'punycode'"),
        (b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.", "computes bytes"),
        (b"cchumpy.ch\nCh\n.", "holds a chumpy.ch.Ch"),
        (b"cnumpy\nndarray\n)R.", "bare ndarray"),
        (b"ccopyreg\n_reconstructor\n(cnumpy\nndarray\ncbuiltins\nobject\nNtR.", "rebuilds"),
        (b"ccopyreg\n_reconstructor\n(cchumpy.ch\nCh\ncbuiltins\nset\n(ltR.", "rebuilds"),
        (b"cnumpy\ndtype\n(S'f8'\ntR\x85R.", "damaged"),
    ],
)  # fmt: skip
def test_damaged_ones_are_told_in_one_line(place: Path, content: bytes, what: str) -> None:
    with pytest.raises(PickleError, match=what) as caught:
        read(place, content)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_anywhere(place: Path) -> None:
    whole = pickle.dumps({"a": TABLE, "b": [1, "x"]}, 2)
    for end in range(len(whole)):
        with pytest.raises(PickleError):
            read(place, whole[:end])


def test_any_changed_byte_gives_arrays_or_one_line(place: Path) -> None:
    whole = bytearray(pickle.dumps({"a": TABLE, "b": [1, "x"], "c": sparse.csc_array(TABLE)}, 2))
    generator = np.random.default_rng(0)
    for _ in range(1500):
        changed = whole.copy()
        changed[generator.integers(len(whole))] = generator.integers(256)
        with contextlib.suppress(PickleError):
            read(place, bytes(changed))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DtalkError, match="no such file"):
        load_pickle(tmp_path / "none.pkl")
    with pytest.raises(DtalkError, match="cannot read"):
        load_pickle(tmp_path)
