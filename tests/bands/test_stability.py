"""Nogueira's measure against its definition in loops and against properties of the paper."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.bands.diagnostics import mean_shift_nm, stability


def draw_sets(seed: int, num_sets: int, num_bands: int, sizes: tuple[int, int]) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [
        random.choice(num_bands, random.integers(sizes[0], sizes[1] + 1), replace=False).tolist()
        for _ in range(num_sets)
    ]


def by_loops(sets: list[list[int]], num_bands: int) -> tuple[float, float]:
    """Definition 4 and theorem 7 in loops: the measure and its variance."""
    M, d = len(sets), num_bands
    Z = [[1 if f in s else 0 for f in range(d)] for s in sets]
    p = [sum(Z[i][f] for i in range(M)) / M for f in range(d)]
    k = [sum(row) for row in Z]
    kbar = sum(k) / M
    denominator = kbar / d * (1 - kbar / d)
    s2 = [M / (M - 1) * pf * (1 - pf) for pf in p]
    phi = 1 - (sum(s2) / d) / denominator
    parts = []
    for i in range(M):
        first = sum(Z[i][f] * p[f] for f in range(d)) / d
        last = phi / 2 * (2 * k[i] * kbar / d**2 - k[i] / d - kbar / d + 1)
        parts.append((first - k[i] * kbar / d**2 + last) / denominator)
    mean = sum(parts) / M
    return phi, 4 / M**2 * sum((x - mean) ** 2 for x in parts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(8, 30))
def test_equals_the_papers_formulas_in_loops(seed: int, num_sets: int, num_bands: int) -> None:
    sets = draw_sets(seed, num_sets, num_bands, (1, num_bands - 1))
    value, variance = by_loops(sets, num_bands)
    found = stability(sets, num_bands)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.value - found.low == pytest.approx(
        1.959963984540054 * variance**0.5, rel=1e-6, abs=1e-9
    )
    assert found.high == pytest.approx(
        min(1.0, value + 1.959963984540054 * variance**0.5), abs=1e-9
    )
    assert found.num_sets == num_sets


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 9))
def test_is_kunchevas_index_for_sets_of_one_size(seed: int, num_sets: int, size: int) -> None:
    """The paper's theorem: with a fixed size k it is the mean pairwise (r - k²/d) / (k - k²/d)."""
    d = 12
    sets = draw_sets(seed, num_sets, d, (size, size))
    pairs = [len(set(a) & set(b)) for a, b in combinations(sets, 2)]
    expected = np.mean([(r - size**2 / d) / (size - size**2 / d) for r in pairs])
    assert stability(sets, d).value == pytest.approx(expected, abs=1e-12)


def test_identical_sets_have_stability_1() -> None:
    found = stability([[3, 5, 9]] * 6, 20)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
    assert stability([list(range(7))] * 3, 7).value == 1.0  # all bands: nothing could differ


def test_random_sets_have_stability_near_0_and_disjoint_ones_the_lower_bound() -> None:
    found = stability(draw_sets(0, 200, 100, (20, 20)), 100)
    assert abs(found.value) < 0.01
    assert found.low < 0 < found.high
    # Two sets that are each other's complement: -1 / (M - 1) with M = 2.
    assert stability([[0, 1, 2], [3, 4, 5]], 6).value == pytest.approx(-1.0)


def test_interval_covers_the_true_value_as_often_as_it_says() -> None:
    """Sets of independent bands with known frequencies, whose true stability is closed form."""
    random = np.random.default_rng(1)
    frequency = np.where(np.arange(40) < 10, 0.8, 0.1)
    share = frequency.mean()
    truth = 1 - (frequency * (1 - frequency)).mean() / (share * (1 - share))
    inside = 0
    for _ in range(200):
        sets = [np.flatnonzero(random.random(40) < frequency).tolist() for _ in range(50)]
        found = stability(sets, 40)
        inside += found.low <= truth <= found.high
    assert 0.9 <= inside / 200 <= 0.99


@pytest.mark.parametrize("seed", range(3))
def test_spread_is_that_of_how_the_measure_changes_with_each_sets_weight(seed: int) -> None:
    """Sets of many sizes: with the other sign of the last term the interval was twice as wide."""
    few, times, d = draw_sets(seed, 12, 40, (3, 30)), 400, 40
    chosen = np.array([[float(band in one) for band in range(d)] for one in few])

    def measure(weights: np.ndarray) -> float:
        frequency = weights @ chosen
        share = frequency.mean()
        return float(1 - (frequency * (1 - frequency)).mean() / (share * (1 - share)))

    even, small = np.full(12, 1 / 12), 1e-5
    change = [
        (measure((1 - small) * even + small * one) - measure((1 + small) * even - small * one))
        / (2 * small)
        for one in np.eye(12)
    ]
    found = stability(few * times, d, level=0.6827)
    # The measure has M / (M - 1) in it, the derivative has not.
    expected = np.std(change) / (12 * times) ** 0.5
    assert found.value - found.low == pytest.approx(expected, rel=1e-3)


def test_shift_is_the_mean_distance_to_the_nearest_pick() -> None:
    chosen = np.array([400.0, 500.0])
    others = [np.array([401.0, 500.0]), np.array([500.0, 700.0])]
    assert mean_shift_nm(chosen, others) == pytest.approx((0.5 + 50.0) / 2)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="compares two sets at least, 1 was given"):
        stability([[1]], 5)
    with pytest.raises(ValueError, match="Set 1 is empty or leaves the bands 0 to 4"):
        stability([[1], [5]], 5)
