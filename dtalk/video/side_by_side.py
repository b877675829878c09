"""Several motions of one clip side by side, each with its name below (the paper's Fig. 5)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dtalk.config import DEFAULT_LOOK, Look
from dtalk.errors import RenderError
from dtalk.heads.head import Head
from dtalk.motion.curves import Motion, with_length
from dtalk.motion.resample import resample_motion
from dtalk.rendering.picture import Frame, video_format
from dtalk.rendering.renderer import DEFAULT_SIZE, Size, checked_size, render_frames
from dtalk.utils.types import Array
from dtalk.video.mp4 import LengthWarning

OUTPUT = Path("side_by_side.mp4")  # where no other name is given
REFERENCE = "reference"
WIDEST = 8192  # pixels of all panels together; few players take more

# The strip with the name: its share of a panel's height, at least so many pixels, and colours.
_STRIP, _LEAST_STRIP = 1 / 14, 16
_STRIP_COLOR, _TEXT_COLOR = (30, 33, 38), (236, 238, 241)
_TEXT_SHARE, _LEAST_TEXT = 0.55, 7  # of the strip's height; pixels


def named_panels(sources: Sequence[Path], reference: Path | None = None) -> list[tuple[str, Path]]:
    """List name and file of each panel, left to right: the reference first, if there is one."""
    first = [] if reference is None else [(REFERENCE, reference)]
    return [*first, *zip(distinct_names(sources), sources)]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by what differs: the stem, else a folder, else all that differs.

    ``teacher/a.npz`` and ``student/a.npz`` are "teacher" and "student".
    """
    parts = [[*path.absolute().parent.parts, path.stem] for path in paths]
    folders = zip(*(row[:-1] for row in parts))
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, folders))
    rows = [row[shared:] for row in parts]
    depth = max(map(len, rows))
    columns = list(zip(*([""] * (depth - len(row)) + row for row in rows)))
    for column in reversed(columns):
        if len(set(column)) == len(paths) and all(column):
            return list(column)
    differing = [column for column in columns if len(set(column)) > 1]
    return ["/".join(filter(None, row)) for row in zip(*differing)]


def aligned(motions: Sequence[Motion], seconds: float | None = None) -> list[Motion]:
    """Bring motions to one frame rate, the highest of theirs, and to one length.

    That is the sound's, ``seconds``; without sound, the longest motion's. A shorter motion holds
    its last frame, a longer one is cut, with a `LengthWarning` if more than a frame is concerned.
    """
    fps = max(motion.fps for motion in motions)
    same = [resample_motion(motion, fps) for motion in motions]
    longest = max(map(len, same))
    frames = longest if seconds is None else max(1, round(seconds * fps))
    if any(abs(len(motion) - frames) > 1 for motion in same):
        lengths = ", ".join(f"{motion.duration:.2f}" for motion in motions)
        warnings.warn(
            f"the motions last {lengths} s, the video {frames / fps:.2f} s: "
            "shorter ones hold their last frame, longer ones are cut",
            LengthWarning,
            stacklevel=2,
        )
    return [with_length(motion, frames) for motion in same]


def panels(
    motions: Sequence[Motion],
    names: Sequence[str],
    head: Head | None = None,
    size: Size = DEFAULT_SIZE,
    look: Look = DEFAULT_LOOK,
    *,
    video: bool = False,
) -> Iterator[Frame]:
    """Render frames with a panel for each motion, left to right, and its name below it.

    One renderer renders all heads, one after another. For a video, a single panel without a name
    is rendered in the format that it is encoded from.

    Args:
        motions: N of one length, such as `aligned` gives.
        names: N, or none for panels without strips.
        head, look: see `dtalk.rendering.renderer.Renderer`.
        size: of one panel, without its strip.

    Raises:
        RenderError: the panels are wider than `WIDEST` together; see `Renderer`.
    """
    count, (width, height) = len(motions), checked_size(size)
    if count * width > WIDEST:
        raise RenderError(
            f"{count} panels of {width} pixels are wider than {WIDEST}; take a smaller --size"
        )
    strips = [strip(name, width, height) for name in names]
    base = [np.concatenate(strips, axis=1)] if strips else []
    turns = None
    if any(motion.head_rotation is not None for motion in motions):
        turns = _interleaved([_rotation(motion) for motion in motions])
    rows = _interleaved([motion.coefficients for motion in motions])
    if video and count == 1 and not names:
        pixels = video_format(width, height)
        return render_frames(rows, head, size, look, rotation=turns, pixels=pixels)
    frames = render_frames(rows, head, size, look, rotation=turns)

    def rendered() -> Iterator[Frame]:
        try:
            while row := list(islice(frames, count)):
                yield np.concatenate([np.concatenate(row, axis=1), *base])
        finally:
            frames.close()  # type: ignore[attr-defined]  # a generator

    return rendered()


def _rotation(motion: Motion) -> Array:
    if motion.head_rotation is None:
        return np.zeros((len(motion), 3), dtype=np.float32)
    return motion.head_rotation


def _interleaved(arrays: Sequence[Array]) -> Array:
    """Interleave rows: the first of all, then the second ones: N times [T, C] -> [N T, C]."""
    stacked = np.stack(arrays, axis=1)
    return stacked.reshape(-1, stacked.shape[-1])


def strip(name: str, width: int, height: int) -> Frame:
    """Draw the strip with a name for a panel of ``width`` x ``height``: uint8 [S, W, 3].

    A long name is written smaller, then cut at its end.
    """
    tall = max(_LEAST_STRIP, round(_STRIP * height))
    image = Image.new("RGB", (width, tall), _STRIP_COLOR)
    pixels = max(_LEAST_TEXT, round(_TEXT_SHARE * tall))
    room = width - tall // 2
    while (font := ImageFont.load_default(pixels)).getlength(name) > room and pixels > _LEAST_TEXT:
        pixels -= 1
    text = _cut(name, font, room)
    middle = (width / 2, tall / 2)
    ImageDraw.Draw(image).text(middle, text, fill=_TEXT_COLOR, font=font, anchor="mm")
    return np.asarray(image)


def _cut(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    if font.getlength(name) <= room:
        return name
    kept = name
    while kept and font.getlength(f"{kept}...") > room:
        kept = kept[:-1]
    return f"{kept}..."
