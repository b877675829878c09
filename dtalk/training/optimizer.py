"""Optimisers: AdamW for all weights, or Muon for the matrices of the encoder and the GRU."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from dtalk.training.config import DistillationConfig, TrainingConfig
from dtalk.utils.devices import precision_of

HIDDEN = ("encoder.", "decoder.recurrent.")  # parts whose matrices Muon updates
COPIED = "encoder.bottom.blocks."  # parts that begin as a large encoder has them
MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic; steepest at 0, so five times suffice
LIKE_ADAMW = 0.2  # root mean square of AdamW's usual updates, in learning rates


@torch.no_grad()
def orthogonalised(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix ``[N, M]`` near 1 (between about 0.7 and 1.2).

    Newton-Schulz iterations in the precision of products. (``torch.optim.Muon`` always has them
    in bfloat16, which takes longer than a whole update on processors that have none.)
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if len(matrix) > matrix.shape[1] else wide


class Muon(torch.optim.Optimizer):
    """Gradient descent on matrices by their orthogonalised momentum, with decoupled decay.

    An update is as large as AdamW's, so learning rates carry over. Source: Jordan et al., "Muon"
    (2024); the scale is that of Liu et al., "Muon is scalable for LLM training" (2025).
    """

    def __init__(
        self, matrices: ParamsT, lr: float, weight_decay: float, precision: str = "float32"
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every matrix that has a gradient; a closure is not supported."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._update(matrix, matrix.grad, group["lr"], group["weight_decay"])

    def _update(self, matrix: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        with precision_of(matrix.device, self._precision):
            direction = orthogonalised(gradient.lerp(momentum, MOMENTUM))  # after Nesterov
        matrix.mul_(1 - rate * decay)
        matrix.add_(direction, alpha=-rate * LIKE_ADAMW * max(matrix.shape) ** 0.5)


class Optimizers:
    """Optimisers of different weights, used like one."""

    def __init__(self, **parts: torch.optim.Optimizer) -> None:
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all weights."""
        for part in self._parts.values():
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """Update all weights."""
        for part in self._parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all, by name."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned."""
        for name, part in self._parts.items():
            part.load_state_dict(states[name])


def make_optimizer(
    model: nn.Module, weights: Iterable[nn.Parameter], config: TrainingConfig
) -> Optimizers | torch.optim.Optimizer:
    """Make the optimiser that a configuration asks for, of all ``weights`` that are trained.

    Its groups have a ``share``: their learning rate, relative to the configuration's.
    """
    hidden = _hidden_matrices(model) if config.optimizer == "muon" else []
    taken = {id(matrix) for matrix in hidden}
    others = [weight for weight in weights if id(weight) not in taken]
    slow = {id(weight) for name, weight in model.named_parameters() if name.startswith(COPIED)}
    share = config.block_rate if isinstance(config, DistillationConfig) else 1.0
    settings = config.learning_rate, config.weight_decay
    adamw = torch.optim.AdamW(_groups(others, slow, share), settings[0], weight_decay=settings[1])
    if not hidden:
        return adamw
    muon = Muon(_groups(hidden, slow, share), *settings, config.precision)
    return Optimizers(muon=muon, adamw=adamw)


def _groups(
    weights: Sequence[nn.Parameter], slow: Collection[int], share: float
) -> list[dict[str, Any]]:
    """Groups of weights, of which those whose id is in ``slow`` have a share of the rate."""
    parts = [w for w in weights if id(w) not in slow], [w for w in weights if id(w) in slow]
    return [{"params": part, "share": s} for part, s in zip(parts, (1.0, share)) if part]


def _hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """List the matrices of :data:`HIDDEN` parts that are trained."""
    named = model.named_parameters()
    return [w for n, w in named if n.startswith(HIDDEN) and w.ndim == 2 and w.requires_grad]
