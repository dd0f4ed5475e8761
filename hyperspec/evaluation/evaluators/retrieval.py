"""Retrieval on frozen features: mean average precision of finding rows of the same label."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import Embeddings, Floats, normalised
from hyperspec.evaluation.evaluators.registry import Labels, Values, register_evaluator

SAME = 1e-7  # similarities nearer than this are rounding of float32 features, so a tie


@register_evaluator("retrieval", needs_labels=True)
def run(embeddings: Embeddings) -> Values:
    """Score retrieval of the label among other specimens, beside what unordered rows give."""
    rows = embeddings.rows
    if len(np.unique(rows.labels)) < 2:
        return {}
    precisions = average_precisions(rows.features, rows.labels, specimens=rows.specimens)
    if np.isnan(precisions).all():
        return {}
    # Rows of one value are all equally near: each row's precision is its label's share.
    blind = average_precisions(
        np.ones((len(rows.labels), 1)), rows.labels, specimens=rows.specimens
    )
    return {
        "retrieval_map": embeddings.averaged(precisions, rows.specimens),
        "retrieval_map_chance": float(np.nanmean(blind)),
    }


def average_precisions(
    features: ArrayLike, labels: Labels, *, specimens: Labels | None = None
) -> Floats:
    """Return the average precision of each row's ranking by cosine to find the same label.

    Each row asks once; a row without another one of its label does not ask and has NaN. Equally
    similar rows share a rank, so that their order does not matter.

    Args:
        features: Held-out features, ``(N, F)``.
        labels: Label of each row, ``(N,)``.
        specimens: Specimen of each row: then other views of the asking specimen are left out, so
            that finding the label counts and finding the animal does not.
    """
    similarity, relevant = similarities(features, labels)
    allowed = ~np.eye(len(similarity), dtype=bool)
    if specimens is not None:
        allowed &= ~_equal(specimens)
    found = np.full(len(similarity), np.nan)
    for row, (scores, wanted) in enumerate(zip(similarity, relevant, strict=True)):
        if wanted[allowed[row]].any():
            found[row] = _average_precision(scores[allowed[row]], wanted[allowed[row]])
    return found


def similarities(features: ArrayLike, names: Labels) -> tuple[Floats, NDArray[np.bool_]]:
    """Return cosines with -inf on the diagonal, and which other rows have the same name."""
    unit = normalised(features)
    if unit.ndim != 2 or len(unit) != len(names):
        raise ValueError(f"Features of shape {unit.shape} do not fit {len(names)} rows.")
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    same = _equal(names)
    np.fill_diagonal(same, False)
    return similarity, same


def _equal(names: Labels) -> NDArray[np.bool_]:
    codes = np.unique(np.asarray(names), return_inverse=True)[1]
    return np.asarray(codes[:, None] == codes[None])


def _average_precision(scores: Floats, relevant: NDArray[np.bool_]) -> float:
    """Return Σ (recall step) · precision over the distinct scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) < -SAME, True))
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(hits[last], prepend=0) * precision) / hits[-1])
