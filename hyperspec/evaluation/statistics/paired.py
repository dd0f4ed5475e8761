"""Two settings compared on the same seeds and specimens: differences, equivalence, families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.statistics.decision import Needed, Situation, what_decides
from hyperspec.evaluation.statistics.intervals import (
    MIN_SPECIMENS,
    CrossedTable,
    Groups,
    Interval,
    Method,
    difference_ends,
    never,
    plain_ends,
    tabulate,
    too_few,
)
from hyperspec.evaluation.statistics.variance import MIN_SEEDS, MeanSquares, mean_squares

Verdict: TypeAlias = Literal["as good as", "better", "worse", "undecided"]
NoVerdict: TypeAlias = Literal[
    "", "one seed", "two seeds", "fewer than 8 specimens", "one specimen"
]
Folds: TypeAlias = Sequence[int] | NDArray[np.integer] | None
ALPHA = 0.05
_HALVINGS = 24  # p-values to 6e-8


@dataclass(frozen=True)
class _Paired:
    """Differences of two settings, and how often they disagree."""

    table: CrossedTable
    parts: MeanSquares | None
    disagreement: float
    binary: bool

    def interval(self, level: float) -> Interval:
        num_seeds, num = self.table.sums.shape
        mean = self.table.mean
        if self.binary and not self.disagreement:
            high = never(num, level)
            return Interval(mean, -high, high, level, num, num_seeds, "clopper-pearson")
        if self.parts is None:
            reason = too_few(num, self.binary)
            return Interval(mean, np.nan, np.nan, level, num, num_seeds, "none", reason)
        ends = (
            difference_ends(self.parts, np.asarray(self.disagreement), level)
            if self.binary
            else plain_ends(self.parts, level)
        )
        low, high = (float(end) for end in ends)
        method: Method = "tango" if self.binary else "t"
        over = self.parts.over_seeds
        return Interval(mean, low, high, level, num, num_seeds, method, "", over)


def paired_interval(
    scores: ArrayLike,
    reference: ArrayLike,
    groups: Groups,
    *,
    level: float = 0.95,
    folds: Folds = None,
) -> Interval:
    """Return the mean difference of two settings with its interval over specimens, and seeds.

    Two settings that never disagree on right-or-wrong scores show no spread; the ends then come
    from the exact binomial interval of how often they disagree, on both sides of zero.

    Args:
        scores: Scores of the setting, ``(S, N)``, or ``(N,)`` for one seed.
        reference: Scores of the reference on the same seeds and rows, of the same shape.
        groups: Specimen of each row, ``(N,)``.
        level: Coverage, between 0 and 1.
        folds: Rotation that tested each row, ``(N,)``, the same for all seeds; None without.

    Raises:
        ValueError: If shapes differ or there is no value.
    """
    return _pair(scores, reference, groups, folds).interval(level)


def _pair(scores: ArrayLike, reference: ArrayLike, groups: Groups, folds: Folds) -> _Paired:
    first = np.atleast_2d(np.asarray(scores, np.float64))
    second = np.atleast_2d(np.asarray(reference, np.float64))
    if first.shape != second.shape:
        raise ValueError(f"Scores of shape {first.shape} and {second.shape} cannot be paired.")
    gaps = first - second
    table, kept = tabulate(gaps, groups, folds)
    both = np.concatenate([first, second])
    binary = bool(np.isin(both[~np.isnan(both)], (0.0, 1.0)).all())
    few = too_few(table.sums.shape[1], binary)
    parts = None if few else mean_squares(table.linearised, kept)
    return _Paired(table, parts, float(np.nanmean(np.abs(gaps))), binary)


@dataclass(frozen=True)
class Equivalence:
    """What a paired comparison with a margin says.

    Args:
        verdict: ``as good as`` when two one-sided tests at 5% put the difference within the
            margin; else ``better`` or ``worse`` when a two-sided test at 5% leaves out 0; else
            ``undecided``. Within the margin wins: a difference may be real and too small to matter.
        difference: Mean difference with its 95% interval.
        inner: The same with the 90% interval that the two one-sided tests look at.
        margin: The margin that was fixed beforehand.
        p_different: p-value of no difference, of the family where there is one.
        p_equal: p-value of a difference at or beyond the margin, likewise.
        family: Number of comparisons that the p-values answer for (Holm 1979).
        reason: Why there is no verdict whatever the difference is.
        situation: What :attr:`needed` is computed from; None without verdict.
        unit: What was sampled: ``specimen``, or what ``data.split.group`` names.
    """

    verdict: Verdict
    difference: Interval
    inner: Interval
    margin: float
    p_different: float = float("nan")
    p_equal: float = float("nan")
    family: int = 1
    reason: NoVerdict = ""
    situation: Situation | None = None
    unit: str = "specimen"

    @cached_property
    def needed(self) -> tuple[Needed, ...]:
        """What would decide, the cheapest first; empty when decided or without verdict."""
        if self.verdict != "undecided" or self.situation is None:
            return ()
        return what_decides(self.situation, ALPHA / self.family)


def equivalence_test(
    scores: ArrayLike,
    reference: ArrayLike,
    groups: Groups,
    *,
    margin: float,
    folds: Folds = None,
    total_specimens: int | None = None,
) -> Equivalence:
    """Say whether one setting is as good as another, better, worse, or whether that is undecided.

    Fewer than three seeds, and fewer than eight specimens of right-or-wrong scores, get no verdict.

    Args:
        scores: As in :func:`paired_interval`, and so ``reference``, ``groups`` and ``folds``.
        reference: Scores of the reference.
        groups: Specimen of each row.
        margin: The largest difference that does not matter, above 0; fix it before looking.
        folds: Rotation of each row.
        total_specimens: Specimens that rotating parts would test; None where unknown.

    Raises:
        ValueError: If shapes differ or the margin is not above 0.

    Source:
        Schuirmann (1987), two one-sided tests.
    """
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be above 0 and fixed beforehand.")
    pair = _pair(scores, reference, groups, folds)
    outer, inner = pair.interval(1 - ALPHA), pair.interval(1 - 2 * ALPHA)
    reason = _no_verdict(outer, pair)
    if reason:
        return Equivalence("undecided", outer, inner, margin, reason=reason)
    situation = None
    if pair.parts is not None:
        situation = Situation(pair.parts, margin, pair.disagreement, pair.binary, total_specimens)
    found = Equivalence(
        "undecided",
        outer,
        inner,
        margin,
        _p_value(lambda p: not _holds(pair.interval(1 - p), 0.0)),
        _p_value(lambda p: _within(pair.interval(1 - 2 * p), margin), 0.5),
        situation=situation,
    )
    return _judged(found, found.p_different, found.p_equal, 1)


def _no_verdict(outer: Interval, pair: _Paired) -> NoVerdict:
    if outer.reason:
        return outer.reason
    if pair.binary and outer.num_groups < MIN_SPECIMENS:
        return "fewer than 8 specimens"
    if outer.num_seeds < MIN_SEEDS:
        return "one seed" if outer.num_seeds == 1 else "two seeds"
    return ""


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def _within(interval: Interval, margin: float) -> bool:
    return -margin < interval.low and interval.high < margin


def _p_value(claimed: Callable[[float], bool], highest: float = 1.0) -> float:
    """Return the lowest level of error at which a claim is made: intervals at 1 - p are nested."""
    low, high = 0.0, highest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if claimed(middle) else (middle, high)
    return high


def _judged(test: Equivalence, p_different: float, p_equal: float, family: int) -> Equivalence:
    verdict: Verdict = "undecided"
    if p_equal <= ALPHA:
        verdict = "as good as"
    elif p_different <= ALPHA:
        verdict = "better" if test.difference.mean > 0 else "worse"
    return replace(test, verdict=verdict, p_different=p_different, p_equal=p_equal, family=family)


def corrected(tests: Sequence[Equivalence]) -> list[Equivalence]:
    """Judge a family of comparisons so that a false claim of either kind stays at 5% in all.

    Differences and equivalences are corrected each among themselves; comparisons without a verdict
    claim nothing and do not count.

    Source:
        Holm (1979), a simple sequentially rejective multiple test procedure.
    """
    judged = [test for test in tests if not test.reason]
    different = holm([test.p_different for test in judged])
    equal = holm([test.p_equal for test in judged])
    found = iter(
        _judged(test, first, second, len(judged))
        for test, first, second in zip(judged, different, equal, strict=True)
    )
    return [test if test.reason else next(found) for test in tests]


def holm(values: Sequence[float]) -> list[float]:
    """Return the p-values of a family, corrected by Holm (1979), in their order."""
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(np.asarray(values)[order] * factors), 1.0)
    found = np.empty(len(values))
    found[order] = raised
    return [float(value) for value in found]
