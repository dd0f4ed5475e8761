"""Clustering strategies against naive loops over pixels and scikit-learn."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.linear_model import Ridge

from hyperspec.bands import Correlation, EFdpc, Issc
from hyperspec.bands.clustered import density_peak_scores, gaussian_information, self_expression
from hyperspec.bands.geometry import band_distances, second_moments
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


def smooth_case(seed, rows=120, bands=16):
    """Spectra of a few broad features, so that neighbours resemble each other."""
    rng = np.random.default_rng(seed)
    nm = np.linspace(400, 700, bands)
    centres = rng.uniform(400, 700, 5)
    shapes = np.exp(-(((nm - centres[:, None]) / 50) ** 2))
    spectra = 0.3 + 0.08 * rng.uniform(size=(rows, 5)) @ shapes
    spectra += 0.003 * rng.normal(size=(rows, bands))
    return spectra, SpectralStatistics.from_spectra(spectra, SpectralAxis(nm))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [1, 3, 6])
def test_correlation_groups_by_ward_and_takes_the_most_informative(seed, n):
    spectra, statistics = smooth_case(seed)
    # A common factor makes all correlations positive: the distance is then that of standardised
    # bands, which scikit-learn clusters from the pixels.
    spectra += 0.2 * np.random.default_rng(seed).normal(size=(120, 1))
    statistics = SpectralStatistics.from_spectra(spectra, statistics.axis)
    correlation = np.corrcoef(spectra.T)
    assert correlation.min() > 0
    standard = (spectra - spectra.mean(axis=0)) / spectra.std(axis=0)
    labels = AgglomerativeClustering(n_clusters=n, linkage="ward").fit_predict(standard.T)
    expected = []
    for label in range(n):
        group = np.flatnonzero(labels == label)
        means = [
            np.mean([-0.5 * np.log(1 - correlation[i, j] ** 2) for j in group if j != i] or [0])
            for i in group
        ]
        expected.append(int(group[np.round(means, 9).argmax()]))  # a pair ties: the lower
    assert Correlation(n=n).select(statistics.axis, statistics).indices == tuple(sorted(expected))


def test_correlation_takes_one_of_each_planted_group():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, 3))
    which = np.array([0, 0, 1, 2, 1, 0, 2, 2, 1])
    signs = np.array([1, -1, 1, 1, 1, 1, -1, 1, -1])  # anticorrelated bands are redundant too
    spectra = 0.5 + 0.05 * factors[:, which] * signs + 0.002 * rng.normal(size=(500, 9))
    statistics = SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 480, 9))
    chosen = Correlation(n=3).select(statistics.axis, statistics).indices
    assert sorted(which[list(chosen)]) == [0, 1, 2]


def test_gaussian_information_closed_form():
    information = gaussian_information(np.array([[1.0, 0.6], [0.6, 1.0]]))
    assert information[0, 1] == pytest.approx(-0.5 * np.log(0.64))
    assert information[0, 0] == pytest.approx(0.5 * 12 * np.log(10))


def naive_density_peaks(spectra, n, cutoff=0.02):
    """The paper's steps as loops, after the authors' description."""
    count = spectra.shape[1]
    distance = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            distance[i, j] = np.sqrt(np.sum((spectra[:, i] - spectra[:, j]) ** 2))
    everything = np.sort(distance.ravel())
    initial = everything[max(int(np.ceil(count * (count - 1) * cutoff)), 1) + count - 1]
    reach = initial / np.exp(n / count)
    rho, delta = np.zeros(count), np.zeros(count)
    for i in range(count):
        for j in range(count):
            if i != j:
                rho[i] += np.exp(-((distance[i, j] / reach) ** 2))
    # As in the authors' program bands are visited by falling density; of equals the lower first.
    visited = sorted(range(count), key=lambda band: (-float(f"{rho[band]:.9e}"), band))
    for place, i in enumerate(visited):
        denser = [distance[i, j] for j in visited[:place]]
        delta[i] = min(denser) if denser else -1
    delta[delta < 0] = delta.max()
    rho = (rho - rho.min()) / (rho.max() - rho.min())
    delta = (delta - delta.min()) / (delta.max() - delta.min())
    return rho * delta**2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 4, 9])
def test_density_peaks_match_naive_loops(seed, n):
    spectra, statistics = smooth_case(seed, bands=24)
    expected = naive_density_peaks(spectra, n)
    scores = density_peak_scores(band_distances(statistics), n)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-9 * expected.max())
    chosen = EFdpc(n=n).select(statistics.axis, statistics).indices
    assert set(chosen) == set(np.argsort(-expected, kind="stable")[:n].tolist())


def test_density_peaks_ignore_gain_and_offset():
    spectra, statistics = smooth_case(7)
    scaled = SpectralStatistics.from_spectra(0.5 * spectra + 0.2, statistics.axis)
    for n in (2, 5):
        chosen = EFdpc(n=n).select(statistics.axis, statistics).indices
        assert EFdpc(n=n).select(statistics.axis, scaled).indices == chosen


def test_density_peaks_find_the_middle_of_planted_clusters():
    # Bands on a line: three tight clusters, whose middles are the densest.
    level = np.array([0.10, 0.11, 0.12, 0.4, 0.41, 0.42, 0.8, 0.81, 0.82])
    spectra = level + np.zeros((4, 1))
    statistics = SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 480, 9))
    chosen = EFdpc(n=3, cutoff=0.2).select(statistics.axis, statistics).indices
    assert chosen == (1, 4, 7)


def test_self_expression_is_ridge_regression_on_the_other_bands():
    spectra, statistics = smooth_case(1, rows=60, bands=9)
    penalty = 1e-3
    coefficients = self_expression(second_moments(statistics), penalty)
    level = np.mean(spectra**2)
    for band in range(9):
        others = [i for i in range(9) if i != band]
        ridge = Ridge(alpha=penalty * level * 60, fit_intercept=False, solver="svd")
        ridge.fit(spectra[:, others], spectra[:, band])
        np.testing.assert_allclose(coefficients[others, band], ridge.coef_, rtol=1e-6, atol=1e-9)
        assert coefficients[band, band] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 4])
def test_issc_matches_its_steps_on_pixels(seed, n):
    spectra, statistics = smooth_case(seed, rows=60, bands=12)
    z = np.zeros((12, 12))
    for band in range(12):
        others = [i for i in range(12) if i != band]
        ridge = Ridge(alpha=1e-4 * np.mean(spectra**2) * 60, fit_intercept=False, solver="svd")
        z[others, band] = ridge.fit(spectra[:, others], spectra[:, band]).coef_
    affinity = np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            cosine = z[:, i] @ z[:, j] / np.linalg.norm(z[:, i]) / np.linalg.norm(z[:, j])
            affinity[i, j] = cosine**2
    degree = np.diag(1 / np.sqrt(affinity.sum(axis=1)))
    values, vectors = np.linalg.eig(degree @ affinity @ degree)
    leading = np.real(vectors[:, np.argsort(-np.real(values))[:n]])
    leading /= np.linalg.norm(leading, axis=1, keepdims=True)
    labels = AgglomerativeClustering(n_clusters=n, linkage="ward").fit_predict(leading)
    expected = []
    for label in range(n):
        group = np.flatnonzero(labels == label)
        centre = spectra[:, group].mean(axis=1, keepdims=True)
        gap = np.round(np.linalg.norm(spectra[:, group] - centre, axis=0), 9)
        expected.append(int(group[gap.argmin()]))
    assert Issc(n=n).select(statistics.axis, statistics).indices == tuple(sorted(expected))


def test_issc_separates_independent_subspaces():
    rng = np.random.default_rng(3)
    which = np.repeat([0, 1, 2], 4)
    # Each group of four bands lives in a plane of its own.
    spectra = np.zeros((400, 12))
    for group in range(3):
        factors = rng.uniform(0, 1, size=(400, 2))
        spectra[:, which == group] = factors @ rng.uniform(0.2, 1, size=(2, 4))
    spectra = 0.4 * spectra + 0.002 * rng.normal(size=spectra.shape)
    statistics = SpectralStatistics.from_spectra(
        spectra - spectra.mean(axis=0), SpectralAxis.linear(400, 510, 12)
    )
    chosen = Issc(n=3).select(statistics.axis, statistics).indices
    assert sorted(which[list(chosen)]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EFdpc(n=2, cutoff=0.0), r"bands\.cutoff is 0\.0; give a share of the pairs"),
        (lambda: EFdpc(n=2, cutoff=1.2), r"bands\.cutoff is 1\.2"),
        (lambda: Issc(n=2, penalty=0.0), r"bands\.penalty is 0\.0; give a number above 0"),
    ],
)
def test_options_outside_their_range_are_refused(make, message):
    with pytest.raises(BandError, match=message):
        make()
