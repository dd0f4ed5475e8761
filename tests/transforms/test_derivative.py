"""The derivative's matrix against SciPy's filter and against polynomials."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.transforms.normalisation.derivative import Derivative, fit_derivative, savgol_matrix


@pytest.mark.parametrize(("window", "polyorder"), [(5, 2), (7, 3), (11, 2), (11, 4), (3, 1)])
@pytest.mark.parametrize("count", [11, 30])
def test_on_a_regular_axis_it_is_savitzky_golay(window, polyorder, count):
    spectrum = np.random.default_rng(0).normal(size=count)
    nm = 348.3931 + 1.1332 * np.arange(count)
    want = savgol_filter(spectrum, window, polyorder, deriv=1, delta=1.1332, mode="interp")
    got = savgol_matrix(nm, window, polyorder) @ spectrum
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(3, 40), window=st.integers(3, 13))
def test_on_any_axis_it_is_exact_for_quadratics(seed, count, window):
    rng = np.random.default_rng(seed)
    nm = rng.permutation(400 + np.cumsum(rng.uniform(0.5, 20, count)))
    a, b, c = rng.normal(size=3)
    u = (nm - 500) / 100
    got = savgol_matrix(nm, window, 2) @ (a * u**2 + b * u + c)
    np.testing.assert_allclose(got, (2 * a * u + b) / 100, rtol=1e-6, atol=1e-9)


def test_it_is_a_local_least_squares_fit():
    rng = np.random.default_rng(3)
    nm = np.sort(rng.uniform(400, 700, 25))
    spectrum = rng.normal(size=25)
    got = savgol_matrix(nm, 9, 3) @ spectrum
    for band in range(4, 21):
        near = slice(band - 4, band + 5)
        fit = np.polynomial.Polynomial.fit(nm[near], spectrum[near], 3)
        np.testing.assert_allclose(got[band], fit.deriv()(nm[band]), rtol=1e-7)


def test_few_bands_and_twins_lower_the_degree():
    np.testing.assert_array_equal(savgol_matrix(np.array([500.0])), [[0.0]])
    np.testing.assert_allclose(
        savgol_matrix(np.array([500.0, 510.0])), [[-0.1, 0.1], [-0.1, 0.1]], atol=1e-12
    )
    np.testing.assert_array_equal(savgol_matrix(np.array([500.0, 500.0])), np.zeros((2, 2)))
    twins = savgol_matrix(np.array([500.0, 500.0, 520.0]))
    # A straight line through the twins' mean and the third band.
    np.testing.assert_allclose(twins @ [1.0, 3.0, 4.0], np.full(3, (4 - 2) / 20), atol=1e-12)


def test_gain_brings_the_training_spread_to_one():
    rng = np.random.default_rng(5)
    axis = SpectralAxis(np.sort(rng.uniform(400, 700, 15)))
    spectra = 0.4 + 0.05 * rng.normal(size=(400, 3)) @ rng.normal(size=(3, 15))
    statistics = SpectralStatistics.from_spectra(spectra, axis)
    matrix = fit_derivative(statistics, 7, 2)
    derivatives = spectra @ matrix.T
    assert np.sqrt(derivatives.var(axis=0, ddof=1).mean()) == pytest.approx(1, rel=1e-9)
    plain = savgol_matrix(axis.wavelengths_nm, 7, 2)
    ratio = matrix[plain != 0] / plain[plain != 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_module_applies_the_matrix_per_pixel():
    rng = np.random.default_rng(6)
    matrix = savgol_matrix(np.linspace(400, 460, 7), 5, 2)
    x = rng.uniform(size=(2, 7, 3, 4))
    got = Derivative(matrix)(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(got, np.einsum("jn,bnhw->bjhw", matrix, x), rtol=1e-4, atol=1e-6)


def test_constant_training_keeps_the_matrix_plain():
    axis = SpectralAxis.linear(400, 440, 5)
    statistics = SpectralStatistics.from_spectra(np.full((9, 5), 0.5), axis)
    np.testing.assert_array_equal(
        fit_derivative(statistics, 3, 1), savgol_matrix(axis.wavelengths_nm, 3, 1)
    )
