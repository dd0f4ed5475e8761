"""Memory that did not suffice is told apart; memory that is no longer needed is given back."""

from __future__ import annotations

import gc
from functools import cache

import torch

from hyperspec.utils.errors import HyperspecError


class OutOfMemoryError(HyperspecError):
    """The job needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the memory of the device or of the host did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


@cache
def set_libraries_aside() -> None:
    """Spare the half a million objects of the imported libraries each search for cycles.

    They stay for good anyhow; without them a search takes milliseconds instead of half a second.
    """
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Give back the planes of a job that is over.

    Lightning's trainer and module hold each other, so that they would stay until Python happens to
    search for cycles: two data sets in memory at once.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
