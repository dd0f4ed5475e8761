"""Differences of two settings, verdicts, families, and what would decide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control, t

from hyperspec.evaluation.statistics.decision import (
    Situation,
    _factor,
    power,
    what_decides,
    what_decides_each,
)
from hyperspec.evaluation.statistics.paired import (
    Equivalence,
    corrected,
    equivalence_test,
    holm,
    paired_interval,
)
from hyperspec.evaluation.statistics.variance import MeanSquares, mean_squares


def named(num: int) -> np.ndarray:
    return np.arange(num).astype(str)


def test_pairing_removes_what_both_settings_share():
    random = np.random.default_rng(7)
    hard = random.normal(0, 1, 50)
    found = paired_interval(hard + 0.1, hard + random.normal(0, 0.05, 50), named(50))
    assert 0.05 < found.low < 0.1 < found.high < 0.15


def test_settings_that_never_disagree_have_the_exact_bound_on_both_sides():
    found = paired_interval([1] * 10, [1] * 10, named(10))
    assert (found.low, found.high) == pytest.approx((-0.308497, 0.308497), abs=1e-6)
    assert (found.method, found.level) == ("clopper-pearson", 0.95)


@pytest.mark.parametrize("sign", [1, -1])
def test_settings_that_always_disagree_stay_in_range(sign: int):
    first, second = ([1] * 20, [0] * 20)[::sign]
    found = paired_interval(first, second, named(20))
    assert found.mean == sign
    assert -1 <= found.low < found.high <= 1
    assert min(abs(found.low), abs(found.high)) > 0.6


def test_the_ends_solve_the_score_equation():
    random = np.random.default_rng(8)
    first, second = (random.random((2, 3, 60)) < 0.8).astype(float)
    found = paired_interval(first, second, named(60))
    often = np.abs(first - second).mean()
    ratios = [
        (found.mean - end) ** 2 / (max(often, abs(end)) - end**2) for end in (found.low, found.high)
    ]
    assert ratios[0] == pytest.approx(ratios[1])
    # t² over the effective specimens, with the third of a specimen that steadies it.
    width = float(mean_squares(first - second).squared_half_width(0.95, bounded=True))
    steady = 0.3 * t.ppf(0.975, 3 * 59) ** 2 / 60**2
    spread = often - found.mean**2 + 0.3 / 60
    assert ratios[0] == pytest.approx((width * 59 / 60 + steady) / spread)


def scores(rate: float, seed: int, num: int = 200, seeds: int = 3) -> np.ndarray:
    return (np.random.default_rng(seed).random((seeds, num)) < rate).astype(float)


def test_verdicts():
    reference = scores(0.9, 0)
    flipped = reference.copy()
    flipped[:, :2] = 1 - flipped[:, :2]
    same = equivalence_test(flipped, reference, named(200), margin=0.05)
    assert (same.verdict, same.needed) == ("as good as", ())
    assert equivalence_test(scores(0.5, 1), reference, named(200), margin=0.05).verdict == "worse"
    better = equivalence_test(reference, scores(0.5, 1), named(200), margin=0.05)
    assert better.verdict == "better"
    assert better.p_different < 0.01
    with pytest.raises(ValueError, match="margin is 0"):
        equivalence_test([1, 0], [1, 0], ["a", "b"], margin=0)
    with pytest.raises(ValueError, match="cannot be paired"):
        equivalence_test([1, 0], [1, 0, 1], ["a", "b"], margin=0.1)


def test_p_values_are_where_the_intervals_reach():
    first, second = scores(0.85, 2), scores(0.75, 3)
    test = equivalence_test(first, second, named(200), margin=0.15)
    at = paired_interval(first, second, named(200), level=1 - test.p_different)
    assert at.low == pytest.approx(0, abs=1e-4)
    inner = paired_interval(first, second, named(200), level=1 - 2 * test.p_equal)
    assert inner.high == pytest.approx(0.15, abs=1e-4)


def test_p_value_of_normal_scores_without_seed_effects_is_that_of_t():
    values = np.tile(np.random.default_rng(4).normal(0.3, 1, 30), (3, 1))
    test = equivalence_test(values, np.zeros_like(values), named(30), margin=0.01)
    statistic = values[0].mean() / (values[0].std(ddof=1) / math.sqrt(30))
    assert test.p_different == pytest.approx(2 * t.sf(abs(statistic), 29), rel=1e-4)


@pytest.mark.parametrize(
    ("seeds", "num", "reason"),
    [(1, 40, "one seed"), (2, 40, "two seeds"), (3, 7, "fewer than 8 specimens")],
)
def test_few_seeds_or_specimens_get_no_verdict(seeds: int, num: int, reason: str):
    test = equivalence_test(np.ones((seeds, num)), np.zeros((seeds, num)), named(num), margin=0.05)
    assert (test.verdict, test.reason, test.needed) == ("undecided", reason, ())
    assert math.isnan(test.p_different)


def test_holm_raises_p_values_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    ps = np.random.default_rng(0).random(9).tolist()
    assert all(a >= b for a, b in zip(holm(ps), false_discovery_control(ps), strict=True))


def test_a_family_claims_less_than_its_members_and_leaves_out_those_without_verdict():
    weak = equivalence_test(scores(0.82, 3), scores(0.78, 53), named(200), margin=0.02)
    assert weak.verdict == "better"
    assert 0.01 < weak.p_different < 0.05
    none = equivalence_test(scores(0.8, 1, 40, 2), scores(0.8, 2, 40, 2), named(40), margin=0.02)
    alone = corrected([weak, none])
    assert (alone[0].verdict, alone[0].family) == ("better", 1)
    assert alone[1] == none
    family = corrected([weak] * 6)
    assert {test.verdict for test in family} == {"undecided"}
    assert family[0].p_different == pytest.approx(6 * weak.p_different)
    assert family[0].difference == weak.difference
    # In a family it takes more to be decided than alone.
    claims = {n.claim: n.cost for n in replace(weak, verdict="undecided").needed}
    assert {n.claim: n.cost for n in family[0].needed}["different"] > claims["different"]


@pytest.mark.parametrize(("margin", "needed"), [(0.02, 149), (0.05, 59), (0.1, 29)])
def test_settings_that_never_disagree_name_the_number_that_decides_exactly(
    margin: float, needed: int
):
    # 149 and 59 are the sizes at which "none in G" bounds a rate below 2% and 5% with 95%.
    def test_on(num: int) -> Equivalence:
        right = np.ones((3, num))
        return equivalence_test(right, right, named(num), margin=margin)

    before = test_on(needed - 1)
    (told,) = before.needed
    assert (before.verdict, told.claim, told.means) == ("undecided", "equal", "specimens")
    assert told.specimens == needed
    assert test_on(10).needed[0].specimens == needed
    assert test_on(needed).verdict == "as good as"


OWN, REST = 0.05, 0.02  # variance of a specimen, and of one seed on it


def undecided(seed_sd: float, num: int = 40, gap: float = 0.03) -> Situation:
    between = 3 * OWN + REST
    squares = [between, REST + num * seed_sd**2, REST, 0.0, between]
    parts = MeanSquares(np.asarray(gap), *map(np.asarray, squares), 3, num, 1)
    return Situation(parts, 0.05, 0.3, False)


def test_without_an_effect_of_seeds_specimens_decide_and_power_is_as_promised():
    found = {needed.claim: needed for needed in what_decides(undecided(0.0))}
    assert found.keys() == {"different", "equal"}
    for claim, needed in found.items():
        assert needed.specimens > 40
        reached = power(undecided(0.0), claim, needed.seeds, needed.specimens, 1, 0.05)
        assert 0.8 <= reached < 0.85


def test_seeds_that_disagree_cannot_be_mended_with_specimens_alone():
    found = what_decides(undecided(0.05))
    assert found
    assert all(needed.seeds > 3 for needed in found)
    assert power(undecided(0.05), "equal", 3, 100_000, 1, 0.05) < 0.3


def test_rotations_are_named_where_they_suffice():
    situation = replace(undecided(0.0, gap=0.09), total_specimens=160)
    assert {n.claim: n.means for n in what_decides(situation)}["different"] == "rotations"
    few = replace(undecided(0.0, gap=0.09), total_specimens=44)
    assert {n.claim: n.means for n in what_decides(few)}["different"] != "rotations"


def test_many_comparisons_at_once_need_what_each_needs_alone():
    ways = [undecided(sd, num, gap) for sd in (0.0, 0.05) for num in (40, 60) for gap in (0, 0.09)]
    ways += [replace(one, total_specimens=200) for one in ways]
    ways += [replace(one, disagreement=often, binary=True) for one in ways for often in (0.0, 0.2)]
    asked = [(one, alpha) for one in ways for alpha in (0.05, 0.01)]
    together = what_decides_each(asked)
    assert together == [what_decides(one, alpha) for one, alpha in asked]
    assert len(set(together)) > 10  # not one answer for all


def test_a_number_named_does_decide():
    """Normal sweeps of the size named, with the difference and the components that were seen."""
    random = np.random.default_rng(11)
    for needed in what_decides(undecided(0.03)):
        shape = (400, needed.seeds, needed.specimens)
        values = random.normal(0, math.sqrt(REST), shape)
        values += random.normal(0, math.sqrt(OWN), (400, 1, needed.specimens))
        values += random.normal(0, 0.03, (400, needed.seeds, 1))
        again = mean_squares(values + (0.03 if needed.claim == "different" else 0.0))
        level = 0.95 if needed.claim == "different" else 0.90
        half = np.sqrt(again.squared_half_width(level))
        held = abs(again.mean) > half
        if needed.claim == "equal":
            held = abs(again.mean) + half < 0.05
        assert 0.7 <= held.mean() <= 0.9


def test_a_looser_bound_asks_for_fewer_specimens_than_the_margin_itself_would():
    """What right-or-wrong differences add: at the margin d they disagree on max(q, d) - d²."""
    parts = mean_squares((np.random.default_rng(3).random((3, 40)) < 0.1).astype(float))
    centred = replace(parts, mean=np.float64(0.1))
    equal = _factor(Situation(centred, 0.3, 0.2, True), "equal")
    assert equal == pytest.approx(math.sqrt((0.3 - 0.09) / (0.2 - 0.01)))
    often = _factor(Situation(centred, 0.1, 0.2, True), "equal")
    assert often == pytest.approx(math.sqrt((0.2 - 0.01) / (0.2 - 0.01)))
    different = _factor(Situation(centred, 0.3, 0.2, True), "different")
    assert different == pytest.approx(math.sqrt(0.2 / (0.2 - 0.01)))
    assert _factor(Situation(centred, 0.3, 0.2, False), "equal") == 1.0
