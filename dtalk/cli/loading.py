"""Load what flags name: heads, models and animation options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtalk.config import AUTO, AnimationOptions, RuntimeOptions

if TYPE_CHECKING:
    from dtalk.heads.head import Head
    from dtalk.model import DiffusionTalker
from dtalk.cli.flags import Settings


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads, if one was given."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def head_of(head: Path | None, shape: str, masks: Path | None) -> Head:
    """Load the head that the flags name; a bar shows the transfer of shapes."""
    from dtalk.heads.head import built_in

    if head is None and not shape and masks is None:
        return built_in()  # at once: the modules that carry shapes over take 0.3 s to import

    from dtalk.cli.console import counting
    from dtalk.heads.load import load_head, parse_shape

    with counting("transferring shapes to the head", "steps") as progress:
        return load_head(head, parse_shape(shape), masks, progress)


def model_of(runtime: RuntimeOptions) -> DiffusionTalker:
    """Load the model that the flags name."""
    from dtalk.inference import shared_model

    set_threads(runtime.threads)
    return shared_model(runtime)


def options_of(model: DiffusionTalker | None, flags: Settings) -> AnimationOptions:
    """Make animation options of flags; a label that the model does not know is refused at once."""
    options = AnimationOptions(**flags)
    for kind, label in (("identity", options.identity), ("emotion", options.emotion)):
        if model is not None and label != AUTO:
            getattr(model.personalizer, kind).check(label, kind)
    return options
