"""dtalk: speech in, a talking 3D face out.

>>> import dtalk
>>> motion = dtalk.animate("speech.wav", emotion="happy")
>>> dtalk.render(motion, "speech.mp4", audio="speech.wav")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dtalk.version import __version__ as __version__

if TYPE_CHECKING:
    from dtalk.config import Look as Look
    from dtalk.errors import DtalkError as DtalkError
    from dtalk.inference import animate as animate
    from dtalk.inference import load as load
    from dtalk.motion.arkit import ARKIT_NAMES as ARKIT_NAMES
    from dtalk.motion.curves import Motion as Motion
    from dtalk.motion.files import read_motion as read_motion
    from dtalk.motion.files import write_motion as write_motion
    from dtalk.video.mp4 import render_video

    render = render_video

_PLACES = {
    "ARKIT_NAMES": "dtalk.motion.arkit.ARKIT_NAMES",
    "DtalkError": "dtalk.errors.DtalkError",
    "Look": "dtalk.config.Look",
    "Motion": "dtalk.motion.curves.Motion",
    "animate": "dtalk.inference.animate",
    "load": "dtalk.inference.load",
    "read_motion": "dtalk.motion.files.read_motion",
    "render": "dtalk.video.mp4.render_video",
    "write_motion": "dtalk.motion.files.write_motion",
}
__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'dtalk' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].rpartition(".")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
