"""Data-parallel training over ``torch.distributed``: one process a device, started by ``torchrun``.

Every rank takes its share of each batch's clips. A loss divides the sum over a rank's clips by a
count averaged over the ranks, and ``DistributedDataParallel`` averages the gradients: together
that is the gradient of the whole batch. In a single process all functions here change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from dtalk.errors import DataError, DtalkError
from dtalk.utils.devices import device_of

WAIT = timedelta(minutes=60)  # for a rank that is slow, as at the first reading of data

Item = TypeVar("Item")


def launched() -> bool:
    """Whether ``torchrun`` or the like started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def rank() -> int:
    """Get the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Get the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that were started together, if any; yield this one's device.

    ``cuda`` becomes the GPU of the process's own number on its machine. Sums go over NCCL between
    GPUs, else over Gloo.

    Raises:
        DataError: there are more processes than GPUs here.
        DtalkError: whatever ends this rank, with its number; or another one was lost.
    """
    if not launched():
        yield device
        return
    number = int(os.environ["RANK"])
    with _named(number):
        own = _own_device(device)
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=WAIT)
        yield str(own)
        dist.destroy_process_group()  # not after an error, for it might wait for others


@contextmanager
def _named(number: int) -> Iterator[None]:
    """Say in an error which rank it ended, also to ``torchrun``, which ends the others."""
    try:
        yield
    except DtalkError as error:
        _tell_launcher(error)
        raise type(error)(f"rank {number}: {error}") from error
    except RuntimeError as error:
        if not _lost_another(error):
            _tell_launcher(error)
            raise
        raise DtalkError(
            f"rank {number}: another rank was lost, whose own message says why"
        ) from error


def _lost_another(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text


def _tell_launcher(error: Exception) -> None:
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)


def _own_device(name: str) -> torch.device:
    found = device_of(name)
    if found.type != "cuda":
        return found
    local = int(os.environ.get("LOCAL_RANK", 0))
    if local >= torch.cuda.device_count():
        raise DataError(
            f"there are {torch.cuda.device_count()} GPUs here; take --nproc-per-node of as many"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def share(items: Sequence[Item]) -> Sequence[Item]:
    """Get this rank's share: every N-th of the items."""
    return items[rank() :: ranks()]


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up a tensor over the ranks; no gradient passes."""
    if ranks() == 1:
        return values.detach()
    there = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    total = values.detach().to(there, copy=True)
    dist.all_reduce(total)
    return total.to(values.device)


def mean_over_ranks(values: Tensor) -> Tensor:
    """Average a tensor over the ranks; no gradient passes."""
    return sum_over_ranks(values) / ranks()


def mean_count(which: Tensor) -> Tensor:
    """Count what is true, averaged over the ranks; at least 1 in all of them together."""
    return sum_over_ranks(which.sum()).clamp(min=1) / ranks()


def gathered(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Put the ranks' rows ``[N, ...]`` together: ``[count, ...]``, this rank's at ``places``.

    Made so that the mean of the ranks' gradients is that of the whole: a rank's own rows pass a
    gradient as large as if all ranks' copies were its own.
    """
    if ranks() == 1:
        return values.new_zeros(count, *values.shape[1:]).index_copy(0, places, values)
    flat = values.flatten(1)
    marked = torch.cat([flat, flat.new_ones(len(flat), 1)], 1)
    whole = sum_over_ranks(marked.new_zeros(count, marked.shape[1]).index_copy(0, places, marked))
    copies = whole[:, -1:].clamp(min=1)  # of a batch too small to be shared, every rank has all
    rows = whole[:, :-1] / copies
    if flat.requires_grad:
        held = rows[places]
        live = held + (flat - flat.detach()) * (ranks() / copies[places])
        rows = rows.index_copy(0, places, live)
    return rows.reshape(count, *values.shape[1:])


def any_rank(flag: bool) -> bool:
    """Whether the flag is set in any rank."""
    return bool(sum_over_ranks(torch.tensor(float(flag))) > 0)


def wait_for_all() -> None:
    """Wait until every rank is here."""
    sum_over_ranks(torch.zeros(1))


def parallel(module: nn.Module) -> nn.Module:
    """Wrap a module so that its gradients are averaged over the ranks."""
    if ranks() == 1:
        return module
    # Some stages leave parts of the model out. It also keeps the order in which gradients are
    # added up the same from the first update on, so that a resumed run equals one in one piece.
    return nn.parallel.DistributedDataParallel(
        module, broadcast_buffers=False, find_unused_parameters=True
    )
