"""Still pictures: moments of a clip as PNG files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dtalk.errors import RenderError
from dtalk.motion.curves import Motion, at_frames
from dtalk.rendering.picture import Frame
from dtalk.utils.files import atomic_path


def parse_moments(texts: Sequence[str]) -> list[float]:
    """Parse times: ``["0.5,1", "2"]`` -> [0.5, 1.0, 2.0] seconds, each once.

    Raises:
        RenderError: something else than numbers of seconds, 0 or more.
    """
    cells = [cell.strip() for text in texts for cell in text.split(",")]
    try:
        moments = [float(cell) for cell in cells]
    except ValueError as error:
        raise RenderError(
            f"cannot read --still {','.join(texts)}; write seconds like 0.5,2"
        ) from error
    for moment in moments:
        if not (math.isfinite(moment) and moment >= 0):
            raise RenderError(f"--still {moment:g}: moments are seconds from the start, 0 or more")
    return list(dict.fromkeys(moments))


def still_suffixes(moments: Sequence[float]) -> list[str]:
    """Name stills: ``.png`` for a single one, else ``.0.5s.png`` and so on."""
    return [".png"] if len(moments) == 1 else [f".{moment:g}s.png" for moment in moments]


def at_moments(motion: Motion, moments: Sequence[float]) -> Motion:
    """Select the frames of a motion that show the moments, one each.

    Raises:
        RenderError: a moment after the end.
    """
    late = [moment for moment in moments if moment > motion.duration]
    if late:
        raise RenderError(f"--still {late[0]:g}: the clip lasts {motion.duration:.2f} s")
    last = len(motion) - 1
    return at_frames(motion, [min(int(moment * motion.fps), last) for moment in moments])


def write_stills(frames: Iterable[Frame], paths: Sequence[Path], comment: str = "") -> None:
    """Write each frame as a PNG file, with a comment inside if there is one.

    Raises:
        DtalkError: a place cannot be written.
    """
    notes = PngInfo()
    if comment:
        notes.add_text("Comment", comment)
    for frame, path in zip(frames, paths):
        with atomic_path(path) as temporary:
            Image.fromarray(frame).save(temporary, format="PNG", pnginfo=notes)
