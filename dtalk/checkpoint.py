"""Checkpoints: one safetensors file that describes itself.

The metadata key ``dtalk`` holds a json with the format version, the model's configuration (labels
of both libraries included), the coefficient names, the licence, and how it was trained. Nothing in
a checkpoint can run code.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch.overrides import TorchFunctionMode

from dtalk.config import ModelConfig
from dtalk.errors import CheckpointError, DtalkError, one_line
from dtalk.model import DiffusionTalker
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.files import atomic_path
from dtalk.utils.settings import with_new_names

FORMAT_VERSION = 2
_KEY = "dtalk"
_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})
# What building a network lets out where its settings do not fit together.
_MISFITS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
_SPARE = 1 << 22  # numbers that building a model may use besides those that its file holds


def save_model(
    model: DiffusionTalker,
    path: Path,
    about: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a model; ``about`` (json) is its provenance: command, data, licence, figures.

    ``half`` writes numbers of 16 bits, which take half the place; they are computed with in 32.

    Raises:
        DtalkError: the place cannot be written.
    """
    description = {
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(model.config),
        "coefficients": ARKIT_NAMES,
        **(about or {}),
    }
    precision = torch.float16 if half else torch.float32
    tensors = {
        name: value.detach().cpu().to(precision).contiguous()
        for name, value in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        # Not save_file, which makes files that only their owner may read.
        temporary.write_bytes(serialise(tensors, {_KEY: json.dumps(description)}))


def read_description(path: Path) -> dict[str, Any]:
    """Read the json in a checkpoint's metadata; check its version and its coefficients.

    Raises:
        CheckpointError: missing, unreadable, damaged, foreign or of another format version.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"cannot load {path}: it {what}; name a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
        description = json.loads(text) if text else None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
    if not isinstance(description, dict):
        raise CheckpointError(f"cannot load {path}: it is no dtalk model (no description in it)")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"cannot load {path}: format version {version}, this dtalk reads {FORMAT_VERSION}"
        )
    if description.get("coefficients") != list(ARKIT_NAMES):
        raise CheckpointError(f"cannot load {path}: its coefficients are not the 52 ARKit names")
    return description


def load_model(path: Path, device: str | torch.device = "cpu") -> DiffusionTalker:
    """Load the model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: as :func:`read_description`, or tensors that do not fit its configuration.
    """
    description = read_description(path)
    try:
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in with_new_names(ModelConfig, description["config"]).items()
        }
        unknown = sorted(
            settings.keys() - {field.name for field in dataclasses.fields(ModelConfig)}
        )
        if unknown:
            raise ValueError(f"{unknown[0]} means nothing to this dtalk; a newer one may know it")
        config = ModelConfig(**settings)
        with _Budget(_numbers_in(path) + _SPARE):
            model = DiffusionTalker(config)
    except (DtalkError, *_MISFITS) as error:
        raise CheckpointError(
            f"cannot load {path}: bad configuration: {one_line(error)}"
        ) from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
    _check_tensors(model, tensors, path)
    model.load_state_dict(tensors)
    return model.to(device).eval()


class _Budget(TorchFunctionMode):
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


def _numbers_in(path: Path) -> int:
    """Count the numbers in a checkpoint's tensors by its header."""
    with safe_open(path, framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def _check_tensors(model: DiffusionTalker, tensors: dict[str, torch.Tensor], path: Path) -> None:
    expected = model.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    foreign = sorted(tensors.keys() - expected.keys())
    if missing or foreign:
        parts = [f"lacks {name}" for name in missing[:1]] + [f"has {name}" for name in foreign[:1]]
        count = len(missing) + len(foreign)
        raise CheckpointError(
            f"cannot load {path}: it {' and '.join(parts)} ({count} names differ)"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"cannot load {path}: {name} is {list(tensor.shape)}, "
                f"its configuration says {list(expected[name].shape)}"
            )
