"""Rankings against scikit-learn and closed forms."""

import numpy as np
import pytest
from band_cases import cases
from hypothesis import given, settings
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from hyperspec.bands import Entropy, Pca, Variance
from hyperspec.bands.ranked import entropies, mvpca_scores
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, HyperspecError, TiedError


def spectra_of(seed, rows=150, bands=12):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 4)) * [1.0, 0.6, 0.3, 0.1]
    return (
        0.5 + 0.05 * factors @ rng.normal(size=(4, bands)) + 0.004 * rng.normal(size=(rows, bands))
    )


def statistics_of(spectra):
    return SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 700, spectra.shape[1]))


@pytest.mark.parametrize("seed", range(4))
def test_variance_takes_the_highest_variances(seed):
    spectra = spectra_of(seed)
    statistics = statistics_of(spectra)
    expected = np.argsort(-spectra.var(axis=0))
    for n in (1, 5, 12):
        chosen = Variance(n=n).select(statistics.axis, statistics).indices
        assert set(chosen) == set(expected[:n].tolist())


@pytest.mark.parametrize("scale", ["covariance", "correlation"])
@pytest.mark.parametrize("explained", [0.5, 0.9, 0.95, 0.999])
def test_mvpca_scores_match_scikit_learn(scale, explained):
    spectra = spectra_of(11)
    if scale == "correlation":
        # StandardScaler divides by the deviation with divisor P, PCA uses P - 1.
        model_input = StandardScaler().fit_transform(spectra) * np.sqrt((150 - 1) / 150)
    else:
        model_input = spectra
    # A share as number of components: the fewest that hold it.
    model = PCA(n_components=explained, svd_solver="full").fit(model_input)
    expected = (model.components_**2 * model.explained_variance_[:, None]).sum(axis=0)
    statistics = statistics_of(spectra)
    matrix = getattr(statistics, scale)
    np.testing.assert_allclose(mvpca_scores(matrix, explained), expected, rtol=1e-9)
    for n in (1, 4, 7):
        chosen = Pca(n=n, explained=explained, scale=scale).select(statistics.axis, statistics)
        assert set(chosen.indices) == set(np.argsort(-expected)[:n].tolist())


def test_leading_components_differ_from_plain_variance():
    # Two strong bands on one component, one noisy band alone: variance likes the noisy one.
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4000, 1))
    spectra = np.hstack(
        [0.3 + 0.03 * factor * np.ones((1, 5)), 0.5 + 0.05 * rng.normal(size=(4000, 1))]
    )
    statistics = statistics_of(spectra)
    assert Variance(n=1).select(statistics.axis, statistics).indices == (5,)
    assert 5 not in Pca(n=2, explained=0.6).select(statistics.axis, statistics).indices


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_over_all_components_the_score_is_the_variance(case):
    axis, statistics = case
    scores = mvpca_scores(statistics.covariance, 1.0)
    np.testing.assert_allclose(
        scores, np.diag(statistics.covariance), rtol=1e-9, atol=1e-12 * scores.max()
    )
    n = axis.good_indices.size
    for k in {1, n // 2 + 1, n}:
        variances = np.sort(statistics.variance[axis.good_indices])[::-1]
        if k < n and np.ptp(variances) <= 1e-9 * variances[0]:
            with pytest.raises(TiedError):
                Pca(n=k, explained=1.0).select(axis, statistics)
            continue
        chosen = list(Pca(n=k, explained=1.0).select(axis, statistics).indices)
        np.testing.assert_allclose(
            np.sort(statistics.variance[chosen])[::-1], variances[:k], rtol=1e-8, atol=1e-15
        )


@pytest.mark.parametrize("strategy", [Variance(n=2), Pca(n=2)])
def test_twins_go_to_the_lower_nanometres(strategy):
    spectra = spectra_of(2, bands=6) - 0.5
    spectra[:, 1] = spectra[:, 4] = spectra[:, 5] = 4 * spectra[:, 0]
    # Descending axis: the twins at the end of the channel order have the lower nm.
    axis = SpectralAxis.linear(900, 400, 6)
    statistics = SpectralStatistics.from_spectra(spectra + 0.5, axis)
    assert strategy.select(axis, statistics).indices == (4, 5)
    turned = SpectralAxis.linear(400, 900, 6)
    statistics = SpectralStatistics.from_spectra(spectra + 0.5, turned)
    assert strategy.select(turned, statistics).indices == (1, 4)


def test_constant_bands_come_last_in_both_scales():
    spectra = spectra_of(3, bands=6)
    spectra[:, [0, 3]] = 0.2
    statistics = statistics_of(spectra)
    for scale in ("covariance", "correlation"):
        chosen = Pca(n=4, scale=scale).select(statistics.axis, statistics).indices
        assert chosen == (1, 2, 4, 5)


@pytest.mark.parametrize("value", [0.0, 1.5, -0.1])
def test_explained_outside_its_range_is_refused(value):
    with pytest.raises(BandError, match=rf"bands\.explained is {value}.*above 0 and up to 1"):
        Pca(n=2, explained=value)


def test_unknown_scale_is_refused():
    with pytest.raises(BandError, match=r"bands\.scale is 'corr'; give covariance or correlation"):
        Pca(n=2, scale="corr")


@pytest.mark.parametrize("seed", range(3))
def test_entropy_matches_scipy_on_numpy_histograms(seed):
    rng = np.random.default_rng(seed)
    spectra = 0.5 + rng.normal(size=(700, 12)) * rng.uniform(0.005, 0.1, 12)
    statistics = statistics_of(spectra)
    expected = np.array(
        [entropy(np.histogram(spectra[:, b], bins=240, range=(0, 1.2))[0]) for b in range(12)]
    )
    for n in (1, 4, 12):
        chosen = Entropy(n=n).select(statistics.axis, statistics).indices
        assert set(chosen) == set(np.argsort(-expected)[:n].tolist())


def test_entropy_of_raw_counts_is_that_of_their_own_range():
    rng = np.random.default_rng(0)
    spectra = (2000 + rng.normal(size=(900, 6)) * [20, 300, 50, 400, 80, 150]).astype(np.float32)
    spectra[0, 0] = 65535  # one hot pixel does not squeeze all others into a few bins
    statistics = statistics_of(spectra)
    kept = statistics.samples
    ends = tuple(np.quantile(kept, [0.001, 0.999]))
    inside = np.clip(kept, *ends)
    expected = np.array(
        [entropy(np.histogram(inside[:, b], bins=240, range=ends)[0]) for b in range(6)]
    )
    np.testing.assert_allclose(entropies(statistics), expected, rtol=0.02)
    assert Entropy(n=2).select(statistics.axis, statistics).indices == (1, 3)


def test_reflectance_is_binned_as_ever():
    statistics = statistics_of(spectra_of(5))
    assert statistics.telling_histograms[""] is statistics.histogram


def test_raw_counts_without_samples_are_refused():
    spectra = 2000 + 100 * np.random.default_rng(0).normal(size=(50, 4))
    axis = SpectralAxis.linear(400, 700, 4)
    statistics = SpectralStatistics.from_spectra(spectra, axis, num_samples=0)
    with pytest.raises(
        HyperspecError,
        match=r"histograms cover 0 to 1\.2, but values reach from 1\d{3}.*data\.calibrate=auto",
    ):
        Entropy(n=2).select(statistics.axis, statistics)
