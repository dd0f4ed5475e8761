"""How far two embeddings of the same images agree: direction, and who is next to whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.utils.errors import ConfigError

Floats = NDArray[np.float64]


def median_cosine(one: ArrayLike, other: ArrayLike) -> float:
    """Return the median over rows of the cosine between two embeddings of one width.

    Args:
        one: Shape ``(N, F)``.
        other: Shape ``(N, F)``.
    """
    first, second = _unit(one), _unit(other)
    return float(np.median((first * second).sum(axis=1)))


def shared_neighbours(one: ArrayLike, other: ArrayLike, k: int = 5) -> float:
    """Return which share of each row's k nearest others, by cosine, both embeddings name.

    0 to 1; independent embeddings share about ``k / (N - 1)``. The widths may differ.

    Args:
        one: Shape ``(N, F)``.
        other: Shape ``(N, G)``.
        k: Neighbours, 1 to N - 1.

    Raises:
        ConfigError: If k does not fit.
    """
    first, second = _nearest(_unit(one), k), _nearest(_unit(other), k)
    both = [len(set(a) & set(b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(both)) / k


def _unit(x: ArrayLike) -> Floats:
    values = np.asarray(x, np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    unit: Floats = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return unit


def _nearest(unit: Floats, k: int) -> list[list[int]]:
    if not 1 <= k < len(unit):
        raise ConfigError(
            f"{k} neighbours were asked for, but each of {len(unit)} images has {len(unit) - 1} "
            "others. Lower k, or embed more images."
        )
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    # Equally similar ones count in the order of rows.
    found: list[list[int]] = np.argsort(-similar, axis=1, kind="stable")[:, :k].tolist()
    return found
