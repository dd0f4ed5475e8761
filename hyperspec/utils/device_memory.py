"""Memory of what computes: how much is free and taken, and giving back what is not needed."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence

import psutil
import torch
from torch import Tensor


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free to this process on a device.

    On CUDA also what torch keeps of freed tensors: it takes from there first.
    On a Mac GPU and CPU share the memory: what torch recommends as the most for the GPU, less what
    it holds, and not more than the system has.
    """
    on_host = int(psutil.virtual_memory().available)
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(kept)
    if device.type == "mps":
        room = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(max(int(room), 0), on_host)
    return on_host


def taken_bytes(device: torch.device) -> int:
    """Return the bytes of this process: its tensors on a GPU, the resident set on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.current_allocated_memory())
    return int(psutil.Process().memory_info().rss)


def free_memory() -> None:
    """Give back the memory of a training that is over, also what torch keeps on a GPU.

    Lightning's trainer and module hold each other, so that they would stay until Python happens to
    search for cycles: two data sets in memory at once. And what torch keeps of freed tensors is
    not free to who asks the device, so that the next planes would have to live elsewhere.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()  # pinned memory, which torch rounds up and keeps
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def pinned_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return memory of the host from which a GPU copies by itself, to the byte, given back at last.

    torch's own pinned memory is rounded up to a power of two, up to twice what was asked for, and
    stays with the process when it is freed. Without CUDA this is ordinary memory.

    Raises:
        RuntimeError: If the system does not let so much be pinned.
    """
    made = torch.empty(*shape, dtype=dtype)
    if not torch.cuda.is_available() or math.prod(shape) == 0:
        return made
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    address = made.data_ptr()
    torch.cuda.check_error(runtime.cudaHostRegister(address, made.nbytes, 0))

    def give_back() -> None:
        torch.cuda.synchronize()  # a copy out of it may still be under way
        runtime.cudaHostUnregister(address)

    weakref.finalize(made.untyped_storage(), give_back).atexit = False
    return made
