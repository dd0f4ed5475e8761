"""What is said of a file that torch refuses to read as tensors and plain values."""

from __future__ import annotations

import pickle


def reason_of(error: Exception) -> str:
    """Say what was wrong, without torch's advice to read the file with ``weights_only=False``."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if isinstance(error, pickle.UnpicklingError):
        _, found, rest = str(error).partition("WeightsUnpickler error:")
        lines = [line for line in rest.splitlines() if line.strip()] if found else []
    elif not isinstance(error, RuntimeError | EOFError):
        lines = []
    return lines[0].strip().rstrip(".") if lines else "it is no file of torch"
