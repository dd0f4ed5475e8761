"""Axes and spectra of every awkward kind, for the property tests of all strategies."""

import numpy as np
from hypothesis import strategies as st

from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics


@st.composite
def cases(draw, max_bands=14):
    """Draw an axis (any order, bad bands, twins) with statistics of few or many spectra."""
    num_bands = draw(st.integers(1, max_bands))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    centres = np.sort(rng.uniform(350, 1000, num_bands))
    if draw(st.booleans()):
        centres = np.linspace(400, 700, num_bands)
    order = draw(st.sampled_from(["ascending", "descending", "shuffled", "overlapping"]))
    if order == "descending":
        centres = centres[::-1]
    if order == "shuffled":
        centres = rng.permutation(centres)
    if order == "overlapping" and num_bands > 2:
        centres[1] = centres[2]
    good = rng.random(num_bands) < draw(st.sampled_from([1.0, 0.6]))
    good[rng.integers(num_bands)] = True
    num_pixels = draw(st.sampled_from([2, 5, 60]))
    spectra = 0.4 + 0.05 * rng.normal(size=(num_pixels, 3)) @ rng.normal(size=(3, num_bands))
    if draw(st.booleans()):
        spectra = spectra + 0.01 * rng.normal(size=spectra.shape)
    kind = draw(st.sampled_from(["plain", "constant band", "twins", "all constant"]))
    if kind == "constant band":
        spectra[:, rng.integers(num_bands)] = 0.25
    if kind == "twins":
        spectra[:, rng.integers(num_bands)] = spectra[:, rng.integers(num_bands)]
    if kind == "all constant":
        spectra[:] = 0.25
    labels = [("a", "b", "c")[i % 3] for i in range(num_pixels)]
    axis = SpectralAxis(centres, good=good)
    return axis, SpectralStatistics.from_spectra(spectra, axis, labels=labels)
