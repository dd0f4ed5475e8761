"""Arrays that a caller gives to be filled."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import HyperspecError

_T = TypeVar("_T", bound=np.generic)


def output(out: NDArray[_T] | None, shape: tuple[int, ...], dtype: np.dtype[_T]) -> NDArray[_T]:
    """Return the given array when it can take the result, or a new one when none is given.

    Raises:
        HyperspecError: If the array has another shape or type, or its elements do not lie one
            after the other.
    """
    if out is None:
        return np.empty(shape, dtype)
    fits = out.shape == shape and out.dtype == dtype
    if not (fits and out.flags.c_contiguous and out.flags.writeable):
        kind = "contiguous" if out.flags.c_contiguous else "not contiguous"
        kind += "" if out.flags.writeable else ", read-only"
        raise HyperspecError(
            f"out is a {kind} array of shape {out.shape} and type {out.dtype}, but the result "
            f"needs a contiguous, writable one of shape {shape} and type {dtype}: "
            f"np.empty({shape}, '{dtype}')."
        )
    return out
