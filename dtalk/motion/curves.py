"""Motion: 52 ARKit blend shape curves over time, and where they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.errors import MotionError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.types import Array, Floats

FPS = 30.0
SLOWEST, FASTEST = 1.0, 1000.0  # frames per second that a motion may have


@dataclass(frozen=True, eq=False)
class Motion:
    """Blend shape curves with their provenance.

    Attributes:
        coefficients: float32 [T, 52] in the order of ``ARKIT_NAMES``, T >= 1; 0 is neutral,
            1 the full shape.
        fps: frames per second; frame k stands for the time (k + 0.5) / fps.
        audio: file name of the speech, empty if unknown.
        identity: label of the speaking style, empty if unknown.
        emotion: label of the emotion, empty if unknown.
        identity_confidence, emotion_confidence: probability of a label that was inferred, 0 to 1;
            None if it was named or is unknown.
        seed: seed of the noise that the motion was sampled from, at most 64 bits.
        model: name of the model that made it, empty for recordings.
        head_rotation: float32 [T, 3], yaw, pitch and roll in radians, as
            `dtalk.heads.head.turns` shows them; None if unknown.
        notes: what was added to it, such as idle motion; empty if nothing.

    Raises:
        MotionError: wrong shapes, no frames, a value that is not finite, fps below 1 or
            above 1000, a seed of more than 64 bits, a confidence that is no probability.
    """

    coefficients: Array
    fps: float = FPS
    audio: str = ""
    identity: str = ""
    emotion: str = ""
    seed: int | None = None
    model: str = ""
    head_rotation: Array | None = None
    identity_confidence: float | None = None
    emotion_confidence: float | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        coefficients = _checked(self.coefficients, len(ARKIT_NAMES), "coefficients")
        object.__setattr__(self, "coefficients", coefficients)
        if self.head_rotation is not None:
            rotation = _checked(self.head_rotation, 3, "head rotation")
            if len(rotation) != len(coefficients):
                raise MotionError(
                    f"head rotation has {len(rotation)} frames, coefficients {len(coefficients)}"
                )
            object.__setattr__(self, "head_rotation", rotation)
        if not SLOWEST <= self.fps <= FASTEST:
            raise MotionError(f"fps must be {SLOWEST:g} to {FASTEST:g}, not {self.fps:g}")
        object.__setattr__(self, "fps", float(self.fps))
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise MotionError(f"seed {self.seed} has more than 64 bits")
        for share in (self.identity_confidence, self.emotion_confidence):
            if share is not None and not 0 <= share <= 1:
                raise MotionError(f"a confidence is 0 to 1, not {share}")

    def __len__(self) -> int:
        """Number of frames, T."""
        return len(self.coefficients)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps


#: Fields of a motion that tell where it came from; those that are empty or None are not known.
PROVENANCE = (
    *("audio", "identity", "emotion", "model", "seed"),
    *("identity_confidence", "emotion_confidence", "notes"),
)


def provenance(motion: Motion) -> dict[str, str | int | float]:
    """Collect what is known of where a motion came from, by field."""
    fields = {name: getattr(motion, name) for name in PROVENANCE}
    return {name: value for name, value in fields.items() if value not in ("", None)}


def read_provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert what a file says of where a motion came from to fields of `Motion`.

    Raises:
        MotionError: a number is none.
    """
    known = {name: values[name] for name in PROVENANCE if values.get(name) is not None}
    try:
        return {name: _KINDS.get(name, str)(value) for name, value in known.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise MotionError("its seed or a confidence is not a number") from error


_KINDS = {"seed": int, "identity_confidence": float, "emotion_confidence": float}


def _checked(values: npt.ArrayLike, width: int, what: str) -> Array:
    """Convert ``values`` to float32 [T, width], T >= 1, all finite."""
    try:
        array = np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise MotionError(f"{what}: not an array of numbers") from error
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise MotionError(f"{what}: shape {list(array.shape)}, expected [frames >= 1, {width}]")
    if not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise MotionError(f"{what}: frame {frame} holds a value that is not finite")
    return array


def in_pieces(rows: Floats, size: int = 1000) -> Iterator[tuple[int, Floats]]:
    """Pieces of an array ``[T, ...]``, each with its first row's number: texts are large."""
    return ((first, rows[first : first + size]) for first in range(0, len(rows), size))


def with_length(motion: Motion, frames: int) -> Motion:
    """Cut a motion to ``frames``, or hold its last frame where it has fewer."""
    return at_frames(motion, np.minimum(np.arange(frames), len(motion) - 1))


def at_frames(motion: Motion, frames: Sequence[int] | npt.NDArray[np.integer]) -> Motion:
    """Select frames of a motion by their numbers, in that order."""
    rotation = motion.head_rotation
    return replace(
        motion,
        coefficients=motion.coefficients[frames],
        head_rotation=None if rotation is None else rotation[frames],
    )
