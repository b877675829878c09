"""Export of a model as one ONNX graph, which any ONNX Runtime runs: Python, C++, browsers.

The graph holds what lies between the levelled waveform and the coefficients: acoustic features,
speech encoder, personalizer, decoder and the DDIM steps. Its inputs and outputs are described in
:mod:`dtalk.engine.graph`; its metadata holds what a checkpoint's holds.
"""

from __future__ import annotations

import io
import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.checkpoint import KEY, checksum, load_model, read_description
from dtalk.diffusion import sample_ddim
from dtalk.engine.graph import INPUTS, OUTPUTS
from dtalk.errors import CheckpointError
from dtalk.model import COEFFICIENTS, DiffusionTalker
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.speech.encoders import OwnEncoder
from dtalk.utils.files import atomic_path

if TYPE_CHECKING:
    import onnx

OPSET = 17  # what ONNX Runtime reads since 1.12
_TRACED_SAMPLES = SAMPLE_RATE  # of the clip that the model is traced with; the graph takes any
_SMALL = 1024  # numbers; fewer are not worth a node that widens them

_DYNAMIC = {
    "waveform": {0: "samples"},
    "noise": {0: "frames"},
    "emotion": {0: "predictions"},
    "share": {0: "predictions"},
    "coefficients": {0: "frames"},
}


def export_file(path: Path, out: Path, steps: int | None = None) -> None:
    """Write the model in a checkpoint as an ONNX graph of ``steps`` denoising steps, or its own.

    Raises:
        CheckpointError: the checkpoint cannot be read or has a large speech encoder; ``out`` is no
            .onnx; or the package onnx is missing.
        DtalkError: the place cannot be written.
    """
    if out.suffix.lower() != ".onnx":
        raise CheckpointError(
            f"cannot write {out}: only graphs are written; name it {out.stem}.onnx"
        )
    if find_spec("onnx") is None:  # torch's exporter wants it too
        raise CheckpointError("an export needs the package onnx: pip install 'dtalk[export]'")
    description, model = read_description(path), load_model(path)
    count = model.config.steps if steps is None else steps
    text = json.dumps(description | {"graph": {"steps": count, "weights": checksum(path)}})
    graph = completed(traced(model, count), {KEY: text})
    with atomic_path(out) as temporary:
        temporary.write_bytes(graph)


class AnimationGraph(nn.Module):
    """The computation of a graph: see :mod:`dtalk.engine.graph` for what goes in and out.

    Raises:
        CheckpointError: the model has a large speech encoder, which is not in its file.
    """

    def __init__(self, model: DiffusionTalker, steps: int) -> None:
        super().__init__()
        if not isinstance(model.encoder, OwnEncoder):
            raise CheckpointError(
                "a model with a large speech encoder cannot be exported; "
                "export a student, which has its own"
            )
        self.model, self.encoder, self.steps = model, model.encoder, steps

    def forward(
        self,
        waveform: Tensor,
        noise: Tensor,
        identity: Tensor,
        emotion: Tensor,
        share: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, ...]:
        """``[S]``, ``[T, 52]``, ``[M + 1]``, ``[K, N + 1]``, ``[K]``, ``[1]`` -> ``[T, 52]``,
        and ``[M + 1]``, ``[N + 1]`` twice."""
        model, inputs, length = self.model, self.encoder.prepare_levelled(waveform), _length(noise)
        features = self.encoder.features(inputs[None], _length(inputs), length)
        heard = model.match(features, length)
        found = model.weights_of_match(*heard)
        who = torch.where(identity.sum() > 0, identity[None], found[0])
        how = torch.where(emotion.sum(-1, keepdim=True) > 0, emotion, found[1])
        count = emotion.shape[0]
        embedding = model.personalizer(who.expand(count, -1), how)
        denoise = model.denoiser(features.expand(count, -1, -1), embedding, length.expand(count))

        def mixed(noisy: Tensor, time: Tensor) -> Tensor:
            rows = denoise(noisy.expand(count, -1, -1), time.expand(count))
            return (share[:, None, None] * rows).sum(0, keepdim=True)

        spread = model.spread() * temperature
        x = sample_ddim(mixed, noise[None], self.steps, model.config.noise_shift, spread)
        # Of a library that is not open, "unknown" has no probability.
        sizes = (identity.shape[-1], emotion.shape[-1])
        full = [functional.pad(h[0], (0, n - h.shape[-1])) for h, n in zip(heard, sizes)]
        return model.denormalise(x[0]), found[0][0], found[1][0], *full


def _length(sequence: Tensor) -> Tensor:
    """The number of rows, as a tensor ``[1]`` that a trace follows."""
    return torch.ones(1, dtype=torch.long) * sequence.shape[0]


def traced(model: DiffusionTalker, steps: int) -> bytes:
    """Trace a model as torch's exporter does; any length of clip goes into the graph.

    Raises:
        CheckpointError: see :class:`AnimationGraph`.
    """
    module = AnimationGraph(model, steps).eval()
    file: Any = io.BytesIO()  # which is taken, though its types know only paths
    config = model.config
    example = (
        torch.zeros(_TRACED_SAMPLES),
        torch.zeros(frame_count(_TRACED_SAMPLES), COEFFICIENTS),
        torch.zeros(len(config.identities) + 1),
        torch.zeros(2, len(config.emotions) + 1),
        torch.ones(2) / 2,
        torch.ones(1),
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what a trace may fix: tests try other lengths
        torch.onnx.export(
            module,
            example,
            file,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=_DYNAMIC,
            opset_version=OPSET,
            dynamo=False,  # the newer exporter unrolls recurrent layers
        )
    return file.getvalue()


def completed(graph: bytes, metadata: dict[str, str]) -> bytes:
    """Add metadata to a serialised graph, and store in 16 bits what has no more."""
    import onnx

    loaded = onnx.load_model_from_string(graph)
    onnx.helper.set_model_props(loaded, metadata)
    _halve(loaded.graph)
    onnx.checker.check_model(loaded)
    return loaded.SerializeToString(deterministic=True)


def _halve(graph: onnx.GraphProto) -> None:
    """Store weights that 16 bits hold exactly, as in a checkpoint of such, in 16 bits.

    A node widens them when a session starts.
    """
    from onnx import TensorProto, helper, numpy_helper

    for stored in graph.initializer:
        if stored.data_type != TensorProto.FLOAT or np.prod(stored.dims) < _SMALL:
            continue
        values = numpy_helper.to_array(stored)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (half == values).all():
            name = stored.name
            stored.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            cast = helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)
            graph.node.insert(0, cast)
