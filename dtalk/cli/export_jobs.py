"""Jobs of ``dtalk animate`` and ``dtalk convert``, in this process or in another."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtalk.config import DEFAULT_OPTIONS, AnimationOptions, EngineOptions
from dtalk.heads.export import Exporter
from dtalk.motion.changes import changed, made_of
from dtalk.motion.options import CurveOptions
from dtalk.utils.jobs import Job, Made
from dtalk.utils.types import Progress


@dataclass(frozen=True)
class AnimateJob:
    """The settings that all jobs of one command share; it can be sent to another process."""

    runtime: EngineOptions
    exporter: Exporter
    options: AnimationOptions = DEFAULT_OPTIONS
    curves: CurveOptions = field(default_factory=CurveOptions)

    def make(self, job: Job, progress: Progress | None = None) -> Made:
        """Animate a job's speech, write its outputs, and return what was made.

        ``progress`` is called for long sounds, with the frames done and all of them.

        Raises:
            DtalkError: the speech cannot be animated, or nothing can be written.
        """
        from dtalk.inference import animate_file, load_talker

        talker = load_talker(self.runtime, self.options)  # kept from one file to the next
        made = animate_file(talker, job.source, self.options, progress)
        motion = changed(made, self.curves, self.options.seed)
        return made_of(motion, self.exporter.write_all(motion, job.outputs, job.source))


@dataclass(frozen=True)
class ConvertJob:
    """The settings that all jobs of one command share; it can be sent to another process."""

    exporter: Exporter
    curves: CurveOptions = field(default_factory=CurveOptions)
    seed: int = 0

    def make(self, job: Job) -> Made:
        """Read a job's motion, write its outputs, and return what was made.

        Raises:
            DtalkError: the motion cannot be read, or nothing can be written.
        """
        from dtalk.motion.files import read_motion
        from dtalk.video.inputs import find_audio

        read = read_motion(job.source, fps=self.curves.fps)
        motion = changed(read, self.curves, self.seed)
        sound = find_audio(job.source, motion)
        return made_of(motion, self.exporter.write_all(motion, job.outputs, sound))
