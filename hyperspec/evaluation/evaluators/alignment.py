"""Alignment and uniformity: how near views of a specimen are, how evenly rows spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Embeddings, Floats, normalised
from hyperspec.evaluation.evaluators.registry import Labels, Values, register_evaluator
from hyperspec.evaluation.statistics.intervals import Interval


@register_evaluator("alignment")
def run(embeddings: Embeddings) -> Values:
    """Measure the distance of a specimen's views and the spread of all rows over the sphere."""
    part = embeddings.part
    several = part.has_views and len(set(part.specimens)) > 1
    found: dict[str, float | Interval] = {}
    if several:
        found["alignment"] = embeddings.averaged(*pair_distances(part.matrix, part.specimens))
    if len(part.files) > 1:
        found["uniformity"] = uniformity(part.matrix)
    return found


def pair_distances(
    features: ArrayLike, specimens: Labels, *, alpha: float = 2.0
) -> tuple[Floats, list[str]]:
    """Return the distance of each pair of views of one specimen, and that specimen.

    Their mean is the alignment: 0 is best, at most 2**alpha.

    Args:
        features: Features, ``(N, F)``; taken at unit length.
        specimens: Specimen of each row, ``(N,)``.
        alpha: Power of the distance, above 0.

    Raises:
        ValueError: If no specimen has two rows.

    Source:
        Wang & Isola (2020), L_align = E ||f(x) - f(y)||^α over positive pairs.
    """
    squared = _squared_distances(features)
    names = np.asarray(specimens)
    first, second = np.triu_indices(len(squared), 1)
    pairs = names[first] == names[second]
    if not pairs.any():
        raise ValueError(f"None of the {len(squared)} rows has another view of its specimen.")
    return squared[first[pairs], second[pairs]] ** (alpha / 2), names[first[pairs]].tolist()


def uniformity(features: ArrayLike, *, t: float = 2.0) -> float:
    """Return how evenly features spread over the sphere: 0 when collapsed, lower is more even.

    Args:
        features: Features, ``(N, F)``, N at least 2; taken at unit length.
        t: Sharpness of the Gaussian kernel, above 0.

    Source:
        Wang & Isola (2020), L_uniform = log E exp(-t ||f(x) - f(y)||²), over distinct rows.
    """
    squared = _squared_distances(features)
    if len(squared) < 2:
        raise ValueError("uniformity needs two rows, one was given.")
    return float(np.log(np.mean(np.exp(-t * squared[np.triu_indices(len(squared), 1)]))))


def _squared_distances(features: ArrayLike) -> Floats:
    unit = normalised(features)
    # Explicit differences lose nothing between near views; held-out parts are small.
    return np.asarray([np.sum((unit - row) ** 2, axis=1) for row in unit])
