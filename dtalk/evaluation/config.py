"""Settings of evaluation, with defaults and meanings."""

from __future__ import annotations

from dataclasses import dataclass

from dtalk.config import MOST_STEPS, SAMPLERS, SPLITS
from dtalk.utils.settings import REPORTS, SAMPLING, Settings, setting


@dataclass(frozen=True)
class EvaluationConfig(Settings):
    """The clips and samples of an evaluation."""

    split: str = setting("val", "split of the data that is scored", SPLITS)
    sets: tuple[str, ...] = setting((), "only these data sets; repeatable")
    samples: int = setting(1, "samples a clip; above 1 their mean is scored too", least=1)
    seed: int = setting(0, "seed of the first sample", most=2**62, group=SAMPLING)
    steps: int | None = setting(
        None, "denoising steps [the model's own]", least=1, most=MOST_STEPS, group=SAMPLING
    )
    sampler: str = setting(
        "ddim", "ancestral adds new noise at every step", SAMPLERS, group=SAMPLING
    )
    close_in_silence: bool | None = setting(
        None, "mouth closed where nobody speaks [the model's own]", was="rest", group=SAMPLING
    )
    speed: bool = setting(False, "also measure speed and size of models", group=REPORTS)
    intervals: bool = setting(
        False, "95 % intervals over clips, and of differences from the first row", group=REPORTS
    )
