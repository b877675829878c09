"""Settings of inference, the model and training, with defaults and meanings.

The command line makes a flag of every setting here, so this module imports nothing heavy. Whoever
gives a value, on the command line, in a file or in Python: :class:`.Settings` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dtalk.errors import DtalkError
from dtalk.utils.settings import (
    DATA,
    EVERYDAY,
    HEAD,
    LOOK,
    LOSSES,
    MACHINE,
    NETWORK,
    OPTIMISATION,
    RESEARCH,
    SAMPLING,
    Settings,
    setting,
)

AUTO = "auto"
MOST_STEPS = 1000  # of denoising; a handful is enough
MOST_THREADS = 1024
MOST_WIDTH, MOST_LAYERS = 1 << 14, 100  # of any part of a network: a file may ask for more
CACHE_GIGABYTES = 20.0
COMPRESSED_ENCODERS = ("whisper", "hubert")  # the bottom of a large one, and a BiLSTM
SMALL_ENCODERS = ("mel", "cnn", *COMPRESSED_ENCODERS)
SPLITS = ("train", "val", "test")
RETRIEVALS = ("soft", "hard")
SAMPLERS = ("ddim", "ancestral")
PRECISIONS = ("float32", "bfloat16")
CAMERAS = ("front", "three-quarter")
LIBRARIES = ("identity", "emotion")
ENGINES = (AUTO, "onnx", "torch")
PARTS = (*LIBRARIES, "enhancer", "distillation", "compression")


def _cache_gigabytes() -> Any:
    text = "gigabytes in it; what was used longest ago goes first"
    return setting(CACHE_GIGABYTES, text, least=0.01, group=MACHINE)


@dataclass(frozen=True)
class SoundOptions(Settings):
    """Which sound of a file is meant."""

    track: str = setting("", "sound track: its number, from 1, or language [the file's default]")
    channel: str = setting(
        AUTO, "left, right, a number, or mix; auto mixes all unless they cancel each other"
    )


DEFAULT_SOUND = SoundOptions()


@dataclass(frozen=True)
class AnimationOptions(SoundOptions):
    """How a clip is animated."""

    identity: str = setting(AUTO, "speaking style by name, or auto to infer it from the speech")
    emotion: str = setting(AUTO, "emotion by name, or auto to infer it from the speech")
    emotion_strength: float | None = setting(
        None, "how strongly a named emotion shows; 1 as learned [the model's own]", most=100
    )
    emotion_threshold: float = setting(
        0.5, "an inferred emotion that is less probable than this is neutral", most=1
    )
    seed: int = setting(0, "seed of the noise; equal seeds give equal motion", most=2**63 - 1)
    steps: int | None = setting(
        None, "denoising steps [the model's own]", least=1, most=MOST_STEPS, group=SAMPLING
    )
    sampler: str = setting(
        "ddim", "ancestral adds new noise at every step", SAMPLERS, group=SAMPLING
    )
    temperature: float = setting(
        1.0, "scales how far a sample deviates from the mean motion", most=100, group=SAMPLING
    )
    close_in_silence: bool | None = setting(
        None, "mouth closed where nobody speaks [the model's own]", was="rest", group=SAMPLING
    )


DEFAULT_OPTIONS = AnimationOptions()


@dataclass(frozen=True)
class Look(Settings):
    """The look of a rendered head, whatever the size of the picture."""

    group: ClassVar[str] = LOOK

    camera: str = setting("front", "where the camera stands: front or three-quarter", CAMERAS)
    yaw: float = setting(0.0, "turn of the camera around the head, in degrees", least=None)
    background: str = setting("studio", "studio, a colour by name or #rrggbb, or an image file")
    wireframe: bool = setting(False, "show the triangles")


DEFAULT_LOOK = Look()


@dataclass(frozen=True)
class OutputOptions(Settings):
    """The outputs of ``dtalk render``."""

    group: ClassVar[str] = LOOK

    labels: bool = setting(False, "all inputs next to each other in one video, with their names")
    reference: Path | None = setting(
        None, "motion that the others are compared with, shown first; implies --labels"
    )
    format: str = setting("mp4", "mp4, or html: a page that plays the head", ("mp4", "html"))
    still: tuple[str, ...] = setting(
        (), "PNGs of these moments instead of a video: seconds like 0.5,2; repeatable"
    )

    @property
    def side_by_side(self) -> bool:
        """Whether all inputs go into one picture."""
        return self.labels or self.reference is not None


@dataclass(frozen=True)
class WorkOptions(Settings):
    """Who does the work of a command: this process, several, or those of a cluster."""

    group: ClassVar[str] = MACHINE

    jobs: int = setting(1, "inputs that are worked on at a time, by processes", least=1)
    cluster: str | None = setting(
        None, "Dask scheduler whose workers do the work, such as tcp://host:8786"
    )

    @property
    def elsewhere(self) -> bool:
        """Whether other processes do the work."""
        return self.jobs > 1 or self.cluster is not None


@dataclass(frozen=True)
class HeadChoice(Settings):
    """The head to render, evaluate or fit."""

    group: ClassVar[str] = HEAD

    head: Path | None = setting(
        None, "FLAME model (pkl, npz), avatar (glb, vrm) or mesh (obj, ...) [the built-in one]"
    )
    shape: str = setting("", "identity of a FLAME model: its first numbers, such as 0.5,-1,0.2")
    masks: Path | None = setting(
        None, "FLAME_masks.pkl: regions of lips and upper face, for scores"
    )


@dataclass(frozen=True)
class RuntimeOptions(Settings):
    """The model, its device and threads, and its large speech encoder."""

    group: ClassVar[str] = MACHINE

    encoder: str | None = setting(None, "large speech encoder of a teacher: folder or hub id")
    cache: Path | None = setting(
        None, "folder for features of large encoders and for heads [the user's cache]"
    )
    cache_gigabytes: float = _cache_gigabytes()
    device: str = setting("cpu", "cpu, cuda, mps or auto")
    threads: int | None = setting(None, "CPU threads [all]", least=1, most=MOST_THREADS)
    weights: Path | None = setting(
        None, "model file, or student or teacher for one that ships [student]", group=EVERYDAY
    )


@dataclass(frozen=True)
class EngineOptions(RuntimeOptions):
    """The same, where ONNX Runtime may compute instead of torch."""

    engine: str = setting(
        AUTO, "what computes: onnx, torch, or auto: onnx where the model has a graph", ENGINES
    )


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The network's shapes and its defaults in sampling.

    Attributes:
        identities, emotions: labels of the two libraries, in order.
        large_width, large_fingerprint: of the large encoder, whose name is ``encoder``.

    The other attributes are documented where they are defined.
    """

    group: ClassVar[str] = NETWORK

    identities: tuple[str, ...]
    emotions: tuple[str, ...]
    encoder: str = setting(
        "mel", "speech encoder: mel, cnn, or the folder or hub id of a Whisper or HuBERT model"
    )
    layer: tuple[int, ...] = setting(
        (), "layers of a large speech encoder to take; repeatable [the last]"
    )
    encoder_width: int = setting(
        192, "channels inside the speech encoder", least=1, most=MOST_WIDTH
    )
    encoder_blocks: int = setting(0, "residual blocks in a small speech encoder", most=MOST_LAYERS)
    encoder_depth: int = setting(2, "transformer blocks in a whisper encoder", most=MOST_LAYERS)
    bottom_width: int = setting(
        512, "channels of a whisper or hubert encoder's bottom", least=1, most=MOST_WIDTH
    )
    encoder_dropout: float | None = setting(
        None, "dropout in the speech encoder [as in the decoder]", most=0.99
    )
    feature_width: int = setting(128, "channels of the speech features", least=1, most=MOST_WIDTH)
    experts: tuple[str, ...] = setting(
        (), "data sets whose speech has a linear prior of its own; repeatable [one for all]"
    )
    tokens: int = setting(4, "tokens of a library entry", least=1, most=MOST_WIDTH)
    token_width: int = setting(64, "width of a library token", least=1, most=MOST_WIDTH)
    contrast_width: int = setting(
        64, "width of the vectors that are contrasted", least=1, most=MOST_WIDTH
    )
    embedding_width: int = setting(
        64, "width of the personalized embedding p", least=1, most=MOST_WIDTH
    )
    step_width: int = setting(64, "width of the step embedding", least=1, most=MOST_WIDTH)
    hidden_width: int = setting(
        192, "width of the decoder's GRU, each direction", least=1, most=MOST_WIDTH
    )
    layers: int = setting(3, "layers of the decoder's GRU", least=1, most=MOST_LAYERS)
    dropout: float = setting(0.1, "dropout in encoder and decoder", most=0.99)
    steps: int = setting(
        8, "denoising steps the model is made for", least=1, most=MOST_STEPS, group=EVERYDAY
    )
    noise_shift: float = setting(
        3.0,
        "noise of the steps, relative to the cosine schedule's",
        least=0.1,
        most=100,
        group=SAMPLING,
    )
    temperature: float = setting(
        1.0, "how far jaw, mouth and tongue deviate from the mean motion", most=10, group=SAMPLING
    )
    upper_temperature: float = setting(
        1.0, "how far the rest of the face deviates from the mean motion", most=10, group=SAMPLING
    )
    emotion_strength: float = setting(
        1.0, "strength of an emotion that the user names; 1 is as learned", most=10, group=SAMPLING
    )
    close_in_silence: bool = setting(
        True, "whether the mouth closes where nobody speaks", was="rest", group=SAMPLING
    )
    retrieval: str = setting(
        "soft",
        "library entries retrieved from the sound: mixed, or the best",
        RETRIEVALS,
        group=SAMPLING,
    )
    open_set: bool = setting(False, "whether a voice may be none of the identities", group=SAMPLING)
    blinks: bool = setting(
        False, "lids close in blinks alone, which are sampled from the seed", group=SAMPLING
    )
    large_width: int = 0
    large_fingerprint: str = ""

    @property
    def uses_large_encoder(self) -> bool:
        """Whether the speech encoder is a large one, which does not lie in the model's file."""
        return self.encoder not in SMALL_ENCODERS

    @property
    def encoder_key(self) -> tuple[str, tuple[int, ...]]:
        """What identifies the speech encoder; for a large one its weights, not its name."""
        return (self.large_fingerprint if self.uses_large_encoder else self.encoder), self.layer


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
    learning_rate: float = setting(1e-3, "peak of the learning rate", group=OPTIMISATION)
    weight_decay: float = setting(0.02, "AdamW's weight decay", group=OPTIMISATION)
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
    cache_gigabytes: float = _cache_gigabytes()
    init: Path | None = setting(None, "model to start from, to fine-tune it", group=EVERYDAY)
    linear_start: bool = setting(
        False,
        "linear parts start from ridge regression; a large encoder's features stay",
        group=OPTIMISATION,
    )
    resume: bool = setting(False, "go on from the state in the output folder", group=EVERYDAY)
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
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
    encoder_width: int = setting(
        192, "channels inside the student's speech encoder", least=1, group=NETWORK
    )
    encoder_blocks: int = setting(
        3, "residual blocks in the student's speech encoder", group=NETWORK
    )
    encoder_dropout: float | None = setting(
        None, "dropout in the student's speech encoder [the teacher's]", most=0.99, group=NETWORK
    )
    encoder_init: Path | None = setting(
        None,
        "model whose small encoder to start from [ridge regression, or random weights]",
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
