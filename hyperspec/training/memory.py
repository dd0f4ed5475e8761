"""Peak memory of a job, also when one process serves many jobs."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import torch

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
