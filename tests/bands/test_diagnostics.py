"""Evidence for picks: resamples of specimens, timing, and words that give the same bands back."""

from __future__ import annotations

import numpy as np
import pytest
from tolerance import rounding

from hyperspec.bands import Fisher, Full, ListBands, Pca, Random, Uniform, Variance
from hyperspec.bands.diagnostics import as_override, gather_evidence, resamples, stability
from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics

AXIS = SpectralAxis.linear(400, 800, 24)


@pytest.fixture(scope="module")
def spectra() -> list[tuple[np.ndarray, str]]:
    """Twelve specimens of two classes, 40 pixels each, that differ in brightness."""
    random = np.random.default_rng(0)
    found = []
    for number in range(12):
        shape = 0.3 + 0.05 * random.normal(size=24) + 0.2 * (number % 2) * (np.arange(24) > 15)
        found.append((shape + 0.03 * random.normal(size=(40, 24)), "ab"[number % 2]))
    return found


@pytest.fixture(scope="module")
def specimens(spectra) -> list[SpectralStatistics]:
    return [SpectralStatistics.from_spectra(x, AXIS, labels=name) for x, name in spectra]


def test_a_resample_is_the_statistics_of_drawn_specimens(spectra, specimens) -> None:
    (first,) = resamples(specimens, 1, seed=3)
    random = np.random.default_rng(3)
    rows = {name: [i for i, (_, n) in enumerate(spectra) if n == name] for name in "ab"}
    pixels = {
        name: np.concatenate(
            [spectra[rows[name][j]][0] for j in np.sort(random.integers(6, size=6))]
        )
        for name in "ab"
    }
    both = np.concatenate([pixels["a"], pixels["b"]])
    np.testing.assert_allclose(first.mean, both.mean(0), rtol=1e-12)
    atol = rounding(len(both), np.cov(both.T))
    np.testing.assert_allclose(first.covariance, np.cov(both.T), rtol=0, atol=atol)
    for name in "ab":
        np.testing.assert_allclose(first.classes[name].mean, pixels[name].mean(0), rtol=1e-12)
    assert first.count == 12 * 40


def test_evidence_of_each_kind_of_strategy(specimens) -> None:
    whole = SpectralStatistics.merge(specimens)
    strategies = [Uniform(4), Random(4, seed=2), Variance(4), Fisher(4), Pca(4)]
    picks = gather_evidence(strategies, AXIS, whole, specimens, num_resamples=5, seed=1)
    for pick, strategy in zip(picks, strategies, strict=True):
        assert pick.selection == strategy.select(AXIS, whole)
        assert pick.redundancy == pick.selection.redundancy(whole.correlation)
        assert pick.seconds >= 0
    assert picks[0].stability.value == 1.0
    seeds = [Random(4, seed=s).select(AXIS).indices for s in range(3, 8)]
    assert picks[1].stability.value == stability(seeds, 24).value
    again = [Variance(4).select(AXIS, part).indices for part in resamples(specimens, 5, 1)]
    assert picks[2].stability == stability(again, 24)
    assert picks[3].stability.num_sets == 5
    row = picks[2].to_dict()
    assert row["indices"] == list(picks[2].selection.indices)
    assert (row["n"], row["strategy"], row["coverage"]) == (
        4,
        "variance",
        picks[2].selection.coverage,
    )


def test_bad_bands_do_not_count_among_what_is_chosen_from(specimens) -> None:
    good = np.ones(24, bool)
    good[10:] = False
    axis = SpectralAxis(AXIS.wavelengths_nm, None, good)
    (pick,) = gather_evidence([Random(3)], axis, num_resamples=6)
    sets = [Random(3, seed=s).select(axis).indices for s in range(1, 7)]
    assert max(max(s) for s in sets) < 10
    assert pick.stability == stability(sets, 10)


def test_without_resamples_or_statistics_there_is_none() -> None:
    (pick,) = gather_evidence([Uniform(4)], AXIS, num_resamples=0)
    assert pick.stability is None
    assert pick.redundancy is None
    with pytest.raises(ValueError, match="One resample has nothing to agree with"):
        gather_evidence([Uniform(4)], AXIS, num_resamples=1)


@pytest.mark.parametrize("n", [1, 20, 408])
def test_words_give_the_same_bands_in_the_same_order(n: int) -> None:
    axis = mission_axis()
    selection = Random(n, seed=n).select(axis)
    shuffled = np.random.default_rng(n).permutation(selection.indices)
    selection = BandSelection(tuple(shuffled), axis, "list")
    words = as_override(selection)
    assert words.startswith("bands=list 'bands.nm=[")
    nm = [float(v) for v in words.split("[")[1].rstrip("]'").split(",")]
    assert ListBands(nm=nm).select(axis).indices == selection.indices


def test_the_whole_axis_has_a_short_name() -> None:
    assert as_override(Full().select(AXIS)) == "bands=full"


def test_close_bands_get_the_digits_they_need() -> None:
    axis = SpectralAxis(500 + 0.001 * np.arange(5))
    selection = Uniform(3).select(axis)
    assert as_override(selection) == "bands=list 'bands.nm=[500.0,500.002,500.004]'"


def test_a_tie_on_a_resample_leaves_no_stability():
    # Of two specimens a class, one alone tells the bands apart: a resample without it ties.
    axis = SpectralAxis.linear(400, 700, 6)
    rng = np.random.default_rng(0)
    same = np.repeat(rng.uniform(0.1, 0.9, (30, 1)), 6, 1)
    apart = same + rng.normal(size=(30, 6)) * [0.01, 0.02, 0.05, 0.01, 0.08, 0.03]
    specimens = [SpectralStatistics.from_spectra(one, axis) for one in (same, apart)]
    whole = SpectralStatistics.merge(specimens)
    (pick,) = gather_evidence([Variance(n=2)], axis, whole, specimens, num_resamples=20)
    assert pick.is_tied
    assert (pick.stability, pick.shift_nm, pick.to_dict()["stability"]) == (None, None, None)
