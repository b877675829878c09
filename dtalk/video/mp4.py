"""Video files: frames and their sound as mp4, by the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import re
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO

import imageio_ffmpeg
import numpy as np

from dtalk.config import DEFAULT_LOOK, Look
from dtalk.errors import AudioError, VideoError
from dtalk.heads.head import Head
from dtalk.motion.curves import Motion, with_length
from dtalk.rendering.canvas import Frame
from dtalk.rendering.renderer import DEFAULT_SIZE, Size, render_frames
from dtalk.speech.audio import SAMPLE_RATE, load_audio
from dtalk.utils.files import atomic_path

CRF = 18  # x264's quality: 18 is hard to tell from the original
PRESET = "veryfast"  # half the time of x264's default, and files of faces are no larger
AUDIO_BITRATE = "192k"
SLOWEST, FASTEST = 1.0, 1000.0  # frames per second

# Local files only: a playlist that is passed off as a sound must not reach the network.
_LOCAL = ("-protocol_whitelist", "file,pipe")
# ffmpeg's default matrix for RGB is that of old television; players expect BT.709.
_TO_VIDEO = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
# No times, versions or tags in the file: the same input gives the same bytes.
_REPRODUCIBLE = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact")


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
) -> None:
    """Render a motion and write it with its sound, at the motion's own frame rate.

    The video is as long as its sound: where they differ by more than a frame, the last frame is
    held or what is left of the motion cut off, with a `LengthWarning`.

    Args:
        motion: what to show, [T, 52], with the head's rotation if it has one.
        path: the mp4 to write; the file appears only when it is complete.
        audio: the sound, any file that ffmpeg reads; None for a silent video.
        size, head, look: see `dtalk.rendering.renderer.Renderer`.
        progress: called after every frame with the number of frames done.
        comment: see `write_video`.

    Raises:
        RenderError: no renderer, or a size that does not fit.
        VideoError: see `write_video`.
    """
    shown = matched(motion, audio)
    frames = render_frames(shown.coefficients, head, size, look, rotation=shown.head_rotation)
    write_video(counted(frames, progress), path, motion.fps, audio, comment=comment)


def matched(motion: Motion, audio: Path | str | None) -> Motion:
    """Make a motion as long as its sound, if they differ by more than a frame."""
    seconds = None if audio is None else sound_seconds(audio)
    if seconds is None or abs(seconds * motion.fps - len(motion)) <= 1:
        return motion
    done = "its last frame is held" if seconds > motion.duration else "its end is cut off"
    warnings.warn(
        f"the motion lasts {motion.duration:.2f} s, the sound {audio} {seconds:.2f} s: {done}",
        LengthWarning,
        stacklevel=3,
    )
    return with_length(motion, max(1, round(seconds * motion.fps)))


def sound_seconds(path: Path | str) -> float | None:
    """Measure how long a sound lasts; None if only ffmpeg can tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged sounds; whoever animates them warns
        try:
            return len(load_audio(path)) / SAMPLE_RATE
        except AudioError:
            return None


def write_video(
    frames: Iterable[Frame],
    path: Path | str,
    fps: float,
    audio: Path | str | None = None,
    comment: str = "",
) -> None:
    """Encode frames, uint8 [H, W, 3] sRGB each, as H.264 (yuv420p) with AAC sound in an mp4.

    Frames are encoded as they come; only one is held. The sound is neither cut nor re-timed.
    Odd sizes are made even by repeating the last row or column, as yuv420p demands.

    Args:
        frames: at least one, all of one size.
        path: ends in .mp4; folders are made; replaced only when all is written.
        fps: frames per second.
        audio: the sound file, or None.
        comment: a line kept in the file's metadata.

    Raises:
        VideoError: no frames, sizes that differ, a bad rate or name, a sound that is missing
            or that ffmpeg cannot read, or anything else ffmpeg stumbles over.
        DtalkError: the place cannot be written.
    """
    path, audio = Path(path), Path(audio) if audio is not None else None
    rate = _checked(path, fps, audio)
    stream = iter(frames)
    try:
        first = next(stream, None)
        if first is None:
            raise VideoError(f"cannot write {path}: there are no frames")
        size = _even(_checked_frame(first, first.shape)).shape
        with atomic_path(path) as temporary:
            command = _command(size, rate, audio, temporary, comment)
            what = f"{path} with the sound {audio}" if audio is not None else str(path)
            with _ffmpeg(command, what) as pipe:
                for frame in chain([first], stream):
                    pipe.write(_even(_checked_frame(frame, first.shape)).data)
    finally:
        # A renderer behind the frames gives its GL context back now, not at some later time.
        close = getattr(stream, "close", None)
        if close is not None:
            close()


def _command(
    size: tuple[int, ...],
    rate: Fraction,
    audio: Path | None,
    output: Path,
    comment: str = "",
) -> list[str]:
    height, width = size[:2]
    # The sound comes first, so that ffmpeg rejects a bad file before frames are rendered.
    sound = [*_LOCAL, "-i", f"file:{audio.absolute()}"] if audio is not None else []
    picture = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"]
    picture += ["-framerate", str(rate), "-i", "pipe:0"]
    streams = ["-map", "1:v:0", "-map", "0:a:0"] if audio is not None else ["-map", "0:v:0"]
    video = ["-c:v", "libx264", "-preset", PRESET, "-crf", str(CRF), "-pix_fmt", "yuv420p"]
    video += ["-vf", _TO_VIDEO]
    encoded = [*video, "-c:a", "aac", "-b:a", AUDIO_BITRATE, *_REPRODUCIBLE]
    encoded += ["-metadata", f"comment={comment}"] if comment else []
    target = ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{output}"]
    quiet = ["-hide_banner", "-loglevel", "error"]
    return [_executable(), *quiet, *sound, *picture, *streams, *encoded, *target]


@contextmanager
def _ffmpeg(command: list[str], what: str) -> Iterator[IO[bytes]]:
    """Run ffmpeg and give its input; whatever happens, the process is gone afterwards."""
    with tempfile.TemporaryFile() as log:
        # Its own session: Ctrl-C is ours to handle, ffmpeg must not see it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        assert process.stdin is not None
        try:
            yield process.stdin
            process.stdin.close()
            status = process.wait()
        except BrokenPipeError:
            status = process.wait() or 1
        finally:
            _stop(process)
        if status != 0:
            raise VideoError(f"cannot write {what}: {_reason(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process if it still runs, collect it, and close its pipe without waiting."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # what was still buffered has nowhere to go
            process.stdin.close()


def _reason(log: IO[bytes]) -> str:
    """Get ffmpeg's first complaint (what follows are consequences), without its addresses."""
    log.seek(0)
    text = log.read().decode(errors="replace")
    if "matches no streams" in text:
        return "the sound file holds no sound"
    lines = [re.sub(r"^\[[^\]]* @ \w+\] *", "", line).strip() for line in text.splitlines()]
    return next((f"ffmpeg says: {line}" for line in lines if line), "ffmpeg gives no reason")


def _executable() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(
            "no ffmpeg: reinstall imageio-ffmpeg, or name one in IMAGEIO_FFMPEG_EXE"
        ) from error


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
    """Crop a frame to even sides, contiguous."""
    height, width, _ = frame.shape
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _checked(path: Path, fps: float, audio: Path | None) -> Fraction:
    """Check the arguments; return the frame rate as a fraction (29.97 becomes 2997/100)."""
    if path.suffix.lower() != ".mp4":
        raise VideoError(f"cannot write {path}: only mp4 is written; name it {path.stem}.mp4")
    if not SLOWEST <= fps <= FASTEST:
        raise VideoError(f"fps must be {SLOWEST:g} to {FASTEST:g}, got {fps}")
    if audio is not None and not audio.is_file():
        raise VideoError(f"cannot read the sound {audio}: no such file")
    return Fraction(fps).limit_denominator(1001)


def _checked_frame(frame: Frame, shape: tuple[int, ...]) -> Frame:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or not frame.size:
        raise VideoError(f"frames must be uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
    if frame.shape != shape:
        raise VideoError(f"frames differ in size: {list(frame.shape)} after {list(shape)}")
    return frame
