"""A limit of the memory that building a network may take."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


class Budget(TorchFunctionMode):
    """Stops the building of a model that needs more numbers than its file can hold.

    A few bytes of settings could else fill the memory before the first tensor is compared.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._left = numbers

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _FACTORIES:  # empty ones take no memory before they are filled
            self._left -= made.numel()
            if self._left < 0:
                raise ValueError("its settings are those of a larger model than its tensors")
        return made
