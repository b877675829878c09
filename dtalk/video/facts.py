"""What pages, videos and pictures hold, of those that dtalk writes."""

from __future__ import annotations

import base64
import binascii
import html
import re
from pathlib import Path
from typing import Any

from dtalk.errors import MotionError, VideoError
from dtalk.speech.container import LIMITS
from dtalk.utils.ffmpeg import run_ffmpeg
from dtalk.utils.images import ImageError, read_image
from dtalk.utils.tensors import PackError, describe

Facts = dict[str, Any]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
PAGE_SUFFIXES = frozenset({".html", ".htm"})

_DURATION = re.compile(r"^ *Duration: (\d+):(\d+):(\d+\.\d+)", re.MULTILINE)
_PICTURES = re.compile(
    r"^ *Stream #0:\d+.*?: Video: (\w+).*?, (\d+)x(\d+)\b.*?, ([\d.]+) fps", re.M
)
_SOUND = re.compile(r"^ *Stream #0:\d+.*?: Audio: (\w+).*?, (\d+) Hz", re.MULTILINE)
_TAG = re.compile(r"^    (comment|encoder) *: (.*)$", re.MULTILINE)

_MOST_PAGE = 512 << 20  # bytes
_GENERATOR = re.compile(r'<meta name="generator" content="(dtalk [^"]*)">')
_NOTES = re.compile(r'<meta name="description" content="([^"]*)">')
_PART = re.compile(r'<script type="text/plain" id="(\w+)">([^<]*)</script>')


def video_facts(path: Path) -> Facts:
    """Describe a video: length, pictures, sound, and what is noted in it.

    Raises:
        VideoError: there are no moving pictures in it.
        FfmpegError: there is no ffmpeg.
    """
    with run_ffmpeg([*LIMITS, "-i", f"file:{path}"]) as ffmpeg:
        ffmpeg.wait()  # it complains that no output is named
        log = ffmpeg.log()
    pictures, duration = _PICTURES.search(log), _DURATION.search(log)
    if pictures is None or duration is None:
        raise VideoError(f"cannot read {path}: there are no moving pictures in it")
    hours, minutes, seconds = map(float, duration.groups())
    length = 3600 * hours + 60 * minutes + seconds
    codec, width, height, fps = pictures.groups()
    sound = _SOUND.search(log)
    tags = dict(_TAG.findall(log))
    return {
        "file": str(path),
        "kind": "video",
        "seconds": round(length, 3),
        "frames": round(length * float(fps)),
        "fps": float(fps),
        "width": int(width),
        "height": int(height),
        "codec": codec,
        "sound": f"{sound[1]}, {sound[2]} Hz" if sound is not None else "none",
        "notes": tags.get("comment", ""),
        "made_by": tags.get("encoder", ""),
        "bytes": path.stat().st_size,
    }


def page_facts(path: Path) -> Facts:
    """Describe a page that ``dtalk render`` wrote: its motions, head and sound.

    Raises:
        MotionError: another page, or a damaged one.
    """
    text = _page(path)
    made_by, notes = _GENERATOR.search(text), _NOTES.search(text)
    parts = dict(_PART.findall(text))
    if made_by is None or "motions" not in parts or "head" not in parts:
        raise MotionError(f"cannot read {path}: it is a page, but none that dtalk wrote")
    try:
        shapes, about = describe(base64.b64decode(parts["motions"], validate=True))
        head, look = describe(base64.b64decode(parts["head"], validate=True))
        sound = len(base64.b64decode(parts.get("sound", ""), validate=True))
        frames, fps = shapes["curves0"][0], float(about["fps"])
        names = [name for name in about["names"] if name]
        vertices = head["vertices"][0]
    except (binascii.Error, PackError, LookupError, TypeError, ValueError) as error:
        raise MotionError(f"cannot read {path}: the page is damaged") from error
    return {
        "file": str(path),
        "kind": "page",
        "frames": frames,
        "fps": fps,
        "seconds": round(frames / fps, 3),
        "heads": sum(name.startswith("curves") for name in shapes),
        "labels": names,
        "head_rotation": any(name.startswith("rotation") for name in shapes),
        "vertices": vertices,
        "wireframe": bool(look.get("wireframe")),
        "sound_bytes": sound,
        "notes": html.unescape(notes[1]) if notes is not None else "",
        "made_by": made_by[1],
        "bytes": path.stat().st_size,
    }


def picture_facts(path: Path) -> Facts:
    """Describe a picture: its size, and the comment in it.

    Raises:
        VideoError: no picture that is read.
    """
    try:
        picture = read_image(path)
    except ImageError as error:
        raise VideoError(f"cannot read {path}: it {error}") from error
    return {
        "file": str(path),
        "kind": "picture",
        "width": picture.width,
        "height": picture.height,
        "notes": str(picture.info.get("Comment", "")),
        "bytes": path.stat().st_size,
    }


def _page(path: Path) -> str:
    if path.stat().st_size > _MOST_PAGE:
        raise MotionError(f"cannot read {path}: it is too large for a page that dtalk wrote")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MotionError(f"cannot read {path}: it is a page, but none that dtalk wrote") from error
    except OSError as error:
        raise MotionError(f"cannot read {path}: {error.strerror or error}") from error
