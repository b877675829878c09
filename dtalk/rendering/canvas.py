"""An OpenGL canvas: triangles with coloured vertices, rasterised into a picture in memory.

pyrender opens the context, whatever the system; the drawing is ours. A software rasteriser needs a
third of the time that way: colours are all its shader looks at, edges are smoothed by drawing
larger and averaging, which is cheaper there than multisampling, no depth is read back, and only
that part of the picture is drawn again in which something changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dtalk.errors import RenderError, one_line
from dtalk.rendering.context import import_pyrender, open_canvas
from dtalk.rendering.framebuffer import Framebuffer, copy_part, enlarge
from dtalk.rendering.picture import Frame, PixelFormat, picture_of
from dtalk.rendering.redraw import Box, Redraw
from dtalk.utils.types import Array, IntArray

_VALUES = 6  # of a vertex: x y z r g b
# A wireframe: colours of its edges and of the surfaces between them, and how much of those.
WIRE, WIRE_SHARE = (0.16, 0.18, 0.22), 0.85
PAPER, PAPER_SHARE = (0.93, 0.94, 0.95), 0.75

_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 color;
uniform mat4 to_picture;
noperspective out vec3 shade;
void main() {
    gl_Position = to_picture * vec4(position, 1.0);
    shade = color;
}
"""
_FRAGMENT = """#version 330 core
noperspective in vec3 shade;
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
        pixels: what `frame` gives.

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
        pixels: PixelFormat = "rgb24",
    ) -> None:
        self._context = open_canvas(import_pyrender(), 16, 16)
        self._height, self._width = backdrop.shape[:2]
        self._factor = factor
        self._values = np.zeros((vertices, _VALUES), dtype=np.float32)
        self._closed, self._flat = closed.size, flat.size
        self._picture = picture_of(pixels, backdrop)
        self._memory = np.empty(0, dtype=np.uint8)
        self._read: tuple[Box, Frame] | None = None
        self._wireframe = False
        self._undrawn: Box | None = None  # of what was uploaded
        self._unread: Box | None = None  # of what was drawn
        triangles = np.concatenate((closed, flat))
        self._redraw = Redraw(triangles, to_picture, self._width, self._height)
        try:
            with self._current("start"):
                self._make_buffers(triangles)
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
        self._values[:, 3:] = self._picture.components(colors)
        self._undrawn = _union(self._undrawn, self._redraw.box(self._values))
        with self._current("take the head"):
            self._send(self._values)

    def draw(self, wireframe: bool = False) -> None:
        """Start to draw what was uploaded; `read` waits until it is done.

        Raises:
            RenderError: OpenGL refuses.
        """
        from OpenGL import GL

        box = self._undrawn
        if wireframe != self._wireframe:
            box = Box(0, 0, self._width, self._height)
        self._wireframe, self._undrawn = wireframe, None
        if box is None:
            return
        self._unread = box.united(self._unread)
        with self._current("draw the frame"):
            self._clear(box.scaled(self._factor))
            if wireframe:
                self._draw_wires()
            else:
                self._draw_triangles()
            GL.glFlush()

    def finish(self) -> None:
        """Wait until everything is drawn, for measurements of time.

        Raises:
            RenderError: OpenGL refuses.
        """
        from OpenGL import GL

        with self._current("finish the frame"):
            GL.glFinish()

    def read(self) -> None:
        """Wait for what was drawn, and keep its samples for `frame`: more can be drawn now.

        Raises:
            RenderError: OpenGL refuses.
        """
        if self._unread is None:
            return
        box = self._unread.scaled(self._factor)
        count = 4 * box.size[0] * box.size[1]
        if len(self._memory) < count:
            self._memory = np.empty(count, dtype=np.uint8)
        samples = self._memory[:count].reshape(box.size[1], box.size[0], 4)
        with self._current("read the frame"):
            self._drawn.read(box, samples)
        self._read = (self._unread, samples)
        self._unread = None

    def frame(self) -> Frame:
        """Average the samples that were read last into a new frame, see `PixelFormat`."""
        if self._read is not None:
            self._picture.update(*self._read)
            self._read = None
        return self._picture.frame

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
            if isinstance(error, ctypes.ArgumentError) and "KeyboardInterrupt" in str(error):
                raise KeyboardInterrupt from error  # met while ctypes converted an argument
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
        """Make the picture in the size it is drawn in, and one of what is behind the head."""
        size = (self._factor * self._width, self._factor * self._height)
        self._drawn, self._behind = Framebuffer(*size), Framebuffer(*size)
        for picture in (self._drawn, self._behind):
            picture.add_depth()
        colors = self._picture.components(backdrop.astype(np.float32) / np.float32(255))
        small = Framebuffer(self._width, self._height, np.rint(255 * colors).astype(np.uint8))
        enlarge(small, self._behind)

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

    def _tinted(self, tint: tuple[float, float, float], share: float) -> Array:
        """Get the vertices with colours that are mixed with a tint, sRGB."""
        tinted = self._values.copy()
        wanted = self._picture.components(np.array(tint, dtype=np.float32))
        tinted[:, 3:] += np.float32(share) * (wanted - self._values[:, 3:])
        return tinted

    def _clear(self, box: Box) -> None:
        """Copy the background in, which is faster than blending it later, and draw only there."""
        from OpenGL import GL

        copy_part(self._behind, self._drawn, box)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._drawn.number)
        GL.glViewport(0, 0, *self._drawn.size)
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(box.left, box.top, *box.size)

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

        self._send(self._tinted(PAPER, PAPER_SHARE))
        GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glPolygonOffset(1.0, 1.0)
        self._draw_triangles()
        GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
        self._send(self._tinted(WIRE, WIRE_SHARE))
        GL.glPolygonMode(GL.GL_FRONT_AND_BACK, GL.GL_LINE)
        self._draw_triangles()
        GL.glPolygonMode(GL.GL_FRONT_AND_BACK, GL.GL_FILL)


def _union(first: Box | None, second: Box | None) -> Box | None:
    return second if first is None else first.united(second)


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
