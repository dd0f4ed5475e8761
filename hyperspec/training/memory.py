"""Peak memory of a job, also when one process serves many jobs; and giving freed memory back."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

_MMAP_THRESHOLD = -3  # the number of mallopt's M_MMAP_THRESHOLD
_SMALL = 2**20  # blocks from this size on are the system's again as soon as they are freed
_USUAL = 2**25  # what glibc's own threshold grows to once large blocks were freed
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
    try:
        # "5" resets the resident-set high-water mark (proc(5)).
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def peak_mb(device: torch.device) -> float:
    """Return the peak since :func:`reset_peak` in MB (10^6 bytes).

    On a GPU the allocator's peak; on the CPU the resident set's high-water mark.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if found:
            return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@contextlib.contextmanager
def freed_at_once() -> Iterator[None]:
    """Let the process's memory shrink inside whenever a tensor of 1 MB or more is freed.

    glibc keeps freed blocks below 32 MB for the next ones, but torch's are aligned, and small ones
    between them stay, so that many do not fit again: over micro-batches of 224 px images the
    resident set grew by 130 MB each, eight times a single one's, while the live tensors stayed the
    same. The price is that the system hands out zeroed pages anew. Elsewhere than with glibc this
    does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _SMALL)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
