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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.checkpoint import KEY, checksum, load_model, read_description
from dtalk.diffusion import sample_ddim
from dtalk.engine.external import header_checksum, weights_of
from dtalk.engine.graph import INPUTS, OUTPUTS
from dtalk.engine.onnx_layers import compact_recurrence
from dtalk.errors import CheckpointError
from dtalk.model import COEFFICIENTS, DiffusionTalker, pooled
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.speech.encoders import OwnEncoder
from dtalk.utils.files import atomic_path

OPSET = 20  # the first with GELU; what ONNX Runtime reads since 1.17
_TRACED_SAMPLES = SAMPLE_RATE  # of the clip that the model is traced with; the graph takes any

_DYNAMIC = {
    "waveform": {0: "samples"},
    "noise": {0: "frames"},
    "emotion": {0: "predictions"},
    "share": {0: "predictions"},
    "coefficients": {0: "frames"},
    "features": {0: "frames"},
}


def export_file(path: Path, out: Path, steps: int | None = None, external: bool = False) -> None:
    """Write the model in a checkpoint as an ONNX graph of ``steps`` denoising steps, or its own.

    With ``external`` the graph has no weights of its own, but those in the checkpoint beside it.

    Raises:
        CheckpointError: the checkpoint cannot be read or has a large speech encoder; ``out`` is no
            .onnx, or not beside an external checkpoint; or the package onnx is missing.
        DtalkError: the place cannot be written.
    """
    if out.suffix.lower() != ".onnx":
        raise CheckpointError(
            f"cannot write {out}: only graphs are written; name it {out.stem}.onnx"
        )
    if external and weights_of(out).resolve() != path.resolve():
        raise CheckpointError(
            f"cannot write {out}: a graph without weights lies beside them, under the same name: "
            f"{path.with_suffix(out.suffix)}"
        )
    if find_spec("onnx") is None:  # torch's exporter wants it too
        raise CheckpointError("an export needs the package onnx: pip install 'dtalk[export]'")
    graph = exported(path, steps, external)
    with atomic_path(out) as temporary:
        temporary.write_bytes(graph)


def exported(path: Path, steps: int | None, external: bool) -> bytes:
    """The graph of a checkpoint, serialised; see :func:`export_file`."""
    import onnx

    from dtalk.engine.onnx_model import attach_weights, simplified

    description, model = read_description(path), load_model(path)
    count = model.config.steps if steps is None else steps
    graph = simplified(traced(model, count))
    onnx.checker.check_model(graph)
    attach_weights(graph, path, external)
    origin = {"header": header_checksum(path)} if external else {"weights": checksum(path)}
    text = json.dumps(description | {"graph": {"steps": count, **origin}})
    onnx.helper.set_model_props(graph, {KEY: text})
    return graph.SerializeToString(deterministic=True)


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
        heard: Tensor,
    ) -> tuple[Tensor, ...]:
        """``[S]``, ``[T, 52]``, ``[M + 1]``, ``[K, N + 1]``, ``[K]``, ``[1]``, ``[2C]`` ->
        ``[T, 52]``, ``[M + 1]`` and ``[N + 1]`` twice, and ``[T, C]``."""
        model, inputs, length = self.model, self.encoder.prepare_levelled(waveform), _length(noise)
        features = self.encoder.features(inputs[None], _length(inputs), length)
        audio = torch.where(heard.square().sum() > 0, heard[None], pooled(features, length))
        matches = model.personalizer.match(audio)
        found = model.weights_of_match(*matches)
        who = torch.where(identity.sum() > 0, identity[None], found[0])
        how = torch.where(emotion.sum(-1, keepdim=True) > 0, emotion, found[1])
        count = emotion.shape[0]
        embedding = model.personalizer(who.expand(count, -1), how)
        denoise = model.denoiser(
            features.expand(count, -1, -1),
            embedding,
            length.expand(count),
            audio.expand(count, -1),
        )

        def mixed(noisy: Tensor, time: Tensor) -> Tensor:
            rows = denoise(noisy.expand(count, -1, -1), time.expand(count))
            return (share[:, None, None] * rows).sum(0, keepdim=True)

        spread = model.spread() * temperature
        x = sample_ddim(mixed, noise[None], self.steps, model.config.noise_shift, spread)
        # Of a library that is not open, "unknown" has no probability.
        sizes = (identity.shape[-1], emotion.shape[-1])
        full = [functional.pad(h[0], (0, n - h.shape[-1])) for h, n in zip(matches, sizes)]
        return model.denormalise(x[0]), found[0][0], found[1][0], *full, features[0]


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
        torch.zeros(2 * config.feature_width),
    )
    with warnings.catch_warnings(), torch.no_grad(), compact_recurrence(OPSET):
        warnings.simplefilter("ignore")  # of what a trace may fix: tests try other lengths
        torch.onnx.export(
            module,
            example,
            file,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=_DYNAMIC,
            opset_version=OPSET,
            do_constant_folding=False,  # so that weights are the checkpoint's tensors
            dynamo=False,  # the newer exporter unrolls recurrent layers
        )
    return file.getvalue()
