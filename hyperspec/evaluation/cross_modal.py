"""Does a specimen's embedding in one window of wavelengths find its own in another?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike


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
    z = np.asarray(embeddings, np.float64)
    norms = np.linalg.norm(z, axis=2, keepdims=True)
    z = z / np.where(norms == 0, 1, norms)
    keys = np.asarray(specimens)
    found = {}
    for a, b in permutations(range(len(names)), 2):
        nearest = (z[:, a] @ z[:, b].T).argmax(axis=1)
        found[f"window_retrieval_{names[a]}_{names[b]}"] = float((keys[nearest] == keys).mean())
    mean = float(np.mean(list(found.values())))
    chance = float((keys[:, None] == keys[None]).mean())
    return {**found, "window_retrieval_top1": mean, "window_retrieval_chance": chance}
