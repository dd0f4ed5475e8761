"""Embeddings of all processes, with gradients, for losses that compare across devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

_alone = False


def world() -> tuple[int, int]:
    """Return this process's rank and the number of processes; ``(0, 1)`` without a group."""
    if not _alone and dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def alone() -> Iterator[None]:
    """Compute as one process inside, although there is a group: the others do not take part."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def gather(x: Tensor) -> Tensor:
    """Stack a tensor of every process in the order of ranks.

    The gradient of every process's loss flows back to the process that made the tensor and is
    summed there. DDP then averages parameter gradients over processes, so a loss that each process
    averages over its own anchors gets the gradient of one process with the whole batch.

    Args:
        x: Same shape in every process, ``(...)``.

    Returns:
        Shape ``(processes, ...)``; one process in front without a process group.
    """
    _, processes = world()
    if processes == 1:
        return x[None]
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def whole(x: Tensor) -> Tensor:
    """Put the rows of all processes below each other, with gradients.

    Shares of a batch in the order of ranks give the batch: ``(B, ...)`` to ``(P B, ...)``.
    """
    return gather(x).flatten(0, 1)


def own(x: Tensor, dim: int = 0) -> Tensor:
    """Return this process's share of what :func:`whole` put together."""
    rank, processes = world()
    return x.chunk(processes, dim)[rank]


def averaged(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means of scalars over all processes, without gradients, in one exchange."""
    _, processes = world()
    if processes == 1:
        return dict(values)
    together = torch.stack([value.detach() for value in values.values()])
    dist.all_reduce(together)
    return dict(zip(values, (together / processes).unbind(), strict=True))


class _Gather(torch.autograd.Function):
    """All-gather forward, sum of all processes' gradients for the own part backward.

    ``torch.distributed.nn.all_gather`` does the same with an all-to-all or a reduce-scatter,
    which gloo has for few tensor kinds; all-reduce works with every backend, and embeddings are
    small.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing to keep: the gradient needs the rank only."""

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank()]
