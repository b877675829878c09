"""OpenGL contexts without a window, or one clear line on why there is none."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from typing import Any

from dtalk.errors import RenderError, one_line

_HELP = {
    "linux": "install libegl1 libgl1 libgles2 (or libosmesa6) with apt-get, "
    "or mesa-libEGL mesa-libGL mesa-libGLES with dnf",
    "darwin": "log in on the desktop of this Mac and run it there; ssh alone cannot render",
    "win32": "install the driver of your graphics card; OpenGL 3.3 or newer is needed",
}
_NAMES = {"darwin": "the Mac's OpenGL", "win32": "Windows' OpenGL"}


def advice() -> str:
    """Say what to install on this system when OpenGL is missing."""
    return _HELP.get(sys.platform, _HELP["linux"])


def import_pyrender() -> Any:
    """Import pyrender, with the GL platform chosen before PyOpenGL is first imported.

    Raises:
        RenderError: pyrender or OpenGL is missing; the message says what to install.
    """
    if sys.platform.startswith("linux") and "PYOPENGL_PLATFORM" not in os.environ:
        os.environ["PYOPENGL_PLATFORM"] = _pick_platform()
    try:
        import pyrender
    except ModuleNotFoundError as error:
        raise RenderError(f"the renderer lacks a package ({error}): pip install dtalk") from error
    except Exception as error:  # PyOpenGL raises many kinds when a library is missing
        raise RenderError(f"OpenGL cannot be loaded ({one_line(error)}); {advice()}") from error
    return pyrender


def _pick_platform() -> str:
    """Choose EGL where it has a device, else OSMesa, else fail."""
    if _egl_devices() > 0:
        return "egl"
    if ctypes.util.find_library("OSMesa"):
        return "osmesa"
    raise RenderError(f"no off-screen renderer: neither EGL nor OSMesa is here; {advice()}")


def _egl_devices() -> int:
    """Count the devices that EGL can draw with; 0 without EGL."""
    try:
        library = ctypes.CDLL(ctypes.util.find_library("EGL") or "libEGL.so.1")
        library.eglGetProcAddress.restype = ctypes.c_void_p
        address = library.eglGetProcAddress(b"eglQueryDevicesEXT")
    except (OSError, AttributeError):
        return 0
    if not address:
        return 0
    count = ctypes.c_int(0)
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    query(address)(0, None, ctypes.addressof(count))
    return count.value


def open_canvas(pyrender: Any, width: int, height: int) -> Any:
    """Open an off-screen renderer on the first device that works, or on the one the user names.

    Raises:
        RenderError: none works; the message says what to install.
    """
    automatic = os.environ.get("PYOPENGL_PLATFORM") == "egl" and "EGL_DEVICE_ID" not in os.environ
    failure: Exception | None = None
    for device in range(max(1, _egl_devices()) if automatic else 1):
        try:
            if automatic:
                os.environ["EGL_DEVICE_ID"] = str(device)
            return pyrender.OffscreenRenderer(width, height)
        except Exception as error:  # assertions, GL errors, import errors of a platform
            failure = error
        finally:
            if automatic:
                os.environ.pop("EGL_DEVICE_ID", None)
    where = os.environ.get("PYOPENGL_PLATFORM") or _NAMES.get(sys.platform, "this system's OpenGL")
    raise RenderError(f"no renderer on {where} ({one_line(failure)}); {advice()}") from failure
