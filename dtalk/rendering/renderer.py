"""The renderer: a head deformed, lit by :class:`.Light`, drawn on a :class:`.Canvas`."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import numpy.typing as npt

from dtalk.config import DEFAULT_LOOK, Look
from dtalk.errors import RenderError
from dtalk.heads.head import Head, built_in
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.rendering.background import background_image
from dtalk.rendering.camera import camera_at
from dtalk.rendering.canvas import Canvas
from dtalk.rendering.lighting import Light, is_hair
from dtalk.rendering.picture import Frame, PixelFormat
from dtalk.rendering.tessellation import LONG, Tessellation
from dtalk.utils.ahead import ahead
from dtalk.utils.types import Array

Size = int | tuple[int, int]

DEFAULT_SIZE = 512
SMALLEST, LARGEST = 16, 4096
# Frames are rendered twice as large and averaged. Up to this many pixels a side, four times: hairs
# are far thinner than a pixel there, and would flicker; but nobody sees polygons in outlines.
SMALL = 256


class Renderer:
    """Renders one head, frame by frame. Use it in a ``with`` block: it holds a GL context.

    Args:
        head: what to render; the built-in head if None.
        size: pixels, a number for a square or (width, height); 16 to 4096 each.
        look: camera, background and the like.
        pixels: what frames are; ``yuv420p`` has even sizes only.

    Raises:
        RenderError: the size or the look does not fit, no renderer can be had (the message says
            what to install), or another one is open: a process can hold one GL context of this
            kind.
    """

    _open: weakref.ref[Renderer] | None = None

    def __init__(
        self,
        head: Head | None = None,
        size: Size = DEFAULT_SIZE,
        look: Look = DEFAULT_LOOK,
        pixels: PixelFormat = "rgb24",
    ) -> None:
        self._canvas: Canvas | None = None
        self.head = head if head is not None else built_in()
        self.width, self.height = checked_size(size)
        factor = _factor(self.width, self.height)
        camera = camera_at(self.head, look.camera, look.yaw, self.width, self.height)
        behind = background_image(look.background, self.width, self.height)
        if Renderer._open is not None and Renderer._open() is not None:
            raise RenderError("another renderer is open in this process; close it first")
        self._wireframe = look.wireframe
        self._light = Light(self.head, camera.pose, camera.turn)
        small = max(self.width, self.height) <= SMALL
        self._outlines = Tessellation(self.head, math.inf if small else LONG)
        faces = self._outlines.faces
        hairs = np.flatnonzero(is_hair(self.head))
        flat = np.isin(faces[:, 0], hairs)
        triangles = (faces[~flat], faces[flat])
        count = self._outlines.count
        self._canvas = Canvas(behind, factor, count, *triangles, camera.to_picture, pixels)
        Renderer._open = weakref.ref(self)

    def render(self, coefficients: npt.ArrayLike, rotation: npt.ArrayLike | None = None) -> Frame:
        """Render one frame: coefficients [52], head rotation [3] if any -> a frame.

        Raises:
            RenderError: wrong shape, a value that is not finite, or the renderer is closed.
        """
        row = _checked_coefficients(coefficients, 1)
        turns = None if rotation is None else np.asarray(rotation)[None]
        return next(self.frames(row[None], turns))

    def frames(
        self, coefficients: npt.ArrayLike, rotation: npt.ArrayLike | None = None
    ) -> Iterator[Frame]:
        """Render a clip, frame by frame: [T, 52], rotation [T, 3] -> frames.

        While one is rendered, the next is deformed and lit, by another thread.

        Raises:
            RenderError: see `render`.
        """
        clip = _checked_coefficients(coefficients, 2)
        turns = _checked_rotation(rotation, len(clip))
        waiting = False
        for shown in ahead(self._shaded(clip, turns)):
            canvas = self.canvas
            canvas.read()
            canvas.upload(*shown)
            canvas.draw(self._wireframe)
            if waiting:
                yield canvas.frame()
            waiting = True
        if waiting:
            self.canvas.read()
            yield self.canvas.frame()

    def _shaded(self, clip: Array, turns: Array | None) -> Iterator[tuple[Array, Array]]:
        """Compute positions and colours of what is drawn, [V', 3] each, frame by frame."""
        for index, row in enumerate(clip):
            vertices = self.head.deform(row, None if turns is None else turns[index])
            colors, normals = self._light.shade(vertices)
            yield self._outlines.rounded(vertices, normals, colors)

    @property
    def canvas(self) -> Canvas:
        """The canvas that is drawn on.

        Raises:
            RenderError: the renderer is closed.
        """
        if self._canvas is None:
            raise RenderError("the renderer is closed")
        return self._canvas

    def close(self) -> None:
        """Free the GL context; closing twice does nothing."""
        if self._canvas is not None:
            Renderer._open = None
            canvas, self._canvas = self._canvas, None
            canvas.close()

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
    look: Look = DEFAULT_LOOK,
    *,
    rotation: npt.ArrayLike | None = None,
    pixels: PixelFormat = "rgb24",
) -> Iterator[Frame]:
    """Render the frames of a clip, one at a time: [T, 52] -> uint8 [H, W, 3] each, or as `pixels`.

    Arguments as for `Renderer`, which is open while the frames are rendered, and as for
    `Renderer.frames`; input is checked at once, not when the first frame is asked for.

    Raises:
        RenderError: see `Renderer`; coefficients that are not [T, 52] or not finite.
    """
    clip = _checked_coefficients(coefficients, 2)
    turns = _checked_rotation(rotation, len(clip))
    checked_size(size)

    def rendered() -> Iterator[Frame]:
        with Renderer(head, size, look, pixels) as renderer:
            yield from renderer.frames(clip, turns)

    return rendered()


def checked_size(size: Size) -> tuple[int, int]:
    """Check a size and return (width, height).

    Raises:
        RenderError: not whole numbers, or too small or too large.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) for side in pair):
        raise RenderError(f"size must be a whole number or (width, height), got {size!r}")
    if not all(SMALLEST <= side <= LARGEST for side in pair):
        raise RenderError(f"size must be {SMALLEST} to {LARGEST} pixels, got {pair[0]}x{pair[1]}")
    return pair


def _factor(width: int, height: int) -> int:
    """Choose how many times larger a picture is rendered before it is averaged."""
    return 4 if max(width, height) <= SMALL else 2


def _checked_coefficients(coefficients: npt.ArrayLike, dimensions: int) -> Array:
    array = np.asarray(coefficients, dtype=np.float32)
    expected = "[52]" if dimensions == 1 else "[T, 52]"
    if array.ndim != dimensions or array.shape[-1] != len(ARKIT_NAMES):
        raise RenderError(f"coefficients must be {expected}, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise RenderError("coefficients hold values that are not finite")
    return array


def _checked_rotation(rotation: npt.ArrayLike | None, frames: int) -> Array | None:
    if rotation is None:
        return None
    array = np.asarray(rotation, dtype=np.float32)
    if array.shape != (frames, 3) or not np.isfinite(array).all():
        raise RenderError(
            f"head rotation must be finite and [{frames}, 3], got {list(array.shape)}"
        )
    return array
