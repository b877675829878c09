"""Jobs of ``dtalk render``, in this process or in another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dtalk.config import (
    DEFAULT_LOOK,
    DEFAULT_OPTIONS,
    AnimationOptions,
    EngineOptions,
    Look,
    OutputOptions,
)
from dtalk.errors import RenderError
from dtalk.heads.head import Head
from dtalk.motion.changes import changed
from dtalk.motion.curves import Motion, provenance
from dtalk.motion.options import CurveOptions
from dtalk.rendering.picture import Frame
from dtalk.rendering.renderer import DEFAULT_SIZE, Size
from dtalk.utils.jobs import Job, Made, names_file, plan
from dtalk.utils.types import Progress
from dtalk.utils.workers import Workers
from dtalk.video.html import PAGE_BITRATE, write_html
from dtalk.video.inputs import SoundWarning, read_input, read_inputs
from dtalk.video.mp4 import counted, matched, soundtrack_of, write_video
from dtalk.video.segments import Segment, worth_splitting, write_in_segments
from dtalk.video.side_by_side import OUTPUT, aligned, named_panels, panels
from dtalk.video.soundtrack import BITRATE, Soundtrack
from dtalk.video.stills import at_moments, parse_moments, still_suffixes, write_stills

HTML = ".html"
_WRITTEN = (".mp4", HTML, ".png")
Panels = list[tuple[str, Path]]
"""Names and files of what is shown side by side."""


def planned(
    found: Sequence[tuple[Path, Path]], out: Path | None, output: OutputOptions
) -> tuple[list[Job], list[float], Panels]:
    """Plan jobs, moments of stills and panels for the inputs; see `dtalk.utils.jobs.plan`.

    Side by side, all inputs are one job.

    Raises:
        DtalkError: stills of a page; see `dtalk.utils.jobs.plan` and
            `dtalk.video.stills.parse_moments`.
    """
    if out is not None and names_file(out) and out.suffix.lower() not in _WRITTEN:
        known = ", ".join(_WRITTEN)
        raise RenderError(f"-o {out}: what is written is {known}; or name a folder that exists")
    moments = parse_moments(output.still)
    if moments and output.format != "mp4":
        raise RenderError(f"--still makes PNGs; leave out --format {output.format}")
    suffixes = still_suffixes(moments) if moments else [_suffix(out, output)]
    if not output.side_by_side:
        return plan(found, out, suffixes), moments, []
    shown = named_panels([path for path, _ in found], output.reference)
    return plan([(OUTPUT, OUTPUT)], out, suffixes), moments, shown


def _suffix(out: Path | None, output: OutputOptions) -> str:
    """What is written if not stills: the output's format, or html if the file is named so."""
    named = out is not None and out.suffix.lower() == HTML and not out.is_dir()
    return HTML if named else f".{output.format}"


@dataclass(frozen=True)
class RenderJob:
    """The settings that all jobs of one command share; it can be sent to another process.

    Attributes:
        audio: the sound; looked for if None.
        size, look, head: see `dtalk.rendering.renderer.Renderer`.
        options, runtime: for speech, which is animated first; which sound of a file is meant.
        moments: seconds of which stills are made, instead of a video.
        curves: changes of the curves; idle motion is sampled from the options' seed.
        together: name and file of each panel, if several are shown side by side.
    """

    audio: Path | None = None
    size: Size = DEFAULT_SIZE
    look: Look = DEFAULT_LOOK
    head: Head | None = None
    options: AnimationOptions = DEFAULT_OPTIONS
    runtime: EngineOptions = field(default_factory=EngineOptions)
    moments: Sequence[float] = ()
    curves: CurveOptions = field(default_factory=CurveOptions)
    together: Sequence[tuple[str, Path]] = ()

    def make(
        self, job: Job, progress: Progress | None = None, workers: Workers | None = None
    ) -> Made:
        """Write a job's outputs and return what was made.

        ``progress`` is called after every frame of a video with the frames done and all of them,
        and before that so for the curves of a long sound.
        ``workers`` share the frames of a long video out among them.

        Raises:
            DtalkError: an input cannot be read or animated, or nothing can be rendered or written.
        """
        with warnings.catch_warnings():
            if self.moments:
                warnings.simplefilter("ignore", SoundWarning)
            motions, audio = self._read(job, progress)
        if self.moments:  # stills are silent
            audio = None
        target = job.outputs[0]
        is_page = target.suffix.lower() == HTML
        bitrate = PAGE_BITRATE if is_page else BITRATE
        with soundtrack_of(audio, target, self.options, bitrate) as track:
            motions = self._timed(motions, track)
            if self.moments:
                self._write_stills(motions, job)
            elif is_page:
                self._write_page(motions, target, track)
            else:
                self._write_video(motions, target, track, progress, workers)
        return self._made(motions)

    def _made(self, motions: Sequence[Motion]) -> Made:
        first = motions[0]
        about = provenance(first) if len(motions) == 1 else {"notes": _notes(motions)}
        if self.moments:
            return Made(len(self.moments), about=about)
        return Made(len(first), first.duration, about)

    def _write_stills(self, motions: Sequence[Motion], job: Job) -> None:
        chosen = [at_moments(motion, self.moments) for motion in motions]
        write_stills(self._frames(chosen), job.outputs, _notes(motions))

    def _write_page(self, motions: Sequence[Motion], path: Path, track: Soundtrack | None) -> None:
        names = [name for name, _ in self.together]
        write_html(motions, names, path, track, self.head, self.look, _notes(motions))

    def _write_video(
        self,
        motions: Sequence[Motion],
        path: Path,
        track: Soundtrack | None,
        progress: Progress | None,
        workers: Workers | None,
    ) -> None:
        count = len(motions[0])
        if workers is not None and worth_splitting(count, workers):
            notes = _notes(motions)
            write_in_segments(motions, path, track, notes, self.draw, workers, progress)
            return
        report = None if progress is None else (lambda done: progress(done, count))
        shown = counted(self._frames(motions, video=True), report)
        write_video(shown, path, motions[0].fps, track, comment=_notes(motions))

    def draw(self, segment: Segment) -> None:
        """Write the video of some frames, without sound.

        Raises:
            DtalkError: nothing can be rendered or written.
        """
        frames = self._frames(segment.motions, video=True)
        write_video(frames, segment.path, segment.motions[0].fps)

    def _read(self, job: Job, progress: Progress | None) -> tuple[list[Motion], Path | None]:
        """Read or make the motions, and find the sound."""
        animated = partial(self._animated, progress=progress)
        if self.together:
            sources = [path for _, path in self.together]
            return read_inputs(sources, self.audio, animated, self.curves.fps)
        found = read_input(job.source, self.audio, animated, self.curves.fps)
        return [found.motion], found.audio

    def _timed(self, motions: list[Motion], track: Soundtrack | None) -> list[Motion]:
        """The motions, all of one rate and as long as the sound."""
        if self.together:
            motions = aligned(motions, None if track is None else track.seconds)
        else:
            motions = [matched(motion, track) for motion in motions]
        return [changed(motion, self.curves, self.options.seed) for motion in motions]

    def _animated(self, path: Path, progress: Progress | None) -> Motion:
        from dtalk.inference import animate_file, load_talker

        # Kept from one file to the next; this may be another process than the command line's.
        talker = load_talker(self.runtime, self.options)
        return animate_file(talker, path, self.options, progress)

    def _frames(self, motions: Sequence[Motion], *, video: bool = False) -> Iterator[Frame]:
        names = [name for name, _ in self.together]
        return panels(motions, names, self.head, self.size, self.look, video=video)


def _notes(motions: Sequence[Motion]) -> str:
    """Say in one line what is noted about any of the motions."""
    return "; ".join(dict.fromkeys(motion.notes for motion in motions if motion.notes))
