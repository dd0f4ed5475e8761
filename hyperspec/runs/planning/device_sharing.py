"""Whether jobs that share a device fit on it together, predicted before the first one starts."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.config.schema import Train
    from hyperspec.runs.planning.memory import Forecast


log = logging.getLogger(__name__)


_USED = 0.9  # share of the free memory that all jobs together may take


_CONTEXT = 600e6  # bytes of a CUDA context with its libraries, once per process


_ASK = (
    "import torch; "
    "print(min(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())))"
)
_SECONDS = 120  # for a process that imports torch

_MOST = 24  # different jobs that are predicted; 0.2 to 1.5 s each


def check_sharing(jobs: Sequence[Train]) -> None:
    """Refuse jobs that do not fit together on a device, by the memory that is predicted for them.

    The largest jobs may meet: as many of them as share a device have to fit.

    Raises:
        ConfigError: If they do not fit.
    """
    sharing = [job for job in jobs if job.hardware.jobs_per_device > 1]
    if not sharing:
        return
    from hyperspec.runs.planning.memory import forecast

    at_once = max(job.hardware.jobs_per_device for job in sharing)
    there = free_on_cards() if sharing[0].hardware.accelerator != "cpu" else None
    found = [forecast(job, there) for job in _different(sharing)]
    most, free = max(map(_bytes, found)), found[0].free
    if free is None:
        log.info(
            "%d jobs share a device (%s): up to %.0f MB each; no such device is here",
            at_once, found[0].device, most / 1e6,
        )  # fmt: skip
        return
    together = most * at_once
    log.info(
        "%d jobs share a device (%s): up to %.0f MB each, %.0f MB together, %.0f MB free",
        at_once, found[0].device, most / 1e6, together / 1e6, free / 1e6,
    )  # fmt: skip
    if together > _USED * free:
        fitting = int(_USED * free // most)
        way = (
            f"Set hardware.jobs_per_device={fitting}"
            if fitting > 0
            else "Not even one fits: `hyperspec plan` with the same words says what to change"
        )
        raise ConfigError(
            f"hardware.jobs_per_device is {at_once}, but {at_once} of the largest jobs need "
            f"{together / 1e6:.0f} MB together ({most / 1e6:.0f} MB each), and {free / 1e6:.0f} MB "
            f"are free on the {found[0].device}. {way}."
        )


def free_on_cards() -> int | None:
    """Return the bytes that are free on the CUDA device with the least, asked by another process.

    Whoever asks a device has a context on it until he ends, some 0.5 GB: the controller of a sweep,
    which computes nothing there, would hold that beside all its jobs. None without CUDA.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    told = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if told.returncode:
        reason = told.stderr.strip().splitlines()[-1:] or ["no word"]
        raise ConfigError(
            f"hardware.jobs_per_device is set, but the GPU does not say what is free: {reason[0]}"
        )
    return int(told.stdout)


def _bytes(one: Forecast) -> float:
    return one.total + (_CONTEXT if one.device == "cuda" else 0)


def _different(jobs: Sequence[Train]) -> list[Train]:
    """Return one job of each shape; what sweeps vary most decides no memory."""
    kept: list[Train] = []
    seen: list[Train] = []
    for job in jobs:
        shape = replace(job, seed=0, lr=1e-3, weight_decay=0.0)
        if shape not in seen and len(kept) < _MOST:
            seen.append(shape)
            kept.append(job)
    return kept
