"""Settings of training and distillation, with defaults and meanings; see :mod:`dtalk.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dtalk.config import (
    LIBRARIES,
    MOST_LAYERS,
    MOST_WIDTH,
    OPTIMIZERS,
    PARTS,
    PRECISIONS,
    SMALL_ENCODERS,
    ModelConfig,
    cache_gigabytes,
)
from dtalk.errors import DtalkError
from dtalk.utils.settings import (
    DATA,
    EVERYDAY,
    LOSSES,
    MACHINE,
    NETWORK,
    OPTIMISATION,
    RESEARCH,
    Settings,
    setting,
)


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """Settings of one training run."""

    group: ClassVar[str] = DATA

    data: Path
    out: Path
    sets: tuple[str, ...] = setting((), "data sets to use; repeatable [all]")
    without_sets: tuple[str, ...] = setting((), "data sets to leave out; repeatable")
    without: tuple[str, ...] = setting(
        (), "parts to leave out; repeatable", LIBRARIES, group=RESEARCH
    )
    updates: int = setting(4000, "updates of the weights", least=1, group=EVERYDAY)
    batch_frames: int = setting(2000, "padded frames in a batch of clips with motion", least=1)
    audio_only_batch: int = setting(4, "clips without motion beside each batch")
    voices: tuple[Path, ...] = setting(
        (), "folders of neutral speech by voices that are no identities; repeatable", was="heard"
    )
    neutral_sets: tuple[str, ...] = setting(
        (), "sets whose clips without labels count as neutral; repeatable"
    )
    posed: float = setting(0.0, "share of neutral clips posed in another emotion", most=1)
    mirror: bool = setting(False, "every second clip is mirrored, left and right")
    balance: float = setting(0.7, "a set of n clips is drawn like one of n ** balance")
    augment: float = setting(1.0, "strength of changes of speed, room, noise and band; 0 is none")
    variants: int | None = setting(
        None,
        "changed versions of a clip, 0 for a new one each time [8 with a large encoder, else 0]",
    )
    optimizer: str = setting(
        "adamw",
        "adamw, or muon for the matrices of speech encoder and GRU: far fewer updates",
        OPTIMIZERS,
        group=OPTIMISATION,
    )
    learning_rate: float = setting(1e-3, "peak of the learning rate", group=OPTIMISATION)
    weight_decay: float = setting(0.02, "decay of the weights", group=OPTIMISATION)
    clip_gradient: float = setting(1.0, "largest norm of the gradient", group=OPTIMISATION)
    ema: float = setting(0.998, "decay of the moving average of the weights", group=OPTIMISATION)
    reconstruction_weight: float = setting(
        1.0, "lambda_1 of eq. 15, on the reconstruction", group=LOSSES
    )
    contrast_weight: float = setting(0.007, "lambda_2 of eq. 15, on eqs. 5 and 6", group=LOSSES)
    lip_weight: float = setting(
        2.0, "weight of the lip vertices inside the reconstruction", group=LOSSES
    )
    upper_weight: float = setting(
        1.0, "weight of the upper-face vertices inside the reconstruction", group=LOSSES
    )
    velocity_weight: float = setting(
        2.0, "weight of the lip vertices' velocities inside the reconstruction", group=LOSSES
    )
    closure_weight: float = setting(
        0.0, "weight of the mouth's opening where the tracked lips are closed", group=LOSSES
    )
    guide_weight: float = setting(
        1.0, "weight of predicting motion from the features alone", group=LOSSES
    )
    label_share: float = setting(0.5, "share of clips conditioned on their labels")
    retrieval_share: float = setting(
        0.4, "share of clips conditioned on what is retrieved from the sound", was="match_share"
    )
    identity_label_share: float | None = setting(
        None, "--label-share of identities alone [the same]"
    )
    identity_retrieval_share: float | None = setting(
        None, "--retrieval-share of identities alone [the same]", was="identity_match_share"
    )
    audio_dropout: float = setting(
        0.0, "share of clips whose motion is learned from labels alone", was="deaf_share"
    )
    validate_every: int = setting(400, "updates between validations", least=1, group=OPTIMISATION)
    save_minutes: float = setting(3.0, "minutes between checkpoints", group=MACHINE)
    seed: int = setting(0, "seed of everything random", most=2**40, group=EVERYDAY)
    device: str = setting("cpu", "cpu, cuda, mps or auto", group=MACHINE)
    precision: str = setting(
        "float32", "precision of products in training", PRECISIONS, group=MACHINE
    )
    cache: Path | None = setting(
        None, "folder for features of large encoders [the user's cache]", group=MACHINE
    )
    cache_gigabytes: float = cache_gigabytes()
    init: Path | None = setting(None, "model to start from, to fine-tune it", group=EVERYDAY)
    linear_start: bool = setting(
        False,
        "linear parts start from ridge regression; large features, experts and their choice stay",
        group=OPTIMISATION,
    )
    refit: bool = setting(
        False,
        "the linear prior of --init, and its choice of experts, are fitted anew first",
        group=OPTIMISATION,
    )
    hear_emotions: bool = setting(
        False,
        "what the library of emotions of --init hears by is learned anew first",
        group=OPTIMISATION,
    )
    emotion_channels: int = setting(
        0,
        "so many channels of a large encoder's features, the last ones, first learn to tell "
        "emotions apart; with --init, and with --refit and --hear-emotions",
        most=MOST_WIDTH,
        group=OPTIMISATION,
    )
    resume: bool = setting(False, "go on from the state in the output folder", group=EVERYDAY)
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("refit", "hear_emotions", "emotion_channels"):
            if getattr(self, name) and self.init is None:
                flag = name.replace("_", "-")
                raise DtalkError(f"--{flag} is for a model to start from: name it with --init")
        unknown = sorted(self.model.keys() - ModelConfig.__dataclass_fields__.keys())
        if unknown:
            raise DtalkError(f"a model has no setting {unknown[0]}")
        ModelConfig((), (), **self.model)


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(TrainingConfig):
    """Settings of a distillation: those of training, which hold in every round, and its own."""

    teacher: Path
    init: Path | None = setting(
        None,
        "student to start from, in the last round alone [the teacher, in all rounds]",
        group=EVERYDAY,
    )
    updates: int = setting(1500, "updates of the weights in each round", least=1, group=EVERYDAY)
    emotion_channels: int = 0  # no flag: a student's channels are its teacher's
    last_updates: int | None = setting(
        None, "updates in the last round [as in the others]", least=1, group=EVERYDAY
    )
    without: tuple[str, ...] = setting(
        (), "parts to leave out (Table III); repeatable", PARTS, group=RESEARCH
    )
    steps: int = setting(2, "denoising steps of the last student", least=1, group=EVERYDAY)
    speech: tuple[Path, ...] = setting(
        (), "folders of speech without labels; repeatable", group=EVERYDAY
    )
    drawn_steps: int | None = setting(
        None, "denoising steps of the motion sampled for speech [the teacher's]", least=1
    )
    encoder: str | None = setting(
        None, "the teacher's large encoder: folder or hub id", group=EVERYDAY
    )
    front_end: str = setting(
        "mel", "front end of the student's speech encoder", SMALL_ENCODERS, group=NETWORK
    )
    encoder_depth: int = setting(2, "transformer blocks in a whisper front end", group=NETWORK)
    blocks_at_face_rate: bool = setting(
        False,
        "whether a whisper front end's blocks run at the face's 30 frames a second, not at 50",
        group=NETWORK,
    )
    stem_width: int | None = setting(
        None,
        "channels kept between the convolutions of a whisper front end's stem [all]",
        least=1,
        most=MOST_WIDTH,
        group=NETWORK,
    )
    block_width: int | None = setting(
        None,
        "channels kept between the linear layers of a whisper front end's blocks [all]",
        least=1,
        most=4 * MOST_WIDTH,
        group=NETWORK,
    )
    encoder_width: int = setting(
        192, "channels inside the student's speech encoder", least=1, group=NETWORK
    )
    encoder_blocks: int = setting(
        3, "residual blocks in the student's speech encoder", group=NETWORK
    )
    encoder_residual: bool = setting(
        False,
        "whether the LSTM of a mel or cnn front end is added to what it is given",
        group=NETWORK,
    )
    encoder_dropout: float | None = setting(
        None, "dropout in the student's speech encoder [the teacher's]", most=0.99, group=NETWORK
    )
    hidden_width: int | None = setting(
        None,
        "width of the student's GRU, each direction [the teacher's, whose weights it takes]",
        least=1,
        most=MOST_WIDTH,
        group=NETWORK,
    )
    layers: int | None = setting(
        None, "layers of the student's GRU", least=1, most=MOST_LAYERS, group=NETWORK
    )
    encoder_init: Path | None = setting(
        None,
        "model whose small encoder to start from [ridge regression, or random weights]",
        group=OPTIMISATION,
    )
    block_rate: float = setting(
        0.0,
        "learning rate of a whisper front end's blocks, relative to the others'; 0 keeps them",
        group=OPTIMISATION,
    )
    encoder_updates: int = setting(
        1500, "updates of the small speech encoder alone, before all rounds", group=OPTIMISATION
    )
    distillation_weight: float = setting(0.1, "lambda_3 of eq. 16, on eq. 11", group=LOSSES)
    encoder_weight: float = setting(1.0, "lambda_4 of eq. 16, on eq. 12", group=LOSSES)
    enhancer_weight: float = setting(0.05, "lambda_5 of eq. 16, on eq. 14", group=LOSSES)
    enhancer_temperature: float = setting(
        0.1, "temperature tau of eq. 14", least=0.001, group=LOSSES
    )
    pooled_weight: float = setting(
        0.0, "weight of matching the pooled features of the large encoder", group=LOSSES
    )
    match_weight: float = setting(
        0.0, "weight of retrieving from the sound what the teacher retrieves", group=LOSSES
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        narrow = self.stem_width is not None or self.block_width is not None
        if self.front_end != "whisper" and (narrow or self.block_rate):
            raise DtalkError(
                "--stem-width, --block-width and --block-rate are for --front-end whisper"
            )
