"""How far a one-shot curve can be trusted: its points against encoders trained on each set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.evaluation.statistics.paired import paired_interval
from hyperspec.evaluation.statistics.variance import Floats

Key = tuple[str, int]
Scores = Mapping[Key, NDArray[np.floating]]


@dataclass(frozen=True)
class PointPair:
    """One set of bands on both sides.

    Args:
        strategy: What chose the bands.
        n: How many.
        one_shot: Mean accuracy of the encoder that was trained once.
        retrained: Mean accuracy of the encoders trained on this set.
        difference: One-shot less retrained, paired by seed and specimen, with its 95% interval.
    """

    strategy: str
    n: int
    one_shot: float
    retrained: float
    difference: Interval


@dataclass(frozen=True)
class OneShotReport:
    """The comparison of all points.

    Args:
        points: In the order given; the same set of bands under two names counts once.
        rank_correlation: Spearman's correlation of the points' mean accuracies, with its 95%
            interval over seeds and specimens.
        mean_difference: Mean of the points' differences, with its interval.
        num_seeds: Seeds that both sides have.
        num_specimens: Test specimens.
    """

    points: tuple[PointPair, ...]
    rank_correlation: Interval
    mean_difference: Interval
    num_seeds: int
    num_specimens: int

    def markdown(self) -> str:
        """Return the table and the two figures under it."""
        lines = [
            "| strategy | n | one-shot | retrained | difference, 95% interval |",
            "| --- | --- | --- | --- | --- |",
        ]
        for point in self.points:
            gap = point.difference
            lines.append(
                f"| {point.strategy} | {point.n} | {point.one_shot:.3f} | {point.retrained:.3f} | "
                f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] |"
            )
        rank, mean = self.rank_correlation, self.mean_difference
        lines += [
            "",
            f"Spearman's rank correlation over {len(self.points)} points: {rank.mean:.2f} "
            f"[{rank.low:.2f}, {rank.high:.2f}]; mean difference {mean.mean:+.3f} "
            f"[{mean.low:+.3f}, {mean.high:+.3f}]. {self.num_seeds} seeds, {self.num_specimens} "
            "test specimens; the correlation's interval by bootstrap over both.",
        ]
        return "\n".join(lines) + "\n"


def compare_one_shot(
    one_shot: Scores,
    retrained: Scores,
    specimens: Sequence[str],
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> OneShotReport:
    """Compare the points that both sides have.

    Args:
        one_shot: By (strategy, n) whether each test row was named rightly, ``(S, N)``, 0 or 1.
        retrained: The same of the encoders trained on each set, for the same seeds and rows.
        specimens: Specimen of each row, ``(N,)``.
        num_resamples: Bootstrap resamples of the rank correlation, which is no mean.
        seed: Seed of the resampling.

    Raises:
        ValueError: If there are fewer than three common points, or shapes differ.
    """
    keys = _distinct([key for key in one_shot if key in retrained], one_shot, retrained)
    if len(keys) < 3:
        raise ValueError(f"{len(keys)} points are on both sides; a rank correlation needs 3.")
    first = np.stack([np.asarray(one_shot[key], np.float64) for key in keys])  # (points, S, N)
    second = np.stack([np.asarray(retrained[key], np.float64) for key in keys])
    if first.shape != second.shape or first.shape[2] != len(specimens):
        raise ValueError(f"Scores of shapes {first.shape} and {second.shape} cannot be paired.")
    points = tuple(
        PointPair(*key, float(a.mean()), float(b.mean()), paired_interval(a, b, specimens))
        for key, a, b in zip(keys, first, second, strict=True)
    )
    rank = _rank_interval(first, second, specimens, num_resamples, seed)
    mean = paired_interval(first.mean(0), second.mean(0), specimens)
    return OneShotReport(points, rank, mean, first.shape[1], len(set(specimens)))


def spearman(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation, ties at mean ranks; NaN when one side is constant."""
    from scipy.stats import rankdata

    first, second = (rankdata(values) - (len(values) + 1) / 2 for values in (one, other))
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size else float("nan")


def _distinct(keys: list[Key], one_shot: Scores, retrained: Scores) -> list[Key]:
    """Leave out sets of bands that are there already, as all strategies are at n = C."""
    kept: list[Key] = []
    for key in keys:
        if not any(
            key[1] == other[1]
            and np.array_equal(one_shot[key], one_shot[other])
            and np.array_equal(retrained[key], retrained[other])
            for other in kept
        ):
            kept.append(key)
    return kept


def _rank_interval(
    first: Floats, second: Floats, specimens: Sequence[str], num_resamples: int, seed: int
) -> Interval:
    """Resample seeds and specimens alike for all points and both sides, one fewer than there are.

    Source: Rao & Wu (1988), rescaling bootstrap; Owen (2007), The pigeonhole bootstrap.
    """
    names, columns = np.unique(np.asarray(specimens), return_inverse=True)
    member = np.eye(len(names))[columns]  # (N, G)
    counts = member.sum(axis=0)
    num_seeds, num_groups = first.shape[1], len(names)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(
        num_groups - 1, np.full(num_groups, 1 / num_groups), size=num_resamples
    )
    seeds = random.multinomial(
        max(num_seeds - 1, 1), np.full(num_seeds, 1 / num_seeds), size=num_resamples
    )
    sums = [values @ member for values in (first, second)]  # (points, S, G)
    means = [
        np.einsum("rs,psg,rg->rp", seeds, total, drawn, optimize=True)
        / (seeds.sum(1) * (drawn @ counts))[:, None]
        for total in sums
    ]
    found = np.array([spearman(a, b) for a, b in zip(*means, strict=True)])
    whole = spearman(first.mean((1, 2)), second.mean((1, 2)))
    finite = found[np.isfinite(found)]
    low, high = np.quantile(finite, [0.025, 0.975]) if finite.size else (np.nan, np.nan)
    ends = (float(low), float(high))
    return Interval(whole, *ends, 0.95, num_groups, num_seeds, "bootstrap", over_seeds=True)
