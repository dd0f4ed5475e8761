"""Whole reports under the null, and whether what is said to decide does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from truth_model import Cell, draw_pair, draw_settings

from hyperspec.evaluation.statistics.decision import ROTATIONS, Needed, Situation, what_decides
from hyperspec.evaluation.statistics.intervals import difference_ends, plain_ends
from hyperspec.evaluation.statistics.paired import Equivalence, corrected, equivalence_test
from hyperspec.evaluation.statistics.variance import MeanSquares, mean_squares

STRATEGIES, COUNTS = 6, 4


def claims_per_report(reports: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return false claims of reports on six strategies at four counts, none of which differs.

    Two strategies are references: nine comparisons at each count, in two families over all counts,
    and three of each strategy against its most bands.
    """
    cell = Cell(64, 2, 0.8, 3, 0.03)
    groups = np.repeat(np.arange(cell.specimens), cell.images)
    alone, together, of_counts, with_any = [], [], [], []
    for _ in range(reports):
        right = draw_settings(cell, STRATEGIES * COUNTS, rng).astype(float)
        table = right.reshape(STRATEGIES, COUNTS, cell.seeds, -1)

        def test(one: tuple[int, int], other: tuple[int, int], table: Any = table) -> Equivalence:
            return equivalence_test(table[one], table[other], groups, margin=0.02)

        families = [
            [test((s, n), (r, n)) for s in range(r + 1, STRATEGIES) for n in range(COUNTS)]
            for r in (0, 1)
        ]
        single = sum(_differs(t) for family in families for t in family)
        held = sum(_differs(t) for family in families for t in corrected(family))
        walked = sum(
            _differs(test((s, n), (s, COUNTS - 1)))
            for s in range(STRATEGIES)
            for n in range(COUNTS - 1)
        )
        alone.append(single)
        together.append(held)
        of_counts.append(walked)
        with_any.append(held > 0)
    return {
        "reports": reports,
        "comparisons": [len(family) for family in families],
        "false_claims_uncorrected": float(np.mean(alone)),
        "false_claims_by_holm": float(np.mean(together)),
        "reports_with_a_false_claim_by_holm": float(np.mean(with_any)),
        "false_claims_of_counts": float(np.mean(of_counts)),
    }


def _differs(test: Equivalence) -> bool:
    return test.verdict in ("better", "worse")


def what_decides_holds(trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return how often the numbers named for 80% decide, where their condition holds."""
    states = [
        (Cell(30, 2, 0.8, 3, 0.0), 0.05),
        (Cell(64, 2, 0.8, 3, 0.0), 0.05),
        (Cell(64, 2, 0.8, 3, 0.02), 0.05),
        (Cell(64, 2, 0.8, 3, 0.02), 0.11),
        (Cell(30, 8, 0.5, 3, 0.0), 0.15),
        (Cell(64, 1, 0.5, 3, 0.02), 0.05),
        (Cell(64, 2, 0.8, 5, 0.045), 0.05),
        (Cell(100, 2, 0.9, 3, 0.02), 0.03),
        (Cell(100, 8, 0.8, 5, 0.02), 0.03),
    ]
    told = []
    for cell, gap in states:
        for total in (None, 4 * cell.specimens):
            for needed in what_decides(_known(cell, gap, trials, rng, total)):
                share = _decided(cell, needed, gap, trials, rng)
                told.append(vars(cell) | {"gap": gap} | vars(needed) | {"decided": round(share, 3)})
    return {"known": told, "from_pilots": _pilots(min(trials // 10, 100), trials, rng)}


_MARGIN = 0.05
_BLOCKS = 20  # the spread of two seeds' freedom is known only after thousands of sweeps


def _known(
    cell: Cell, gap: float, trials: int, rng: np.random.Generator, total: int | None
) -> Situation:
    """The state itself, from the mean squares of many sweeps."""
    squares = ("specimens", "seeds", "rest", "folds", "within")
    found, often = [], []
    for _ in range(_BLOCKS):
        first, ((other, disagreement),) = draw_pair(cell, (gap,), trials, rng)
        parts = mean_squares(first.scores - other.scores, cell.folds)
        found.append([getattr(parts, name).mean() for name in squares])
        often.append(disagreement.mean())
    means = dict(zip(squares, np.mean(found, axis=0), strict=True))
    known = replace(parts, mean=np.asarray(gap), **means)
    return Situation(known, _MARGIN, float(np.mean(often)), True, total)


def _decided(
    cell: Cell, needed: Needed, gap: float, trials: int, rng: np.random.Generator
) -> float:
    rotations = ROTATIONS if needed.means == "rotations" else 1
    larger = replace(cell, specimens=needed.specimens, seeds=needed.seeds, rotations=rotations)
    true = gap if needed.claim == "different" else 0.0
    block = max(20, min(trials, 4_000_000 // larger.size))
    shares = []
    for start in range(0, trials, block):
        num = min(block, trials - start)
        first, ((other, disagreement),) = draw_pair(larger, (true,), num, rng)
        parts = mean_squares(first.scores - other.scores, larger.folds)
        shares.append(_claimed(parts, needed, disagreement))
    return float(np.concatenate(shares).mean())


def _claimed(parts: MeanSquares, needed: Needed, disagreement: Any | None) -> Any:
    level = 0.95 if needed.claim == "different" else 0.90
    if disagreement is None:
        low, high = plain_ends(parts, level)
    else:
        low, high = difference_ends(parts, disagreement, level)
    if needed.claim == "different":
        return (low > 0) | (high < 0)
    return (low > -_MARGIN) & (high < _MARGIN)


def _pilots(pilots: int, trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Undecided sweeps of 40 specimens and three seeds; what was seen in each is made the truth."""
    cell = Cell(40, 2, 0.8, 3, 0.02)
    first, ((other, disagreement),) = draw_pair(cell, (0.03,), pilots, rng)
    gaps = first.scores - other.scores
    shares: dict[str, list[float]] = {"different": [], "equal": []}
    for values, often in zip(gaps, disagreement, strict=True):
        pilot = mean_squares(values)
        low, high = difference_ends(pilot, np.asarray(often), 0.95)
        if low > 0 or high < 0:
            continue
        for needed in what_decides(Situation(pilot, _MARGIN, float(often), False)):
            again = _normal_sweeps(pilot, needed, trials, rng)
            shares[needed.claim].append(float(_claimed(again, needed, None).mean()))
    return {
        claim: {
            "pilots": len(found),
            "decided": round(float(np.mean(found)), 3) if found else None,
            "least": min(found, default=None),
            "most": max(found, default=None),
        }
        for claim, found in shares.items()
    }


def _normal_sweeps(
    pilot: MeanSquares, needed: Needed, trials: int, rng: np.random.Generator
) -> MeanSquares:
    """Mean squares of normal sweeps with the components that a pilot has."""
    seeds, num = needed.seeds, needed.specimens
    rest = float(pilot.rest)
    between = max(float(pilot.specimens) - rest, 0.0) / pilot.num_seeds * seeds + rest
    of_seeds = max(float(pilot.seeds) - rest, 0.0) / pilot.num_specimens * num + rest
    true = float(pilot.mean) if needed.claim == "different" else 0.0
    error = np.sqrt((between + of_seeds - rest) / (seeds * num))
    freedom = {"specimens": num - 1, "seeds": seeds - 1, "rest": (num - 1) * (seeds - 1)}
    expected = {"specimens": between, "seeds": of_seeds, "rest": rest}
    squares = {
        name: expected[name] * rng.chisquare(degrees, trials) / degrees
        for name, degrees in freedom.items()
    }
    mean = true + error * rng.standard_normal(trials)
    nothing = np.zeros(trials)
    return MeanSquares(
        mean,
        **squares,
        folds=nothing,
        within=nothing,
        num_seeds=seeds,
        num_specimens=num,
        num_folds=1,
    )
