"""What would decide a comparison: so many specimens, seeds or rotations, from its own variance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.statistics.variance import (
    Floats,
    Ints,
    MeanSquares,
    share_subtracted,
    specimen_freedom,
    squared_t,
)

Claim: TypeAlias = Literal["different", "equal"]
Bools: TypeAlias = NDArray[np.bool_]
Means: TypeAlias = Literal["rotations", "seeds", "specimens", "specimens and seeds"]
POWER = 0.8
ROTATIONS = 4  # that are advised where there are none
CLAIMS: tuple[Claim, ...] = ("different", "equal")
_MOST_SEEDS = 20
_MOST_SPECIMENS = 100_000
# Equally likely values of a mean square: with two degrees of freedom its mean alone misleads.
_SHARES = (np.arange(32) + 0.5) / 32
_AT_ONCE = 2048  # comparisons: of each 1,024 numbers are held, with rotations


@dataclass(frozen=True)
class Situation:
    """What is known of a comparison, or of several alike, when it is asked what would decide.

    Args:
        parts: Mean difference and mean squares, numbers or one per comparison; three seeds or more.
        margin: Difference that does not matter.
        disagreement: Share of rows on which the two disagree; likewise.
        binary: Whether scores are right or wrong.
        total_specimens: Specimens that rotating parts would test; None where unknown.
    """

    parts: MeanSquares
    margin: float
    disagreement: float | Floats
    binary: bool
    total_specimens: int | None = None


@dataclass(frozen=True)
class Needed:
    """What decides in 8 of 10 repetitions, under a condition.

    Args:
        claim: ``different`` holds if the true difference is the one seen, ``equal`` if there is
            none.
        means: What there has to be more of.
        specimens: Tested specimens in all.
        seeds: Seeds in all.
        cost: Images tested and encoders trained, times what there was.
    """

    claim: Claim
    means: Means
    specimens: int
    seeds: int
    cost: float


def what_decides(situation: Situation, alpha: float = 0.05) -> tuple[Needed, ...]:
    """Return the cheapest way to each claim that can be reached, the cheapest first.

    More seeds and rotations cost computing, specimens have to be found and scanned: so of those
    that suffice, the first that costs least, and specimens only where neither suffices.

    Args:
        situation: The comparison.
        alpha: Level of the test, of one member of its family.
    """
    return what_decides_each([(situation, alpha)])[0]


def what_decides_each(asked: Sequence[tuple[Situation, float]]) -> list[tuple[Needed, ...]]:
    """Return for each comparison and level what :func:`what_decides` does, all at once."""
    alike: dict[Hashable, list[int]] = {}
    for place, (one, alpha) in enumerate(asked):
        parts = one.parts
        size = (parts.num_seeds, parts.num_specimens, parts.num_folds, one.total_specimens)
        alike.setdefault((size, one.margin, one.binary, alpha), []).append(place)
    found: list[tuple[Needed, ...]] = [()] * len(asked)
    for every in alike.values():
        for start in range(0, len(every), _AT_ONCE):
            places = every[start : start + _AT_ONCE]
            search = _Search.of([asked[place][0] for place in places], asked[places[0]][1])
            for place, *ways in zip(places, *map(search.cheapest, CLAIMS), strict=True):
                found[place] = tuple(sorted((way for way in ways if way is not None), key=_rank))
    return found


def _rank(needed: Needed) -> tuple[bool, float]:
    return needed.means.startswith("specimens"), needed.cost


@dataclass(frozen=True)
class _Search:
    """Comparisons alike, and the level of their tests."""

    situation: Situation
    alpha: float
    never: Bools
    """Which ones never disagree on right-or-wrong scores."""

    @classmethod
    def of(cls, situations: Sequence[Situation], alpha: float) -> _Search:
        parts = MeanSquares.stack([one.parts for one in situations])
        often = np.array([one.disagreement for one in situations])
        together = replace(situations[0], parts=parts, disagreement=often)
        return cls(together, alpha, (often == 0) & together.binary)

    def suffices(
        self, rows: Ints, claim: Claim, seeds: Ints, specimens: Ints, folds: int = 0
    ) -> Bools:
        """Say for which comparisons a sweep of such a size is large enough."""
        whole, never = self.situation, self.never[rows]
        part = replace(whole, parts=whole.parts.take(rows), disagreement=self._often[rows])
        found = power(part, claim, seeds, specimens, folds or whole.parts.num_folds, self.alpha)
        if not never.any():
            return found >= POWER
        # The exact bound of how often they disagree, whatever the seeds.
        bound = self.alpha ** (1 / specimens) > 1 - whole.margin
        return np.where(never, bound & (claim == "equal"), found >= POWER)

    @property
    def _often(self) -> Floats:
        return np.asarray(self.situation.disagreement)

    def cheapest(self, claim: Claim) -> list[Needed | None]:
        """Return the cheapest way to a claim for each comparison, None where there is none."""
        found = self._with_the_same_specimens(claim)
        rest = np.array([place for place, way in enumerate(found) if way is None], np.int64)
        for place, way in zip(rest, self._with_more_specimens(rest, claim), strict=True):
            found[place] = way
        return found

    def _with_the_same_specimens(self, claim: Claim) -> list[Needed | None]:
        parts, total = self.situation.parts, self.situation.total_specimens
        seeds, specimens = parts.num_seeds, parts.num_specimens
        rows = np.arange(len(self.never))
        ways: list[list[Needed]] = [[] for _ in rows]
        if parts.num_folds == 1 and total is not None and total > specimens:
            turns = Needed(claim, "rotations", total, seeds, total / specimens)
            size = np.full_like(rows, seeds), np.full_like(rows, total)
            for row in rows[self.suffices(rows, claim, *size, ROTATIONS)]:
                ways[row].append(turns)
        least = _least(
            lambda own, many: self.suffices(own, claim, many, np.full_like(own, specimens)),
            rows,
            seeds + 1,
            np.full_like(rows, _MOST_SEEDS),
        )
        for row, more in enumerate(least.tolist()):
            if more:
                ways[row].append(Needed(claim, "seeds", specimens, more, more / seeds))
        return [min(own, key=_rank, default=None) for own in ways]

    def _with_more_specimens(self, rows: Ints, claim: Claim) -> list[Needed | None]:
        seeds, specimens = self.situation.parts.num_seeds, self.situation.parts.num_specimens
        best: list[Needed | None] = [None] * len(rows)
        cost = np.full(len(rows), np.inf)
        for many in range(seeds, _MOST_SEEDS + 1):
            # Only what costs less than what is found already.
            dearest = np.minimum(cost * specimens * seeds / many, _MOST_SPECIMENS).astype(np.int64)

            def enough(own: Ints, num: Ints, many: int = many) -> Bools:
                return self.suffices(own, claim, np.full_like(own, many), num)

            least = _least(enough, rows, specimens + 1, dearest)
            means: Means = "specimens" if many == seeds else "specimens and seeds"
            for place in np.flatnonzero(least):
                num = int(least[place])
                cost[place] = num * many / (specimens * seeds)
                best[place] = Needed(claim, means, num, many, float(cost[place]))
        return best


def _least(suffices: Callable[[Ints, Ints], Bools], rows: Ints, low: int, high: Ints) -> Ints:
    """Return for each row the least number that suffices, which all above it do too; 0 for none."""
    found = np.zeros(len(rows), np.int64)
    open_ = np.flatnonzero(low <= high)
    if open_.size:
        open_ = open_[suffices(rows[open_], high[open_])]
    lows, highs = np.full(len(open_), low), high[open_]
    while (active := np.flatnonzero(lows < highs)).size:
        middle = (lows[active] + highs[active]) // 2
        enough = suffices(rows[open_[active]], middle)
        lows[active] = np.where(enough, lows[active], middle + 1)
        highs[active] = np.where(enough, middle, highs[active])
    found[open_] = lows
    return found


def power(
    situation: Situation,
    claim: Claim,
    seeds: int | Ints,
    specimens: int | Ints,
    folds: int,
    alpha: float,
) -> Floats:
    """Return how often a sweep of such a size makes a claim whose condition holds, 0 to 1.

    The components of variance are those seen; the half-width varies with the mean squares of seeds
    and rotations, the estimate is normal around the true difference. One number per comparison.
    """
    from scipy.special import ndtr

    parts = situation.parts
    rest = parts.rest
    own = np.maximum(parts.specimens - rest, 0.0) + rest * parts.num_seeds / seeds
    own = own / parts.num_seeds  # variance of a specimen's mean over so many seeds
    of_seeds = np.maximum(parts.seeds - rest, 0.0) / parts.num_specimens / seeds
    size = parts.num_seeds * parts.num_specimens
    of_folds = np.maximum(parts.folds - parts.within, 0.0) / size
    of_folds = of_folds if parts.num_folds > 1 else np.zeros_like(of_folds)
    error = np.sqrt(own / specimens + of_seeds + of_folds)
    level = 1 - alpha if claim == "different" else 1 - 2 * alpha
    more = _excess(rest / (seeds * specimens), of_seeds, level, np.asarray(seeds) - 1)[..., None]
    if folds > 1:
        of_rotations = _excess(own / specimens, of_folds, level, np.asarray(folds - 1))
        more = np.maximum(more, of_rotations[..., None, :])
    freedom = specimen_freedom(np.asarray(specimens), situation.binary)
    half = np.sqrt(_wide(squared_t(level, freedom) * own / specimens) + more)
    half = half * _wide(_factor(situation, claim))
    room = _wide(abs(parts.mean) if claim == "different" else np.asarray(situation.margin))
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = ndtr((room - half) / _wide(error))
    reached = reached if claim == "different" else np.maximum(2 * reached - 1, 0.0)
    reached = np.where(_wide(error) == 0, half < room, reached)
    return np.asarray(reached.reshape(*reached.shape[:-2], -1).mean(-1))


def _wide(values: Floats) -> Floats:
    """Put an axis for the mean squares of seeds, and one for those of rotations, behind."""
    return np.asarray(values)[..., None, None]


def _excess(rest: Floats, more: Floats, level: float, degrees: Ints) -> Floats:
    """Return t² (M - w rest)₊ for equally likely values of a mean square around rest + more.

    They stand along a last axis.
    """
    square = ((rest + more)[..., None] * _quantiles(degrees)) / (degrees / 2)[..., None]
    left = np.maximum(square - (share_subtracted(degrees) * rest)[..., None], 0.0)
    return np.asarray(np.asarray(squared_t(level, degrees))[..., None] * left)


def _quantiles(degrees: Ints) -> Floats:
    """Return equally likely values of half a chi-square, along a last axis."""
    different, places = np.unique(degrees, return_inverse=True)
    table = np.stack([_quantiles_of(one) for one in different.tolist()])
    return np.asarray(table[places.reshape(np.shape(degrees))])


@cache
def _quantiles_of(degrees: int) -> Floats:
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(degrees / 2, _SHARES))


def _factor(situation: Situation, claim: Claim) -> Floats:
    """Return what the bounds of right-or-wrong differences add to the half-width."""
    if not situation.binary:
        return np.asarray(1.0)
    often, mean = situation.disagreement, situation.parts.mean
    spread = np.maximum(often - mean * mean, 1e-12)
    if claim == "different":
        return np.asarray(np.sqrt(often / spread))
    margin = situation.margin
    return np.asarray(np.sqrt((np.maximum(often, margin) - margin**2) / spread))
