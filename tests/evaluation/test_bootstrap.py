"""Intervals: closed forms, coverage by simulation, degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from hyperspec.evaluation.statistics.bootstrap import (
    bootstrap_interval,
    clopper_pearson,
    crossed_bootstrap,
)
from hyperspec.evaluation.statistics.paired import equivalence_test, paired_bootstrap


def test_mean_and_width_follow_the_closed_form():
    random = np.random.default_rng(0)
    values = random.normal(0.3, 1.0, 200)
    interval = bootstrap_interval(values, np.arange(200).astype(str), num_resamples=20_000)
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)
    assert (interval.num_groups, interval.num_seeds, interval.method) == (200, 1, "bootstrap")


def test_agrees_with_scipy_when_each_row_is_a_specimen():
    values = (np.random.default_rng(1).random(150) < 0.7).astype(float)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(2)
    ).confidence_interval
    ours = bootstrap_interval(values, np.arange(150).astype(str), num_resamples=5000)
    assert ours.low == pytest.approx(theirs.low, abs=0.012)
    assert ours.high == pytest.approx(theirs.high, abs=0.012)


def test_views_of_one_specimen_do_not_count_as_independent():
    scores = (np.random.default_rng(3).random(40) < 0.6).astype(float)
    groups = np.arange(40).astype(str)
    once = bootstrap_interval(scores, groups)
    twice = bootstrap_interval(np.repeat(scores, 2), np.repeat(groups, 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    naive = bootstrap_interval(np.repeat(scores, 2), np.arange(80).astype(str))
    assert naive.high - naive.low < 0.8 * (twice.high - twice.low)


def test_unequal_numbers_of_views_weigh_rows_equally():
    interval = bootstrap_interval([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert interval.mean == 0.75
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_order_of_rows_does_not_matter():
    random = np.random.default_rng(4)
    values, groups = random.random((3, 30)), np.repeat(np.arange(15), 2).astype(str)
    order = random.permutation(30)
    first = crossed_bootstrap(values, groups)
    second = crossed_bootstrap(values[:, order], groups[order])
    assert (second.low, second.high) == pytest.approx((first.low, first.high), abs=1e-12)


@pytest.mark.parametrize("rate", [0.5, 0.85])
def test_coverage_of_clustered_accuracies(rate):
    # 24 specimens with two views that mostly share their fate; 95% is meant, 300 trials give ±2.5%.
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(24), 2).astype(str)
    hits = 0
    for trial in range(300):
        first = random.random(24) < rate
        second = np.where(random.random(24) < 0.8, first, random.random(24) < rate)
        values = np.stack([first, second], 1).ravel()
        interval = bootstrap_interval(values, groups, num_resamples=400, seed=trial)
        hits += interval.low <= rate <= interval.high
    assert 0.89 <= hits / 300 <= 0.99


def test_coverage_over_seeds_and_specimens():
    # An additive table: seeds (sd 0.1) and specimens (sd 0.3) both vary, plus noise. Ignoring the
    # seeds would cover far too seldom.
    random = np.random.default_rng(6)
    groups = np.arange(30).astype(str)
    crossed = fixed = 0
    for trial in range(200):
        values = (
            random.normal(0, 0.15, (5, 1))
            + random.normal(0, 0.3, (1, 30))
            + random.normal(0, 0.2, (5, 30))
        )
        interval = crossed_bootstrap(values, groups, num_resamples=300, seed=trial)
        crossed += interval.low <= 0 <= interval.high
        narrow = bootstrap_interval(values.mean(0), groups, num_resamples=300, seed=trial)
        fixed += narrow.low <= 0 <= narrow.high
    assert 0.86 <= crossed / 200 <= 0.99
    assert fixed / 200 < 0.8


def test_crossed_variance_has_no_bias_in_the_seeds():
    # No specimen differs from another, so the resampled mean varies with the seeds alone: s²/S.
    values = np.repeat(np.array([[0.2], [0.5], [0.9]]), 8, axis=1)
    intervals = crossed_bootstrap(values, np.arange(8).astype(str), level=0.5, num_resamples=4000)
    # Two of three seeds are drawn: the nine pairs' means, whose quartiles are these.
    pairs = [(a + b) / 2 for a in (0.2, 0.5, 0.9) for b in (0.2, 0.5, 0.9)]
    assert np.var(pairs) == pytest.approx(np.var([0.2, 0.5, 0.9], ddof=1) / 3)
    assert (intervals.low, intervals.high) == pytest.approx(tuple(np.quantile(pairs, [0.25, 0.75])))


def test_missing_scores_do_not_count():
    groups = ["a", "b", "c", "d"]
    interval = crossed_bootstrap([[1.0, np.nan, 0.0, 1.0], [np.nan] * 4], groups)
    assert interval.mean == pytest.approx(2 / 3)
    assert (interval.num_groups, interval.num_seeds) == (3, 1)


@pytest.mark.parametrize(("score", "end"), [(1.0, "low"), (0.0, "high")])
def test_all_right_or_all_wrong_takes_the_exact_binomial_interval(score, end):
    interval = bootstrap_interval([score] * 20, np.repeat(np.arange(10), 2).astype(str))
    exact = binomtest(int(10 * score), 10).proportion_ci(0.95, method="exact")
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))
    assert interval.method == "clopper-pearson"
    assert 0.3 < abs(getattr(interval, end) - score) < 0.31  # ten specimens bind no tighter


def test_every_specimen_half_right_is_not_certain_either():
    interval = bootstrap_interval([1, 0] * 10, np.repeat(np.arange(10), 2).astype(str))
    exact = binomtest(5, 10).proportion_ci(0.95, method="exact")
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))


def test_one_specimen_supports_no_interval_of_a_continuous_score():
    interval = bootstrap_interval([0.2, 0.4], ["a", "a"])
    assert interval.mean == pytest.approx(0.3)
    assert interval.method == "none"
    assert np.isnan([interval.low, interval.high]).all()


@pytest.mark.parametrize(("successes", "total"), [(0, 5), (3, 8), (12, 12)])
def test_clopper_pearson_against_scipy(successes, total):
    exact = binomtest(successes, total).proportion_ci(0.9, method="exact")
    assert clopper_pearson(successes, total, 0.9) == pytest.approx((exact.low, exact.high))


def test_bad_shapes_and_no_values():
    with pytest.raises(ValueError, match="do not fit 3 rows"):
        bootstrap_interval([1.0, 0.0], ["a", "b", "c"])
    with pytest.raises(ValueError, match="2 values, all missing"):
        bootstrap_interval([np.nan, np.nan], ["a", "b"])
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\) cannot be paired"):
        paired_bootstrap([1, 0], [1, 0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="margin is 0"):
        equivalence_test([1, 0], [1, 0], ["a", "b"], margin=0)


def test_pairing_removes_what_both_settings_share():
    random = np.random.default_rng(7)
    hard = random.normal(0, 1, 50)
    groups = np.arange(50).astype(str)
    paired = paired_bootstrap(hard + 0.1, hard + random.normal(0, 0.05, 50), groups)
    assert paired.low > 0.05
    assert paired.high < 0.15
    assert bootstrap_interval(hard, groups).low < -0.1


@pytest.mark.parametrize(
    ("score", "reference", "expected"),
    [(1, 1, (-0.308497, 0.308497)), (1, 0, (0.691503, 1.0)), (0, 1, (-1.0, -0.691503))],
)
def test_constant_differences_keep_an_honest_width(score, reference, expected):
    groups = np.arange(10).astype(str)
    interval = paired_bootstrap([score] * 10, [reference] * 10, groups)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-6)
    assert interval.method == "clopper-pearson"


def scores(rate: float, seed: int, num: int = 200) -> np.ndarray:
    return (np.random.default_rng(seed).random((3, num)) < rate).astype(float)


def test_verdicts():
    groups = np.arange(200).astype(str)
    reference = scores(0.9, 0)
    flipped = reference.copy()
    flipped[:, :4] = 1 - flipped[:, :4]
    same = equivalence_test(flipped, reference, groups, margin=0.05)
    assert same.verdict == "as good as"
    assert str(same).startswith("as good as: difference ")
    assert "margin ±0.05, 200 specimens, 3 seeds" in str(same)
    assert equivalence_test(scores(0.5, 1), reference, groups, margin=0.05).verdict == "worse"
    assert equivalence_test(reference, scores(0.5, 1), groups, margin=0.05).verdict == "better"


def test_undecided_names_the_number_of_specimens_by_the_formula():
    groups = np.arange(32).astype(str)
    first, second = scores(0.8, 2, 32)[:1], scores(0.8, 3, 32)[:1]
    result = equivalence_test(first, second, groups, margin=0.05)
    assert result.verdict == "undecided"
    difference = (first - second)[0]
    gap, spread = abs(difference.mean()), difference.var(ddof=1)
    allowed = max((0.05 - gap) / (1.6449 + 1.2816), gap / (1.9600 + 0.8416))
    assert result.num_specimens_to_decide == pytest.approx(spread / allowed**2, rel=1e-2)
    assert f"about {result.num_specimens_to_decide} specimens would decide" in str(result)


@pytest.mark.parametrize(("margin", "needed"), [(0.02, 149), (0.05, 59), (0.1, 29)])
def test_settings_that_never_disagree_name_the_number_that_decides_exactly(margin, needed):
    # 149 and 59 are the sizes at which "none in G" bounds a rate below 2% and 5% with 95%.
    def test_on(num: int):
        right = np.ones((3, num))
        return equivalence_test(right, right, np.arange(num).astype(str), margin=margin)

    before = test_on(needed - 1)
    assert (before.verdict, before.num_specimens_to_decide) == ("undecided", needed)
    assert f"about {needed} specimens would decide" in str(before)
    assert test_on(10).num_specimens_to_decide == needed
    assert test_on(needed).verdict == "as good as"


def test_one_specimen_says_that_it_shows_no_spread():
    result = equivalence_test([[0.6], [0.2]], [[0.5], [0.3]], ["a"], margin=0.02)
    assert (result.verdict, result.num_specimens_to_decide) == ("undecided", None)
    assert str(result).endswith("; one specimen has no spread to say how many would decide")


def test_the_number_of_specimens_named_does_decide():
    # The promise is 80% power if the difference seen is true; simulate at that number.
    random = np.random.default_rng(8)
    pilot = random.normal(0, 0.3, (1, 40))
    pilot -= pilot.mean()
    result = equivalence_test(pilot, np.zeros((1, 40)), np.arange(40).astype(str), margin=0.05)
    needed = result.num_specimens_to_decide
    decided = 0
    for trial in range(100):
        values = random.normal(0, pilot.std(ddof=1), (1, needed))
        verdict = equivalence_test(
            values,
            np.zeros_like(values),
            np.arange(needed).astype(str),
            margin=0.05,
            num_resamples=200,
            seed=trial,
        ).verdict
        decided += verdict == "as good as"
    assert 0.68 <= decided / 100 <= 0.92


def test_seeds_that_disagree_cannot_be_mended_with_specimens():
    values = np.array([[0.3], [-0.3], [0.0]]) + np.random.default_rng(9).normal(0, 0.01, (3, 50))
    result = equivalence_test(values, np.zeros((3, 50)), np.arange(50).astype(str), margin=0.05)
    assert result.verdict == "undecided"
    assert result.num_specimens_to_decide is None
    assert "more seeds are needed" in str(result)


def test_wrongly_as_good_as_stays_below_five_percent():
    # The true difference lies on the margin: two one-sided tests may accept in 5% of cases.
    random = np.random.default_rng(10)
    groups = np.arange(60).astype(str)
    wrong = 0
    for trial in range(300):
        values = random.normal(0.1, 0.3, (1, 60))
        result = equivalence_test(
            values, np.zeros((1, 60)), groups, margin=0.1, num_resamples=300, seed=trial
        )
        wrong += result.verdict == "as good as"
    assert wrong / 300 < 0.085
