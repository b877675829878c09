"""The platform OpenGL comes from, and what is said on every system when there is none."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dtalk.errors import RenderError
from dtalk.rendering import context

ADVICE = [
    ("linux", "install libegl1 libgl1 libgles2"),
    ("darwin", "log in on the desktop of this Mac"),
    ("win32", "install the driver of your graphics card"),
]


@pytest.fixture(params=ADVICE, ids=lambda pair: pair[0])
def advice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is to be said on a system, which this one is taken for."""
    platform, expected = request.param
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    return expected


def fail_to_import(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = builtins.__import__

    def failing(name: str, *rest: Any) -> Any:
        if name == "pyrender":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", failing)


def test_platform_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_egl_devices", lambda: 1)
    assert context._pick_platform() == "egl"
    monkeypatch.setattr(context, "_egl_devices", lambda: 0)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: f"lib{name}.so")
    assert context._pick_platform() == "osmesa"


def test_neither_egl_nor_osmesa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)

    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", absent)
    with pytest.raises(RenderError, match=r"neither EGL nor OSMesa is here; install libegl1"):
        context.import_pyrender()
    assert "PYOPENGL_PLATFORM" not in os.environ


def test_egl_without_a_way_to_ask_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(eglGetProcAddress=_Function()))
    assert context._egl_devices() == 0


class _Function:
    """A C function that finds nothing."""

    restype: Any = None

    def __call__(self, name: bytes) -> int:
        return 0


def test_a_library_that_does_not_load(advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_pick_platform", lambda: "egl")
    fail_to_import(monkeypatch, OSError("libGL.so.1: no such file\n(of that name)"))
    with pytest.raises(RenderError) as raised:
        context.import_pyrender()
    said = "OpenGL cannot be loaded (libGL.so.1: no such file (of that name)); "
    assert str(raised.value).startswith(said + advice)


def test_a_package_that_is_missing(advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_pick_platform", lambda: "egl")
    fail_to_import(monkeypatch, ModuleNotFoundError("No module named 'pyrender'"))
    with pytest.raises(RenderError, match=r"lacks a package \(No module named 'pyrender'\): pip"):
        context.import_pyrender()


def test_a_context_that_does_not_open(advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Mac over ssh, or on Windows without a driver: pyrender raises what it likes."""

    def refuse(width: int, height: int) -> None:
        raise AssertionError

    monkeypatch.delenv("EGL_DEVICE_ID", raising=False)
    with pytest.raises(RenderError) as raised:
        context.open_canvas(SimpleNamespace(OffscreenRenderer=refuse), 16, 16)
    where = {"darwin": "the Mac's OpenGL", "win32": "Windows' OpenGL"}
    name = where.get(sys.platform, "this system's OpenGL")
    assert str(raised.value).startswith(f"no renderer on {name} (AssertionError); {advice}")
    assert "\n" not in str(raised.value)


def test_devices_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def second_only(width: int, height: int) -> str:
        tried.append(os.environ["EGL_DEVICE_ID"])
        if len(tried) < 2:
            raise ValueError("Invalid device ID")
        return "canvas"

    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    monkeypatch.delenv("EGL_DEVICE_ID", raising=False)
    monkeypatch.setattr(context, "_egl_devices", lambda: 3)
    pyrender = SimpleNamespace(OffscreenRenderer=second_only)
    assert context.open_canvas(pyrender, 16, 16) == "canvas"
    assert tried == ["0", "1"]
    assert "EGL_DEVICE_ID" not in os.environ


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux names its platform")
def test_the_user_s_platform_is_respected() -> None:
    script = "from dtalk.rendering.renderer import Renderer; Renderer(size=16)"
    environment = {**os.environ, "PYOPENGL_PLATFORM": "nonsense"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 1
    assert last.startswith("dtalk.errors.RenderError: no renderer on nonsense")
    assert "install" in last
