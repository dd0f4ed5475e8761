"""The effective rank of an embedding."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Embeddings
from hyperspec.evaluation.evaluators.base import Values, register_evaluator


@register_evaluator("rankme")
def run(embeddings: Embeddings) -> Values:
    """Measure how many directions a part's features use."""
    return {"rankme": rankme(embeddings.part.matrix)}


def rankme(features: ArrayLike) -> float:
    """Return the effective rank of features: 1 when collapsed, at most min(N, F).

    It needs no labels and is no accuracy: it says how many directions are in use, not whether they
    carry anything.

    Args:
        features: Features as they are, neither centred nor normalised, ``(N, F)``.

    Source:
        Garrido et al. (2023), RankMe, eq. 1-2: p_k = σ_k / ||σ||_1 + ε with ε = 1e-7,
        RankMe = exp(-Σ p_k log p_k).
    """
    singular = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    total = singular.sum()
    if total == 0:
        return 1.0  # all features zero: one point
    share = singular / total + 1e-7
    return float(np.exp(-np.sum(share * np.log(share))))
