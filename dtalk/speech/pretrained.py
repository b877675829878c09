"""Pretrained speech encoders, frozen: HuBERT and the encoder of Whisper, in published files.

A folder (or a hub id, which is downloaded) in the layout of Hugging Face's transformers; its
``config.json`` says which encoder it is. Only the layers up to the wanted one are built, and every
weight of them must be in the file: transformers itself would leave random what it does not find.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtalk.errors import CheckpointError, DtalkError, one_line
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.speech.bottom import SPAN, Bottom, HubertBottom, WhisperBottom, at_face_rate
from dtalk.utils.devices import precision_of
from dtalk.utils.types import Array

if TYPE_CHECKING:
    from transformers import HubertModel
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FILES = ("config.json", "preprocessor_config.json", *_WEIGHTS)
_BLOCK = re.compile(r"(?:^|\.)layers\.(\d+)\.")  # in a weight's name: its block, from 0


class LargeEncoder(ABC):
    """A frozen encoder, cut after the last of the transformer layers whose outputs are taken.

    Attributes:
        name: of its folder or on the hub.
        layers: those whose outputs, side by side, are the features; counted from 1.
        width: channels of the features.
        fingerprint: of the weights up to there, and of what is done to the sound before them.
    """

    start: float  # of the first feature's centre, in features
    window = SPAN  # features that the network can give at once
    prefixes: tuple[str, ...]  # of the encoder's weights in files of larger models

    def __init__(self, folder: Path, name: str, layers: Sequence[int], precision: str) -> None:
        self.name, self.precision = name, precision
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        depth = self.depth(config)
        self.layers = tuple(layers) or (depth,)
        for layer in self.layers:
            if not 1 <= layer <= depth:
                raise CheckpointError(f"{name} has no layer {layer}; it has 1 to {depth}")
        self.network = self.build(folder)
        self.network.load_state_dict(_chosen(self.network, self.prefixes, folder))
        self.network.eval().requires_grad_(False)
        self.fingerprint = self.fingerprint_at(max(self.layers))

    def fingerprint_at(self, layer: int) -> str:
        """Compute what :attr:`fingerprint` is where ``layer`` is the last one that is used."""
        digest = hashlib.sha256(self.treatment.encode())
        for key, value in sorted(self.network.state_dict().items()):
            block = _BLOCK.search(key)
            if block is None or int(block[1]) < layer:
                digest.update(key.encode())
                digest.update(value.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def treatment(self) -> str:
        """A text that names changes to the sound before the network, if any."""
        return ""

    @staticmethod
    @abstractmethod
    def depth(config: dict[str, Any]) -> int:
        """Number of transformer layers of the published encoder."""

    @abstractmethod
    def build(self, folder: Path) -> nn.Module:
        """Build the network up to the last of :attr:`layers`, with arbitrary weights."""

    @abstractmethod
    def encode(self, waveform: Array) -> Tensor:
        """Encode levelled samples ``[S]``, at most a window, as features ``[F, C]`` at 50 Hz."""

    @property
    @abstractmethod
    def width(self) -> int: ...

    @property
    def parameters(self) -> int:
        """Number of parameters that the features need."""
        return sum(value.numel() for value in self.network.parameters())

    @abstractmethod
    def bottom(self, depth: int) -> Bottom:
        """A copy of the first layers in plain torch, with ``depth`` transformer blocks.

        Raises:
            CheckpointError: there are fewer blocks.
        """

    @torch.no_grad()  # not inference_mode, whose tensors could not be trained on
    def __call__(self, waveform: Array) -> Tensor:
        """Encode 16 kHz mono samples ``[S]`` as features ``[T, C]`` at 30 fps, on the CPU."""
        device = next(self.network.parameters()).device
        with precision_of(device, self.precision):
            return at_face_rate(self.encode, waveform, self.start, self.window)


class Whisper(LargeEncoder):
    """The encoder of Whisper (Radford et al., 2022), fed only the frames there are.

    Whisper itself pads every sound to 30 s; the positions beyond a sound's end are cut off instead.
    """

    start = WhisperBottom.start
    prefixes = ("model.encoder.", "encoder.", "")
    network: WhisperEncoder

    @staticmethod
    def depth(config: dict[str, Any]) -> int:
        return int(config["encoder_layers"])

    def build(self, folder: Path) -> nn.Module:
        from transformers import WhisperConfig, WhisperFeatureExtractor
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        config = WhisperConfig.from_pretrained(folder)
        self._depth = config.encoder_layers
        self.window = min(SPAN, config.max_source_positions)
        config.encoder_layers = max(self.layers)
        self._mel = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        return WhisperEncoder(config)

    def encode(self, waveform: Array) -> Tensor:
        network = self.network
        device = network.conv1.weight.device
        with precision_of(torch.device("cpu"), "float32"):
            mel = self._mel(
                waveform, sampling_rate=SAMPLE_RATE, padding="do_not_pad", return_tensors="pt"
            ).input_features.to(device)
        hidden = functional.gelu(network.conv2(functional.gelu(network.conv1(mel))))
        hidden = hidden.transpose(1, 2)
        hidden = hidden + network.embed_positions.weight[: hidden.shape[1]]
        states = {}
        for number, layer in enumerate(network.layers, 1):
            # Transformers 4 wants a mask of the heads, and gives a tuple.
            output = layer(hidden, None, layer_head_mask=None)
            hidden = output[0] if isinstance(output, tuple) else output
            # The norm at the end belongs to the last layer only.
            states[number] = network.layer_norm(hidden) if number == self._depth else hidden
        return _joined(states[number] for number in self.layers)

    def bottom(self, depth: int) -> Bottom:
        blocks = len(self.network.layers)
        if not 0 <= depth <= blocks:
            raise CheckpointError(
                f"the teacher uses {blocks} blocks of {self.name}: no {depth} can be copied"
            )
        return WhisperBottom.copied(self.network.state_dict(), depth)

    @property
    def width(self) -> int:
        return int(self.network.config.d_model) * len(self.layers)


class Hubert(LargeEncoder):
    """HuBERT (Hsu et al., 2021)."""

    start = HubertBottom.start
    prefixes = ("hubert.", "")
    network: HubertModel

    @staticmethod
    def depth(config: dict[str, Any]) -> int:
        return int(config["num_hidden_layers"])

    def build(self, folder: Path) -> nn.Module:
        from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

        config = HubertConfig.from_pretrained(folder)
        whole = max(self.layers) == config.num_hidden_layers
        config.num_hidden_layers = max(self.layers)
        # Else there would be a vector for masked frames, which only training has.
        config.mask_time_prob = config.mask_feature_prob = 0.0
        described = (folder / "preprocessor_config.json").is_file()
        self._input = (
            Wav2Vec2FeatureExtractor.from_pretrained(folder)
            if described
            else Wav2Vec2FeatureExtractor()
        )
        network = HubertModel(config)
        if config.do_stable_layer_norm and not whole:
            # The norm at the end belongs to the last layer only.
            network.encoder.register_module("layer_norm", nn.Identity())
        return network

    @property
    def treatment(self) -> str:
        return f"do_normalize={bool(self._input.do_normalize)}"

    def encode(self, waveform: Array) -> Tensor:
        values = self._input(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        device = next(self.network.parameters()).device
        output = self.network(values.to(device), output_hidden_states=True)
        # Whether the norm at the end is in the last of the hidden states depends on the version.
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        return _joined(states[number] for number in self.layers)

    def bottom(self, depth: int) -> Bottom:
        return HubertBottom.copied(self.network.feature_extractor.state_dict())

    @property
    def width(self) -> int:
        return int(self.network.config.hidden_size) * len(self.layers)


def _joined(states: Iterable[Tensor]) -> Tensor:
    """Concatenate outputs ``[1, F, C]`` of layers: ``[F, L * C]``, on the CPU."""
    return torch.cat([state[0] for state in states], -1).float().cpu()


_KINDS: dict[str, type[LargeEncoder]] = {"whisper": Whisper, "hubert": Hubert}


def load_large_encoder(
    place: str,
    layers: Sequence[int] = (),
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> LargeEncoder:
    """Load the encoder in a folder or, for a hub id, from the Hugging Face hub.

    Args:
        place: folder, or an id such as ``facebook/hubert-base-ls960``, which is downloaded once.
        layers: whose outputs are taken, from 1; none for the last.
        precision: of its products, ``float32`` or ``bfloat16``.

    Raises:
        CheckpointError: nothing there, damaged, of another kind, a layer that it does not have, or
            weights that the file lacks; or transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise CheckpointError(
            f"the speech encoder {place} needs transformers: pip install 'dtalk[train]'"
        ) from error
    transformers.logging.set_verbosity_error()
    folder, name = Path(place), Path(place).absolute().name
    if not folder.is_dir():
        folder, name = _downloaded(place), place
    kind = _kind(folder, place)
    try:
        # Building draws weights at random, which must not move anybody's random numbers.
        with torch.random.fork_rng(devices=[]):
            encoder = kind(folder, name, layers, precision)
    except DtalkError:
        raise
    except Exception as error:  # whatever transformers makes of a configuration it cannot build
        raise CheckpointError(f"cannot load the speech encoder {place}: {_said(error)}") from error
    encoder.network.to(device)
    return encoder


def _downloaded(identifier: str) -> Path:
    """Download a hub id; its files are kept in the hub's cache.

    Raises:
        CheckpointError: no hub id, not on the hub, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    if identifier.count("/") != 1 or identifier.startswith((".", "/", "~")):
        raise CheckpointError(f"no speech encoder: {identifier} is neither a folder nor a hub id")
    try:
        return Path(snapshot_download(identifier, allow_patterns=list(_FILES)))
    except Exception as error:  # the network, the disk, a wrong id: each has several of its own
        raise CheckpointError(
            f"no speech encoder {identifier}: no such folder, and the hub says: {_said(error)}"
        ) from error


def _kind(folder: Path, place: str) -> type[LargeEncoder]:
    """Choose the class for a folder's ``config.json``.

    Raises:
        CheckpointError: it says nothing, or a kind that dtalk does not read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{place} holds no speech encoder: its config.json cannot be read or names no model"
        ) from error
    if name not in _KINDS:
        raise CheckpointError(f"{place} is a {name} model; dtalk reads {', '.join(_KINDS)}")
    return _KINDS[name]


def _said(error: Exception) -> str:
    """Format an error with its type, since a KeyError's message alone says little."""
    return f"{type(error).__name__}: {one_line(error)}"


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all weights in a folder, by name.

    Raises:
        CheckpointError: no file with weights, or a damaged one, or a pickle that would run code.
    """
    from safetensors.torch import load_file

    safe, pickled = (folder / name for name in _WEIGHTS)
    if not safe.is_file() and not pickled.is_file():
        raise CheckpointError(f"{folder} holds none of {', '.join(_WEIGHTS)}")
    try:
        if safe.is_file():
            return load_file(safe)
        return torch.load(pickled, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text says how to run the code nevertheless
        raise CheckpointError(f"{pickled} is damaged, or holds more than weights") from error
    except Exception as error:  # both libraries raise errors of many kinds
        file = safe if safe.is_file() else pickled
        raise CheckpointError(f"cannot read the weights in {file}: {_said(error)}") from error


def _chosen(network: nn.Module, prefixes: tuple[str, ...], folder: Path) -> dict[str, Tensor]:
    """Choose the network's weights among those in a folder.

    Raises:
        CheckpointError: one is missing, or has another shape; or as :func:`_read_weights`.
    """
    found = {_modern(key): value for key, value in _read_weights(folder).items()}
    wanted = network.state_dict()
    prefix = max(prefixes, key=lambda p: sum(p + key in found for key in wanted))
    missing = [key for key in wanted if prefix + key not in found]
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {missing[0]} ({len(missing)} of {len(wanted)}), "
            "which would stay random; is the file complete?"
        )
    chosen = {key: found[prefix + key] for key in wanted}
    for key, value in chosen.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"the weights in {folder} do not fit its config.json: {key} is "
                f"{list(value.shape)}, not {list(wanted[key].shape)}"
            )
    return chosen


def _modern(key: str) -> str:
    """Rename the parts of a weight-normalised layer, which HuBERT's files name as torch 1 did."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if key.endswith(f".conv.{old}"):
            return key.removesuffix(old) + f"parametrizations.weight.{new}"
    return key
