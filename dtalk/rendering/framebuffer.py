"""OpenGL framebuffers: pictures in memory that are drawn on, copied and read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtalk.errors import RenderError
from dtalk.rendering.redraw import Box


class Framebuffer:
    """A picture of 8 bits a channel; filled from ``pixels`` [H, W, 3] if given."""

    def __init__(
        self, width: int, height: int, pixels: npt.NDArray[np.uint8] | None = None
    ) -> None:
        from OpenGL import GL

        self.size = (width, height)
        self.number = int(GL.glGenFramebuffers(1))
        texture = int(GL.glGenTextures(1))
        GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        layout = (GL.GL_RGBA8, width, height, 0, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, *layout, pixels)
        for setting in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, setting, GL.GL_LINEAR)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.number)
        color = GL.GL_COLOR_ATTACHMENT0
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, color, GL.GL_TEXTURE_2D, texture, 0)
        self._check()

    def add_depth(self) -> None:
        """Add a depth buffer, everywhere at its furthest."""
        from OpenGL import GL

        depth = int(GL.glGenRenderbuffers(1))
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, depth)
        # A software renderer is quicker with floats than with 24 bits beside 8 unused ones.
        GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_DEPTH_COMPONENT32F, *self.size)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.number)
        place = GL.GL_DEPTH_ATTACHMENT
        GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, place, GL.GL_RENDERBUFFER, depth)
        self._check()
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)

    def read(self, box: Box, memory: npt.NDArray[np.uint8]) -> None:
        """Read a part of the picture, RGBA [h, w, 4], into contiguous memory of that size."""
        from OpenGL import GL

        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.number)
        GL.glReadPixels(box.left, box.top, *box.size, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, memory)

    def _check(self) -> None:
        from OpenGL import GL

        if GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER) != GL.GL_FRAMEBUFFER_COMPLETE:
            width, height = self.size
            raise RenderError(f"OpenGL cannot make a picture of {width} x {height} pixels")


def enlarge(source: Framebuffer, target: Framebuffer) -> None:
    """Copy a picture to a larger one, nearest pixels."""
    _blit(source, Box(0, 0, *source.size), target, Box(0, 0, *target.size), depth=False)


def copy_part(source: Framebuffer, target: Framebuffer, box: Box) -> None:
    """Copy a part of a picture, depths too, to the same place in one of the same size."""
    _blit(source, box, target, box, depth=True)


def _blit(source: Framebuffer, of: Box, target: Framebuffer, to: Box, *, depth: bool) -> None:
    from OpenGL import GL

    GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, source.number)
    GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, target.number)
    areas = (of.left, of.top, of.right, of.bottom, to.left, to.top, to.right, to.bottom)
    what = GL.GL_COLOR_BUFFER_BIT | (GL.GL_DEPTH_BUFFER_BIT if depth else 0)
    GL.glBlitFramebuffer(*areas, what, GL.GL_NEAREST)
