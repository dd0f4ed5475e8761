"""Which kind of device computes: ``cpu``, ``cuda``, or ``mps``, the GPU of a Mac."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_planned: str | None = None


def kind_of(device: torch.device) -> str:
    """Return the kind of a device; while a step is planned, that of the device it is planned for.

    Ask this where a CPU and a GPU go different ways in a training step.
    """
    return device.type if _planned is None else _planned


@contextmanager
def planned_for(kind: str) -> Iterator[None]:
    """Go the ways of a kind of device inside, although the (fake) tensors lie on the CPU."""
    global _planned
    before, _planned = _planned, kind
    try:
        yield
    finally:
        _planned = before


def widest_float(device: torch.device) -> torch.dtype:
    """Return the floating type with the most digits that a device has: MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
