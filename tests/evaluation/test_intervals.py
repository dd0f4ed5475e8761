"""Intervals: closed forms, the unit is the specimen, degenerate cases, folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from hyperspec.evaluation.statistics.intervals import Interval, clopper_pearson, mean_interval
from hyperspec.evaluation.statistics.variance import mean_squares


def named(num: int, images: int = 1) -> np.ndarray:
    return np.repeat(np.arange(num).astype(str), images)


def test_any_scores_of_one_seed_get_the_t_interval():
    values = np.random.default_rng(0).normal(2.0, 3.0, 40)
    found = mean_interval(values, named(40))
    low, high = t.interval(0.95, 39, values.mean(), values.std(ddof=1) / np.sqrt(40))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.method, found.over_seeds, found.num_groups) == ("t", False, 40)
    assert (found.level, found.num_seeds, found.reason) == (0.95, 1, "")


def test_mean_squares_are_those_of_the_two_way_table():
    values = np.random.default_rng(1).normal(size=(4, 9))
    found = mean_squares(values)
    by_seed = values.mean(1, keepdims=True)
    by_specimen = values.mean(0, keepdims=True)
    total = ((values - values.mean()) ** 2).sum()
    seeds = 9 * ((by_seed - values.mean()) ** 2).sum()
    specimens = 4 * ((by_specimen - values.mean()) ** 2).sum()
    assert (float(found.seeds), float(found.specimens)) == pytest.approx((seeds / 3, specimens / 8))
    assert float(found.rest) == pytest.approx((total - seeds - specimens) / 24)


def test_half_width_of_three_seeds_by_hand():
    values = np.random.default_rng(2).normal(size=(3, 20)) + np.arange(3.0)[:, None]
    parts = mean_squares(values)
    t_specimens, t_seeds = t.ppf(0.975, 19), t.ppf(0.975, 2)
    seeds = float(parts.seeds) - 0.5 * float(parts.rest)
    expected = (t_specimens**2 * float(parts.specimens) + t_seeds**2 * seeds) / 60
    assert float(parts.squared_half_width(0.95)) == pytest.approx(expected)
    # Two seeds say nothing of others: the interval is of these two.
    two = mean_squares(values[:2])
    assert float(two.squared_half_width(0.95)) == pytest.approx(
        t_specimens**2 * float(two.specimens) / 40
    )


def test_the_specimen_is_the_unit_not_the_image():
    scores = np.random.default_rng(3).random(40)
    once = mean_interval(scores, named(40))
    twice = mean_interval(np.repeat(scores, 2), named(40, 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    naive = mean_interval(np.repeat(scores, 2), named(80))
    assert naive.high - naive.low < 0.8 * (twice.high - twice.low)


def test_unequal_numbers_of_images_keep_the_mean_over_rows():
    values = [1.0, 1.0, 1.0, 0.0, 0.5]
    found = mean_interval(values, ["a", "a", "a", "b", "c"])
    assert found.mean == pytest.approx(0.7)
    # Residuals of a ratio: n_g / mean n times the distance of the specimen's mean.
    residuals = np.array([3 * 0.3, -0.7, -0.2]) / (5 / 3)
    half = t.ppf(0.975, 2) * residuals.std(ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half))


def test_order_of_rows_does_not_matter():
    random = np.random.default_rng(4)
    values, groups = (random.random((3, 60)) < 0.7).astype(float), named(30, 2)
    order = random.permutation(60)
    first = mean_interval(values, groups)
    second = mean_interval(values[:, order], groups[order])
    assert (first.low, first.high) == pytest.approx((second.low, second.high), rel=1e-12)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_right_or_all_wrong_is_exact(right: float):
    found = mean_interval(np.full(24, right), named(12, 2))
    exact = binomtest(int(12 * right), 12).proportion_ci(0.95)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.method == "clopper-pearson"


def test_one_wrong_image_does_not_shrink_the_interval_to_nothing():
    values = np.ones(96)
    values[0] = 0
    found = mean_interval(values, named(12, 8))
    assert found.low < 0.9
    assert found.high < 1
    assert found.method == "wilson"


def test_accuracies_stay_within_their_range():
    for wrong in range(12):
        values = (np.arange(12) >= wrong).astype(float)
        found = mean_interval(values, named(12))
        assert 0 <= found.low < found.mean <= found.high <= 1


def test_fewer_than_eight_specimens_are_exact_or_have_none():
    found = mean_interval([1, 1, 1, 0], ["a", "a", "a", "b"])
    low, high = clopper_pearson(1, 2)
    assert (found.mean, found.low, found.high) == (0.75, low, high)
    half = mean_interval([1, 0, 1, 1], ["a", "a", "b", "b"])  # a is right in one image of two
    assert np.isnan([half.low, half.high]).all()
    assert (half.method, half.reason) == ("none", "fewer than 8 specimens")
    assert mean_interval([1, 0] * 8, named(8, 2)).method == "wilson"


def test_one_specimen_of_any_score_has_no_interval():
    found = mean_interval([0.2, 0.4], ["a", "a"])
    assert (found.mean, found.method, found.reason) == (pytest.approx(0.3), "none", "one specimen")


def test_missing_scores_count_as_missing():
    found = mean_interval([[1.0, np.nan, 0.0, 1.0], [np.nan] * 4], ["a", "b", "c", "d"])
    assert (found.mean, found.num_groups, found.num_seeds) == (pytest.approx(2 / 3), 3, 1)


def test_rotations_whose_means_differ_widen_the_interval():
    random = np.random.default_rng(5)
    folds = np.arange(40) % 4
    same = random.normal(size=(3, 40))
    apart = same + np.array([-2.0, -1.0, 1.0, 2.0])[folds]
    groups = named(40)

    def width(found: Interval) -> float:
        return found.high - found.low

    assert width(mean_interval(apart, groups, folds=folds)) > 1.5 * width(
        mean_interval(apart, groups)
    )
    assert width(mean_interval(same, groups, folds=folds)) < 1.5 * width(
        mean_interval(same, groups)
    )
    with pytest.raises(ValueError, match="tested in one rotation"):
        mean_interval(same, np.repeat(groups[:20], 2), folds=folds)


def test_errors():
    with pytest.raises(ValueError, match="do not fit 3 rows"):
        mean_interval([1.0, 0.0], ["a", "b", "c"])
    with pytest.raises(ValueError, match="all missing"):
        mean_interval([np.nan, np.nan], ["a", "b"])


def test_a_rotation_of_few_specimens_has_one_degree_of_freedom_at_least():
    values = np.array([[0.0, 1.0, 5.0]])
    found = mean_squares(values, np.array([0, 0, 1]))
    # Within the first rotation 0 and 1 lie half from their mean; the second has one specimen.
    assert float(found.within) == pytest.approx(0.5)
    assert float(mean_squares(values[:, :2], np.array([0, 1])).within) == 0.0
