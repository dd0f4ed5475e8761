"""Normalisation layers of a backbone, and how they behave when a forward pass is replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

NUM_GROUPS = 32  # the default of Wu & He 2018, "Group Normalization"


class FrozenStatisticsBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that always uses its stored statistics; scale and shift stay trainable.

    It normalises each sample by itself, so micro-batches give what the full batch gives.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.train(False)  # modules start in training mode

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever the mode asked for."""
        return super().train(False)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return GroupNorm with 32 groups, or fewer where 32 does not divide the channels."""
    return nn.GroupNorm(math.gcd(NUM_GROUPS, channels), channels)


def norm_layer(name: str) -> Callable[[int], nn.Module]:
    """Return the constructor of a normalisation layer: ``batch``, ``group`` or ``frozen``."""
    layers: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "group": group_norm,
        "frozen": FrozenStatisticsBatchNorm2d,
    }
    return layers[name]


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep BatchNorm's running statistics while a forward pass is computed a second time.

    Gradient checkpointing runs a stage twice per step; without this each batch would enter the
    running mean and variance twice and evaluation would differ from training without checkpoints.
    """
    # Copies are written instead: with another momentum torch's compiler would take another graph.
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [dict(norm._buffers) for norm in norms]
    for norm, kept in zip(norms, before, strict=True):
        norm._buffers.update({name: b if b is None else b.clone() for name, b in kept.items()})
    try:
        yield
    finally:
        for norm, kept in zip(norms, before, strict=True):
            norm._buffers.update(kept)
