"""Two settings compared on the same seeds and specimens: differences, equivalence, families."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.statistics.decision import (
    Needed,
    Situation,
    what_decides,
    what_decides_each,
)
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
from hyperspec.evaluation.statistics.variance import MIN_SEEDS, Floats, MeanSquares, mean_squares

Verdict: TypeAlias = Literal["as good as", "better", "worse", "undecided"]
NoVerdict: TypeAlias = Literal[
    "", "one seed", "two seeds", "fewer than 8 specimens", "one specimen"
]
Folds: TypeAlias = Sequence[int] | NDArray[np.integer] | None
Bools: TypeAlias = NDArray[np.bool_]
ALPHA = 0.05
_HALVINGS = 24  # p-values to 6e-8


@dataclass(frozen=True)
class Paired:
    """Differences of two settings, and how often they disagree."""

    table: CrossedTable
    parts: MeanSquares | None
    disagreement: float
    binary: bool

    def interval(self, level: float) -> Interval:
        """Return the mean difference with its interval at a coverage between 0 and 1."""
        num_seeds, num = self.table.sums.shape
        mean = self.table.mean
        if self.binary and not self.disagreement:
            high = float(never(num, level))
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
    return pair(scores, reference, groups, folds).interval(level)


def pair(scores: ArrayLike, reference: ArrayLike, groups: Groups, folds: Folds = None) -> Paired:
    """Return the differences of two settings; arguments and errors of :func:`paired_interval`."""
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
    return Paired(table, parts, float(np.nanmean(np.abs(gaps))), binary)


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
        if not self._is_open:
            return ()
        assert self.situation is not None
        return what_decides(self.situation, ALPHA / self.family)

    @property
    def _is_open(self) -> bool:
        return self.verdict == "undecided" and self.situation is not None


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
    return equivalence_tests(
        [pair(scores, reference, groups, folds)], margin=margin, total_specimens=total_specimens
    )[0]


def equivalence_tests(
    pairs: Sequence[Paired],
    *,
    margin: float,
    total_specimens: int | None = None,
    unit: str = "specimen",
) -> list[Equivalence]:
    """Test many comparisons at once, each by itself as :func:`equivalence_test` does.

    Args:
        pairs: Comparisons, see :func:`pair`.
        margin: As there, and so ``total_specimens``.
        total_specimens: Specimens that rotating parts would test.
        unit: What was sampled.

    Raises:
        ValueError: If the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be above 0 and fixed beforehand.")
    found: list[Equivalence] = []
    alike: dict[Hashable, list[int]] = {}
    for place, one in enumerate(pairs):
        outer, inner = one.interval(1 - ALPHA), one.interval(1 - 2 * ALPHA)
        reason = _no_verdict(outer, one)
        found.append(Equivalence("undecided", outer, inner, margin, reason=reason, unit=unit))
        if not reason and one.parts is not None:
            shape = (one.parts.num_seeds, one.parts.num_specimens, one.parts.num_folds)
            alike.setdefault((shape, one.binary), []).append(place)
    for places in alike.values():
        p_values = _p_values([pairs[place] for place in places], margin)
        for place, different, equal in zip(places, *p_values, strict=True):
            one = pairs[place]
            assert one.parts is not None
            situation = Situation(one.parts, margin, one.disagreement, one.binary, total_specimens)
            told = replace(found[place], situation=situation)
            found[place] = _judged(told, float(different), float(equal), 1)
    return found


def _no_verdict(outer: Interval, pair: Paired) -> NoVerdict:
    if outer.reason:
        return outer.reason
    if pair.binary and outer.num_groups < MIN_SPECIMENS:
        return "fewer than 8 specimens"
    if outer.num_seeds < MIN_SEEDS:
        return "one seed" if outer.num_seeds == 1 else "two seeds"
    return ""


def _p_values(pairs: Sequence[Paired], margin: float) -> tuple[Floats, Floats]:
    """Return the p-values of no difference and of one at or beyond the margin, of tables alike."""
    parts = MeanSquares.stack([one.parts for one in pairs if one.parts is not None])
    often, binary = np.array([one.disagreement for one in pairs]), pairs[0].binary

    def ends(level: Floats) -> tuple[Floats, Floats]:
        return difference_ends(parts, often, level) if binary else plain_ends(parts, level)

    def differs(error: Floats) -> Bools:
        low, high = ends(1 - error)
        return ~((low <= 0.0) & (high >= 0.0))

    def is_within(error: Floats) -> Bools:
        low, high = ends(1 - 2 * error)
        return (-margin < low) & (high < margin)

    return _least_error(differs, len(pairs)), _least_error(is_within, len(pairs), 0.5)


def _least_error(claimed: Callable[[Floats], Bools], count: int, highest: float = 1.0) -> Floats:
    """Return the lowest levels of error at which claims are made: intervals at 1 - p are nested."""
    low, high = np.zeros(count), np.full(count, highest)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_claimed = claimed(middle)
        low, high = np.where(is_claimed, low, middle), np.where(is_claimed, middle, high)
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


def find_needed(tests: Iterable[Equivalence]) -> None:
    """Compute what would decide many tests at once; each keeps it as its ``needed``."""
    undecided = [test for test in tests if test._is_open]
    asked = [(test.situation, ALPHA / test.family) for test in undecided if test.situation]
    for test, needed in zip(undecided, what_decides_each(asked), strict=True):
        vars(test)["needed"] = needed  # where `cached_property` looks


def holm(values: Sequence[float]) -> list[float]:
    """Return the p-values of a family, corrected by Holm (1979), in their order."""
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(np.asarray(values)[order] * factors), 1.0)
    found = np.empty(len(values))
    found[order] = raised
    return [float(value) for value in found]
