"""What would decide a comparison: so many specimens, seeds or rotations, from its own variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, TypeAlias

import numpy as np

from hyperspec.evaluation.statistics.variance import (
    Floats,
    MeanSquares,
    share_subtracted,
    specimen_freedom,
    squared_t,
)

Claim: TypeAlias = Literal["different", "equal"]
Means: TypeAlias = Literal["rotations", "seeds", "specimens", "specimens and seeds"]
POWER = 0.8
ROTATIONS = 4  # that are advised where there are none
_MOST_SEEDS = 20
_MOST_SPECIMENS = 100_000
# Equally likely values of a mean square: with two degrees of freedom its mean alone misleads.
_SHARES = (np.arange(32) + 0.5) / 32


@dataclass(frozen=True)
class Situation:
    """What is known of a comparison when it is asked what would decide it.

    Args:
        parts: Mean difference and mean squares of numbers, not of arrays; three seeds or more.
        margin: Difference that does not matter.
        disagreement: Share of rows on which the two disagree.
        binary: Whether scores are right or wrong.
        total_specimens: Specimens that rotating parts would test; None where unknown.
    """

    parts: MeanSquares
    margin: float
    disagreement: float
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
    claims: tuple[Claim, ...] = ("different", "equal")
    found = [_cheapest(situation, claim, alpha) for claim in claims]
    return tuple(sorted((n for n in found if n is not None), key=_rank))


def _rank(needed: Needed) -> tuple[bool, float]:
    return needed.means.startswith("specimens"), needed.cost


def _cheapest(situation: Situation, claim: Claim, alpha: float) -> Needed | None:
    parts, total = situation.parts, situation.total_specimens
    seeds, specimens = parts.num_seeds, parts.num_specimens
    never = situation.binary and situation.disagreement == 0

    def suffices(num_seeds: int, num: int, folds: int = parts.num_folds) -> bool:
        if never:  # the exact bound of how often they disagree, whatever the seeds
            return claim == "equal" and alpha ** (1 / num) > 1 - situation.margin
        return power(situation, claim, num_seeds, num, folds, alpha) >= POWER

    ways = []
    rotates = parts.num_folds == 1 and total is not None and total > specimens
    if total is not None and rotates and suffices(seeds, total, ROTATIONS):
        ways.append(Needed(claim, "rotations", total, seeds, total / specimens))
    more = _least(lambda n: suffices(n, specimens), seeds + 1, _MOST_SEEDS)
    if more is not None:
        ways.append(Needed(claim, "seeds", specimens, more, more / seeds))
    if ways:
        return min(ways, key=_rank)
    best: Needed | None = None
    for many in range(seeds, _MOST_SEEDS + 1):
        most = _MOST_SPECIMENS
        if best is not None:  # only what costs less than what is found already
            most = min(most, int(best.cost * specimens * seeds / many))
        num = _least(partial(suffices, many), specimens + 1, most)
        if num is not None:
            cost = num * many / (specimens * seeds)
            means: Means = "specimens" if many == seeds else "specimens and seeds"
            best = Needed(claim, means, num, many, cost)
    return best


def _least(suffices: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the least number that suffices, which all above it do too; None for none."""
    if low > high or not suffices(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low


def power(
    situation: Situation, claim: Claim, seeds: int, specimens: int, folds: int, alpha: float
) -> float:
    """Return how often a sweep of such a size makes a claim whose condition holds, 0 to 1.

    The components of variance are those seen; the half-width varies with the mean squares of seeds
    and rotations, the estimate is normal around the true difference.
    """
    from scipy.special import ndtr

    parts = situation.parts
    rest = float(parts.rest)
    own = max(float(parts.specimens) - rest, 0.0) + rest * parts.num_seeds / seeds
    own = own / parts.num_seeds  # variance of a specimen's mean over so many seeds
    of_seeds = max(float(parts.seeds) - rest, 0.0) / parts.num_specimens / seeds
    size = parts.num_seeds * parts.num_specimens
    of_folds = max(float(parts.folds) - float(parts.within), 0.0) / size
    of_folds = of_folds if parts.num_folds > 1 else 0.0
    error = math.sqrt(own / specimens + of_seeds + of_folds)
    level = 1 - alpha if claim == "different" else 1 - 2 * alpha
    more = _excess(rest / (seeds * specimens), of_seeds, level, seeds - 1)[:, None]
    if folds > 1:
        more = np.maximum(more, _excess(own / specimens, of_folds, level, folds - 1))
    freedom = specimen_freedom(specimens, situation.binary)
    half = np.sqrt(squared_t(level, freedom) * own / specimens + more)
    half = half * _factor(situation, claim)
    room = abs(float(parts.mean)) if claim == "different" else situation.margin
    if error == 0:
        return float((half < room).mean())
    reached = ndtr((room - half) / error)
    if claim == "different":
        return float(reached.mean())
    return float(np.maximum(2 * reached - 1, 0.0).mean())


def _excess(rest: float, more: float, level: float, degrees: int) -> Floats:
    """Return t² (M - w rest)₊ for equally likely values of a mean square around rest + more."""
    square = (rest + more) * _quantiles(degrees) / (degrees / 2)
    left = np.maximum(square - share_subtracted(degrees) * rest, 0.0)
    return np.asarray(squared_t(level, degrees) * left)


@cache
def _quantiles(degrees: int) -> Floats:
    """Return equally likely values of half a chi-square: a hundred sizes are tried for each row."""
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(degrees / 2, _SHARES))


def _factor(situation: Situation, claim: Claim) -> float:
    """Return what the bounds of right-or-wrong differences add to the half-width."""
    if not situation.binary:
        return 1.0
    often, mean = situation.disagreement, float(situation.parts.mean)
    if claim == "different":
        return math.sqrt(often / max(often - mean**2, 1e-12))
    margin = situation.margin
    bound = max(often, margin) - margin**2
    return math.sqrt(bound / max(often - mean**2, 1e-12))
