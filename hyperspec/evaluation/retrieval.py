"""Retrieval on frozen features: a specimen's own other view, and rows of the same label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.probes import normalised

Floats: TypeAlias = NDArray[np.float64]
Names: TypeAlias = Sequence[str] | NDArray[np.str_]
_SAME = 1e-7  # similarities nearer than this are rounding of float32 features, so a tie


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
    similarity, same = _similarities(features, specimens)
    others = same.sum(1)
    if not others.any():
        raise ValueError(
            f"None of the {len(same)} rows has another view of its specimen, so there is nothing "
            "to retrieve."
        )
    nearest = similarity >= similarity.max(1, keepdims=True) - _SAME
    correct = np.where(others > 0, (nearest & same).sum(1) / nearest.sum(1), np.nan)
    chance = float(others[others > 0].mean() / (len(same) - 1))
    return ViewRetrieval(float(np.nanmean(correct)), correct, chance)


def mean_average_precision(
    features: ArrayLike, labels: Names, *, specimens: Names | None = None
) -> float:
    """Return the mean average precision of ranking rows by cosine to find the same label.

    Each row asks once; rows without another one of their label do not ask. Equally similar rows
    share a rank, so that their order does not matter.

    Args:
        features: Held-out features, ``(N, F)``.
        labels: Label of each row, ``(N,)``.
        specimens: Specimen of each row: then other views of the asking specimen are left out, so
            that finding the label counts and finding the animal does not.

    Raises:
        ValueError: If no row has another one of its label to find.
    """
    found = average_precisions(features, labels, specimens=specimens)
    if np.isnan(found).all():
        raise ValueError(f"None of the {len(found)} rows has another one of its label.")
    return float(np.nanmean(found))


def average_precisions(
    features: ArrayLike, labels: Names, *, specimens: Names | None = None
) -> Floats:
    """Return the average precision of each row's ranking, ``(N,)``; NaN for rows that do not ask.

    Args:
        features: Held-out features, ``(N, F)``.
        labels: Label of each row, ``(N,)``.
        specimens: As in :func:`mean_average_precision`.
    """
    similarity, relevant = _similarities(features, labels)
    allowed = ~np.eye(len(similarity), dtype=bool)
    if specimens is not None:
        allowed &= ~_equal(specimens)
    found = np.full(len(similarity), np.nan)
    for row, (scores, wanted) in enumerate(zip(similarity, relevant, strict=True)):
        if wanted[allowed[row]].any():
            found[row] = _average_precision(scores[allowed[row]], wanted[allowed[row]])
    return found


def _similarities(features: ArrayLike, names: Names) -> tuple[Floats, NDArray[np.bool_]]:
    """Return cosines with -inf on the diagonal, and which other rows have the same name."""
    unit = normalised(np.asarray(features, np.float64))
    if unit.ndim != 2 or len(unit) != len(names):
        raise ValueError(f"Features of shape {unit.shape} do not fit {len(names)} rows.")
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    same = _equal(names)
    np.fill_diagonal(same, False)
    return similarity, same


def _equal(names: Names) -> NDArray[np.bool_]:
    codes = np.unique(np.asarray(names), return_inverse=True)[1]
    return np.asarray(codes[:, None] == codes[None])


def _average_precision(scores: Floats, relevant: NDArray[np.bool_]) -> float:
    """Return Σ (recall step) · precision over the distinct scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) < -_SAME, True))
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(hits[last], prepend=0) * precision) / hits[-1])
