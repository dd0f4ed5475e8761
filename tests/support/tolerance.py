"""How far apart two ways to one sum may lie, from the arithmetic and not from one processor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def rounding(terms: int, *values: Any, dtype: torch.dtype = torch.float64) -> float:
    """Return a bound on the difference of two results that order or fuse their sums differently.

    Each addition rounds once, by half of ``eps`` of at most the sum of magnitudes; two results may
    err in opposite directions. Vector width, threads and fused products only choose the order. Use
    it as an absolute tolerance: near 0, where terms cancel, no relative one holds.

    Args:
        terms: Numbers that are summed, one sum after another: those of a chain are added up.
        values: Largest magnitudes of terms, as numbers, arrays or lists of them.
        dtype: In which sums are formed.
    """
    scale = max(_largest(value) for value in values)
    return terms * torch.finfo(dtype).eps * scale


def _largest(value: Any) -> float:
    if isinstance(value, torch.Tensor):
        return float(value.detach().abs().max())
    if isinstance(value, Iterable) and not isinstance(value, np.ndarray):
        return max(map(_largest, value))
    return float(np.abs(value).max())
