"""A web page that plays motions on a head: one file that needs nothing else.

Scripts and styles lie in ``viewer/``; the page holds them, the head, the curves and the sound. It
makes no request: its policy forbids them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from dtalk.config import DEFAULT_LOOK, Look
from dtalk.heads.head import Head, built_in
from dtalk.motion.curves import Motion
from dtalk.rendering import background
from dtalk.utils.files import atomic_path
from dtalk.utils.tensors import pack
from dtalk.version import __version__
from dtalk.video.soundtrack import Soundtrack
from dtalk.video.web_head import pack_head

CURVE_STEP = 1e-4
ROTATION_STEP = 1e-5  # radians
# The sound is AAC in mp4. mp3 would play up to 70 ms late after a jump, in Chromium: by as much as
# its encoder delays it.
PAGE_BITRATE = "64k"
WALL_STOPS = 9  # of the gradient that stands for the studio wall
WALL_PIXELS = (1280, 720)  # of an image behind the head

VIEWER = resources.files("dtalk.video") / "viewer"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function|function|class|const)", re.MULTILINE)


def write_html(
    motions: Sequence[Motion],
    names: Sequence[str],
    path: Path,
    track: Soundtrack | None = None,
    head: Head | None = None,
    look: Look = DEFAULT_LOOK,
    comment: str = "",
) -> None:
    """Write a page that plays motions next to each other, with their sound.

    Args:
        motions: one or more, of one frame rate and length, such as `aligned` gives.
        names: of the motions, or none for heads without labels.
        path: of the page, whose stem is its title.
        track: their sound, as `dtalk.video.mp4.soundtrack_of` gives it; None for a silent page.
        head: the built-in one if None.
        look: where the camera starts, what is behind the head, whether triangles are shown.
        comment: a line for the reader, shown in the page.

    Raises:
        RenderError: a background that is no colour and no image.
        DtalkError: the place cannot be written.
    """
    style = _text("viewer.css") + wall_style(look.background)
    script = bundle("main.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "media-src blob:; img-src data:"
    )
    fields = {
        "title": html.escape(path.stem),
        "notes": html.escape(_notes(motions, comment)),
        "generator": f"dtalk {__version__}",
        "policy": policy,
        "style": style,
        "script": script,
        "head": _base64(pack_head(head or built_in(), look)),
        "motions": _base64(pack_motions(motions, names)),
        "sound": "" if track is None else _base64(track.path.read_bytes()),
    }
    page = Template(_text("viewer.html")).substitute(fields)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def bundle(module: str) -> str:
    """The JavaScript module of this name and what it imports, in one, without imports."""
    order: list[str] = []
    _visit(module, order)
    return "".join(_EXPORT.sub("", _IMPORT.sub("", _text(name))) for name in order)


def _visit(module: str, order: list[str]) -> None:
    for name in _IMPORT.findall(_text(module)):
        if name not in order:
            _visit(name, order)
    order.append(module)


def pack_motions(motions: Sequence[Motion], names: Sequence[str]) -> bytes:
    """Pack curves to 0.0001, and head rotations to 0.00001 radians, for ``viewer/main.js``."""
    arrays, steps = {}, {}
    for index, motion in enumerate(motions):
        arrays[f"curves{index}"] = motion.coefficients
        steps[f"curves{index}"] = CURVE_STEP
        if motion.head_rotation is not None:
            arrays[f"rotation{index}"] = motion.head_rotation
            steps[f"rotation{index}"] = ROTATION_STEP
    shown = list(names) or [""] * len(motions)
    return pack(arrays, {"fps": motions[0].fps, "names": shown}, steps)


def _notes(motions: Sequence[Motion], comment: str) -> str:
    """What is known of the motions, in one line."""
    first = motions[0]
    known = [f"{first.duration:.1f} s at {first.fps:g} frames/s"]
    for label, words in {"emotion": "emotion", "identity": "voice like", "model": "model"}.items():
        found = dict.fromkeys(filter(None, (getattr(motion, label) for motion in motions)))
        known += [f"{words} {', '.join(found)}"] if found else []
    return "; ".join([*known, *filter(None, [comment])])


def wall_style(what: str) -> str:
    """The style of what is behind the head."""
    if what == background.STUDIO:
        return _studio()
    wall = background.background_image(what, *WALL_PIXELS)
    if Path(what).is_file():
        picture = io.BytesIO()
        Image.fromarray(wall).save(picture, "JPEG", quality=85)
        source = f"data:image/jpeg;base64,{_base64(picture.getvalue())}"
        return f":root {{ --wall: center / cover url({source}); }}\n"
    red, green, blue = wall[0, 0]
    return f":root {{ --wall: rgb({red} {green} {blue}); }}\n"


def _studio() -> str:
    """The studio wall as a gradient, darker where the system is dark."""
    share = np.linspace(0, 1, WALL_STOPS)
    light = 0.5 + 0.5 * np.cos(np.pi * share)[:, None]
    dark, lit = np.array(background.WALL_DARK), np.array(background.WALL_LIT)
    colors = np.rint(dark + light * (lit - dark)).astype(int)
    stops = ", ".join(f"rgb({r} {g} {b}) {100 * s:g}%" for (r, g, b), s in zip(colors, share))
    x, y = (100 * part for part in background.LIT_AT)
    width, height = (100 * part for part in background.REACH)
    wall = f"radial-gradient({width:g}% {height:g}% at {x:g}% {y:g}%, {stops})"
    shade = "linear-gradient(rgb(0 0 0 / 0.5), rgb(0 0 0 / 0.5))"
    dark_rule = f"@media (prefers-color-scheme: dark) {{ :root {{ --wall: {shade}, {wall}; }} }}"
    return f":root {{ --wall: {wall}; }}\n{dark_rule}\n"


def _text(name: str) -> str:
    return (VIEWER / name).read_text(encoding="utf-8")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
