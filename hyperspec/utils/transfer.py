"""Tensors on their way to a GPU, without making the host wait for it.

A copy out of pageable memory first waits until the GPU has done all work given to it (CUDA Runtime
API, "API synchronization behavior"), so that the next kernels are given late and the GPU idles at
every copy. Out of pinned memory the copy is one more piece of work in the queue. torch's allocator
of pinned memory keeps what is freed, and gives it out again only when copies out of it are over: it
may be taken anew at each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperspec.utils.device_kind import widest_float

_ALIGNED = 16  # bytes; tensors in one buffer start at multiples, as any type wants it


def staging(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory on the CPU to be filled and then sent: pinned where the device is a GPU."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=device.type == "cuda")


def send(x: Tensor, device: torch.device) -> Tensor:
    """Send a tensor of the CPU to a device; the host does not wait. What is there stays."""
    if device.type == "cuda" and x.device.type == "cpu" and not x.is_pinned():
        x = staging(x.shape, x.dtype, device).copy_(x)
    return _as_known(x, device).to(device, non_blocking=True)


def send_together(tensors: Sequence[Tensor | None], device: torch.device) -> list[Tensor | None]:
    """Send several small tensors of the CPU in a single copy; None stays None.

    The results share one buffer on the device. On a CPU they are the tensors themselves.
    """
    if device.type != "cuda":
        return [None if x is None else _as_known(x, device).to(device) for x in tensors]
    starts, total = [], 0
    for x in tensors:
        starts.append(total)
        total += 0 if x is None else -(-x.nbytes // _ALIGNED) * _ALIGNED
    buffer = staging([total], torch.uint8, device)
    for x, start in zip(tensors, starts, strict=True):
        if x is not None:
            _part(buffer, start, x).copy_(x)
    there = buffer.to(device, non_blocking=True)
    return [
        None if x is None else _part(there, start, x)
        for x, start in zip(tensors, starts, strict=True)
    ]


def _as_known(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor in a type that the device has: a Mac's GPU has no float64."""
    return x.to(widest_float(device)) if x.dtype == torch.float64 else x


def _part(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)
