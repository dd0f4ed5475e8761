"""Memory that did not suffice is told apart from other failures."""

from __future__ import annotations

import torch

from hyperspec.utils.errors import HyperspecError

# What torch, CUDA and its libraries say in plain runtime errors: the libraries take memory of their
# own, beside torch's allocator, and are the first to fail on a card that others use too.
_IN_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "memoryallocation",  # cudaErrorMemoryAllocation
    "alloc_failed",  # CUBLAS_, CUDNN_, CUFFT_, CUSOLVER_, CUSPARSE_STATUS_ALLOC_FAILED
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, of cuDNN 9
    "not_initialized when calling `cublascreate",  # no room for the library's own memory
)


class OutOfMemoryError(HyperspecError):
    """The job needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the memory of the device or of the host did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _IN_WORDS)
