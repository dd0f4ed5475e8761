"""Projections against determinants, QR on the pixels, and explicit filters."""

import numpy as np
import pytest
from test_clustered_bands import smooth_case

from hyperspec.bands import LcmvBcc, Opbs, Spa
from hyperspec.bands.geometry import second_moments
from hyperspec.bands.orthogonal import constraint_scores, orthogonal_chain
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@pytest.mark.parametrize("seed", range(5))
def test_opbs_is_the_greedy_largest_volume(seed):
    spectra, statistics = smooth_case(seed, bands=12)
    covariance = np.cov(spectra.T)
    chosen: list[int] = []
    for n in range(1, 9):
        volumes = {
            b: np.linalg.det(covariance[np.ix_([*chosen, b], [*chosen, b])])
            for b in range(12)
            if b not in chosen
        }
        chosen.append(max(volumes, key=volumes.__getitem__))
        selection = Opbs(n=n).select(statistics.axis, statistics)
        assert selection.indices == tuple(sorted(chosen))


def test_opbs_sets_are_nested_and_indifferent_to_gain_and_offset():
    spectra, statistics = smooth_case(6)
    scaled = SpectralStatistics.from_spectra(2 * spectra - 0.3, statistics.axis)
    before: set[int] = set()
    for n in range(1, 17):
        chosen = set(Opbs(n=n).select(statistics.axis, statistics).indices)
        assert before < chosen
        assert set(Opbs(n=n).select(statistics.axis, scaled).indices) == chosen
        before = chosen


def test_what_is_explained_comes_last_and_lower_nanometres_first():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(300, 2))
    spectra = 0.5 + 0.05 * factors @ np.array([[1.0, 0, 1, 1, 2, 0], [0, 1, 1, -1, 1, 0]])
    statistics = SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 450, 6))
    chain, heights = orthogonal_chain(statistics.covariance, 6, None)
    assert chain[0] == 4
    assert (heights[2:] == 0).all()
    assert chain[2:] == sorted(chain[2:])


def naive_chain(pixels, first, n):
    """Project the other bands onto the complement of the last one, take the longest; repeat."""
    work = pixels.copy()
    chain, lengths = [first], [np.linalg.norm(work[:, first])]
    for _ in range(n - 1):
        last = work[:, chain[-1]]
        work = work - np.outer(last, last @ work) / (last @ last)
        norms = np.linalg.norm(work, axis=0)
        norms[chain] = -1
        chain.append(int(norms.argmax()))
        lengths.append(norms.max())
    return chain, float(np.log(lengths).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_spa_matches_projections_of_pixels(seed, centre, n):
    spectra, statistics = smooth_case(seed, bands=11)
    pixels = spectra - spectra.mean(axis=0) if centre else spectra
    chains = [naive_chain(pixels, first, n) for first in range(11)]
    for first in (0, 7):
        nm = float(statistics.axis.wavelengths_nm[first])
        chosen = Spa(n=n, start_nm=nm, centre=centre).select(statistics.axis, statistics)
        assert chosen.indices == tuple(sorted(chains[first][0]))
    largest = max(volume for _, volume in chains)
    allowed = {tuple(sorted(c)) for c, volume in chains if volume > largest - 1e-6}
    assert Spa(n=n, centre=centre).select(statistics.axis, statistics).indices in allowed


def test_spa_from_the_highest_variance_is_opbs():
    spectra, statistics = smooth_case(8)
    nm = float(statistics.axis.wavelengths_nm[spectra.var(axis=0).argmax()])
    for n in (3, 7):
        opbs = Opbs(n=n).select(statistics.axis, statistics).indices
        assert Spa(n=n, start_nm=nm).select(statistics.axis, statistics).indices == opbs


def test_spa_in_blocks_agrees_with_single_chains():
    # 200 bands at n = 120 grow in blocks of 83 chains.
    rng = np.random.default_rng(2)
    spectra = 0.4 + 0.02 * rng.normal(size=(400, 200)) @ np.diag(rng.uniform(0.5, 2, 200))
    statistics = SpectralStatistics.from_spectra(spectra, SpectralAxis.linear(400, 800, 200))
    moments = statistics.covariance * 399 / 400
    volumes = []
    for first in range(200):
        chain, heights = orthogonal_chain(moments, 120, first)
        volumes.append((float(np.log(heights).sum()), tuple(sorted(chain))))
    assert Spa(n=120).select(statistics.axis, statistics).indices == max(volumes)[1]


@pytest.mark.parametrize("seed", range(3))
def test_constraint_scores_match_filters_of_pixels(seed):
    spectra, statistics = smooth_case(seed, rows=40, bands=8)
    load = 1e-3
    level = np.mean(spectra**2)
    # In the paper's terms: bands as columns, energy matrix pixels by pixels. Products here are
    # means over the 40 pixels, hence the factor.
    energy = spectra @ spectra.T / 8 + load * level * 40 * np.eye(40)
    inverse = np.linalg.inv(energy)
    expected = []
    for band in range(8):
        b = spectra[:, band]
        weights = inverse @ b / (b @ inverse @ b)
        assert weights @ b == pytest.approx(1)
        expected.append(sum(weights @ spectra[:, j] for j in range(8) if j != band))
    scores = constraint_scores(second_moments(statistics), load)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    for n in (1, 3):
        chosen = LcmvBcc(n=n, load=load).select(statistics.axis, statistics).indices
        assert set(chosen) == set(np.argsort(expected)[::-1][:n].tolist())


def test_constraint_ignores_gain():
    spectra, statistics = smooth_case(5)
    scaled = SpectralStatistics.from_spectra(2 * spectra, statistics.axis)
    chosen = LcmvBcc(n=4).select(statistics.axis, statistics).indices
    assert LcmvBcc(n=4).select(statistics.axis, scaled).indices == chosen


def test_load_outside_its_range_is_refused():
    with pytest.raises(BandError, match=r"bands\.load is 0\.0; give a number above 0"):
        LcmvBcc(n=2, load=0.0)
