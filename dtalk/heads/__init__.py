"""Heads that the 52 coefficients deform; :func:`load_head` opens any of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtalk.heads.load import load_head

__all__ = ["load_head"]


def __getattr__(name: str) -> Any:
    """Import :func:`load_head` when it is first asked for: the modules behind it take time."""
    if name != "load_head":
        raise AttributeError(f"module 'dtalk.heads' has no attribute {name!r}")
    return import_module("dtalk.heads.load").load_head
