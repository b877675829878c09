"""Video files: frames and their sound as mp4, by the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from dtalk.config import DEFAULT_LOOK, DEFAULT_SOUND, Look, SoundOptions
from dtalk.errors import VideoError
from dtalk.heads.head import Head
from dtalk.motion.curves import FASTEST, SLOWEST, Motion, with_length
from dtalk.rendering.picture import Frame, video_format
from dtalk.rendering.renderer import DEFAULT_SIZE, Size, checked_size, render_frames
from dtalk.utils.ffmpeg import FfmpegError, first_complaint, run_ffmpeg
from dtalk.utils.files import atomic_path
from dtalk.version import __version__
from dtalk.video.soundtrack import BITRATE, REPRODUCIBLE, Soundtrack, encode_sound

CRF = 18  # x264's quality: 18 is hard to tell from the original
PRESET = "veryfast"  # half the time of x264's default, and files of faces are no larger

# x264's cheapest search of motion saves a quarter of its time; files grow by 3 %.
SEARCH = "subme=1"

# ffmpeg's default matrix for RGB is that of old television; players expect BT.709.
_CONVERTED = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
_LABELLED = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"


AHEAD = 2  # frames that wait for ffmpeg while the next is drawn


class LengthWarning(UserWarning):
    """A motion and its sound differ in length."""


def render_video(
    motion: Motion,
    path: Path | str,
    audio: Path | str | None = None,
    size: Size = DEFAULT_SIZE,
    head: Head | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    look: Look = DEFAULT_LOOK,
    comment: str = "",
    sound: SoundOptions = DEFAULT_SOUND,
) -> None:
    """Render a motion and write it with its sound, at the motion's own frame rate.

    The video is as long as its sound: where they differ by more than a frame, the last frame is
    held or what is left of the motion cut off, with a `LengthWarning`.

    Args:
        motion: what to show, [T, 52], with the head's rotation if it has one.
        path: the mp4 to write; the file appears only when it is complete.
        audio: the sound, any file with a sound track; None for a silent video.
        size, head, look: see `dtalk.rendering.renderer.Renderer`.
        progress: called after every frame with the number of frames done.
        comment: see `write_video`.
        sound: which track and channel of the sound's file.

    Raises:
        RenderError: no renderer, or a size that does not fit.
        AudioError, VideoError: see `write_video`.
    """
    with soundtrack_of(audio, Path(path), sound) as track:
        shown = matched(motion, track)
        pixels = video_format(*checked_size(size))
        frames = render_frames(
            shown.coefficients, head, size, look, rotation=shown.head_rotation, pixels=pixels
        )
        write_video(counted(frames, progress), path, motion.fps, track, comment=comment)


@contextmanager
def soundtrack_of(
    audio: Path | str | None,
    path: Path,
    sound: SoundOptions = DEFAULT_SOUND,
    bitrate: str = BITRATE,
) -> Iterator[Soundtrack | None]:
    """Encode the sound of a file for the video ``path``; None for a silent one.

    Raises:
        AudioError, VideoError: see `encode_sound`.
    """
    if audio is None:
        yield None
        return
    with encode_sound(Path(audio), path, sound, bitrate) as track:
        yield track


def matched(motion: Motion, track: Soundtrack | None) -> Motion:
    """Make a motion as long as its sound, if they differ by more than a frame."""
    if track is None or abs(track.seconds * motion.fps - len(motion)) <= 1:
        return motion
    done = "its last frame is held" if track.seconds > motion.duration else "its end is cut off"
    warnings.warn(
        f"the motion lasts {motion.duration:.2f} s, the sound {track.source} "
        f"{track.seconds:.2f} s: {done}",
        LengthWarning,
        stacklevel=3,
    )
    return with_length(motion, max(1, round(track.seconds * motion.fps)))


def write_video(
    frames: Iterable[Frame],
    path: Path | str,
    fps: float,
    audio: Path | str | Soundtrack | None = None,
    comment: str = "",
) -> None:
    """Encode frames as H.264 (yuv420p) with AAC sound in an mp4.

    Frames are encoded as they come; only a few are held. The sound is neither cut nor re-timed.
    Odd sizes are made even by repeating the last row or column, as yuv420p demands.

    Args:
        frames: at least one, all of one size: sRGB, uint8 [H, W, 3], or planes, uint8
            [3 H / 2, W], see `dtalk.rendering.picture.PixelFormat`.
        path: ends in .mp4; folders are made; replaced only when all is written.
        fps: frames per second.
        audio: the sound file, or what `soundtrack_of` gives for it, or None.
        comment: a line kept in the file's metadata.

    Raises:
        VideoError: no frames, sizes that differ, a bad rate or name, no ffmpeg, or anything that
            ffmpeg stumbles over.
        AudioError: the sound is missing or cannot be read.
        DtalkError: the place cannot be written.
    """
    path = Path(path)
    rate = _checked(path, fps)
    if isinstance(audio, (str, Path)):
        with soundtrack_of(audio, path) as track:
            write_video(frames, path, fps, track, comment)
        return
    stream = iter(frames)
    try:
        first = next(stream, None)
        if first is None:
            raise VideoError(f"cannot write {path}: there are no frames")
        shape = _even(_checked_frame(first, first.shape)).shape
        with atomic_path(path) as temporary:
            command = _command(shape, rate, audio, temporary, comment)
            with _fed(command, path) as pipe:
                checked = (_checked_frame(frame, first.shape) for frame in chain([first], stream))
                _write_beside(pipe, map(_even, checked))
    finally:
        # A renderer behind the frames gives its GL context back now, not at some later time.
        close = getattr(stream, "close", None)
        if close is not None:
            close()


def _command(
    shape: tuple[int, ...],
    rate: Fraction,
    track: Soundtrack | None,
    output: Path,
    comment: str = "",
) -> list[str]:
    planes = len(shape) == 2
    height, width = (shape[0] * 2 // 3 if planes else shape[0]), shape[1]
    layout = "yuv420p" if planes else "rgb24"
    picture = ["-f", "rawvideo", "-pix_fmt", layout, "-video_size", f"{width}x{height}"]
    picture += ["-framerate", str(rate), "-i", "pipe:0"]
    video = ["-c:v", "libx264", "-preset", PRESET, "-x264-params", SEARCH, "-crf", str(CRF)]
    filters = _LABELLED if planes else f"{_CONVERTED},{_LABELLED}"
    video += ["-vf", filters, "-pix_fmt", "yuv420p"]
    return muxed(picture, video, track, output, comment)


def muxed(
    picture: Sequence[str],
    video: Sequence[str],
    track: Soundtrack | None,
    output: Path,
    comment: str = "",
) -> list[str]:
    """Make ffmpeg's arguments for an mp4: the input of pictures, their codec, sound, target."""
    # Only files of our own making are opened; a playlist must not reach others through one.
    sound = ["-protocol_whitelist", "file", "-format_whitelist", "mov", "-i"]
    sound = [*sound, f"file:{track.path}"] if track is not None else []
    streams = ["-map", "0:v:0", *(["-map", "1:a:0"] if track is not None else [])]
    encoded = [*video, "-c:a", "copy", *REPRODUCIBLE]
    encoded += ["-metadata", f"comment={comment}"] if comment else []
    encoded += ["-metadata", f"encoding_tool=dtalk {__version__}"]
    target = ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{output}"]
    return ["-v", "error", *picture, *sound, *streams, *encoded, *target]


@contextmanager
def _fed(command: list[str], path: Path) -> Iterator[IO[bytes]]:
    """Run ffmpeg and give its input; what goes wrong there becomes a ``VideoError``."""
    try:
        with run_ffmpeg(command, feed=True) as ffmpeg:
            assert ffmpeg.stdin is not None
            try:
                yield ffmpeg.stdin
                status = ffmpeg.wait()
            except BrokenPipeError:
                status = ffmpeg.wait() or 1
            if status != 0:
                raise VideoError(f"cannot write {path}: {first_complaint(ffmpeg.log())}")
    except FfmpegError as error:
        raise VideoError(f"cannot write {path}: {error}") from error


def _write_beside(pipe: IO[bytes], frames: Iterable[Frame]) -> None:
    """Write frames from another thread, so that the next is drawn while ffmpeg takes one."""
    with ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[int]] = deque()
        for frame in frames:
            waiting.append(writer.submit(pipe.write, frame.data))
            if len(waiting) > AHEAD:
                waiting.popleft().result()
        for write in waiting:
            write.result()


def counted(frames: Iterator[Frame], progress: Callable[[int], None] | None) -> Iterator[Frame]:
    """Yield the frames, and call ``progress`` with how many were taken."""
    try:
        for done, frame in enumerate(frames, start=1):
            yield frame
            if progress is not None:
                progress(done)
    finally:
        frames.close()  # type: ignore[attr-defined]  # a generator, see render_frames


def _even(frame: Frame) -> Frame:
    """Pad a frame to even sides, contiguous; planes have them."""
    height, width = frame.shape[:2]
    if frame.ndim == 3 and (height % 2 or width % 2):
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _checked(path: Path, fps: float) -> Fraction:
    """Check the arguments; return the frame rate as a fraction (29.97 becomes 2997/100)."""
    if path.suffix.lower() != ".mp4":
        raise VideoError(f"cannot write {path}: only mp4 is written; name it {path.stem}.mp4")
    if not SLOWEST <= fps <= FASTEST:
        raise VideoError(f"fps must be {SLOWEST:g} to {FASTEST:g}, got {fps}")
    return Fraction(fps).limit_denominator(1001)


def _checked_frame(frame: Frame, shape: tuple[int, ...]) -> Frame:
    if frame.dtype != np.uint8 or not frame.size or not (_is_rgb(frame) or _is_planes(frame)):
        raise VideoError(
            f"frames must be uint8 [H, W, 3] or [3 H / 2, W], got {frame.dtype} {list(frame.shape)}"
        )
    if frame.shape != shape:
        raise VideoError(f"frames differ in size: {list(frame.shape)} after {list(shape)}")
    return frame


def _is_rgb(frame: Frame) -> bool:
    return frame.ndim == 3 and frame.shape[2] == 3


def _is_planes(frame: Frame) -> bool:
    return frame.ndim == 2 and frame.shape[0] % 3 == 0 and frame.shape[1] % 2 == 0
