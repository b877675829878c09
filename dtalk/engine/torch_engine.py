"""The computation of a graph in torch: windows of live and of long sounds, without a graph."""

from __future__ import annotations

import torch

from dtalk.engine.export import AnimationGraph
from dtalk.engine.graph import Found, feeds
from dtalk.engine.voice import Voice
from dtalk.model import DiffusionTalker
from dtalk.utils.types import Array


class TorchEngine:
    """The computation of a graph, in torch.

    Raises:
        CheckpointError: the model has a large speech encoder, which is not in its file.
    """

    def __init__(self, model: DiffusionTalker, steps: int | None = None) -> None:
        self.config, self._device = model.config, model.device
        self._graph = AnimationGraph(model, model.config.steps if steps is None else steps).eval()

    @torch.inference_mode()
    def run(self, levelled: Array, noise: Array, voice: Voice, temperature: float) -> Found:
        """See :class:`dtalk.engine.protocol.Engine`."""
        given = feeds(self.config, levelled, noise, voice, temperature)
        with self._device:  # where the computation makes tensors of its own
            tensors = {name: torch.from_numpy(x).to(self._device) for name, x in given.items()}
            found = self._graph(**tensors)
        return Found(*(tensor.cpu().numpy() for tensor in found))
