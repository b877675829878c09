"""Disk cache of a large encoder's features: the same sound is encoded once.

An entry's name is a hash of the encoder's weights, its layers and precision, the frame rate, the
way sounds are levelled, and the sound. An entry is a numpy array (half precision) followed by its
checksum; a damaged one is computed anew. What was used longest ago goes when there is more than the
limit.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zlib
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from platformdirs import user_cache_path
from torch import Tensor

from dtalk.config import CACHE_GIGABYTES
from dtalk.errors import DtalkError
from dtalk.motion.curves import FPS
from dtalk.utils.arrays import NUMPY_DAMAGE
from dtalk.utils.cache_folder import CacheFolder
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Array

GIGABYTE = 10**9
_ENTRY = r"[0-9a-f]{2}/([0-9a-f]{32}|\.dtalk-[0-9a-f-]+)\.npy"  # or left by a killed process
_CHECKSUM = 4  # bytes
_LEVELS = 2  # how sounds are levelled before they are encoded, counted up when that changes
_LARGEST = np.finfo(np.float16).max


def default_folder() -> Path:
    """Get the default folder of the cache, in the user's cache folder."""
    return user_cache_path("dtalk") / "features"


class CacheWarning(UserWarning):
    """Features cannot be kept."""


class FeatureSource(Protocol):
    """A frozen network; what its features depend on beside the sound is in its attributes."""

    fingerprint: str
    layers: tuple[int, ...]
    precision: str

    def __call__(self, waveform: Array) -> Tensor:
        """16 kHz mono samples ``[S]`` -> features ``[T, C]`` at 30 fps, on the CPU."""


Source = TypeVar("Source", bound=FeatureSource)


class FeatureCache(Generic[Source]):
    """A :class:`FeatureSource` that remembers: ``[S]`` -> features ``[T, C]`` at 30 fps.

    Args:
        folder: where features are kept, :func:`default_folder` if None; limit: bytes in it.
    """

    def __init__(
        self,
        encoder: Source,
        folder: Path | None = None,
        limit: float = CACHE_GIGABYTES * GIGABYTE,
    ) -> None:
        self.encoder = encoder
        self.folder = default_folder() if folder is None else Path(folder)
        self._kept = CacheFolder(self.folder, _ENTRY, limit)
        about = f"{encoder.fingerprint} {encoder.layers} {encoder.precision} {FPS} {_LEVELS}"
        self._about = about.encode()

    def __call__(self, waveform: Array, keep: bool = True) -> Tensor:
        """Encode a waveform ``[S]``; float32, rounded to half precision, cached or not.

        Without ``keep`` they are not written: for a sound that will not come again. Where they
        cannot be written, a ``CacheWarning`` says so.
        """
        path = self.path(waveform)
        kept = _read(path)
        if kept is not None:
            self._kept.used(path)
        else:
            # Clipped, for deep layers have a few channels of very large values.
            kept = self.encoder(waveform).numpy().clip(-_LARGEST, _LARGEST).astype(np.float16)
            if keep:
                self._keep(path, kept)
        return torch.from_numpy(kept).float()

    def _keep(self, path: Path, features: npt.NDArray[np.float16]) -> None:
        try:
            self._kept.written(_write(path, features))
        except DtalkError as error:
            warnings.warn(f"{error} with --cache", CacheWarning, stacklevel=3)

    def path(self, waveform: Array) -> Path:
        """Get the file of a sound's features."""
        digest = hashlib.sha256(self._about + waveform.tobytes()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:34]}.npy"


def _read(path: Path) -> npt.NDArray[np.float16] | None:
    """Read an entry; None if it is not there or damaged."""
    try:
        content = path.read_bytes()
        body, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
        if zlib.crc32(body).to_bytes(_CHECKSUM, "little") != checksum:
            return None
        return np.load(io.BytesIO(body), allow_pickle=False)
    except (OSError, *NUMPY_DAMAGE):
        return None


def _write(path: Path, features: npt.NDArray[np.float16]) -> int:
    """Write an entry; its size in bytes."""
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    body = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(body + zlib.crc32(body).to_bytes(_CHECKSUM, "little"))
    return len(body) + _CHECKSUM
