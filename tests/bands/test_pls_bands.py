"""Strategies of partial least squares against scikit-learn and loops written out."""

import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression

from hyperspec.bands import Cars, Ipls, Vip
from hyperspec.bands.partial_least_squares import (
    band_weights_of,
    class_folds,
    cross_validated,
    fit_pls,
    importance_in_projection,
    labelled_samples,
)
from hyperspec.bands.projections import box_edges
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, TiedError

BANDS = 14


def case(seed=0, rows=180, classes="abc"):
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(list(classes), rows))
    spectra = 0.5 + 0.03 * rng.normal(size=(rows, 3)) @ rng.normal(size=(3, BANDS))
    spectra += 0.02 * rng.normal(size=(rows, BANDS))
    spectra[labels == "a", 3:5] += 0.05
    spectra[labels == classes[-1], 10] -= 0.08
    spectra = spectra.astype(np.float32).astype(np.float64)  # as samples are kept
    axis = SpectralAxis.linear(400, 700, BANDS)
    statistics = SpectralStatistics.from_spectra(
        spectra, axis, labels=labels.tolist(), num_samples=rows
    )
    return spectra, labels, statistics


def reference(spectra, labels, components):
    """Fit scikit-learn's NIPALS on standardised bands and centred classes."""
    names = np.unique(labels)
    truth = (labels[:, None] == names).astype(float)
    mean, scale = spectra.mean(0), spectra.std(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two directions may serve equally well
        model = PLSRegression(components, scale=False, tol=1e-14, max_iter=20_000)
        model.fit((spectra - mean) / scale, truth)
    return model, mean, scale, truth


@pytest.mark.parametrize("classes", ["ab", "abc", "abcd"])
def test_components_are_those_of_nipals(classes):
    spectra, labels, _ = case(classes=classes)
    model, mean, scale, truth = reference(spectra, labels, 4)
    bands, answers = (spectra - mean) / scale, truth - truth.mean(0)
    fit = fit_pls(bands.T @ bands, bands.T @ answers, 4)
    signs = np.sign((fit.weights * model.x_weights_).sum(0))
    np.testing.assert_allclose(fit.weights * signs, model.x_weights_, atol=1e-6)
    np.testing.assert_allclose(fit.rotations * signs, model.x_rotations_, atol=1e-6)
    np.testing.assert_allclose(fit.coefficients(4), model.coef_.T, atol=1e-6)


def test_as_many_components_as_there_are_bands_are_least_squares():
    spectra, labels, _ = case()
    bands = (spectra - spectra.mean(0)) / spectra.std(0)
    truth = (labels[:, None] == np.unique(labels)).astype(float)
    answers = truth - truth.mean(0)
    fit = fit_pls(bands.T @ bands, bands.T @ answers, BANDS)
    expected = np.linalg.lstsq(bands, answers, rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients(BANDS), expected, atol=1e-8)
    assert fit_pls(np.zeros((3, 3)), np.zeros((3, 2)), 2).weights.shape == (3, 0)


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_importance_is_that_of_its_definition(classes):
    spectra, labels, statistics = case(2, classes=classes)
    model, *_ = reference(spectra, labels, 5)
    explained = (model.x_scores_**2).sum(0) * (model.y_loadings_**2).sum(0)
    expected = [
        np.sqrt(BANDS * sum(explained * model.x_weights_[band] ** 2) / explained.sum())
        for band in range(BANDS)
    ]
    found = importance_in_projection(statistics, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found**2).mean() == pytest.approx(1), "1 is the average of all bands"
    for n in (1, 4, BANDS):
        chosen = Vip(n, components=5).select(statistics.axis, statistics).indices
        assert set(chosen) == set(np.argsort(-np.array(expected))[:n].tolist())


def naive_error(spectra, labels, folds, components):
    """Return the cross-validated error at the best number of components, fold by fold."""
    squares = np.zeros(components)
    for inside, outside in folds:
        for used in range(1, components + 1):
            model, mean, scale, truth = reference(spectra[inside], labels[inside], used)
            said = (spectra[outside] - mean) / scale @ model.coef_.T + truth.mean(0)
            wanted = (labels[outside][:, None] == np.unique(labels)).astype(float)
            squares[used - 1] += ((said - wanted) ** 2).sum()
    return np.sqrt(squares.min() / len(labels))


def test_intervals_are_taken_in_order_of_their_own_error():
    spectra, labels, statistics = case(3)
    strategy = Ipls(5, intervals=4, folds=3, components=2)
    samples, codes = labelled_samples(strategy, statistics)
    np.testing.assert_array_equal(samples, spectra)
    folds = class_folds(strategy, codes, 3)
    edges = box_edges(statistics.axis.wavelengths_nm, 4)
    parts = [list(range(a, b)) for a, b in pairwise(edges)]
    errors = [naive_error(spectra[:, own], labels, folds, 2) for own in parts]
    for own, error in zip(parts, errors, strict=True):
        assert cross_validated(samples[:, own], codes, folds, 2) == pytest.approx(error, rel=1e-6)
    order = np.argsort(errors)
    for n in range(1, BANDS + 1):
        strategy = Ipls(n, intervals=4, folds=3, components=2)
        chosen = set(strategy.select(statistics.axis, statistics).indices)
        assert len(chosen) == n
        taken = [len(chosen & set(parts[place])) for place in order]
        sizes = [len(parts[place]) for place in order]
        expected, rest = [], n
        for size in sizes:  # whole intervals, then a part of the next, then nothing
            expected.append(min(size, rest))
            rest -= expected[-1]
        assert taken == expected


def test_a_single_interval_is_spread_evenly():
    _, _, statistics = case(3)
    chosen = Ipls(3, intervals=1).select(statistics.axis, statistics).indices
    assert chosen == (0, 6, 13)


def naive_chain(spectra, labels, n, runs, components, rng):
    """Follow the paper run by run, with scikit-learn's coefficients."""
    left = list(range(spectra.shape[1]))
    for run in range(1, runs + 1):
        rows = np.sort(rng.choice(len(labels), round(0.8 * len(labels)), replace=False))
        most = min(components, len(left))
        model, *_ = reference(spectra[rows][:, left], labels[rows], most)
        weights = np.abs(model.coef_).sum(0)
        a = (spectra.shape[1] / n) ** (1 / (runs - 1))
        k = np.log(spectra.shape[1] / n) / (runs - 1)
        allowed = max(round(spectra.shape[1] * a * np.exp(-k * run)), n)
        order = np.argsort(-weights, kind="stable")[: min(allowed, len(left))]
        share = weights[order] / weights[order].sum()
        drawn = sorted(set(rng.choice(len(order), len(order), p=share).tolist()))
        if len(drawn) <= n:
            drawn += [i for i in range(len(order)) if i not in drawn]
            return sorted(left[order[i]] for i in drawn[:n])
        left = sorted(left[order[i]] for i in drawn)
    raise AssertionError("a draw with replacement ends before")


@pytest.mark.parametrize("n", [1, 3, 6])
def test_a_chain_is_that_of_the_paper(n):
    spectra, labels, statistics = case(4)
    strategy = Cars(n, runs=20, chains=3, components=3, folds=3, seed=7)
    samples, codes = labelled_samples(strategy, statistics)
    folds = class_folds(strategy, codes, 3)
    best = None
    for chain in range(3):
        rng = np.random.default_rng([7, chain])
        chosen = naive_chain(spectra, labels, n, 20, 3, rng)
        error = cross_validated(samples[:, chosen], codes, folds, 3)
        if best is None or error < best[0] - 1e-9:
            best = error, chosen
    assert strategy.select(statistics.axis, statistics).indices == tuple(best[1])


@pytest.mark.parametrize("strategy", [Vip(4), Cars(4), Ipls(4, intervals=7)])
def test_planted_bands_are_found(strategy):
    _, _, statistics = case(5, rows=600)
    chosen = set(strategy.select(statistics.axis, statistics).indices)
    assert chosen & {3, 4}
    assert 10 in chosen


def test_rows_of_one_specimen_stay_together():
    strategy = Ipls(2)
    codes = np.repeat([0, 1], 40)  # specimens of 10 rows each
    for inside, outside in class_folds(strategy, codes, 4):
        assert len({row // 10 for row in outside}) == 2
        assert not {row // 10 for row in outside} & {row // 10 for row in inside}
        assert set(codes[outside]) == {0, 1}


def test_what_cannot_be_cross_validated_is_refused():
    spectra, labels, statistics = case()
    bare = SpectralStatistics.from_spectra(
        spectra, statistics.axis, labels=labels.tolist(), num_samples=0
    )
    for strategy in (Cars(3), Ipls(3)):
        with pytest.raises(BandError, match=rf"bands={strategy.name} cross-validates training sp"):
            strategy.select(statistics.axis, bare)
    assert len(Vip(3).select(statistics.axis, bare)) == 3  # moments are enough
    single = SpectralStatistics.from_spectra(spectra[:5], statistics.axis, labels=list("aabbc"))
    with pytest.raises(TiedError, match="a class has a single training spectrum"):
        Ipls(3).select(statistics.axis, single)


def test_copies_of_one_band_are_a_tie():
    band = np.random.default_rng(0).uniform(0.1, 0.9, (40, 1)).astype(np.float32)
    axis = SpectralAxis.linear(400, 700, 8)
    twins = SpectralStatistics.from_spectra(np.repeat(band, 8, 1), axis, labels=["a", "b"] * 20)
    for strategy in (Vip(3), Cars(3), Ipls(3)):
        with pytest.raises(TiedError, match=rf"bands={strategy.name} gives all 8 "):
            strategy.select(axis, twins)


def test_weights_ignore_the_scale_of_bands():
    spectra, _, statistics = case()
    _, codes = labelled_samples(Cars(2), statistics)
    weights = band_weights_of(spectra, codes, 4)
    np.testing.assert_allclose(band_weights_of(spectra * 40, codes, 4), weights, rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Vip(2, components=0), "bands.components is 0; give a whole number of at least 1"),
        (lambda: Ipls(2, intervals=0), "bands.intervals is 0"),
        (lambda: Ipls(2, folds=1), "bands.folds is 1; give a whole number of at least 2"),
        (lambda: Cars(2, runs=1), "bands.runs is 1"),
        (lambda: Cars(2, chains=0), "bands.chains is 0"),
        (lambda: Cars(2, seed=-1), "bands.seed is -1"),
    ],
)
def test_options_outside_their_range_are_refused(make, text):
    with pytest.raises(BandError, match=re.escape(text)):
        make()
