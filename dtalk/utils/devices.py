"""Torch devices and precision."""

from __future__ import annotations

import torch

from dtalk.errors import DataError


def device_of(name: str) -> torch.device:
    """Choose a device: ``auto`` is CUDA, else Apple's GPU, else the CPU; other names as in torch.

    Raises:
        DataError: no such device here.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, ImportError) as error:
        line = str(error).splitlines()[0]
        raise DataError(f"cannot use device {name!r}: {line}; try --device auto") from error


def precision_of(device: torch.device, name: str) -> torch.autocast:
    """Make a context in which products are taken in bfloat16 if asked; parameters stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")
