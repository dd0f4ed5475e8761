"""One-shot against retrained: differences, rank correlation and its interval."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hyperspec.evaluation.one_shot import compare_one_shot, spearman
from hyperspec.evaluation.statistics.paired import paired_interval

KEYS = [(name, n) for name in ("uniform", "random") for n in (10, 20, 50)]
SPECIMENS = [f"s{i // 2}" for i in range(80)]


def simulated(rates: list[float], seed: int) -> dict[tuple[str, int], np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        key: (rng.random((3, 80)) < rate).astype(float)
        for key, rate in zip(KEYS, rates, strict=True)
    }


RATES = [0.2, 0.5, 0.9, 0.3, 0.6, 0.8]


def test_spearman_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 30).astype(float), rng.integers(0, 5, 30).astype(float)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert np.isnan(spearman(np.ones(4), one[:4]))


def test_points_are_compared_by_seed_and_specimen() -> None:
    once, alone = simulated(RATES, 1), simulated([rate + 0.05 for rate in RATES], 2)
    found = compare_one_shot(once, alone, SPECIMENS, num_resamples=300)
    assert (found.num_seeds, found.num_specimens) == (3, 40)
    assert [(point.strategy, point.n) for point in found.points] == KEYS
    for point, key in zip(found.points, KEYS, strict=True):
        expected = paired_interval(once[key], alone[key], SPECIMENS)
        assert point.difference == expected
        assert point.one_shot == pytest.approx(once[key].mean())
    means = [[side[key].mean() for key in KEYS] for side in (once, alone)]
    rank = found.rank_correlation
    assert rank.mean == pytest.approx(spearmanr(*means).statistic)
    assert rank.low <= rank.mean <= rank.high <= 1
    assert rank.low > 0.6
    gap = found.mean_difference
    assert gap.mean == pytest.approx(np.mean(means[0]) - np.mean(means[1]))
    assert gap.low < -0.05 < gap.high
    assert f"{rank.mean:.2f} [{rank.low:.2f}, {rank.high:.2f}]" in found.markdown()


def test_reversed_rates_are_told() -> None:
    once, alone = simulated(RATES, 1), simulated([1 - rate for rate in RATES], 2)
    found = compare_one_shot(once, alone, SPECIMENS, num_resamples=300)
    assert found.rank_correlation.high < -0.5


def test_the_same_set_under_two_names_counts_once() -> None:
    once, alone = simulated(RATES, 1), simulated(RATES, 2)
    for side in (once, alone):
        side["uniform", 408] = side["uniform", 50]
        side["mrmr", 408] = side["uniform", 50]
    found = compare_one_shot(once, alone, SPECIMENS, num_resamples=100)
    assert [point.n for point in found.points].count(408) == 1


def test_two_points_are_too_few() -> None:
    once = simulated(RATES, 1)
    few = {key: once[key] for key in KEYS[:2]}
    with pytest.raises(ValueError, match="2 points are on both sides; a rank correlation needs 3"):
        compare_one_shot(few, once, SPECIMENS)
