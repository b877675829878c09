"""Load what flags name: heads, models and animation options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dtalk.config import AUTO, AnimationOptions, RuntimeOptions, WorkOptions
from dtalk.errors import DtalkError

if TYPE_CHECKING:
    from dtalk.engine.protocol import Talker
    from dtalk.heads.export import Exporter
    from dtalk.heads.head import Head
    from dtalk.model import DiffusionTalker
    from dtalk.utils.jobs import Job
from dtalk.cli.flags import Reporting, Settings, report_as

Runtime = TypeVar("Runtime", bound=RuntimeOptions)


def quiet_ranks() -> None:
    """Silence torch's remarks on ranks that `torchrun` started, before torch is imported."""
    if "RANK" in os.environ:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads, if one was given."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def head_of(head: Path | None, shape: str, masks: Path | None, cache: Path | None = None) -> Head:
    """Load the head that the flags name; a bar shows the transfer of shapes.

    ``cache`` is a folder for what is transferred, the user's if None.
    """
    from dtalk.heads.head import built_in

    if head is None and not shape and masks is None:
        return built_in()  # at once: the modules that carry shapes over take 0.3 s to import

    from dtalk.cli.console import counting, warn
    from dtalk.heads.load import load_head, parse_shape

    with counting("transferring shapes to the head", "steps") as progress:
        folder = None if cache is None else cache / "heads"
        found = load_head(head, parse_shape(shape), masks, progress, folder)
    missing = getattr(found, "missing", ())  # of an avatar
    if missing:
        done = "transferred ones are used" if getattr(found, "transferred", False) else "left out"
        warn(f"{head} lacks {len(missing)} shapes: {', '.join(missing)}; {done}")
    return found


def exporter_of(
    jobs: Sequence[Job],
    head: Path | None,
    shape: str,
    masks: Path | None,
    cache: Path | None = None,
) -> Exporter:
    """Load the head that the jobs' files hold, if they hold one.

    Raises:
        DtalkError: a head is named but not needed, or cannot be used.
    """
    from dtalk.heads.export import Exporter, is_glb, needs_head

    paths = [path for job in jobs for path in job.outputs]
    if not needs_head(paths):
        if head is not None or shape or masks is not None:
            raise DtalkError("curves fit any head: --head and the like need --format glb or flame")
        return Exporter()
    if head is not None and is_glb(head):
        exporter = Exporter(avatar=head)
    else:
        exporter = Exporter(head_of(head, shape, masks, cache))
    exporter.check(paths)
    return exporter


def reporting_of(flags: Settings) -> Reporting:
    """Make settings of flags, and let errors be reported by them from now on."""
    reporting = Reporting(**flags)
    report_as(reporting)
    return reporting


def model_of(runtime: RuntimeOptions) -> DiffusionTalker:
    """Load the model that the flags name."""
    from dtalk.inference import shared_model

    return shared_model(runtime)


def shared_out(runtime: Runtime, who: WorkOptions) -> Runtime:
    """Give each of several processes one thread, unless it is said how many."""
    alone = not who.elsewhere or runtime.threads is not None
    return runtime if alone else replace(runtime, threads=1)


def checked_labels(model: Talker, options: AnimationOptions) -> Talker:
    """The model, if it knows the labels that the options name.

    Raises:
        DataError: see :func:`.check_label`.
    """
    from dtalk.utils.labels import check_label

    config = model.config
    if options.identity != AUTO:
        check_label(config.identities, options.identity, "identity")
    if options.emotion != AUTO:
        check_label(config.emotions, options.emotion, "emotion")
    return model
