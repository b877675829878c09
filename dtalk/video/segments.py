"""One long video by several workers: segments of its frames, joined without encoding anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dtalk.errors import VideoError
from dtalk.motion.curves import Motion
from dtalk.utils.ffmpeg import FfmpegError, first_complaint, run_ffmpeg
from dtalk.utils.files import atomic_path, check_output
from dtalk.utils.types import Progress
from dtalk.utils.workers import TRIES, Processes, WorkerDied, Workers, in_order
from dtalk.video.mp4 import muxed
from dtalk.video.soundtrack import Soundtrack

# As x264 sets a key frame every 250 frames anyway, segments cost next to nothing. They do not
# depend on the number of workers, so neither do the bytes.
FRAMES = 300


@dataclass(frozen=True)
class Segment:
    """Some frames of a video: their motion (of each panel), and the file to be made of them."""

    motions: tuple[Motion, ...]
    path: Path
    first: int

    def __len__(self) -> int:
        return len(self.motions[0])


def worth_splitting(frames: int, workers: Workers) -> bool:
    """Whether workers make a video of so many frames sooner than this process, or instead of it."""
    return frames > FRAMES or not isinstance(workers, Processes)


def write_in_segments(
    motions: Sequence[Motion],
    path: Path,
    track: Soundtrack | None,
    comment: str,
    draw: Callable[[Segment], None],
    workers: Workers,
    progress: Progress | None = None,
) -> None:
    """Let workers ``draw`` the segments of a video, and join them with the sound.

    Args:
        motions: what is shown, a motion a panel, all of one length.
        path, track, comment: see `dtalk.video.mp4.write_video`.
        draw: writes the mp4 of a segment, silent; it is sent to the workers.
        progress: called after every segment with the frames done and all of them.

    Raises:
        VideoError: a segment cost two workers their lives, or the video cannot be written.
        DtalkError: whatever ``draw`` raises, or the place cannot be written.
    """
    check_output(path)
    with TemporaryDirectory(prefix=".dtalk-", dir=path.parent) as folder:
        segments = list(_segments(motions, Path(folder)))
        done = 0
        for segment, outcome in zip(segments, in_order(workers, draw, segments)):
            if isinstance(outcome, WorkerDied):
                raise VideoError(
                    f"cannot write {path}: given up after {TRIES} tries at the frames from "
                    f"{segment.first} on: {outcome}"
                )
            done += len(segment)
            if progress is not None:
                progress(done, len(motions[0]))
        _join(segments, path, track, comment)


def _segments(motions: Sequence[Motion], folder: Path) -> Iterator[Segment]:
    for number, first in enumerate(range(0, len(motions[0]), FRAMES)):
        cut = slice(first, first + FRAMES)
        yield Segment(
            tuple(_cut(motion, cut) for motion in motions), folder / f"{number:06}.mp4", first
        )


def _cut(motion: Motion, frames: slice) -> Motion:
    turns = motion.head_rotation
    return replace(
        motion,
        coefficients=motion.coefficients[frames],
        head_rotation=None if turns is None else turns[frames],
    )


def _join(segments: Sequence[Segment], path: Path, track: Soundtrack | None, comment: str) -> None:
    """Copy the segments' pictures one after another, and the sound, into one file.

    Raises:
        VideoError: ffmpeg fails.
    """
    listed = segments[0].path.with_suffix(".txt")
    listed.write_text("".join(f"file {segment.path.name}\n" for segment in segments))
    pictures = ["-protocol_whitelist", "file", "-f", "concat", "-i", f"file:{listed}"]
    with atomic_path(path) as temporary:
        command = muxed(pictures, ["-c:v", "copy"], track, temporary, comment)
        try:
            with run_ffmpeg(command) as ffmpeg:
                if ffmpeg.wait():
                    raise VideoError(f"cannot write {path}: {first_complaint(ffmpeg.log())}")
        except FfmpegError as error:
            raise VideoError(f"cannot write {path}: {error}") from error
