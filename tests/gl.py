"""Whether frames can be drawn on this machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dtalk.config import DEFAULT_LOOK, Look
from dtalk.errors import RenderError
from dtalk.heads.head import Head
from dtalk.rendering.picture import Frame
from dtalk.rendering.renderer import Renderer, Size


def renderer_missing() -> str:
    """Why nothing can be drawn; empty if it can."""
    try:
        with Renderer(size=16):
            return ""
    except RenderError as error:
        return str(error)


MISSING = renderer_missing()
needs_gl = pytest.mark.skipif(bool(MISSING), reason=MISSING or "a renderer is here")


def render_still(
    coefficients: npt.ArrayLike | None = None,
    head: Head | None = None,
    size: Size = 512,
    look: Look = DEFAULT_LOOK,
    rotation: npt.ArrayLike | None = None,
) -> Frame:
    """One picture: [52] (None: the neutral face) -> uint8 [H, W, 3]."""
    row = np.zeros(52) if coefficients is None else coefficients
    with Renderer(head, size, look) as renderer:
        return renderer.render(row, rotation)
