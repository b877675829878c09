"""Tiny models, clips and data folders that several test modules build."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from dtalk.cli.app import main
from dtalk.config import ModelConfig
from dtalk.data.clips import Clip, LoadedClip
from dtalk.errors import DtalkError
from dtalk.model import DiffusionTalker
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.speech.audio import SAMPLE_RATE, frame_count
from dtalk.training.config import DistillationConfig, TrainingConfig

Array = npt.NDArray[np.float32]

IDENTITIES, EMOTIONS = ("ann", "bob", "cat"), ("happy", "sad")
JAW = ARKIT_NAMES.index("jawOpen")
COLUMNS = (
    "clip", "set", "split", "speaker", "emotion", "seconds", "frames", "audio", "motion",
)  # fmt: skip

WIDTHS: dict[str, Any] = {
    "encoder_width": 12,
    "feature_width": 8,
    "tokens": 3,
    "token_width": 6,
    "contrast_width": 8,
    "embedding_width": 8,
    "step_width": 8,
    "hidden_width": 10,
    "layers": 2,
    "dropout": 0.0,
    "steps": 2,
}


def refusal(read: Callable[[Path], object], error: type[DtalkError], path: Path) -> str:
    """What ``read`` says of a file that it refuses: one line that names it."""
    with pytest.raises(error) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def tiny_config(**changes: Any) -> ModelConfig:
    """A model of a few thousand parameters that knows three speakers and two emotions."""
    return ModelConfig(**{"identities": IDENTITIES, "emotions": EMOTIONS, **WIDTHS, **changes})


def tiny_model(seed: int = 0, **changes: Any) -> DiffusionTalker:
    """Untrained, in evaluation mode; everything it says is well inside [0, 1]."""
    torch.manual_seed(seed)
    model = DiffusionTalker(tiny_config(**changes))
    model.mean.fill_(0.4)
    model.std.fill_(0.1)
    return model.eval()


@dataclass
class FakeLarge:
    """What a model needs of a large encoder, and no more: how loud a frame is in some bands."""

    layers: tuple[int, ...] = (3, 5)
    fingerprint: str = "f00d"
    name: str = "fake"
    width: int = 6
    precision: str = "float32"
    parameters: int = 1000
    heard: list[int] = field(default_factory=list)

    def fingerprint_at(self, layer: int) -> str:
        return self.fingerprint

    def __call__(self, waveform: Array) -> torch.Tensor:
        self.heard.append(len(waveform))
        frames = frame_count(len(waveform))
        hop = -(-len(waveform) // frames)
        rows = np.pad(waveform, (0, frames * hop - len(waveform))).reshape(frames, hop)
        waves = np.cos(np.outer(np.arange(hop), 0.02 * 1.7 ** np.arange(self.width)))
        return torch.from_numpy(3 + 2 * np.log1p(np.abs(rows @ waves))).float()


def large_config(large: FakeLarge | None = None, **changes: Any) -> ModelConfig:
    """:func:`tiny_config` of a model that hears through this encoder."""
    large = large or FakeLarge()
    heard = {
        "encoder": large.name,
        "layer": large.layers,
        "large_width": large.width,
        "large_fingerprint": large.fingerprint,
    }
    return tiny_config(**heard, **changes)


def large_model(
    seed: int = 0, large: FakeLarge | None = None, attached: bool = True, **changes: Any
) -> DiffusionTalker:
    """:func:`tiny_model` with a large encoder."""
    large = large or FakeLarge()
    torch.manual_seed(seed)
    model = DiffusionTalker(large_config(large, **changes))
    model.mean.fill_(0.4)
    model.std.fill_(0.1)
    if attached:
        model.attach(large)  # type: ignore[arg-type]
    return model.eval()


def speech(samples: int, seed: int = 0) -> Array:
    """A buzz under a changing envelope, with a little noise: loud as speech."""
    generator = np.random.default_rng(seed)
    time = np.arange(samples) / SAMPLE_RATE
    pitch = generator.uniform(90, 220)
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * generator.uniform(2, 5) * time + seed)
    sound = 0.15 * envelope * buzz + 0.01 * generator.standard_normal(samples)
    return np.asarray(sound, dtype=np.float32)


def smooth_motion(frames: int, seed: int = 0) -> Array:
    """Every channel swings in [0, 1] at a pace of its own."""
    generator = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 30
    pace, phase = generator.uniform(1, 4, 52), generator.uniform(0, 6, 52)
    swing = 0.5 + 0.5 * np.sin(2 * np.pi * pace * time + phase)
    return (generator.uniform(0.2, 0.9, 52) * swing).astype(np.float32)


def loaded_clip(name: str = "clip", frames: int = 12, seed: int = 0, **fields: Any) -> LoadedClip:
    """A clip in memory whose sound lasts exactly as long as its motion."""
    moving = fields.pop("moving", True)
    plain: dict[str, Any] = {"set": "s", "split": "val", "speaker": "ann", "emotion": "happy"}
    clip = Clip(name, **{**plain, **fields}, audio=Path("a.wav"), motion=None)
    samples = round(frames * SAMPLE_RATE / 30)
    return LoadedClip(clip, speech(samples, seed), smooth_motion(frames, seed) if moving else None)


def write_index(folder: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS):
    """``clips.csv`` with these rows; what a row leaves out stays empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def write_clip(folder: Path, name: str, frames: int, seed: int, moving: bool = True) -> dict:
    """A wav and an npz in ``folder``; the part of their row that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = round(frames * SAMPLE_RATE / 30)
    soundfile.write(folder / f"{name}.wav", speech(samples, seed), SAMPLE_RATE)
    if moving:
        write_motion(Motion(smooth_motion(frames, seed)), folder / f"{name}.npz")
    row = {"clip": name, "seconds": f"{frames / 30:.3f}", "audio": f"{name}.wav"}
    return row | ({"frames": frames, "motion": f"{name}.npz"} if moving else {})


def write_data(folder: Path, labelled: bool = True, sound_only: int = 2) -> Path:
    """Two small sets with motion, a few clips of sound only; train and val."""
    rows = []
    plan = [(f"a{i}", "a", "train", "ann", "happy") for i in range(4)]
    plan += [(f"b{i}", "b", "train", "bob", "sad") for i in range(2)]
    plan += [("va", "a", "val", "ann", "happy"), ("vb", "b", "val", "zoe", "sad")]
    plan += [(f"x{i}", "x", "train", "cat", "sad") for i in range(sound_only)]
    for seed, (name, group, split, speaker, emotion) in enumerate(plan):
        row = write_clip(folder, name, 10 + seed % 5, seed, moving=group != "x")
        labels = {"speaker": speaker, "emotion": emotion} if labelled else {}
        rows.append({**row, "set": group, "split": split, **labels})
    write_index(folder, rows)
    return folder


@dataclass
class Recorder:
    """An observer of training that keeps what it is told, and may interrupt."""

    interrupt_after: int = 0
    losses: list[float] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[tuple[int, dict[str, dict[str, float]]]] = field(default_factory=list)
    loads: list[tuple[int, int]] = field(default_factory=list)

    def loading(self, done: int, total: int) -> None:
        self.loads.append((done, total))

    def updated(self, update: int, updates: int, loss: float, seconds: float) -> None:
        self.losses.append(loss)
        self.updates.append(update)
        self.seconds.append(seconds)
        if update == self.interrupt_after:
            raise KeyboardInterrupt

    def validated(self, update: int, tables: dict[str, dict[str, float]]) -> None:
        self.tables.append((update, tables))

    def note(self, line: str) -> None:
        self.notes.append(line)


def training_config(data: Path, out: Path, **changes: Any) -> TrainingConfig:
    """Settings of a training run of seconds."""
    plain: dict[str, Any] = {
        "updates": 2,
        "batch_frames": 45,
        "audio_only_batch": 2,
        "validate_every": 100,
        "model": dict(WIDTHS),
    }
    return TrainingConfig(data, out, **{**plain, **changes})


def distillation_config(data: Path, out: Path, teacher: Path, **changes: Any) -> DistillationConfig:
    """Settings of a distillation of seconds; it never touches the user's cache."""
    plain: dict[str, Any] = {
        "updates": 2,
        "encoder_updates": 2,
        "encoder_width": WIDTHS["encoder_width"],
        "batch_frames": 45,
        "audio_only_batch": 2,
        "validate_every": 100,
        "cache": out.parent / "cache",
    }
    return DistillationConfig(data, out, teacher=teacher, **{**plain, **changes})


def quick_benchmark(patch: pytest.MonkeyPatch) -> None:
    """Let the cost of a model be measured in no time: once, on a tenth of a second."""
    place = "dtalk.evaluation.benchmark"
    for name, value in {"WARM_UP": 0, "RUNS": 1, "BATCH_RUNS": 1}.items():
        patch.setattr(f"{place}.{name}", value)
    patch.setattr(f"{place}.made_up_speech", lambda _: speech(SAMPLE_RATE // 10))


def tiny_whisper(folder: Path, seed: int = 0) -> Path:
    """A random Whisper of two small layers, in the files that published ones come in."""
    from transformers import WhisperConfig, WhisperModel

    tokens = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
    sizes: dict[str, Any] = dict.fromkeys(tokens, 0)
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": 2, f"{part}_attention_heads": 2, f"{part}_ffn_dim": 8}
    sizes |= {"max_source_positions": 100, "max_target_positions": 4, "vocab_size": 8}
    torch.manual_seed(seed)
    model = WhisperModel(WhisperConfig(d_model=8, **sizes))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.25 * torch.randn(value.shape))
    model.save_pretrained(folder)
    return folder


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit, through nested dicts, lists and tensors."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@dataclass(frozen=True)
class Result:
    """What a run of the command line came to."""

    status: int
    out: str
    err: str

    @property
    def made(self) -> list[str]:
        """The outputs that are told, a line each: ``a.npz: 8 frames, 0.3 s``."""
        told = [re.fullmatch(r"(.*): \d+ frames?\b.*", line) for line in self.out.splitlines()]
        return [line[1] for line in told if line]

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        (line,) = [line for line in self.err.splitlines() if line.strip()]
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


def run_dtalk(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit status of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["dtalk", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def heard_dtalk(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Result:
    """What a run of the command line in this process prints, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_dtalk(monkeypatch, *arguments)
    return Result(status, out.getvalue(), err.getvalue())


def one_line(error: pytest.ExceptionInfo[DtalkError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text
