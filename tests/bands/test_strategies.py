"""What every counted strategy promises, on drawn axes; tests/testing has the rest of the check."""

import dataclasses
import inspect
import subprocess
import sys

import numpy as np
import pytest
from band_cases import cases
from hypothesis import given, settings

from hyperspec.bands import STRATEGIES, CountedStrategy, Pca, Uniform
from hyperspec.bands.base import best, top
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.testing.bands import check_selections
from hyperspec.utils.errors import BandError, TiedError

COUNTED = {n: s for n, s in STRATEGIES.items() if issubclass(s, CountedStrategy)}
WITH_STATISTICS = {n: s for n, s in COUNTED.items() if s.needs_statistics}


@pytest.mark.parametrize("strategy", COUNTED.values(), ids=COUNTED.keys())
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_every_n_is_exact_good_sorted_and_repeatable(strategy, case):
    axis, statistics = case
    try:
        check_selections(strategy, axis, statistics)
    except TiedError:  # where nothing, or too little, tells bands apart
        constant = not statistics.variance[axis.good_indices].any()
        assert constant or statistics.count <= 5 or axis.good_indices.size <= 3


@pytest.mark.parametrize("strategy", WITH_STATISTICS.values(), ids=WITH_STATISTICS.keys())
def test_bands_that_nothing_tells_apart_are_refused(strategy):
    axis = SpectralAxis.linear(400, 700, 8)
    same = SpectralStatistics.from_spectra(np.full((40, 8), 0.3), axis, labels=["a", "b"] * 20)
    with pytest.raises(
        TiedError, match=r"cannot choose 3 of 8 bands: all values of the 40 .* 0\.3"
    ):
        strategy(n=3).select(axis, same)
    # All bands are no choice.
    assert strategy(n=8).select(axis, same).indices == tuple(range(8))


RANKED = ["variance", "entropy", "pca", "mutual_information", "fisher", "mrmr", "lcmv_bcc"]


@pytest.mark.parametrize("name", RANKED)
def test_a_score_that_ties_over_all_bands_is_refused(name):
    # Eight copies of one band: any of them is as good.
    axis = SpectralAxis.linear(400, 700, 8)
    band = np.random.default_rng(0).uniform(0.1, 0.9, (40, 1))
    twins = SpectralStatistics.from_spectra(np.repeat(band, 8, 1), axis, labels=["a", "b"] * 20)
    with pytest.raises(TiedError, match=rf"bands={name} gives all 8 bands the same score .*any 3"):
        STRATEGIES[name](n=3).select(axis, twins)
    assert len(STRATEGIES[name](n=8).select(axis, twins)) == 8


HISTOGRAMS = [
    *((name, {}) for name in ("entropy", "mutual_information", "mrmr")),
    ("ocf", {"ranking": "entropy"}),
]


@pytest.mark.parametrize("scale", [4095, 65535, 0.01])
@pytest.mark.parametrize(("name", "options"), HISTOGRAMS, ids=[name for name, _ in HISTOGRAMS])
def test_raw_counts_and_radiance_are_binned_in_their_own_range(name, options, scale):
    rng = np.random.default_rng(3)
    axis = SpectralAxis.linear(400, 700, 12)
    spread = np.where(np.arange(12) == 8, 0.12, 0.02)
    spectra = 0.5 + spread * rng.normal(size=(200, 12))
    spectra[::2, 8] += 0.25  # the one band that tells a from b
    spectra = (spectra * scale).astype(np.float32)
    statistics = SpectralStatistics.from_spectra(spectra, axis, labels=["a", "b"] * 100)
    assert 8 in STRATEGIES[name](n=3, **options).select(axis, statistics).indices
    # By its score, not by its place: turned around, it is still found.
    turned = SpectralStatistics.from_spectra(spectra[:, ::-1], axis, labels=["a", "b"] * 100)
    assert 3 in STRATEGIES[name](n=3, **options).select(axis, turned).indices


def small_spectra():
    rng = np.random.default_rng(1)
    labels = ["a", "b"] * 100
    spectra = 0.4 + 0.05 * rng.normal(size=(200, 4)) @ rng.normal(size=(4, 10))
    spectra += 0.01 * rng.normal(size=spectra.shape)
    spectra[::2, 6] += 0.1
    return spectra, labels


def small_case():
    spectra, labels = small_spectra()
    axis = SpectralAxis(np.array([400, 412, 420, 440, 455, 470, 500, 510, 540, 600.0]))
    return axis, SpectralStatistics.from_spectra(spectra, axis, labels=labels)


@pytest.mark.parametrize("strategy", COUNTED.values(), ids=COUNTED.keys())
def test_wrong_counts_name_the_key_the_value_and_the_range(strategy):
    axis, statistics = small_case()
    with pytest.raises(BandError, match=rf"^bands\.n is 0, but bands={strategy.name} chooses 1"):
        strategy(n=0)
    with pytest.raises(
        BandError,
        match=r"^bands\.n is 11, but the axis has 10 good bands of 10 \(400\.0-600\.0 nm\)\. "
        r"Set bands\.n between 1 and 10",
    ):
        strategy(n=11).select(axis, statistics)


def test_the_sensor_refuses_409_bands():
    with pytest.raises(BandError, match=r"bands\.n is 409.*408 good bands.*between 1 and 408"):
        Uniform(n=409).select(mission_axis())


@pytest.mark.parametrize("strategy", WITH_STATISTICS.values(), ids=WITH_STATISTICS.keys())
def test_missing_or_foreign_statistics_are_refused(strategy):
    axis, statistics = small_case()
    with pytest.raises(BandError, match=rf"bands={strategy.name} ranks bands by statistics"):
        strategy(n=2).select(axis)
    shifted = SpectralAxis(axis.wavelengths_nm + 3)
    with pytest.raises(BandError, match=r"another axis: band centres differ by up to 3\.000 nm"):
        strategy(n=2).select(shifted, statistics)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_an_axis_of_bad_bands_only_is_refused(strategy):
    axis = SpectralAxis(np.array([400.0, 410.0]), good=np.zeros(2, bool))
    options = {"n": 1} if issubclass(strategy, CountedStrategy) else {}
    if strategy.name == "list":
        options = {"nm": [400.0]}
    with pytest.raises(
        BandError, match=rf"All 2 bands of the axis are marked bad, so bands={strategy.name}"
    ):
        strategy(**options).select(axis)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_every_option_is_documented_and_travels_in_the_params(strategy):
    source = inspect.getsource(sys.modules[strategy.__module__])
    axis, statistics = small_case()
    options = {"n": 2} if issubclass(strategy, CountedStrategy) else {}
    if strategy.name == "list":
        options = {"nm": [400.0]}
    if strategy.name == "rgb":
        options = {"nm": [600.0, 540.0, 440.0]}
    selection = strategy(**options).select(axis, statistics)
    names = [f.name for f in dataclasses.fields(strategy)]
    assert list(selection.params) == names
    assert selection.strategy == strategy.name
    for name in names:
        if name != "n":
            assert f"    {name}: " in source
            after = source.split(f"    {name}: ", 1)[1].split("\n", 1)[1].lstrip()
            assert after.startswith('"""'), f"{strategy.name}.{name} has no docstring"


def test_strategies_import_without_heavy_packages():
    code = (
        "import sys, hyperspec.bands;"
        "names = {'torch', 'sklearn', 'scipy', 'mlflow', 'matplotlib', 'pandas'};"
        "heavy = names & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_top_takes_the_first_of_equals_even_after_rounding():
    third = 0.1 + 0.2  # 0.30000000000000004
    assert top(np.array([0.3, third, 0.1, third]), 3).tolist() == [0, 1, 3]
    assert top(np.zeros(4), 2).tolist() == [0, 1]
    assert top(np.array([1e-20, 2e-20, 5.0, 0, 1e-310]), 5).tolist() == [2, 1, 0, 3, 4]
    assert top(np.array([-3.0, -1.0, -2.0]), 2).tolist() == [1, 2]


def test_best_looks_at_free_bands_only():
    scores = np.array([5.0, 9.0, 7.0, 7.0])
    assert best(scores, np.array([True, False, True, True])) == 2


def test_strategies_are_plain_values():
    assert Pca(n=3) == Pca(n=3, explained=0.95, scale="covariance")
    assert dataclasses.asdict(Pca(n=3)) == {"n": 3, "explained": 0.95, "scale": "covariance"}
