"""Pickles as FLAME's files are: with chumpy's classes, which need not be installed."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch


@contextmanager
def fake_classes(*names: str) -> Iterator[list[type]]:
    """Classes with these full names, which pickle finds while the block lasts."""
    modules: dict[str, ModuleType] = {}
    classes = []
    for full in names:
        module, _, name = full.rpartition(".")
        for package in (module.split(".")[0], module):
            modules.setdefault(package, ModuleType(package))
        made = type(name, (), {"__module__": module})
        setattr(modules[module], name, made)
        classes.append(made)
    with patch.dict(sys.modules, modules):
        yield classes


def instance(kind: type, **attributes: Any) -> Any:
    made: Any = object.__new__(kind)
    vars(made).update(attributes)
    return made


def write_pickle(path: Path, content: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path
