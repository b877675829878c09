"""Pickles of arrays, read without running anything that they name.

A pickle is a program. This reader knows the few names that files of arrays need (numpy, sparse
matrices, chumpy, plain containers) and refuses every other one. Not even those few are what they
are called: each name gives a passive stand-in that keeps what it is handed, and when the pickle is
through, the stand-ins are checked and turned into arrays. So nothing of numpy's or scipy's own
unpickling, which trusts its input, is ever reached.
"""

from __future__ import annotations

import math
import mmap
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dtalk.errors import PickleError
from dtalk.utils.opcodes import check_opcodes

_DTYPE = re.compile(r"([<>|=]?)(b1|\?|[iufc](?:1|2|4|8|16)|[SU]\d{1,6}|O(?:4|8)?)")
_SPARSE_MODULE = re.compile(r"scipy\.sparse(\._?(csc|csr|coo))?")
_SPARSE_NAME = re.compile(r"(csc|csr|coo)_(?:matrix|array)")
# Of one container, which an array may be made of; what is there twice counts twice.
_MOST_ITEMS = 1 << 24
_MOST_CELLS = 1 << 27  # of a sparse matrix: others may write all of them out


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of arrays, such as FLAME's and VOCASET's files, of Python 2 or 3.

    Arrays become numpy arrays (in C order and this machine's byte order), sparse matrices scipy's
    sparse arrays, chumpy objects the arrays they stand for; those that cannot be told without
    chumpy become :class:`Opaque`. Python 2's strings are read as Latin-1.

    Raises:
        PickleError: the file is missing or damaged, or names anything but the above.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check_opcodes(data)
            data.seek(0)
            return _Resolver()(_Unpickler(data, encoding="latin1").load())
    except PickleError as error:
        raise PickleError(f"cannot use {path}: {error}") from error
    except FileNotFoundError as error:
        raise PickleError(f"no such file: {path}") from error
    except OSError as error:
        raise PickleError(f"cannot read {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise PickleError(f"cannot use {path}: it is nested too deeply") from error
    except Exception as error:  # pickle's documentation: damaged data may raise anything
        raise PickleError(f"cannot use {path}: damaged, or not a pickle") from error


class Opaque:
    """A chumpy object whose value only chumpy could compute; ``name`` is its class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{self.name} (chumpy)"


class _StandIn:
    """A stand-in that keeps what a pickle hands to it, and does nothing.

    No attribute can be set from a pickle: ``__setstate__`` takes whatever would do so.
    """

    __slots__ = ("args", "state")
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> _StandIn:
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        """Convert to what it stands for."""
        raise PickleError(f"it holds a bare {type(self).__name__.strip('_').lower()}")


class _Object(_StandIn):
    """``object``, named where Python 2 rebuilds instances."""

    __slots__ = ()


class _Ndarray(_StandIn):
    """``numpy.ndarray``, named where arrays are rebuilt."""

    __slots__ = ()


class _Dtype(_StandIn):
    """``numpy.dtype(text, align, copy)``; its state has the byte order."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> np.dtype[Any]:
        found = _DTYPE.fullmatch(_text(resolve(self.args[0])))
        state = resolve(self.state) or (3, "|", None, None, None)
        if not found or any(part is not None for part in state[2:5]):
            raise PickleError(f"it holds an array of {self.args[0]!r}, which is no plain number")
        order = found[1] or _text(state[1])
        return np.dtype(found[2] if found[2][0] == "O" else order.replace("|", "") + found[2])


class _Array(_StandIn):
    """``numpy.core.multiarray._reconstruct``; its state is (version, shape, dtype, order, data)."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> npt.NDArray[Any]:
        if self.args[0] is not _Ndarray:
            raise PickleError("it holds an array of another class than numpy.ndarray")
        _, shape, dtype, fortran, data = self.state
        return _array(resolve(data), resolve(dtype), resolve(shape), fortran=bool(fortran))


class _Frombuffer(_StandIn):
    """``numpy.core.numeric._frombuffer(data, dtype, shape, order)``."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> npt.NDArray[Any]:
        data, dtype, shape, order = map(resolve, self.args)
        return _array(data, dtype, shape, fortran=order == "F")


class _Scalar(_StandIn):
    """``numpy.core.multiarray.scalar(dtype, data)``."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        dtype, data = map(resolve, self.args)
        return _array(data, dtype, ())[()]


class _Encode(_StandIn):
    """``_codecs.encode(text, "latin1")``: bytes as Python 3 writes them for Python 2."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> bytes:
        text, encoding = map(resolve, self.args)
        if encoding not in ("latin1", "latin-1"):
            raise PickleError(f"it encodes text as {encoding!r}")
        return str(text).encode("latin1")


class _Bytes(_StandIn):
    """``bytes()``: empty ones, likewise."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> bytes:
        if self.args:
            raise PickleError("it computes bytes")
        return b""


class _Set(_StandIn):
    """``set(items)``."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> set[Any]:
        return set(resolve(self.args[0]) if self.args else ())


class _Ordered(dict):
    """``collections.OrderedDict``, which pickles fill item by item."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Attributes of dictionaries are not kept."""


class _Rebuilt(_StandIn):
    """``copyreg._reconstructor(class, object, None)``: how Python 2 makes an instance."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        kind, base, content = self.args
        if not (isinstance(kind, type) and issubclass(kind, (_Chumpy, _Sparse))):
            raise PickleError("it rebuilds an object of a kind that no file of arrays holds")
        if base is not _Object or content is not None:
            raise PickleError(f"it rebuilds a {kind.__name__} from something else")
        made = kind()
        made.state = self.state
        return resolve(made)


class _Sparse(_StandIn):
    """A compressed or coordinate matrix; subclasses are called csc, csr and coo."""

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        kind, state = type(self).__name__, self.state
        shape = resolve(state["_shape"] if "_shape" in state else state["shape"])
        if math.prod(map(int, shape)) > _MOST_CELLS:
            raise PickleError(f"it holds a sparse matrix of {' x '.join(map(str, shape))}")
        if kind == "coo":
            pair = state["coords"] if "coords" in state else (state["row"], state["col"])
            matrix = sparse.coo_matrix((resolve(state["data"]), resolve(pair)), shape=shape)
            return sparse.csc_array(matrix)
        make = {"csc": sparse.csc_array, "csr": sparse.csr_array}[kind]
        matrix = make(tuple(resolve(state[k]) for k in ("data", "indices", "indptr")), shape=shape)
        matrix.check_format(full_check=True)  # else indices may point anywhere in memory
        return matrix


class _Chumpy(_StandIn):
    """Any object of chumpy; subclasses bear its class' name.

    A plain ``Ch`` holds its array as ``x``; a ``Select`` flat indices ``idxs`` into another, ``a``.
    """

    __slots__ = ()

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        state = self.state if isinstance(self.state, dict) else {}
        if "x" in state:
            return resolve(state["x"])
        if {"a", "idxs"} <= state.keys():
            source = resolve(state["a"])
            if isinstance(source, np.ndarray):
                chosen = source.ravel()[resolve(state["idxs"])]
                shape = resolve(state.get("preferred_shape"))
                return chosen if shape is None else chosen.reshape(shape)
        return Opaque(type(self).__name__)


_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_NUMPY_CORES = ("numpy.core", "numpy._core")  # of numpy 1 and 2
_ALLOWED: dict[tuple[str, str], type] = {
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): _Scalar for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Frombuffer for core in _NUMPY_CORES},
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encode,
    ("builtins", "bytes"): _Bytes,
    ("builtins", "object"): _Object,
    ("builtins", "set"): _Set,
    ("builtins", "frozenset"): _Set,
    ("copyreg", "_reconstructor"): _Rebuilt,
    ("collections", "OrderedDict"): _Ordered,
}


class _Unpickler(pickle.Unpickler):
    """Knows stand-ins only."""

    def find_class(self, module: str, name: str) -> type:
        module = _PYTHON_2.get(module, module)
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        kind = _SPARSE_NAME.fullmatch(name)
        if kind and _SPARSE_MODULE.fullmatch(module):
            return type(kind[1], (_Sparse,), {"__slots__": ()})
        if module.split(".")[0] == "chumpy" and name.isidentifier():
            return type(f"{module}.{name}", (_Chumpy,), {"__slots__": ()})
        asked = f"{module}.{name}".encode("unicode_escape").decode()[:100]
        raise PickleError(f"it asks for {asked}, which no file of arrays needs")


class _Resolver:
    """Turns what the unpickler made into arrays and plain containers."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}  # the first keeps its id from being reused
        self._items_in: dict[int, int] = {}

    def __call__(self, thing: Any) -> Any:
        if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
            return thing
        if id(thing) not in self._done:
            self._done[id(thing)] = thing, _UNFINISHED
            self._done[id(thing)] = thing, self._resolved(thing)
            self._count(thing)
        value = self._done[id(thing)][1]
        if value is _UNFINISHED:
            raise PickleError("damaged: something in it contains itself")
        return value

    def _count(self, thing: Any) -> None:
        """Count a container's items, those of its items included, as often as they are there."""
        if not isinstance(thing, (list, tuple, set, frozenset, dict)):
            return
        parts = thing.values() if isinstance(thing, dict) else thing
        self._items_in[id(thing)] = 1 + sum(self._items_in.get(id(part), 1) for part in parts)
        if self._items_in[id(thing)] > _MOST_ITEMS:
            raise PickleError("it repeats itself without end")

    def _resolved(self, thing: Any) -> Any:
        if isinstance(thing, _StandIn):
            return thing.value(self)
        if isinstance(thing, _Ordered):
            return OrderedDict(self._items(thing))
        if isinstance(thing, dict):
            return dict(self._items(thing))
        if isinstance(thing, (list, tuple, set, frozenset)):
            return type(thing)(map(self, thing))
        if isinstance(thing, bytearray):
            return bytes(thing)
        raise PickleError(f"it holds a {getattr(thing, '__name__', type(thing).__name__)}")

    def _items(self, pairs: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
        return ((self(key), self(value)) for key, value in pairs.items())


_UNFINISHED = object()


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _array(data: Any, dtype: Any, shape: Any, fortran: bool = False) -> npt.NDArray[Any]:
    """Make an array of its own memory from raw bytes, or from a list of objects."""
    if not isinstance(dtype, np.dtype):
        raise PickleError("damaged: an array has no type")
    order: Literal["C", "F"] = "F" if fortran else "C"
    if dtype.hasobject:
        if not isinstance(data, list):
            raise PickleError("it holds objects given as raw memory")
        objects = np.empty(len(data), dtype=object)
        objects[:] = data
        return objects.reshape(shape, order=order)
    raw = data.encode("latin1") if isinstance(data, str) else data
    flat = np.frombuffer(raw, dtype) if raw else np.empty(0, dtype)
    return np.array(flat.reshape(shape, order=order), dtype.newbyteorder("="), order="C")
