"""Settings of inference and the model, with defaults and meanings.

The command line makes a flag of every setting here, so this module imports nothing heavy. Whoever
gives a value, on the command line, in a file or in Python: :class:`.Settings` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dtalk.utils.settings import (
    EVERYDAY,
    HEAD,
    LOOK,
    MACHINE,
    NETWORK,
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
SMALL_ENCODERS = ("mel", "wide-mel", "cnn", *COMPRESSED_ENCODERS)
SPLITS = ("train", "val", "test")
RETRIEVALS = ("soft", "hard")
SAMPLERS = ("ddim", "ancestral")
PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")
CAMERAS = ("front", "three-quarter")
LIBRARIES = ("identity", "emotion")
ENGINES = (AUTO, "onnx", "torch")
PARTS = (*LIBRARIES, "enhancer", "distillation", "compression")


def cache_gigabytes() -> Any:
    """Make the setting of how large a cache of features may be."""
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
    cache_gigabytes: float = cache_gigabytes()
    device: str = setting("cpu", "cpu, cuda, mps or auto")
    threads: int | None = setting(None, "CPU threads [all]", least=1, most=MOST_THREADS)
    weights: Path | None = setting(
        None, "model file, or student, open, tiny or teacher, which ship [student]", group=EVERYDAY
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
        "mel",
        "speech encoder: mel, wide-mel, cnn, or the folder or hub id of a Whisper or HuBERT model",
    )
    layer: tuple[int, ...] = setting(
        (), "layers of a large speech encoder to take; repeatable [the last]"
    )
    encoder_width: int = setting(
        192, "channels inside the speech encoder", least=1, most=MOST_WIDTH
    )
    encoder_blocks: int = setting(0, "residual blocks in a small speech encoder", most=MOST_LAYERS)
    encoder_residual: bool = setting(
        False, "whether a small speech encoder's LSTM is added to what it is given"
    )
    encoder_depth: int = setting(2, "transformer blocks in a whisper encoder", most=MOST_LAYERS)
    blocks_at_face_rate: bool = setting(
        False, "whether a whisper encoder's blocks run at the face's 30 frames a second, not at 50"
    )
    bottom_width: int = setting(
        512, "channels of a whisper or hubert encoder's bottom", least=1, most=MOST_WIDTH
    )
    stem_width: int | None = setting(
        None,
        "channels between the convolutions of a whisper encoder's stem [bottom_width]",
        least=1,
        most=MOST_WIDTH,
    )
    block_width: int | None = setting(
        None,
        "channels between the linear layers of a whisper encoder's blocks [4 * bottom_width]",
        least=1,
        most=4 * MOST_WIDTH,
    )
    encoder_dropout: float | None = setting(
        None, "dropout in the speech encoder [as in the decoder]", most=0.99
    )
    feature_width: int = setting(128, "channels of the speech features", least=1, most=MOST_WIDTH)
    experts: tuple[str, ...] = setting(
        (),
        "data sets whose speech has a linear prior of its own, one+other to share it; repeatable "
        "[one for all]",
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
