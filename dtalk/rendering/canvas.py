"""An OpenGL canvas: triangles with coloured vertices, rasterised into a picture in memory.

pyrender opens the context, whatever the system; the drawing is ours. A software rasteriser needs a
third of the time that way: colours are all its shader looks at, edges are smoothed by drawing
larger and averaging, which is cheaper there than multisampling, and no depth is read back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from dtalk.errors import RenderError, one_line
from dtalk.rendering.context import import_pyrender, open_canvas
from dtalk.utils.types import Array, IntArray

Frame = npt.NDArray[np.uint8]

_VALUES = 6  # of a vertex: x y z r g b
# A wireframe: colours of its edges and of the surfaces between them, and how much of those.
WIRE, WIRE_SHARE = (0.16, 0.18, 0.22), 0.85
PAPER, PAPER_SHARE = (0.93, 0.94, 0.95), 0.75

_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 color;
uniform mat4 to_picture;
out vec3 shade;
void main() {
    gl_Position = to_picture * vec4(position, 1.0);
    shade = color;
}
"""
_FRAGMENT = """#version 330 core
in vec3 shade;
out vec4 color;
void main() { color = vec4(shade, 1.0); }
"""


class Canvas:
    """Rasterises one mesh, again and again, before a background. It holds an OpenGL context.

    Args:
        backdrop: uint8 [H, W, 3]; its size is the picture's.
        factor: samples a pixel, across and down: 1, 2 or 4.
        vertices: how many there are.
        closed: int [F, 3], triangles of closed surfaces, whose backs are not drawn.
        flat: int [F, 3], triangles seen from both sides, drawn after those.
        to_picture: world to clip space, [4, 4].

    Raises:
        RenderError: there is no OpenGL here, or it cannot do what is asked.
    """

    def __init__(
        self,
        backdrop: Frame,
        factor: int,
        vertices: int,
        closed: IntArray,
        flat: IntArray,
        to_picture: Array,
    ) -> None:
        self._context = open_canvas(import_pyrender(), 16, 16)
        self._height, self._width = backdrop.shape[:2]
        self._factor = factor
        self._values = np.zeros((vertices, _VALUES), dtype=np.float32)
        self._closed, self._flat = closed.size, flat.size
        try:
            with self._current("start"):
                self._make_buffers(np.concatenate((closed, flat)))
                self._make_pictures(backdrop)
                self._make_program(to_picture)
        except RenderError:
            self.close()
            raise

    def upload(self, vertices: Array, colors: Array) -> None:
        """Upload positions [V, 3] in metres and colours [V, 3], sRGB.

        Raises:
            RenderError: OpenGL refuses.
        """
        self._values[:, :3] = vertices
        self._values[:, 3:] = colors
        with self._current("take the head"):
            self._send(self._values)

    def draw(self, wireframe: bool = False) -> None:
        """Start to draw what was uploaded; `read` waits until it is done.

        Raises:
            RenderError: OpenGL refuses.
        """
        with self._current("draw the frame"):
            self._clear()
            if wireframe:
                self._draw_wires()
            else:
                self._draw_triangles()
            self._shrink()

    def finish(self) -> None:
        """Wait until everything is drawn, for measurements of time.

        Raises:
            RenderError: OpenGL refuses.
        """
        from OpenGL import GL

        with self._current("finish the frame"):
            GL.glFinish()

    def read(self) -> Frame:
        """Read the picture that was drawn last, uint8 [H, W, 3].

        Raises:
            RenderError: OpenGL refuses.
        """
        from OpenGL import GL

        picture: Frame = np.empty((self._height, self._width, 3), dtype=np.uint8)
        with self._current("read the frame"):
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._pictures[-1].buffer)
            GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
            size = (self._width, self._height)
            GL.glReadPixels(0, 0, *size, GL.GL_RGB, GL.GL_UNSIGNED_BYTE, picture)
        return picture

    def close(self) -> None:
        """Free the context and all that is in it."""
        self._context.delete()

    @contextmanager
    def _current(self, task: str) -> Iterator[None]:
        """Make the context current; any error in it becomes a RenderError."""
        try:
            self._context._platform.make_current()
            yield
        except RenderError:
            raise
        except Exception as error:  # PyOpenGL raises many kinds
            raise RenderError(f"OpenGL cannot {task}: {one_line(error)}") from error

    def _make_buffers(self, triangles: IntArray) -> None:
        from OpenGL import GL

        GL.glBindVertexArray(GL.glGenVertexArrays(1))
        self._vertices, indices = GL.glGenBuffers(2)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._vertices)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, self._values.nbytes, None, GL.GL_STREAM_DRAW)
        stride = self._values.strides[0]
        for place in (0, 1):  # positions, colours
            start = ctypes.c_void_p(place * stride // 2)
            GL.glVertexAttribPointer(place, 3, GL.GL_FLOAT, False, stride, start)
            GL.glEnableVertexAttribArray(place)
        numbers = np.ascontiguousarray(triangles, dtype=np.uint32)
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, indices)
        GL.glBufferData(GL.GL_ELEMENT_ARRAY_BUFFER, numbers.nbytes, numbers, GL.GL_STATIC_DRAW)

    def _make_pictures(self, backdrop: Frame) -> None:
        """Make the picture in the size it is drawn in, and its halves down to the final size."""
        from OpenGL import GL

        sizes = [self._factor]
        while sizes[-1] > 1:
            sizes.append(sizes[-1] // 2)
        self._pictures = [_Picture(k * self._width, k * self._height) for k in sizes]
        self._pictures[0].add_depth()
        self._behind = _Picture(*self._pictures[0].size)
        small = _Picture(self._width, self._height, np.ascontiguousarray(backdrop))
        _copy(small, self._behind, GL.GL_NEAREST)

    def _make_program(self, to_picture: Array) -> None:
        from OpenGL import GL

        program = _program(_VERTEX, _FRAGMENT)
        # OpenGL's pictures begin at the bottom, ours at the top: all is drawn upside down.
        flipped = np.diag(np.array([1, -1, 1, 1], dtype=np.float32)) @ to_picture
        GL.glUseProgram(program)
        place = GL.glGetUniformLocation(program, "to_picture")
        GL.glUniformMatrix4fv(place, 1, True, flipped.astype(np.float32))
        GL.glFrontFace(GL.GL_CW)  # upside down, counter-clockwise is clockwise
        GL.glEnable(GL.GL_DEPTH_TEST)

    def _clear(self) -> None:
        """Copy the background in, which is faster than blending it later."""
        from OpenGL import GL

        _copy(self._behind, self._pictures[0], GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._pictures[0].buffer)
        GL.glViewport(0, 0, *self._pictures[0].size)
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)

    def _send(self, values: Array) -> None:
        from OpenGL import GL

        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._vertices)
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, values.nbytes, values)

    def _draw_triangles(self) -> None:
        from OpenGL import GL

        GL.glEnable(GL.GL_CULL_FACE)
        GL.glDrawElements(GL.GL_TRIANGLES, self._closed, GL.GL_UNSIGNED_INT, None)
        GL.glDisable(GL.GL_CULL_FACE)
        start = ctypes.c_void_p(4 * self._closed)
        GL.glDrawElements(GL.GL_TRIANGLES, self._flat, GL.GL_UNSIGNED_INT, start)

    def _draw_wires(self) -> None:
        """Draw edges, before surfaces a little further away, which hide the edges behind them."""
        from OpenGL import GL

        self._send(_tinted(self._values, PAPER, PAPER_SHARE))
        GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glPolygonOffset(1.0, 1.0)
        self._draw_triangles()
        GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
        self._send(_tinted(self._values, WIRE, WIRE_SHARE))
        GL.glPolygonMode(GL.GL_FRONT_AND_BACK, GL.GL_LINE)
        self._draw_triangles()
        GL.glPolygonMode(GL.GL_FRONT_AND_BACK, GL.GL_FILL)

    def _shrink(self) -> None:
        """Halve until the picture has its size: each pixel is the mean of four."""
        from OpenGL import GL

        for large, small in zip(self._pictures, self._pictures[1:]):
            _copy(large, small, GL.GL_LINEAR)
        GL.glFlush()


class _Picture:
    """An OpenGL framebuffer, 8 bits a channel; filled from ``pixels`` [H, W, 3] if given."""

    def __init__(self, width: int, height: int, pixels: Frame | None = None) -> None:
        from OpenGL import GL

        self.size = (width, height)
        self.buffer = int(GL.glGenFramebuffers(1))
        texture = int(GL.glGenTextures(1))
        GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        layout = (GL.GL_RGBA8, width, height, 0, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, *layout, pixels)
        for setting in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, setting, GL.GL_LINEAR)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.buffer)
        color = GL.GL_COLOR_ATTACHMENT0
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, color, GL.GL_TEXTURE_2D, texture, 0)
        self._check()

    def add_depth(self) -> None:
        """Add a depth buffer, so that near surfaces hide far ones."""
        from OpenGL import GL

        depth = int(GL.glGenRenderbuffers(1))
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, depth)
        GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_DEPTH_COMPONENT24, *self.size)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.buffer)
        place = GL.GL_DEPTH_ATTACHMENT
        GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, place, GL.GL_RENDERBUFFER, depth)
        self._check()

    def _check(self) -> None:
        from OpenGL import GL

        if GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER) != GL.GL_FRAMEBUFFER_COMPLETE:
            width, height = self.size
            raise RenderError(f"OpenGL cannot make a picture of {width} x {height} pixels")


def _copy(source: _Picture, target: _Picture, scaling: int) -> None:
    from OpenGL import GL

    GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, source.buffer)
    GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, target.buffer)
    areas = (0, 0, *source.size, 0, 0, *target.size)
    GL.glBlitFramebuffer(*areas, GL.GL_COLOR_BUFFER_BIT, scaling)


def _tinted(values: Array, tint: tuple[float, float, float], share: float) -> Array:
    tinted = values.copy()
    tinted[:, 3:] += np.float32(share) * (np.array(tint, dtype=np.float32) - values[:, 3:])
    return tinted


def _program(vertex: str, fragment: str) -> int:
    from OpenGL import GL
    from OpenGL.GL import shaders

    kinds = ((vertex, GL.GL_VERTEX_SHADER), (fragment, GL.GL_FRAGMENT_SHADER))
    compiled = [shaders.compileShader(source, kind) for source, kind in kinds]
    program = GL.glCreateProgram()
    for shader in compiled:
        GL.glAttachShader(program, shader)
    GL.glLinkProgram(program)  # not shaders.compileProgram: it validates too early for macOS
    if not GL.glGetProgramiv(program, GL.GL_LINK_STATUS):
        raise RenderError(f"OpenGL: {GL.glGetProgramInfoLog(program)!r}")
    return int(program)
