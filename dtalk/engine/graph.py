"""An exported model: one ONNX file from sound to curves, run by ONNX Runtime.

The graph takes a clip of any length, S samples and T frames, T = round(30 S / 16000), at least 1.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from dtalk.checkpoint import KEY, Description, checksum, config_of, parsed_description
from dtalk.config import ModelConfig
from dtalk.engine.external import StaleGraphError, check_weights, weights_of
from dtalk.engine.onnx_file import read_onnx
from dtalk.engine.voice import Voice, as_found
from dtalk.errors import CheckpointError, one_line
from dtalk.utils.types import Array

#: What goes in, in this order, all float32. A model knows M identities and N emotions; one more
#: entry, the last, stands for "unknown".
INPUTS = {
    "waveform": "[S] 16 kHz mono, levelled by dtalk.speech.loudness",
    "noise": "[T, 52] standard normal",
    "identity": "[M + 1] weights of the identities, all 0: as found in the sound",
    "emotion": "[K, N + 1] weights of the emotions, a row a prediction, all 0: as found",
    "share": "[K] what each prediction is multiplied with before they are summed",
    "temperature": "[1] scales how far the sample strays from the mean motion",
    "heard": "[2 C] mean and deviation of the features of a whole sound, all 0: of this one",
}
#: What comes out.
OUTPUTS = {
    "coefficients": "[T, 52] in [0, 1], in the order of dtalk.ARKIT_NAMES",
    "found_identity": "[M + 1] weights of the identities found in the sound",
    "found_emotion": "[N + 1] weights of the emotions found in the sound",
    "identity_probability": "[M + 1] probabilities of the identities, given the sound",
    "emotion_probability": "[N + 1] probabilities of the emotions, given the sound",
    "features": "[T, C] what the speech encoder makes of the sound",
}

_LONG = 600  # frames; memory of a run is given back after longer ones, else kept for the next


@dataclass(frozen=True)
class Found:
    """What a graph gives: see :data:`OUTPUTS`."""

    coefficients: Array
    identity: Array
    emotion: Array
    identity_probability: Array
    emotion_probability: Array
    features: Array


class Graph:
    """A session of ONNX Runtime on the CPU.

    Args:
        path: the file, as :func:`dtalk.engine.export.export_file` writes it. Its weights are in it,
            or in the file of the model beside it.
        threads: None for one a core.
        spinning: whether threads wait for work in a loop, which is faster and takes their cores.

    Raises:
        CheckpointError: missing, damaged, not exported by dtalk, with weights in other files than
            that of its model; or no onnxruntime.
        StaleGraphError: the model's file is not that it was made from; or of another dtalk.
    """

    def __init__(self, path: Path, threads: int | None = None, spinning: bool = True) -> None:
        self.path = Path(path)
        onnxruntime = onnxruntime_module()
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "does not exist"
            raise CheckpointError(f"cannot load {path}: it {what}; name an .onnx file")
        self.description, self.is_external = self._described()
        self.config = config_of(self.description, self.path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors, which are raised as well
        # More would take longer than a clip gains by it.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of classes of its own, and any that a parser may raise
            raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
        self._thrifty = onnxruntime.RunOptions()
        self._thrifty.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        if [value.name for value in self._session.get_inputs()] != list(INPUTS):
            raise StaleGraphError(
                f"{path} was exported by another dtalk; dtalk export --force renews it"
            )

    def _described(self) -> tuple[Description, bool]:
        """What the file says of itself, and whether its weights are in another."""
        try:
            file = read_onnx(self.path.read_bytes())
        except (ValueError, OSError) as error:
            raise CheckpointError(f"cannot load {self.path}: {one_line(error)}") from error
        description = parsed_description(file.metadata.get(KEY), self.path)
        about = description.get("graph")
        if not isinstance(about, dict) or not isinstance(about.get("steps"), int):
            raise CheckpointError(f"cannot load {self.path}: it is not a graph that dtalk exported")
        if file.locations:
            check_weights(self.path, file.locations, about.get("header"))
        return description, bool(file.locations)

    @property
    def files(self) -> list[Path]:
        """The graph's own, and that of the weights if they lie in another."""
        return [self.path, weights_of(self.path)] if self.is_external else [self.path]

    @property
    def steps(self) -> int:
        """Denoising steps, which are fixed in a graph."""
        steps: int = self.description["graph"]["steps"]
        return steps

    def is_of(self, checkpoint: Path) -> bool:
        """Tell whether it was made from this file, as the file is now."""
        if self.is_external:
            return checkpoint.samefile(self.files[1])
        changed = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        return self.description["graph"].get("weights") == _checksum(checkpoint, changed)

    def run(
        self, levelled: Array, noise: Array, voice: Voice | None = None, temperature: float = 1.0
    ) -> Found:
        """Coefficients for levelled samples ``[S]`` and noise ``[T, 52]``."""
        given = feeds(self.config, levelled, noise, voice or as_found(self.config), temperature)
        options = self._thrifty if len(noise) > _LONG else None
        return Found(*self._session.run(list(OUTPUTS), given, options))


def feeds(
    config: ModelConfig, levelled: Array, noise: Array, voice: Voice, temperature: float
) -> dict[str, Array]:
    """Values of all :data:`INPUTS`."""
    nothing = np.zeros(2 * config.feature_width, np.float32)
    return {
        "waveform": levelled,
        "noise": noise,
        "identity": voice.identity,
        "emotion": voice.emotion,
        "share": voice.share,
        "temperature": np.array([temperature], np.float32),
        "heard": nothing if voice.heard is None else voice.heard,
    }


def onnxruntime_module() -> ModuleType:
    """Import ONNX Runtime, told not to report: since 1.29 it sends its use to its makers.

    Raises:
        CheckpointError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when it is loaded
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError("graphs need the package onnxruntime; or --engine torch") from error
    onnxruntime.disable_telemetry_events()  # Windows knows no such variable
    return onnxruntime


@lru_cache(maxsize=2)
def _checksum(path: Path, changed: int) -> str:
    """The checksum of a file that was ``changed`` at a time, ns: a batch asks for every file."""
    return checksum(path)
