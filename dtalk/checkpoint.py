"""Checkpoints: one safetensors file that describes itself.

The metadata key ``dtalk`` holds a json with the format version, the model's configuration (labels
of both libraries included), the coefficient names, the licence, and how it was trained; exported
graphs hold the same. Nothing in a checkpoint can run code. What a file says of itself is read
without torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from dtalk.config import ModelConfig
from dtalk.errors import CheckpointError, DtalkError, one_line
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.utils.files import atomic_path
from dtalk.utils.settings import with_new_names

if TYPE_CHECKING:
    import torch

    from dtalk.model import DiffusionTalker

FORMAT_VERSION = 2
# What building a network lets out where its settings do not fit together.
_MISFITS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
_SPARE = 1 << 22  # numbers that building a model may use besides those that its file holds

KEY = "dtalk"
"""Of the json among the metadata."""

Description = dict[str, Any]
"""That json."""


def save_model(
    model: DiffusionTalker,
    path: Path,
    about: Description | None = None,
    half: bool = False,
) -> None:
    """Write a model; ``about`` (json) is its provenance: command, data, licence, figures.

    ``half`` writes numbers of 16 bits, which take half the place; they are computed with in 32.

    Raises:
        DtalkError: the place cannot be written.
    """
    import torch
    from safetensors.torch import save as serialise

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
        temporary.write_bytes(serialise(tensors, {KEY: json.dumps(description)}))


def read_description(path: Path) -> Description:
    """Read the json in a checkpoint's metadata; check its version and its coefficients.

    Raises:
        CheckpointError: missing, unreadable, damaged, foreign or of another format version.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"cannot load {path}: it {what}; name a .safetensors file")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
    return parsed_description(text, path)


def parsed_description(text: str | None, path: Path) -> Description:
    """Parse the description in the metadata of the file ``path``, and check it.

    Raises:
        CheckpointError: none, damaged, of another format version or with other coefficients.
    """
    try:
        description = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
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


def checksum(path: Path) -> str:
    """Compute the CRC-32 of a file, eight hexadecimal digits.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return f"{zlib.crc32(path.read_bytes()):08x}"
    except OSError as error:
        raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error


def config_of(description: Description, path: Path) -> ModelConfig:
    """Get the configuration in the description of the file ``path``.

    Raises:
        CheckpointError: it lacks settings, or has some that this dtalk does not know.
    """
    try:
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in with_new_names(ModelConfig, description["config"]).items()
        }
        known = {field.name for field in dataclasses.fields(ModelConfig)}
        unknown = sorted(settings.keys() - known)
        if unknown:
            raise ValueError(f"{unknown[0]} means nothing to this dtalk; a newer one may know it")
        return ModelConfig(**settings)
    except (DtalkError, *_MISFITS) as error:
        raise _bad_configuration(path, error) from error


def _bad_configuration(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"cannot load {path}: bad configuration: {one_line(error)}")


def load_model(path: Path, device: str | torch.device = "cpu") -> DiffusionTalker:
    """Load the model of a checkpoint, in evaluation mode, named after the file.

    Raises:
        CheckpointError: as :func:`read_description` and :func:`config_of`, or tensors that do not
            fit the configuration.
    """
    from dtalk.model import DiffusionTalker
    from dtalk.nn.budget import Budget

    config = config_of(read_description(path), path)
    try:
        with Budget(_numbers_in(path) + _SPARE):
            model = DiffusionTalker(config)
    except (DtalkError, *_MISFITS) as error:
        raise _bad_configuration(path, error) from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot load {path}: {one_line(error)}") from error
    _check_tensors(model, tensors, path)
    model.load_state_dict(tensors)
    model.name = Path(path).stem
    return model.to(device).eval()


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
