"""Whether frames can be drawn on this machine."""

from __future__ import annotations

import pytest

from dtalk.errors import RenderError
from dtalk.render.renderer import Renderer


def renderer_missing() -> str:
    """Why nothing can be drawn; empty if it can."""
    try:
        with Renderer(size=16):
            return ""
    except RenderError as error:
        return str(error)


MISSING = renderer_missing()
needs_gl = pytest.mark.skipif(bool(MISSING), reason=MISSING or "a renderer is here")
