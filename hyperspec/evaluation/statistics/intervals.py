"""Intervals of means over specimens and seeds.

A specimen has several images that share its fate, so the specimen is the unit, never the image;
one with more images counts for more, as it does in the mean that is logged, by the residuals of a
ratio (Cochran 1977, ch. 6). The width is that of :mod:`hyperspec.evaluation.statistics.variance`;
accuracies bring it into the form of Wilson (1927) and differences of accuracies into one after
Tango (1998), both with the effective number of specimens that the width amounts to (Korn &
Graubard 1998; Dean & Pagano 2015), so that neither leaves its range nor shrinks to nothing where
few are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.statistics.variance import (
    Floats,
    MeanSquares,
    mean_squares,
    specimen_freedom,
    squared_t,
)

__all__ = ["Floats"]

MIN_SPECIMENS = 8
# Specimens, wholly of the rare kind, that steady the spread where few are wrong, or few disagree.
_WRONG, _DISAGREEING = 0.1, 0.3
Groups: TypeAlias = Sequence[str] | NDArray[np.generic]
Method: TypeAlias = Literal["t", "wilson", "tango", "clopper-pearson", "bootstrap", "none"]
Reason: TypeAlias = Literal["", "fewer than 8 specimens", "one specimen"]


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its interval.

    Args:
        mean: Mean over rows (and seeds).
        low: Lower end; NaN where nothing supports an interval.
        high: Upper end.
        level: Intended coverage, 0 to 1.
        num_groups: Number of specimens.
        num_seeds: Number of seeds.
        method: What the ends come from; ``clopper-pearson`` where all are right or all wrong, and
            with few specimens where each is wholly the one or the other; ``none`` without ends.
        reason: Why there are no ends.
        over_seeds: Whether it speaks of seeds that were not run; with fewer than three it speaks
            of those that were.
    """

    mean: float
    low: float
    high: float
    level: float
    num_groups: int
    num_seeds: int = 1
    method: Method = "t"
    reason: Reason = ""
    over_seeds: bool = False


class CrossedTable(NamedTuple):
    """Sums and counts of rows, each of shape (seeds, specimens); some specimen has rows."""

    sums: Floats
    counts: Floats
    binary: bool

    @property
    def mean(self) -> float:
        """Mean over all rows and seeds."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def whole(self) -> bool:
        """Whether each specimen has one score only, in all rows and seeds: 0 or 1."""
        seen = self.counts > 0
        cells = self.sums[seen] / self.counts[seen]
        by_specimen = self.sums.sum(0) / self.counts.sum(0)
        return bool(np.isin(cells, (0.0, 1.0)).all() and np.isin(by_specimen, (0.0, 1.0)).all())

    @property
    def linearised(self) -> Floats:
        """One value per seed and specimen, ``(S, G)``, whose plain mean is the mean over rows."""
        mean = self.mean
        return np.asarray(mean + (self.sums - mean * self.counts) / self.counts.mean())


def mean_interval(
    values: ArrayLike,
    groups: Groups,
    *,
    level: float = 0.95,
    folds: Sequence[int] | NDArray[np.integer] | None = None,
    binary: bool | None = None,
) -> Interval:
    """Return the mean of a seeds × rows table with its interval over specimens, and seeds.

    Args:
        values: Scores, ``(S, N)``, or ``(N,)`` of one seed; NaN where a seed did not score a row.
        groups: Specimen of each row, ``(N,)``.
        level: Coverage, between 0 and 1.
        folds: Rotation that tested each row, ``(N,)``, the same for all seeds; None without.
        binary: Whether scores are right or wrong; None looks whether all are 0 or 1.

    Raises:
        ValueError: If there is no value, or lengths differ.
    """
    table, kept = tabulate(values, groups, folds)
    accuracy = table.binary if binary is None else binary
    num_seeds, num = table.sums.shape
    if accuracy and table.whole and num < MIN_SPECIMENS:
        ends = clopper_pearson(round(table.sums.any(0).sum()), num, level)
        return Interval(table.mean, *ends, level, num, num_seeds, "clopper-pearson")
    reason = too_few(num, accuracy)
    if reason:
        return Interval(table.mean, np.nan, np.nan, level, num, num_seeds, "none", reason)
    parts = mean_squares(table.linearised, kept)
    low, high = accuracy_ends(parts, level) if accuracy else plain_ends(parts, level)
    ends = (float(low), float(high))
    method: Method = "t"
    if accuracy:
        method = "clopper-pearson" if table.mean in (0.0, 1.0) else "wilson"
    return Interval(table.mean, *ends, level, num, num_seeds, method, "", parts.over_seeds)


def too_few(num_specimens: int, accuracy: bool) -> Reason:
    """Say why so few specimens have no interval; empty when they have."""
    if accuracy and num_specimens < MIN_SPECIMENS:
        return "fewer than 8 specimens"
    return "one specimen" if num_specimens < 2 else ""


def plain_ends(parts: MeanSquares, level: float | Floats) -> tuple[Floats, Floats]:
    """Return the ends of a mean of any scores."""
    half = np.sqrt(parts.squared_half_width(level))
    return parts.mean - half, parts.mean + half


def accuracy_ends(parts: MeanSquares, level: float) -> tuple[Floats, Floats]:
    """Return the ends of a mean of right-or-wrong scores, within 0 to 1.

    Wilson's interval, (p - π)² ≤ c π (1 - π), with the c that the width amounts to at p; where all
    are right, or all wrong, the exact binomial one over specimens.
    """
    mean = parts.mean
    ratio = _ratio(parts, mean * (1 - mean), level, _WRONG)
    centre = (mean + ratio / 2) / (1 + ratio)
    half = np.sqrt(ratio * mean * (1 - mean) + ratio**2 / 4) / (1 + ratio)
    none = never(parts.num_specimens, level)
    low = np.where(mean == 0, 0.0, np.where(mean == 1, 1 - none, centre - half))
    high = np.where(mean == 1, 1.0, np.where(mean == 0, none, centre + half))
    return low, high


def never(num_specimens: int, level: float | Floats) -> float | Floats:
    """Return the exact upper end of a rate that was seen in none (Clopper & Pearson 1934)."""
    return 1 - ((1 - level) / 2) ** (1 / num_specimens)


def difference_ends(
    parts: MeanSquares, disagreement: Floats, level: float | Floats
) -> tuple[Floats, Floats]:
    """Return the ends of a mean difference of right-or-wrong scores, within -1 to 1.

    Two settings that differ by δ disagree on at least a share of δ. So the ends are those δ with
    (d - δ)² ≤ c (max(q, |δ|) - δ²), q being the share of rows on which the two disagree: the
    bound of Tango's score interval, in closed form. Where they never disagree, the exact binomial
    bound of how often they do.
    """
    spread = np.maximum(disagreement - parts.mean**2, 0.0)
    ratio = _ratio(parts, spread, level, _DISAGREEING)
    none = never(parts.num_specimens, level)
    low, high = (
        np.where(disagreement == 0, none, _upper(mean, disagreement, ratio))
        for mean in (-parts.mean, parts.mean)
    )
    return -low, high


def _upper(mean: Floats, disagreement: Floats, ratio: Floats) -> Floats:
    """Return the larger root of (d - δ)² = c (q - δ²); beyond q, of (d - δ)² = c δ (1 - δ)."""
    inside = np.maximum(ratio * (disagreement * (1 + ratio) - mean**2), 0.0)
    root = (mean + np.sqrt(inside)) / (1 + ratio)
    centre = mean + ratio / 2
    beyond = (centre + np.sqrt(np.maximum(centre**2 - (1 + ratio) * mean**2, 0.0))) / (1 + ratio)
    return np.asarray(np.where(root <= disagreement, root, beyond))


def _ratio(parts: MeanSquares, spread: Floats, level: float | Floats, prior: float) -> Floats:
    """Return t² over the effective number of specimens: squared half-width by spread of a row.

    The spread is taken over all rows, the mean squares over one fewer: hence (G - 1) / G.
    """
    num = parts.num_specimens
    steady = prior * squared_t(level, specimen_freedom(num, True)) / num**2
    width = parts.squared_half_width(level, bounded=True) * (num - 1) / num
    return np.asarray((width + steady) / (spread + prior / num))


def clopper_pearson(successes: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval of a rate (Clopper & Pearson 1934).

    Args:
        successes: Number of successes, 0 to total.
        total: Number of trials, at least 1.
        level: Coverage, between 0 and 1.
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    failures = total - successes
    low = float(beta.ppf(tail, successes, failures + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, failures)) if failures > 0 else 1.0
    return low, high


def tabulate(
    values: ArrayLike,
    groups: Groups,
    folds: Sequence[int] | NDArray[np.integer] | None = None,
) -> tuple[CrossedTable, NDArray[np.intp] | None]:
    """Sum a seeds × rows table up to seeds × specimens, with the fold of each specimen.

    NaN counts as missing; seeds and specimens without any score are left out.

    Raises:
        ValueError: If there is no value, lengths differ, or a specimen has two folds.
    """
    scores = np.atleast_2d(np.asarray(values, np.float64))
    if scores.ndim != 2 or scores.shape[1] != len(groups):
        raise ValueError(
            f"Scores of shape {scores.shape} do not fit {len(groups)} rows: give (seeds, rows)."
        )
    seen = ~np.isnan(scores)
    if not seen.any():
        raise ValueError(f"No score to take a mean of: {scores.size} values, all missing.")
    scores, seen = scores[seen.any(1)], seen[seen.any(1)]
    names, columns = np.unique(np.asarray(groups), return_inverse=True)
    filled = np.where(seen, scores, 0.0)
    sums, counts = (
        np.stack([np.bincount(columns, row, len(names)) for row in each]).astype(np.float64)
        for each in (filled, seen)
    )
    used = counts.sum(0) > 0
    binary = bool(np.isin(scores[seen], (0.0, 1.0)).all())
    table = CrossedTable(sums[:, used], counts[:, used], binary)
    if folds is None:
        return table, None
    given = np.asarray(folds)
    own = np.zeros(len(names), np.intp)
    own[columns] = given
    if len(given) != len(columns) or (own[columns] != given).any():
        raise ValueError("Each specimen is tested in one rotation: give the fold of each row.")
    return table, own[used]
