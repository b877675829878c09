"""The trainer of eq. 15: optimiser, averaging, checkpoints, exact resume, validation.

Every random number depends on the seed and on the number of the update alone, so that a run that
was interrupted goes on exactly as if it had not been: the state on disk needs no generator.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dtalk.checkpoint import load_model, save_model
from dtalk.config import ModelConfig
from dtalk.data.clips import LoadedClip, check_sets, few, in_pieces, labels_of, load_clips, select
from dtalk.data.index import read_index
from dtalk.errors import CheckpointError, DataError
from dtalk.evaluation.evaluate import without_nan
from dtalk.evaluation.scoring import Scores
from dtalk.heads.head import built_in
from dtalk.model import DiffusionTalker
from dtalk.training.batches import Batch, BatchMaker
from dtalk.training.config import TrainingConfig
from dtalk.training.distributed import mean_over_ranks, parallel, rank
from dtalk.training.hearing_emotions import learn_emotion_channels, learn_to_hear
from dtalk.training.interrupts import held_interrupts
from dtalk.training.linear_start import expert_by_set, keep_fitted, refit_prior, start_linear
from dtalk.training.objective import Grams, losses_of
from dtalk.training.observer import Observer
from dtalk.training.optimizer import make_optimizer
from dtalk.training.starting import load_compatible, new_model, standardise, statistics
from dtalk.training.unlabelled import read_speech
from dtalk.training.validation import validation_tables
from dtalk.utils.claims import claimed
from dtalk.utils.files import atomic_path
from dtalk.utils.settings import with_new_names

MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
STATE_FILE = "training.pt"
LOG_FILE = "metrics.jsonl"
FINAL_RATE = 0.02  # of the learning rate, at the last update
WARM_UP = 100  # updates

Losses = dict[str, Tensor]
"""The loss that is minimised, ``total``, and its parts, scalars."""


class Average:
    """Exponential moving average of a model's weights, with a short memory at the start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, update: int) -> None:
        decay = min(self.decay, (1 + update) / (10 + update))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


def learning_rate(update: int, config: TrainingConfig) -> float:
    """Compute the learning rate: linear warm-up, then half a cosine down to a small share."""
    warm = min(1.0, (update + 1) / WARM_UP)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, update / max(1, config.updates))))
    return config.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * fall)


@dataclass(frozen=True)
class Data:
    """The clips of one run, in memory."""

    train: list[LoadedClip]
    validation: list[LoadedClip]


class Objective(nn.Module):
    """What is trained, and its losses: the call that ranks share is of one module."""

    def __init__(
        self, parts: Sequence[nn.Module], losses: Callable[[Batch, torch.Generator], Losses]
    ) -> None:
        super().__init__()
        self.parts, self._losses = nn.ModuleList(parts), losses

    def forward(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Compute ``total``, through which gradients pass, and its parts."""
        parts = self._losses(batch, generator)
        return {name: part if name == "total" else part.detach() for name, part in parts.items()}


class Trainer:
    """One training run and its state on disk.

    Several ranks (:mod:`.distributed`) train the same model, and rank 0 writes.

    ``helpers`` are trained beside the model and saved with the run's state, not with the model.
    """

    def __init__(
        self,
        config: TrainingConfig,
        observer: Observer,
        command: str = "",
        data: Data | None = None,
        helpers: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.config, self.observer, self.command = config, observer, command
        self._check_place()
        self.data = data or load_data(config, observer)
        self.covariance = statistics(self.data.train)[2]
        torch.manual_seed(config.seed)
        self.model = self.build()
        if config.linear_start:
            keep_fitted(self.model)
        self.helpers = nn.ModuleDict(helpers)
        self.objective = parallel(
            Objective([self.model, self.helpers], lambda *drawn: self.losses(*drawn))
        )
        self._weigh_regions()
        self.average = Average(self.model, config.ema)
        self.update = 0
        self.best = math.inf
        self.seconds = 0.0
        self.batches: Callable[[int], Generator[Batch, None, None]] = self.batch_maker()
        self.optimizer = make_optimizer(self.model, self.weights(), config)

    def weights(self) -> list[nn.Parameter]:
        """All that is trained."""
        everything = (*self.model.parameters(), *self.helpers.parameters())
        return [weight for weight in everything if weight.requires_grad]

    def build(self) -> DiffusionTalker:
        """Make the model as training starts."""
        train, config = self.data.train, self.config
        identities, emotions = labels_of([clip.clip for clip in train])
        if config.model.get("open_set"):  # those whose faces were seen; all others are strangers
            identities, _ = labels_of([c.clip for c in train if c.coefficients is not None])
        identities = () if "identity" in config.without else identities
        emotions = () if "emotion" in config.without else emotions
        model = new_model(ModelConfig(identities, emotions, **config.model), config)
        standardise(model, train)
        if config.linear_start and config.init is None:
            start_linear(model, train, self.observer)
        if config.init is not None:
            load_compatible(model, load_model(config.init, model.device))
            if config.emotion_channels:
                learn_emotion_channels(model, train, config, self.observer)
            if config.refit or config.emotion_channels:
                refit_prior(model, train, self.observer)
            if config.hear_emotions or config.emotion_channels:
                learn_to_hear(model, train, config, self.observer)
        return model

    def batch_maker(self) -> BatchMaker:
        """Make the source of batches for :attr:`model`."""
        return BatchMaker(self.data.train, self.model, self.config)

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Compute ``total``, which is minimised, and its parts."""
        return losses_of(self.model, batch, self.grams, generator, self.config)

    def _weigh_regions(self) -> None:
        """Compute the grams by the model's standardisation, which may be another model's."""
        mean, std = self.model.mean.cpu(), self.model.std.cpu()
        self.grams = Grams.of(built_in(), mean, std, self.covariance, self.model.device)

    def run(self) -> None:
        """Train to the end, validating and saving on the way; ctrl-C or SIGTERM saves and stops."""
        self._start()
        saved = started = time.monotonic()
        before, first = self.seconds, self.update
        source = self.batches(self.update)
        parts: dict[str, float] = {}
        with held_interrupts() as interrupts, self._saving(), closing(source):
            while self.update < self.config.updates:
                parts = self.step(next(source))
                self.seconds = before + time.monotonic() - started
                seconds = (time.monotonic() - started) / (self.update - first)
                self.observer.updated(self.update, self.config.updates, parts["total"], seconds)
                if self.update % self.config.validate_every == 0:
                    self.validate(parts)
                if time.monotonic() - saved > 60 * self.config.save_minutes:
                    self.save()
                    saved = time.monotonic()
                interrupts.raise_if_any()
            if self.update > first and self.update % self.config.validate_every:
                self.validate(parts)

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.save()

    def step(self, batch: Batch) -> dict[str, float]:
        """Update the weights once; return the losses before it."""
        number = self.config.seed * 1_000_003 + self.update
        generator = torch.Generator().manual_seed(number)
        # Dropout draws from the global generator, which therefore is seeded here too.
        torch.manual_seed(number + (rank() << 48))
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("share", 1.0) * learning_rate(self.update, self.config)
        parts = self.objective(batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        nn.utils.clip_grad_norm_(self.weights(), self.config.clip_gradient)
        self.optimizer.step()
        self.update += 1
        self.average.update(self.model, self.update)
        values = mean_over_ranks(torch.stack([part.float() for part in parts.values()]))
        return dict(zip(parts, values.tolist()))

    def validate(self, parts: dict[str, float]) -> None:
        """Score the averaged weights on the validation split; keep them if they are the best."""
        model = self.averaged()
        assessed = validation_tables(model, self.data.validation)
        tables, found = assessed["sample"], assessed["retrieval"]["all"]
        retrieved = {"retrieval": assessed["retrieval"]}
        if not tables:
            return
        tables["all"] |= {f"{name}_top1": value for name, value in found.items()}
        self.observer.validated(self.update, tables)
        self.log({"update": self.update, "losses": parts, "validation": tables} | retrieved)
        if tables["all"]["lve"] < self.best:
            self.best = tables["all"]["lve"]
            if rank() == 0:
                save_model(model, self.config.out / BEST_FILE, self.about(tables))

    def averaged(self) -> DiffusionTalker:
        """Copy the model with the averaged weights, in evaluation mode."""
        model = self.model.new_like()
        model.load_state_dict(self.average.weights)
        return model.eval()

    def save(self) -> None:
        """Write the averaged model and the whole training state, each atomically."""
        if rank() > 0:
            return
        save_model(self.averaged(), self.config.out / MODEL_FILE, self.about({}))
        state = {
            "update": self.update,
            "best": self.best,
            "seconds": self.seconds,
            "config": json.dumps(self._identity(), sort_keys=True),
            "model": self.model.state_dict(),
            "helpers": self.helpers.state_dict(),
            "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(self.config.out / STATE_FILE) as temporary:
            torch.save(state, temporary)

    def _check_place(self) -> None:
        """Refuse to go on with no run, or to lose one, before any long work is done."""
        path = self.config.out / STATE_FILE
        if not self.config.resume:
            refuse_existing(path)
        elif not path.exists():
            raise CheckpointError(f"nothing to resume: {path} does not exist")

    def _start(self) -> None:
        if self.config.resume:
            self._restore(self.config.out / STATE_FILE)
        try:
            self.config.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write to {self.config.out}: {error.strerror}") from error
        if self.command:
            self.log({"update": self.update, "command": self.command})

    def _restore(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.model.device, weights_only=True)
            before = with_new_names(type(self.config), json.loads(state["config"]))
            before["model"] = with_new_names(ModelConfig, before["model"])
            differing = _differences(before, self._identity())
            if differing:
                raise CheckpointError(f"cannot resume from {path}: other settings: {differing}")
            self.model.load_state_dict(state["model"])
            self.helpers.load_state_dict(state["helpers"])
            self._weigh_regions()
            self.average.weights = state["average"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.update, self.best, self.seconds = state["update"], state["best"], state["seconds"]
        except CheckpointError:
            raise
        except Exception as error:  # torch and its unpickler raise many kinds
            raise CheckpointError(f"cannot resume from {path}: damaged or foreign") from error
        self.observer.note(f"going on after update {self.update}")

    def _identity(self) -> dict[str, Any]:
        """Get what must be equal for a run to go on: the settings and the labels."""
        config = self.model.config
        labels = {"identities": list(config.identities), "emotions": list(config.emotions)}
        return {**self.settings(), **labels}

    def settings(self) -> dict[str, Any]:
        """Get the settings that shape the result; a large encoder is named by its weights."""
        plain = _settings(self.config)
        config = self.model.config
        if config.uses_large_encoder:
            plain["model"] |= {"encoder": config.large_fingerprint, "layer": list(config.layer)}
        return plain

    def about(self, tables: dict[str, Scores]) -> dict[str, Any]:
        """Describe the run for a checkpoint."""
        return {
            "command": self.command,
            "settings": self.settings(),
            "update": self.update,
            "seconds": round(self.seconds),
            "validation": without_nan(tables),
        }

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the log of the run."""
        if rank() > 0:
            return
        with (self.config.out / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(without_nan(entry)) + "\n")


def train(config: TrainingConfig, observer: Observer, command: str = "") -> None:
    """Train a model, alone in its output folder; see `Trainer.run`.

    Raises:
        DtalkError: another run writes there, or the data or a model cannot be used.
    """
    with claimed([config.out] if rank() == 0 else []):
        Trainer(config, observer, command).run()


def refuse_existing(state: Path) -> None:
    """Refuse to write over the state of another run.

    Raises:
        DataError: there is one.
    """
    if state.exists():
        raise DataError(f"{state} exists: add --resume to go on, or choose another --out")


def load_data(config: TrainingConfig, observer: Observer) -> Data:
    """Load training and validation clips; those that cannot be read are named and left out.

    Raises:
        DataError: no clip with motion to train on, or none in the set of an expert.
    """
    index = read_index(config.data, observer.note)
    chosen = select(index, sets=config.sets, without=config.without_sets)
    own = list(expert_by_set(config.model.get("experts", ())))
    check_sets(select(chosen, "train", motion=True), own, "--experts: ")
    wanted = [clip for clip in chosen if clip.split in ("train", "val")]
    loaded, failures = load_clips(wanted, observer.loading)
    for line in few(failures):
        observer.note(f"left out: {line}")
    train = [piece for clip in loaded if clip.clip.split == "train" for piece in in_pieces(clip)]
    if not any(clip.coefficients is not None for clip in train):
        raise DataError(f"{config.data} has no clip with motion in its train split")
    train += read_speech(config.voices, observer)
    return Data(train, [clip for clip in loaded if clip.clip.split == "val"])


def _settings(config: TrainingConfig) -> dict[str, Any]:
    """Get the settings that shape the result: all but places and devices."""
    places = {
        "data",
        "out",
        "teacher",
        "speech",
        "voices",
        "init",
        "encoder_init",
        "cache",
        "encoder",
    }
    left_out = {*places, "cache_gigabytes", "device", "resume", "save_minutes"}
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in left_out}
    return json.loads(json.dumps(plain))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )
