"""Settings as dataclass fields: documentation, limits, groups in ``--help``, earlier names.

Limits are checked where settings are made, by :class:`Settings`.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import Field, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Union, cast, get_args, get_origin, get_type_hints

from dtalk.errors import DtalkError

# Groups of flags and commands in `--help`, in this order. Flags and commands that name none are
# everyday ones.
EVERYDAY, LOOK, HEAD, REPORTS = "Everyday", "Look", "Head", "Reports"
DATA, NETWORK, LOSSES, OPTIMISATION = "Data", "Network", "Losses", "Optimisation"
SAMPLING, RESEARCH, MACHINE = "Sampling", "Research", "Machine"
GROUPS = (
    *(EVERYDAY, LOOK, HEAD, REPORTS, DATA, NETWORK, LOSSES, OPTIMISATION),
    *(SAMPLING, RESEARCH, MACHINE),
)


def setting(
    default: Any,
    text: str,
    choices: tuple[str, ...] = (),
    least: float | None = 0,
    most: float | None = None,
    was: str | tuple[str, ...] = (),
    group: str = "",
) -> Any:
    """Make a dataclass field with a default and its documentation.

    ``choices`` are its values if they are few; a number may be ``least`` to ``most``; ``was`` are
    its other names in files and commands, such as those of earlier versions; ``group`` is one of
    :data:`GROUPS`, where it is not that of the class.
    """
    about = {"help": text, "choices": choices, "least": least, "most": most}
    names = (was,) if isinstance(was, str) else was
    return field(default=default, metadata={**about, "was": names, "group": group})


RETIRED = {"bidirectional": True}
"""Settings of earlier versions, with the only value that they still may have in files."""


def with_new_names(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace names of settings from earlier versions by those of a class.

    Settings that are no longer any are left out; with a value that is no longer possible they stay.
    """
    names = {old: f.name for f in fields(kind) for old in f.metadata.get("was", ())}
    kept = {k: v for k, v in values.items() if k not in RETIRED or RETIRED[k] != v}
    return {names.get(name, name): value for name, value in kept.items()}


class Settings:
    """The base of all settings: values are checked, and made what their field's type says.

    A whole number does for a float, a text for a path, a list for a tuple.

    Raises:
        DtalkError: a value of another kind, or outside its limits.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __post_init__(self) -> None:
        kinds = _kinds(cast(Hashable, type(self)))  # mypy takes a class for no hashable
        for each in fields(self):
            value = checked(each, kinds[each.name], getattr(self, each.name))
            object.__setattr__(self, each.name, value)


@cache
def _kinds(settings: Hashable) -> dict[str, Any]:
    """List the types of a class's fields by name."""
    return get_type_hints(settings)


def checked(setting: Field[Any], kind: Any, value: Any) -> Any:
    """Check the value of a setting, and give it as its type ``kind`` has it.

    Raises:
        DtalkError: it is of another kind, or outside the setting's limits.
    """
    if get_origin(kind) in (Union, UnionType):  # the only ones are those with None
        if value is None:
            return None
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    several = get_origin(kind) is tuple
    single = get_args(kind)[0] if several else kind
    convert = _CONVERSIONS.get(single)
    if convert is None:  # settings of its own
        return value
    try:
        if several and isinstance(value, (str, os.PathLike)):
            raise TypeError
        values = [convert(_unwrapped(one)) for one in (value if several else (value,))]
        if not all(_within(one, setting.metadata) for one in values):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        wanted = _wanted(single, setting.metadata)
        wanted = f"a list, each {wanted}" if several else wanted
        given = " ".join(repr(value).split())[:60]
        raise DtalkError(f"{setting.name} must be {wanted}, not {given}") from error
    return tuple(values) if several else values[0]


def _unwrapped(value: Any) -> Any:
    """Turn a single number of numpy or torch into Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError
    return os.fspath(value)


_CONVERSIONS: dict[Any, Callable[[Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _text,
    Path: Path,
}
_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def _within(value: Any, about: Mapping[str, Any]) -> bool:
    choices, least, most = (about.get(name) for name in ("choices", "least", "most"))
    if choices:
        return value in choices
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    return math.isfinite(value) and (
        (least is None or value >= least) and (most is None or value <= most)
    )


def _wanted(kind: Any, about: Mapping[str, Any]) -> str:
    """Say what a setting may be."""
    choices, least, most = (about.get(name) for name in ("choices", "least", "most"))
    if choices:
        return f"one of {', '.join(choices)}"
    name = _NAMES.get(kind, "a path")
    if kind not in (int, float) or (least is None and most is None):
        return name
    if most is None:
        return f"{name} of at least {least:g}"
    return f"{name} from {least:g} to {most}"
