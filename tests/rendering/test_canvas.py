"""What becomes of errors while a canvas draws."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from dtalk.errors import RenderError
from dtalk.rendering.canvas import Canvas


class Interrupted:
    """An argument during whose conversion ctrl-C is pressed; ctypes makes an error of its own."""

    @classmethod
    def from_param(cls, value: object) -> None:
        raise KeyboardInterrupt


class Refused:
    """An argument that cannot be converted."""

    @classmethod
    def from_param(cls, value: object) -> None:
        raise TypeError("no such thing")


@pytest.mark.parametrize(
    ("kind", "expected", "said"),
    [
        (Interrupted, KeyboardInterrupt, None),
        (Refused, RenderError, "OpenGL cannot draw: argument 1: TypeError: no such thing"),
    ],
)
def test_an_interrupt_that_ctypes_hides_is_one(kind, expected, said):
    """Else a batch would go on with the next file."""
    call = ctypes.pythonapi["Py_IsInitialized"]
    call.argtypes = [kind]
    canvas = object.__new__(Canvas)
    canvas._context = SimpleNamespace(_platform=SimpleNamespace(make_current=lambda: None))
    with pytest.raises(expected, match=said), canvas._current("draw"):
        call(None)
