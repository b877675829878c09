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
}
#: What comes out.
OUTPUTS = {
    "coefficients": "[T, 52] in [0, 1], in the order of dtalk.ARKIT_NAMES",
    "found_identity": "[M + 1] weights of the identities found in the sound",
    "found_emotion": "[N + 1] weights of the emotions found in the sound",
    "identity_probability": "[M + 1] probabilities of the identities, given the sound",
    "emotion_probability": "[N + 1] probabilities of the emotions, given the sound",
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


class Graph:
    """A session of ONNX Runtime on the CPU.

    Args:
        path: the file, as :func:`dtalk.engine.export.export_model` writes it.
        threads: None for one a core.
        spinning: whether threads wait for work in a loop, which is faster and takes their cores.

    Raises:
        CheckpointError: missing, damaged, not exported by dtalk; or no onnxruntime.
    """

    def __init__(self, path: Path, threads: int | None = None, spinning: bool = True) -> None:
        self.path = Path(path)
        onnxruntime = _onnxruntime()
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "does not exist"
            raise CheckpointError(f"cannot load {path}: it {what}; name an .onnx file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors, which are raised as well
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                self.path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of classes of its own, and any that a parser may raise
            raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
        self._thrifty = onnxruntime.RunOptions()
        self._thrifty.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.description = self._described()
        self.config = config_of(self.description, self.path)

    def _described(self) -> Description:
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        description = parsed_description(text, self.path)
        names = [value.name for value in self._session.get_inputs()]
        about = description.get("graph")
        steps = about.get("steps") if isinstance(about, dict) else None
        if names != list(INPUTS) or not isinstance(steps, int):
            raise CheckpointError(f"cannot load {self.path}: it is not a graph that dtalk exported")
        return description

    @property
    def steps(self) -> int:
        """Denoising steps, which are fixed in a graph."""
        steps: int = self.description["graph"]["steps"]
        return steps

    def is_of(self, checkpoint: Path) -> bool:
        """Tell whether it was made from this file, as the file is now."""
        changed = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        return self.description["graph"].get("weights") == _checksum(checkpoint, changed)

    def run(
        self, levelled: Array, noise: Array, voice: Voice | None = None, temperature: float = 1.0
    ) -> Found:
        """Coefficients for levelled samples ``[S]`` and noise ``[T, 52]``."""
        chosen = as_found(self.config) if voice is None else voice
        feeds = {
            "waveform": levelled,
            "noise": noise,
            "identity": chosen.identity,
            "emotion": chosen.emotion,
            "share": chosen.share,
            "temperature": np.array([temperature], np.float32),
        }
        options = self._thrifty if len(noise) > _LONG else None
        return Found(*self._session.run(list(OUTPUTS), feeds, options))


def _onnxruntime() -> ModuleType:
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
