"""How far embeddings of the same images agree: direction, neighbours, finding one's own again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Floats, normalised
from hyperspec.utils.errors import ConfigError


def median_cosine(one: ArrayLike, other: ArrayLike) -> float:
    """Return the median over rows of the cosine between two embeddings of one width, ``(N, F)``."""
    return float(np.median((normalised(one) * normalised(other)).sum(axis=1)))


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
    first, second = _nearest(normalised(one), k), _nearest(normalised(other), k)
    both = [len(set(a) & set(b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(both)) / k


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


def window_retrieval(
    embeddings: ArrayLike, specimens: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """Return how often the nearest embedding of another window is of the same specimen.

    For each ordered pair of windows a, b: every image's embedding in a looks among all images'
    embeddings in b, its own among them, by cosine similarity.

    Args:
        embeddings: Shape ``(N, W, D)``.
        specimens: Specimen of each image, length N.
        names: Name of each window, length W.

    Returns:
        ``window_retrieval_<a>_<b>`` of each ordered pair, ``window_retrieval_top1`` (their mean),
        and ``window_retrieval_chance`` (what a random answer reaches), each 0 to 1.

    Source: the cross-modal retrieval of Tian, Krishnan, Isola 2020, "Contrastive Multiview Coding".
    """
    z, keys = normalised(embeddings), np.asarray(specimens)
    found = {}
    for a, b in permutations(range(len(names)), 2):
        nearest = (z[:, a] @ z[:, b].T).argmax(axis=1)
        found[f"window_retrieval_{names[a]}_{names[b]}"] = float((keys[nearest] == keys).mean())
    mean = float(np.mean(list(found.values())))
    chance = float((keys[:, None] == keys[None]).mean())
    return {**found, "window_retrieval_top1": mean, "window_retrieval_chance": chance}
