"""Pictures of a head: light from `dtalk.lighting`, triangles by pyrender, off screen."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.errors import RenderError
from dtalk.head import FloatArray, Head, IntArray, built_in
from dtalk.lighting import Light, is_hair, unit
from dtalk.motion import ARKIT_NAMES

Frame = npt.NDArray[np.uint8]
Size = int | tuple[int, int]
Color = tuple[float, float, float]

DEFAULT_SIZE = 512
SMALLEST, LARGEST = 16, 4096
# Up to this many pixels a side, frames are drawn twice as large and averaged: hairs far
# thinner than a pixel would flicker. Above, the card's four samples a pixel do.
SUPERSAMPLED = 256
BACKGROUND: Color = (0.565, 0.585, 0.61)  # sRGB

# The camera, from the point midway between the mouth corners, metres and degrees.
TARGET_FROM_MOUTH = (0.0, 0.059, -0.073)
CAMERA_FROM_TARGET = (0.0, 0.010, 1.190)
FIELD_OF_VIEW = 13.2
NEAR, FAR = 0.3, 3.0
NEARER = 1e-6  # of the way to the camera: hairs are drawn last

_LINUX_HELP = "install libegl1 libgl1 libgles2 (or libosmesa6) with apt-get"
_DESKTOP_HELP = "run it in a desktop session with an OpenGL 3.3 driver"
_HELP = _LINUX_HELP if sys.platform.startswith("linux") else _DESKTOP_HELP


class Renderer:
    """Draws one head, frame by frame. Use it in a ``with`` block: it holds a GL context.

    Args:
        head: what to draw; the built-in head if None.
        size: pixels, a number for a square or (width, height); 16 to 4096 each.
        yaw: degrees by which the camera walks around the head, to the character's left (+x).
        background: sRGB, 0 to 1.
        supersample: draw this many times larger (1 to 4) and average; None: 2 for small
            pictures, else 1. Edges are smoothed by four samples a pixel besides (not with
            OSMesa: ask for 2 there).

    Raises:
        RenderError: the size does not fit, no renderer can be had (the message says what to
            install), or another one is open: a process can hold one GL context of this kind.
    """

    _open: weakref.ref[Renderer] | None = None

    def __init__(
        self,
        head: Head | None = None,
        size: Size = DEFAULT_SIZE,
        *,
        yaw: float = 0.0,
        background: Color = BACKGROUND,
        supersample: int | None = None,
    ) -> None:
        self._canvas: Any = None
        self.head = head if head is not None else built_in()
        self.width, self.height = _checked_size(size)
        if not np.isfinite(yaw):
            raise RenderError(f"yaw must be a number of degrees, got {yaw}")
        self._factor = _checked_factor(supersample, (self.width, self.height))
        if Renderer._open is not None and Renderer._open() is not None:
            raise RenderError("another renderer is open in this process; close it first")
        self._pyrender = import_pyrender()
        pose = _camera_pose(self.head, yaw)
        turn: FloatArray = pose[:3, :3] @ _pose_at(CAMERA_FROM_TARGET)[:3, :3].T
        self._light = Light(self.head, pose, turn)
        self._scene = _scene(self._pyrender, pose, self.height / self.width, background)
        self._meshes = _split(self.head, self._pyrender, self._scene)
        pixels = (self._factor * self.width, self._factor * self.height)
        self._canvas = open_canvas(self._pyrender, *pixels)
        Renderer._open = weakref.ref(self)

    def render(self, coefficients: npt.ArrayLike) -> Frame:
        """One frame: coefficients [52] -> uint8 [H, W, 3], sRGB.

        Raises:
            RenderError: wrong shape, a value that is not finite, or the renderer is closed.
        """
        row = _checked_coefficients(coefficients, 1)
        if self._canvas is None:
            raise RenderError("the renderer is closed")
        vertices = self.head.deform(row)
        colors = self._light.shade(vertices)
        try:
            in_place = self._make_current()
            for mesh in self._meshes:
                mesh.move(vertices, colors, in_place)
            picture, _ = self._canvas.render(self._scene, self._pyrender.RenderFlags.FLAT)
        except Exception as error:  # PyOpenGL and pyrender raise many kinds
            raise RenderError(f"the frame could not be drawn: {_one_line(error)}") from error
        return _shrunk(picture, self._factor)

    def _make_current(self) -> bool:
        """Whether the GL context is current; pyrender gives it up after every frame."""
        platform = getattr(self._canvas, "_platform", None)
        if platform is not None:
            platform.make_current()
        return platform is not None

    def close(self) -> None:
        """Free the GL context; closing twice does nothing."""
        if self._canvas is not None:
            Renderer._open = None
            canvas, self._canvas = self._canvas, None
            canvas.delete()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def render_frames(
    coefficients: npt.ArrayLike,
    head: Head | None = None,
    size: Size = DEFAULT_SIZE,
    *,
    yaw: float = 0.0,
    background: Color = BACKGROUND,
    supersample: int | None = None,
) -> Iterator[Frame]:
    """The frames of a clip, one at a time: [T, 52] -> uint8 [H, W, 3] each.

    Arguments as for `Renderer`, which is open while the frames are drawn; input is checked
    at once, not when the first frame is asked for.

    Raises:
        RenderError: see `Renderer`; coefficients that are not [T, 52] or not finite.
    """
    clip = _checked_coefficients(coefficients, 2)
    _checked_factor(supersample, _checked_size(size))

    def draw() -> Iterator[Frame]:
        with Renderer(
            head, size, yaw=yaw, background=background, supersample=supersample
        ) as renderer:
            for row in clip:
                yield renderer.render(row)

    return draw()


def render_still(
    coefficients: npt.ArrayLike | None = None,
    head: Head | None = None,
    size: Size = DEFAULT_SIZE,
    *,
    yaw: float = 0.0,
    background: Color = BACKGROUND,
    supersample: int | None = None,
) -> Frame:
    """One picture: [52] (None: the neutral face) -> uint8 [H, W, 3]. See `Renderer`."""
    row = np.zeros(len(ARKIT_NAMES)) if coefficients is None else coefficients
    with Renderer(head, size, yaw=yaw, background=background, supersample=supersample) as renderer:
        return renderer.render(row)


def _shrunk(picture: Frame, factor: int) -> Frame:
    """The mean of each block of ``factor`` by ``factor`` pixels, rounded."""
    if factor == 1:
        return np.ascontiguousarray(picture)
    height, width, _ = picture.shape
    blocks = picture.reshape(height // factor, factor, width // factor, factor, 3)
    total = blocks.sum(axis=(1, 3), dtype=np.uint16)
    mean: Frame = ((total + factor * factor // 2) // (factor * factor)).astype(np.uint8)
    return mean


# --- camera and scene -------------------------------------------------------------------------


def _camera_pose(head: Head, yaw: float) -> FloatArray:
    """Camera to world, [4, 4]; framed by the mouth corners, so that other heads fit too."""
    turn = _about_y(np.deg2rad(yaw))
    pose = turn @ _pose_at(CAMERA_FROM_TARGET)
    pose[:3, 3] += head.vertices[list(head.corners)].mean(axis=0) + TARGET_FROM_MOUTH
    return pose


def _pose_at(position: tuple[float, float, float]) -> FloatArray:
    """The pose of a camera at ``position`` that looks at the origin, y up."""
    backward = unit(position)
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :4] = np.stack((right, np.cross(backward, right), backward, position), axis=1)
    return pose


def _about_y(angle: float) -> FloatArray:
    turn = np.eye(4, dtype=np.float32)
    turn[0, 0] = turn[2, 2] = np.cos(angle)
    turn[0, 2] = np.sin(angle)
    turn[2, 0] = -np.sin(angle)
    return turn


def _scene(pyrender: Any, pose: FloatArray, height_to_width: float, background: Color) -> Any:
    scene = pyrender.Scene(bg_color=(*background, 1.0))
    # The face must fit across a tall picture too.
    half = np.tan(np.deg2rad(FIELD_OF_VIEW) / 2) * max(1.0, height_to_width)
    camera = pyrender.PerspectiveCamera(yfov=2 * np.arctan(half), znear=NEAR, zfar=FAR)
    scene.add(camera, pose=pose)
    return scene


class _MovingMesh:
    """Part of the head in the scene; its vertex buffer is rewritten every frame."""

    def __init__(self, pyrender: Any, scene: Any, head: Head, faces: IntArray, hairs: bool) -> None:
        self._pyrender, self._scene = pyrender, scene
        self._chosen, remapped = np.unique(faces, return_inverse=True)
        self._faces = remapped.reshape(-1, 3)
        self._material = pyrender.MetallicRoughnessMaterial(
            # Floats: pyrender would take whole numbers for 0 to 255.
            baseColorFactor=(1.0, 1.0, 1.0, 1.0),
            # Closed surfaces hide their backs: not drawing those saves a third.
            doubleSided=hairs,
        )
        # pyrender keeps meshes in a set and draws them by the distance of their origins. Without
        # a difference the order, and with it a pixel here and there, changes from run to run.
        self._pose = np.eye(4)
        self._pose[:3, 3] = NEARER * hairs * scene.get_pose(scene.main_camera_node)[:3, 3]
        self._buffer = np.ones((len(self._chosen), 7), dtype=np.float32)
        self._fill(head.vertices, head.colors)
        self._node = scene.add(self._mesh(), pose=self._pose)

    def move(self, vertices: FloatArray, colors: FloatArray, in_place: bool) -> None:
        """Show other positions and colours; in place only while the context is current."""
        self._fill(vertices, colors)
        if not (in_place and self._rewrite_buffer()):
            self._scene.remove_node(self._node)
            self._node = self._scene.add(self._mesh(), pose=self._pose)

    def _fill(self, vertices: FloatArray, colors: FloatArray) -> None:
        """Lay positions and colours out as the vertex buffer has them: x y z r g b a."""
        self._buffer[:, :3] = vertices[self._chosen]
        self._buffer[:, 3:6] = colors[self._chosen]

    def _rewrite_buffer(self) -> bool:
        """Overwrite the vertex buffer on the card; False if pyrender has made none (yet).

        pyrender offers no such thing, so this reaches for a private list whose first entry
        is the interleaved buffer, and makes sure of its size.
        """
        from OpenGL import GL

        buffers = getattr(self._node.mesh.primitives[0], "_buffers", None)
        if not buffers:
            return False
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, buffers[0])
        size = GL.glGetBufferParameteriv(GL.GL_ARRAY_BUFFER, GL.GL_BUFFER_SIZE)
        fits = int(size) == self._buffer.nbytes
        if fits:
            GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, self._buffer.nbytes, self._buffer)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, 0)
        return fits

    def _mesh(self) -> Any:
        primitive = self._pyrender.Primitive(
            positions=self._buffer[:, :3],
            color_0=self._buffer[:, 3:],
            indices=self._faces,
            material=self._material,
        )
        return self._pyrender.Mesh([primitive])


def _split(head: Head, pyrender: Any, scene: Any) -> list[_MovingMesh]:
    """The head in the scene: its closed surfaces, and the hairs, seen from both sides."""
    hairy = is_hair(head)[head.faces[:, 0]]
    return [
        _MovingMesh(pyrender, scene, head, head.faces[hairy == hairs], hairs)
        for hairs in (False, True)
        if (hairy == hairs).any()
    ]


# --- the GL platform --------------------------------------------------------------------------


def import_pyrender() -> Any:
    """pyrender, with the GL platform chosen before PyOpenGL is first imported."""
    if sys.platform.startswith("linux") and "PYOPENGL_PLATFORM" not in os.environ:
        os.environ["PYOPENGL_PLATFORM"] = _pick_platform()
    try:
        import pyrender
    except ModuleNotFoundError as error:
        raise RenderError(f"the renderer lacks a package ({error}): pip install dtalk") from error
    except Exception as error:  # PyOpenGL raises many kinds when a library is missing
        raise RenderError(f"OpenGL cannot be loaded ({_one_line(error)}); {_HELP}") from error
    return pyrender


def _pick_platform() -> str:
    """EGL where it has a device, else OSMesa, else an error."""
    if _egl_devices() > 0:
        return "egl"
    if ctypes.util.find_library("OSMesa"):
        return "osmesa"
    raise RenderError(f"no off-screen renderer: neither EGL nor OSMesa is here; {_HELP}")


def _egl_devices() -> int:
    """How many devices EGL can draw with; 0 without EGL."""
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
    """An off-screen renderer on the first device that works, or on the one the user names."""
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
    platform = os.environ.get("PYOPENGL_PLATFORM", "the desktop's OpenGL")
    reason = _one_line(failure)
    raise RenderError(f"no renderer on {platform} ({reason}); {_HELP}") from failure


def _one_line(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


# --- checks -----------------------------------------------------------------------------------


def _checked_size(size: Size) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) for side in pair):
        raise RenderError(f"size must be a whole number or (width, height), got {size!r}")
    if not all(SMALLEST <= side <= LARGEST for side in pair):
        raise RenderError(f"size must be {SMALLEST} to {LARGEST} pixels, got {size!r}")
    return pair


def _checked_factor(supersample: int | None, size: tuple[int, int]) -> int:
    if supersample is None:
        return 2 if max(size) <= SUPERSAMPLED else 1
    if not 1 <= supersample <= 4 or supersample * max(size) > LARGEST:
        raise RenderError(f"supersample must be 1 to 4 and times size at most {LARGEST}")
    return supersample


def _checked_coefficients(coefficients: npt.ArrayLike, dimensions: int) -> FloatArray:
    array = np.asarray(coefficients, dtype=np.float32)
    expected = "[52]" if dimensions == 1 else "[T, 52]"
    if array.ndim != dimensions or array.shape[-1] != len(ARKIT_NAMES):
        raise RenderError(f"coefficients must be {expected}, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise RenderError("coefficients hold values that are not finite")
    return array
