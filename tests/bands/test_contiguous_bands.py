"""Contiguous groups against every partition and naive loops."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_clustered_bands import naive_density_peaks, smooth_case

from hyperspec.bands import Fngbs, Ocf
from hyperspec.bands.contiguous import (
    best_partition,
    neighbourhood_edges,
    normalised_association,
    shared_density,
    top_rank_cut,
)
from hyperspec.bands.geometry import band_distances, self_tuned_similarity
from hyperspec.utils.errors import BandError


def every_partition(count, n):
    for cuts in combinations(range(1, count), n - 1):
        yield list(pairwise([0, *cuts, count]))


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 9), seed=st.integers(0, 999), worst=st.booleans(), data=st.data())
def test_dynamic_programming_finds_the_best_of_every_partition(count, seed, worst, data):
    n = data.draw(st.integers(1, count))
    costs = np.random.default_rng(seed).integers(0, 30, (count, count)).astype(float)
    costs[np.tril_indices(count, -1)] = np.inf

    def price(groups):
        each = [costs[a, b - 1] for a, b in groups]
        return max(each) if worst else sum(each)

    found = best_partition(costs, n, worst=worst)
    assert len(found) == n
    assert found[0][0] == 0
    assert found[-1][1] == count
    assert all(left[1] == right[0] for left, right in pairwise(found))
    assert price(found) == min(price(groups) for groups in every_partition(count, n))


def test_costs_match_their_definitions():
    _, statistics = smooth_case(0, bands=9)
    similarity = self_tuned_similarity(band_distances(statistics))
    scores = np.random.default_rng(1).uniform(size=9)
    cut, association = top_rank_cut(similarity, scores), normalised_association(similarity)
    for i in range(9):
        for j in range(i, 9):
            group = range(i, j + 1)
            lead = max(group, key=lambda b: scores[b])
            expected = sum(similarity[lead, k] for k in range(9) if k not in group)
            assert cut[i, j] == pytest.approx(expected, abs=1e-12)
            within = sum(similarity[a, b] for a in group for b in group if a != b)
            volume = sum(similarity[a, b] for a in group for b in range(9))
            assert association[i, j] == pytest.approx(within / volume, abs=1e-12)
        assert np.isinf(cut[i, :i]).all()
        assert np.isneginf(association[i, :i]).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("objective", ["top_rank_cut", "normalised_cut"])
def test_ocf_matches_brute_force_over_pixels(seed, n, objective):
    spectra, statistics = smooth_case(seed, bands=10)
    distance = np.sqrt(((spectra[:, :, None] - spectra[:, None, :]) ** 2).sum(axis=0))
    scale = np.sort(distance, axis=1)[:, 6]
    similarity = np.exp(-(distance**2) / np.outer(scale, scale))
    scores = naive_density_peaks(spectra, 10)

    def price(groups):
        values = []
        for start, stop in groups:
            inside = similarity[start:stop, start:stop]
            if objective == "top_rank_cut":
                lead = start + int(scores[start:stop].argmax())
                values.append(similarity[lead].sum() - similarity[lead, start:stop].sum())
            else:
                values.append(-(inside.sum() - inside.trace()) / similarity[start:stop].sum())
        return max(values) if objective == "top_rank_cut" else sum(values)

    best = min(price(g) for g in every_partition(10, n))
    allowed = {
        tuple(start + int(scores[start:stop].argmax()) for start, stop in groups)
        for groups in every_partition(10, n)
        if price(groups) <= best + 1e-6
    }
    assert Ocf(n=n, objective=objective).select(statistics.axis, statistics).indices in allowed


def test_ocf_rankings_choose_inside_the_same_groups():
    spectra, statistics = smooth_case(4, bands=12)
    # Normalised cut does not look at the ranking, so only the band inside a group may change.
    chosen = {
        ranking: Ocf(n=3, objective="normalised_cut", ranking=ranking).select(
            statistics.axis, statistics
        )
        for ranking in ("e_fdpc", "pca", "entropy")
    }
    groups = best_partition(
        -normalised_association(self_tuned_similarity(band_distances(statistics))), 3, worst=False
    )
    variances = spectra.var(axis=0)
    for selection in chosen.values():
        for (start, stop), band in zip(groups, selection.indices, strict=True):
            assert start <= band < stop
    assert chosen["pca"].indices != chosen["e_fdpc"].indices
    assert variances[list(chosen["pca"].indices)].sum() > variances.mean() * 3


def naive_edges(distances, n):
    count = len(distances)
    edges = [int(count * g / n) for g in range(n + 1)]
    for _ in range(5):
        before = list(edges)
        centres = [(before[g] + before[g + 1] - 1) // 2 for g in range(n)]
        for g in range(1, n):
            left, right = centres[g - 1], centres[g]
            prices = {}
            for border in range(left + 1, right + 1):
                prices[border] = sum(distances[left, b] for b in range(left + 1, border)) + sum(
                    distances[right, b] for b in range(border, right)
                )
            edges[g] = min(prices, key=lambda b: (round(prices[b], 12), b))
        if edges == before:
            break
    return edges


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [1, 2, 5, 9, 20])
def test_fngbs_matches_naive_loops(seed, n):
    spectra, statistics = smooth_case(seed, bands=20)
    count = 20
    distances = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            distances[i, j] = np.sqrt(np.mean((spectra[:, i] - spectra[:, j]) ** 2))
    distances /= distances.mean()
    information = np.zeros(count)
    for band in range(count):
        share = np.histogram(spectra[:, band], bins=240, range=(0, 1.2))[0] / len(spectra)
        information[band] = -sum(p * np.log(p) for p in share if p > 0)
    information = (information - information.min()) / (information.max() - information.min())
    edges = naive_edges(distances, n)
    expected = []
    for start, stop in pairwise(edges):
        group = list(range(start, stop))
        weight = {b: information[b] for b in group}
        if len(group) > 2:
            near = {
                b: sorted((o for o in group if o != b), key=lambda o: distances[b, o])[:2]
                for b in group
            }
            rho = {
                b: sum(
                    np.exp(-distances[b, o] / (len(set(near[b]) & set(near[o])) + 1))
                    for o in near[b]
                )
                for b in group
            }
            low, high = min(rho.values()), max(rho.values())
            weight = {b: weight[b] * (rho[b] - low) / (high - low) for b in group}
        expected.append(max(group, key=lambda b: round(weight[b], 9)))
    assert (
        neighbourhood_edges(band_distances(statistics) / band_distances(statistics).mean(), n)
        == edges
    )
    assert Fngbs(n=n).select(statistics.axis, statistics).indices == tuple(expected)


def test_fngbs_moves_a_border_to_the_planted_step():
    # Two plateaus, the step after band 3 of 12: the even border at 6 moves there.
    level = np.where(np.arange(12) < 3, 0.2, 0.6)
    distances = np.abs(np.subtract.outer(level, level)) + 0.01 * (1 - np.eye(12))
    assert neighbourhood_edges(distances, 2)[1] == 3


def test_shared_density_by_hand():
    # Points 0, 1, 2 and 10 on a line, k = 1: nearest are 1, 0 (of 0 and 2 the first), 1, 2.
    points = np.array([0.0, 1, 2, 10])
    density = shared_density(np.abs(np.subtract.outer(points, points)), 1)
    # 1 is the neighbour of 0 and of 2; 0 and 1 share none.
    np.testing.assert_allclose(density, np.exp([-1, -1, -1, -8]))
    wide = shared_density(np.abs(np.subtract.outer(points, points)), 2)
    # Neighbours: 0:{1,2} 1:{0,2} 2:{1,0} 3:{2,1}; 0-1 share {2}, 0-2 {1}, 1-2 {0}, 3-2 {1}, 3-1 {2}
    assert wide[0] == pytest.approx(np.exp(-1 / 2) + np.exp(-2 / 2))
    assert wide[3] == pytest.approx(np.exp(-8 / 2) + np.exp(-9 / 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ocf(n=2, objective="cut"), r"bands\.objective is 'cut'; give top_rank_cut or"),
        (lambda: Ocf(n=2, ranking="x"), r"bands\.ranking is 'x'; give e_fdpc, pca or entropy"),
        (lambda: Fngbs(n=2, neighbours=0), r"bands\.neighbours is 0; give 1 or above"),
    ],
)
def test_options_outside_their_range_are_refused(make, message):
    with pytest.raises(BandError, match=message):
        make()
