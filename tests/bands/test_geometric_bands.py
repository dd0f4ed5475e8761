"""Products and distances of bands against the pixels themselves."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from tolerance import rounding

from hyperspec.bands.geometry import (
    band_distances,
    centred_moments,
    rescale,
    second_moments,
    self_tuned_similarity,
    ward_groups,
)
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics


def case(seed=0, rows=80, bands=11):
    rng = np.random.default_rng(seed)
    spectra = 0.4 + 0.05 * rng.normal(size=(rows, 5)) @ rng.normal(size=(5, bands))
    return spectra, SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 700, bands))


def test_products_are_means_over_pixels():
    spectra, statistics = case()
    np.testing.assert_allclose(second_moments(statistics), spectra.T @ spectra / 80, rtol=1e-12)
    centred = spectra - spectra.mean(axis=0)
    expected = centred.T @ centred / 80
    atol = rounding(80, expected)
    np.testing.assert_allclose(centred_moments(statistics), expected, rtol=0, atol=atol)


def test_distances_are_root_mean_square_differences():
    spectra, statistics = case(1)
    expected = np.sqrt(((spectra[:, :, None] - spectra[:, None, :]) ** 2).mean(axis=0))
    np.testing.assert_allclose(band_distances(statistics), expected, rtol=1e-7, atol=1e-12)


def test_twins_are_exactly_at_distance_zero():
    spectra, _ = case(2, rows=5000)
    spectra[:, 7] = spectra[:, 2]
    spectra[:, 4] = 0.3
    statistics = SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 700, 11))
    distances = band_distances(statistics)
    assert distances[2, 7] == distances[7, 2] == 0
    assert (np.diag(distances) == 0).all()
    assert centred_moments(statistics)[4, 4] == 0
    assert distances[4, 5] == pytest.approx(np.sqrt(((spectra[:, 4] - spectra[:, 5]) ** 2).mean()))


def test_similarity_is_tuned_by_the_sixth_neighbour():
    _, statistics = case(3)
    distances = band_distances(statistics)
    similarity = self_tuned_similarity(distances)
    for i in range(11):
        for j in range(11):
            scale = np.sort(distances[i])[6] * np.sort(distances[j])[6]
            assert similarity[i, j] == pytest.approx(np.exp(-(distances[i, j] ** 2) / scale))


def test_similarity_of_twins_and_strangers_without_scale():
    distances = np.array([[0.0, 0, 2], [0, 0, 2], [2, 2, 0]])
    similarity = self_tuned_similarity(distances, neighbour=1)
    np.testing.assert_array_equal(similarity, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(self_tuned_similarity(np.zeros((1, 1))), [[1]])


@pytest.mark.parametrize("n", [1, 2, 4, 7, 11])
def test_ward_groups_match_scikit_learn(n):
    points = np.random.default_rng(4).normal(size=(11, 3))
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    labels = AgglomerativeClustering(n_clusters=n, linkage="ward").fit_predict(points)
    expected = sorted(tuple(np.flatnonzero(labels == label)) for label in range(n))
    assert sorted(tuple(g) for g in ward_groups(distances, n)) == expected


def test_ward_groups_are_exact_even_when_all_points_coincide():
    for n in range(1, 7):
        groups = ward_groups(np.zeros((6, 6)), n)
        assert len(groups) == n
        assert sorted(int(i) for g in groups for i in g) == list(range(6))


def test_rescale():
    np.testing.assert_allclose(rescale(np.array([2.0, 6, 3])), [0, 1, 0.25])
    np.testing.assert_array_equal(rescale(np.full(3, 5.0)), [1, 1, 1])
