"""Retrieval of a specimen's own other view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Embeddings, Floats
from hyperspec.evaluation.evaluators.base import Values, register_evaluator
from hyperspec.evaluation.evaluators.retrieval import SAME, Names, similarities


@register_evaluator("view_retrieval")
def run(embeddings: Embeddings) -> Values:
    """Score how often a row finds its specimen; nothing where each specimen has one row."""
    part = embeddings.part
    # One specimen alone is always found. In a run it is counted (1, as by chance), so that an
    # objective of a tiny validation part has a value.
    alone = embeddings.train is None and len(set(part.specimens)) == 1
    if not part.has_views or alone:
        return {}
    found = view_retrieval_top1(part.matrix, part.specimens)
    return {
        "view_retrieval_top1": embeddings.averaged(found.correct, part.specimens),
        "view_retrieval_chance": found.chance,
    }


@dataclass(frozen=True, eq=False)
class ViewRetrieval:
    """How often a row's most similar other row shows the same specimen.

    Args:
        top1: Mean over the rows that have another view, 0 to 1.
        correct: Score of each row, ``(N,)``: 1 right, 0 wrong, between them where rows tie, NaN
            where the specimen has no other row.
        chance: What a blind guess would reach on the same rows.
    """

    top1: float
    correct: Floats
    chance: float


def view_retrieval_top1(features: ArrayLike, specimens: Names) -> ViewRetrieval:
    """Ask of each row whether its nearest other row, by cosine, is of its own specimen.

    All rows are candidates. Where several are equally near, the row scores the share of them that
    is its own specimen's: what picking among them at random would reach. A collapsed encoder
    therefore scores chance, not luck.

    Args:
        features: Held-out features, ``(N, F)``.
        specimens: Specimen of each row, ``(N,)``.

    Raises:
        ValueError: If no specimen has two rows.
    """
    similarity, same = similarities(features, specimens)
    others = same.sum(1)
    if not others.any():
        raise ValueError(
            f"None of the {len(same)} rows has another view of its specimen, so there is nothing "
            "to retrieve."
        )
    nearest = similarity >= similarity.max(1, keepdims=True) - SAME
    correct = np.where(others > 0, (nearest & same).sum(1) / nearest.sum(1), np.nan)
    chance = float(others[others > 0].mean() / (len(same) - 1))
    return ViewRetrieval(float(np.nanmean(correct)), correct, chance)
