"""Peak memory of a job, also when one process serves many jobs; and giving freed memory back."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from hyperspec.utils.system_calls import peak_resident_bytes

# Numbers of mallopt(3): blocks from M_MMAP_THRESHOLD bytes on are mapped each by itself and are the
# system's again when freed; of the heap's free end, what exceeds M_TRIM_THRESHOLD is given back,
# nothing at -1.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_SMALL = 2**20
_USUAL = 2**25  # glibc's own threshold grows to it once large blocks were freed; trimming to twice
# Two views of 64 images of 64 px in 32 channels have 64 MB. Larger blocks that are kept leave holes
# that others do not fit into: with all kept, 408 bands inflated took 2.0 instead of 1.4 GB.
KEPT_BELOW = 72 * 2**20
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak() -> bool:
    """Start a new peak measurement.

    Returns:
        Whether the process's own peak could be reset. Where it could not (not Linux, or no
        permission), the resident peak is that of the whole process so far.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
    try:
        # "5" resets the resident-set high-water mark (proc(5)).
        _CLEAR_REFS.write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def peak_mb(device: torch.device) -> float:
    """Return the peak since :func:`reset_peak` in MB (10^6 bytes).

    On a GPU the allocator's peak (of a Mac's what it has taken, freed blocks included); on the CPU
    the resident set's high-water mark.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if device.type == "mps":  # keeps no peak of its own, but what it took from the system it keeps
        return torch.mps.driver_allocated_memory() / 1e6
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) * 1024 / 1e6
    return peak_resident_bytes() / 1e6


@contextlib.contextmanager
def freed_at_once() -> Iterator[None]:
    """Let the process's memory shrink inside whenever a tensor of 1 MB or more is freed.

    glibc keeps freed blocks below 32 MB for the next ones, but torch's are aligned, and small ones
    between them stay, so that many do not fit again: over micro-batches of 224 px images the
    resident set grew by 130 MB each, eight times a single one's, while the live tensors stayed the
    same. The price is that the system hands out zeroed pages anew. Elsewhere than with glibc this
    does nothing.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _SMALL)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)


@contextlib.contextmanager
def freed_kept() -> Iterator[None]:
    """Keep what is freed inside for the next tensors, and give it back to the system at the end.

    Steps of training ask for the same blocks again and again, and so do windows of wavelengths that
    are replaced one after the other. glibc gives those of 32 MB or more, and the heap's free end,
    back to the system each time, and takes zeroed pages anew: 150,000 page faults in a step of 64
    images of 64 px, a fifth of its time. Here blocks below 72 MB stay.
    Elsewhere than with glibc this does nothing.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, KEPT_BELOW)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        libc.malloc_trim(0)


def heap_for_steps(
    device: torch.device, micro_batch: int | None
) -> contextlib.AbstractContextManager[None]:
    """Return how the heap is kept while steps are trained: small for micro-batches, else quick.

    On a GPU torch keeps its memory by itself.
    """
    if device.type != "cpu":
        return contextlib.nullcontext()
    return freed_kept() if micro_batch is None else freed_at_once()


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
