"""Two settings compared on the same seeds and specimens: differences and the equivalence test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.statistics.bootstrap import (
    CrossedTable,
    Floats,
    Interval,
    clopper_pearson,
    table_intervals,
    tabulate,
)


def paired_bootstrap(
    scores: ArrayLike,
    reference: ArrayLike,
    groups: Sequence[str] | NDArray[np.generic],
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean difference of two settings with its interval over seeds and specimens.

    Where right-or-wrong scores differ by the same amount on every specimen (most often: not at
    all), resampling shows no spread; the ends then come from the exact binomial interval of how
    often the two disagree, on both sides of zero when they never do.

    Args:
        scores: Scores of the setting, ``(S, N)``, or ``(N,)`` for one seed.
        reference: Scores of the reference on the same seeds and rows, of the same shape.
        groups: Specimen of each row, ``(N,)``.
        level: Coverage, between 0 and 1.
        num_resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If shapes differ or there is no value.
    """
    first, second = _paired(scores, reference)
    (found,) = _intervals(first, second, groups, (level,), num_resamples, seed)
    return found


def _intervals(
    first: Floats,
    second: Floats,
    groups: Sequence[str] | NDArray[np.generic],
    levels: Sequence[float],
    num_resamples: int,
    seed: int,
) -> tuple[Interval, ...]:
    table = tabulate(first - second, groups)
    both = np.concatenate([first, second])
    if not (table.constant and np.isin(both[~np.isnan(both)], (0.0, 1.0)).all()):
        return table_intervals(
            table, levels, num_resamples=num_resamples, seed=seed, exact=table.binary
        )
    num_seeds, num_groups = table.sums.shape
    mean = table.mean
    found = []
    for level in levels:
        low, high = clopper_pearson(abs(mean) * num_groups, num_groups, level)
        ends = (-high, high) if mean == 0 else (low, high) if mean > 0 else (-high, -low)
        found.append(Interval(mean, *ends, level, num_groups, num_seeds, "clopper-pearson"))
    return tuple(found)


def _paired(scores: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    first = np.atleast_2d(np.asarray(scores, np.float64))
    second = np.atleast_2d(np.asarray(reference, np.float64))
    if first.shape != second.shape:
        raise ValueError(f"Scores of shape {first.shape} and {second.shape} cannot be paired.")
    return first, second


Verdict: TypeAlias = Literal["as good as", "better", "worse", "undecided"]


@dataclass(frozen=True)
class Equivalence:
    """What a paired comparison with a margin says.

    Args:
        verdict: ``as good as`` when the whole 90% interval lies within the margin (two one-sided
            tests at 5%); else ``better`` or ``worse`` when the 95% interval leaves out 0; else
            ``undecided``. Within the margin wins: a difference may be real and too small to matter.
        difference: Mean difference with its 95% interval.
        inner: The same with the 90% interval that the two one-sided tests look at.
        margin: The margin that was fixed beforehand.
        num_specimens_to_decide: Number of specimens that would decide with 80% power if the
            difference seen were the true one; None when decided, or when no number would do
            because the spread between seeds alone is too large, or one specimen has no spread.
    """

    verdict: Verdict
    difference: Interval
    inner: Interval
    margin: float
    num_specimens_to_decide: int | None

    def __str__(self) -> str:
        shown = self.difference
        text = (
            f"{self.verdict}: difference {shown.mean:+.3f}, 95% interval [{shown.low:+.3f}, "
            f"{shown.high:+.3f}], margin ±{self.margin:g}, {shown.num_groups} specimens, "
            f"{shown.num_seeds} seed{'s' * (shown.num_seeds != 1)}"
        )
        if self.verdict != "undecided":
            return text
        if self.num_specimens_to_decide is None and shown.num_groups < 2:
            return text + "; one specimen has no spread to say how many would decide"
        if self.num_specimens_to_decide is None:
            return text + "; more specimens alone would not decide, more seeds are needed"
        return text + f"; about {self.num_specimens_to_decide} specimens would decide"


def equivalence_test(
    scores: ArrayLike,
    reference: ArrayLike,
    groups: Sequence[str] | NDArray[np.generic],
    *,
    margin: float,
    num_resamples: int = 4000,
    seed: int = 0,
) -> Equivalence:
    """Say whether one setting is as good as another, better, worse, or whether that is undecided.

    The arguments are those of :func:`paired_bootstrap`, and ``margin``, the largest difference
    that does not matter, above 0; fix it before looking.

    Raises:
        ValueError: If shapes differ or the margin is not above 0.

    Source:
        Schuirmann (1987), two one-sided tests; the intervals are those of
        :func:`hyperspec.evaluation.statistics.bootstrap.crossed_bootstrap`.
    """
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be above 0 and fixed beforehand.")
    first, second = _paired(scores, reference)
    outer, inner = _intervals(first, second, groups, (0.95, 0.90), num_resamples, seed)
    if -margin < inner.low and inner.high < margin:
        return Equivalence("as good as", outer, inner, margin, None)
    if outer.low > 0 or outer.high < 0:
        return Equivalence("better" if outer.low > 0 else "worse", outer, inner, margin, None)
    if outer.method == "clopper-pearson":  # the two never disagree: no spread to reckon with
        needed: int | None = _specimens_that_agree(margin)
    else:
        needed = _specimens_to_decide(tabulate(first - second, groups), margin)
    return Equivalence("undecided", outer, inner, margin, needed)


def _specimens_that_agree(margin: float) -> int:
    """Return how many specimens that two settings never disagree on show that they are alike.

    The 90% interval then ends at the exact bound 1 - 0.05^(1/G) (Clopper & Pearson 1934), which
    falls below the margin for G > ln 0.05 / ln(1 - margin).
    """
    return math.floor(math.log(0.05) / math.log1p(-margin)) + 1


def _specimens_to_decide(table: CrossedTable, margin: float) -> int | None:
    """Return how many specimens a decision takes, by the normal approximation.

    The mean's variance is taken as seeds + specimens / G: the first part is the variance of the
    seeds' means over the number of seeds and stays, the second falls with G. Deciding takes either
    a standard error below (margin - |d|) / (z_0.95 + z_0.90), for equivalence with 80% power on
    both sides, or one below |d| / (z_0.975 + z_0.80), for a difference.
    """
    from scipy.stats import norm

    num_seeds, num_groups = table.sums.shape
    if num_groups < 2:
        return None
    gap = abs(table.mean)
    equivalent = max(margin - gap, 0.0) / (norm.ppf(0.95) + norm.ppf(0.90))
    different = gap / (norm.ppf(0.975) + norm.ppf(0.80))
    allowed = float(max(equivalent, different)) ** 2
    fixed = float(table.seed_means.var(ddof=1)) / num_seeds if num_seeds > 1 else 0.0
    spread = float(table.specimen_means.var(ddof=1))
    if fixed >= allowed:
        return None
    return int(max(num_groups + 1, np.ceil(spread / (allowed - fixed))))
