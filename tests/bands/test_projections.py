"""Projections: exact n, closed forms, scikit-learn as second statement, and what travels."""

import json
import re

import numpy as np
import pytest
from band_cases import cases
from hypothesis import given, settings
from sklearn.decomposition import NMF, PCA
from tolerance import rounding

from hyperspec.bands import PROJECTIONS, Binned, NmfProjection, PcaProjection, Uniform
from hyperspec.bands.projections import box_edges
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.band_projection import BandProjection, selection_from_dict
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

ALL = pytest.mark.parametrize("strategy", PROJECTIONS.values(), ids=PROJECTIONS.keys())


def small_case(num_pixels=300, bad=()):
    rng = np.random.default_rng(2)
    axis = SpectralAxis(
        np.array([400, 412, 420, 440, 455, 470, 500, 510, 540, 600.0]),
        good=[i not in bad for i in range(10)],
    )
    parts = rng.uniform(0, 1, (3, 10))
    spectra = rng.uniform(0, 0.3, (num_pixels, 3)) @ parts + 0.01 * rng.random((num_pixels, 10))
    labels = [("a", "b")[i % 2] for i in range(num_pixels)]
    statistics = SpectralStatistics.from_spectra(
        spectra, axis, labels=labels, num_samples=num_pixels
    )
    return axis, statistics, spectra


@ALL
@settings(max_examples=25, deadline=None)
@given(case=cases(max_bands=9))
def test_every_n_gives_n_channels_of_all_good_bands(strategy, case):
    axis, statistics = case
    good = axis.good_indices.size
    for n in sorted({1, (good + 1) // 2, good}):
        made = strategy(n=n).select(axis, statistics)
        assert len(made) == n == len(made.wavelengths_nm) == len(made.matrix)
        assert list(made.indices) == axis.good_indices.tolist()
        low, high = axis.range_nm
        assert (made.wavelengths_nm >= low - 1e-6).all()
        assert (made.wavelengths_nm <= high + 1e-6).all()
        assert strategy(n=n).select(axis, statistics).hash == made.hash
        if strategy is not PcaProjection:
            assert (made.matrix >= 0).all()
            np.testing.assert_allclose(made.matrix.sum(axis=1), 1)


@ALL
def test_channel_order_of_the_cube_changes_nothing_but_the_columns(strategy):
    axis, statistics, _ = small_case()
    reverse = np.arange(10)[::-1]
    made = strategy(n=3).select(axis, statistics)
    turned = strategy(n=3).select(axis.subset(reverse), statistics.restrict(reverse))
    assert turned.indices == tuple(range(10))
    np.testing.assert_allclose(turned.matrix[:, ::-1], made.matrix, atol=1e-6)


@ALL
def test_wrong_counts_name_the_key_the_value_and_the_range(strategy):
    axis, statistics, _ = small_case()
    with pytest.raises(BandError, match=rf"^bands\.n is 0, but bands={strategy.name} chooses 1"):
        strategy(n=0)
    with pytest.raises(BandError, match=r"^bands\.n is 11, but the axis has 10 good bands"):
        strategy(n=11).select(axis, statistics)
    nothing = SpectralAxis(axis.wavelengths_nm, good=np.zeros(10, bool))
    with pytest.raises(BandError, match=rf"marked bad, so bands={strategy.name} has none"):
        strategy(n=1).select(nothing)
    if strategy.needs_statistics:
        with pytest.raises(BandError, match=rf"bands={strategy.name} ranks bands by statistics"):
            strategy(n=2).select(axis)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 20, 50, 100, 204, 407, 408])
def test_boxes_tile_the_sensor_evenly(n):
    made = Binned(n=n).select(mission_axis())
    used = made.matrix > 0
    assert (used.sum(axis=0) == 1).all(), "each band lies in exactly one box"
    sizes = used.sum(axis=1)
    assert sizes.max() - sizes.min() <= 1
    starts = used.argmax(axis=1)
    assert (np.diff(starts) > 0).all()
    np.testing.assert_allclose(made.matrix[used], np.repeat(1 / sizes, sizes))
    assert made.coverage == 1
    # The middle of box i of n equal ones; up to a band where n does not divide 408.
    low, high = mission_axis().range_nm
    ends = (low - 1.1332 / 2, high + 1.1332 / 2)
    middles = ends[0] + (ends[1] - ends[0]) * (np.arange(n) + 0.5) / n
    np.testing.assert_allclose(made.wavelengths_nm, middles, atol=1e-6 if 408 % n == 0 else 1.2)


def test_boxes_of_an_uneven_axis_follow_nm_and_are_never_empty():
    nm = np.array([400, 401, 402, 403, 500.0])
    # The axis reaches from 399.5 to 548.5 nm: halves meet at 474 nm.
    assert box_edges(nm, 2) == [0, 4, 5]
    # Thirds would leave the middle one empty; it takes the band before it.
    assert box_edges(nm, 3) == [0, 3, 4, 5]
    assert box_edges(nm, 5) == [0, 1, 2, 3, 4, 5]
    assert box_edges(np.array([500.0]), 1) == [0, 1]


def test_a_box_has_the_noise_of_its_mean():
    """White noise of variance 1 in 10 boxes of 2 bands each: variance one half."""
    axis = SpectralAxis.linear(400, 590, 20)
    spectra = 0.5 + np.random.default_rng(0).normal(0, 0.01, (20_000, 20))
    statistics = SpectralStatistics.from_spectra(spectra, axis)
    made = Binned(n=10).select(axis)
    boxes = made.statistics(statistics).variance
    single = Uniform(n=10).select(axis).statistics(statistics).variance
    np.testing.assert_allclose(boxes / single, 0.5, rtol=0.05)  # standard error 0.014


def test_components_equal_scikit_learns():
    axis, statistics, spectra = small_case()
    made = PcaProjection(n=4).select(axis, statistics)
    found = PCA(4, svd_solver="full").fit(spectra)
    signs = np.sign((found.components_ * made.matrix).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(made.matrix, found.components_ * signs, atol=1e-8)
    channels = made.statistics(statistics)
    np.testing.assert_allclose(channels.variance, found.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(made.matrix @ made.matrix.T, np.eye(4), atol=1e-12)
    assert made.redundancy(statistics.covariance) == pytest.approx(0, abs=1e-9)
    assert (made.matrix[np.arange(4), np.abs(made.matrix).argmax(axis=1)] > 0).all()


def test_fewer_spectra_than_bands_leave_channels_of_no_variance_at_zero():
    axis, statistics, _ = small_case(num_pixels=3)
    channels = PcaProjection(n=10).select(axis, statistics).statistics(statistics)
    assert (channels.variance[:2] > 0).all()
    assert (channels.variance[2:] == 0).all()


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")  # of the reference itself
def test_responses_equal_scikit_learns_components():
    axis, statistics, _ = small_case()
    made = NmfProjection(n=3, seed=4, num_samples=100).select(axis, statistics)
    chosen = np.sort(np.random.default_rng(4).choice(300, 100, replace=False))
    solver = NMF(3, init="nndsvda", random_state=4, max_iter=200)
    solver.fit(statistics.samples[chosen].astype(np.float64))
    expected = solver.components_ / solver.components_.sum(axis=1, keepdims=True)
    order = np.argsort(expected @ axis.wavelengths_nm)
    np.testing.assert_allclose(made.matrix, expected[order], atol=1e-12)
    assert (np.diff(made.wavelengths_nm) > 0).all()
    other = NmfProjection(n=3, seed=5, num_samples=100).select(axis, statistics)
    assert other.hash != made.hash


def test_responses_span_planted_parts():
    """Mixtures of two disjoint parts: the two components are these parts."""
    axis = SpectralAxis.linear(400, 490, 10)
    parts = np.zeros((2, 10))
    parts[0, :5], parts[1, 5:] = [0.1, 0.2, 0.3, 0.25, 0.15], [0.3, 0.3, 0.2, 0.1, 0.1]
    # Pure spectra make the factorisation unique.
    shares = np.concatenate([np.eye(2), np.random.default_rng(0).uniform(0, 1, (200, 2))])
    spectra = shares @ parts
    statistics = SpectralStatistics.from_spectra(spectra, axis)
    made = NmfProjection(n=2, max_iter=2000).select(axis, statistics)
    np.testing.assert_allclose(made.matrix, parts, atol=5e-3)  # where NMF stops


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "bands.seed is -1; give a whole number of at least 0"),
        ({"num_samples": 1}, "bands.num_samples is 1; give a whole number of at least 2"),
        ({"max_iter": 0}, "bands.max_iter is 0; give a whole number of at least 1"),
    ],
)
def test_options_outside_their_range_are_refused(options, text):
    with pytest.raises(BandError, match=re.escape(text)):
        NmfProjection(n=2, **options)


def test_a_factorisation_needs_spectra():
    axis, _, spectra = small_case()
    empty = SpectralStatistics.from_spectra(spectra, axis, num_samples=0)
    with pytest.raises(BandError, match=r"bands=nmf_projection factorises training spectra.* 0 of"):
        NmfProjection(n=2).select(axis, empty)


@ALL
def test_statistics_of_channels_are_those_of_projected_spectra(strategy):
    axis, statistics, spectra = small_case(bad=(3,))
    made = strategy(n=4).select(axis, statistics)
    channels = spectra[:, list(made.indices)] @ made.matrix.T
    again = SpectralStatistics.from_spectra(
        channels,
        SpectralAxis(made.wavelengths_nm),
        labels=[("a", "b")[i % 2] for i in range(300)],
        num_samples=300,
    )
    found = made.statistics(statistics)
    mean_atol = rounding(300 + spectra.shape[1], spectra) * np.abs(made.matrix).sum(1).max()
    np.testing.assert_allclose(found.mean, again.mean, rtol=0, atol=mean_atol)
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(again.covariance), rtol=1e-9)
    atol = rounding(300, statistics.covariance) * np.abs(made.matrix).sum(1).max() ** 2
    np.testing.assert_allclose(found.covariance, again.covariance, rtol=0, atol=atol)
    np.testing.assert_allclose(found.minimum, again.minimum, atol=1e-6)
    np.testing.assert_allclose(found.maximum, again.maximum, atol=1e-6)
    for name in ("a", "b"):
        mean = again.classes[name].mean
        np.testing.assert_allclose(found.classes[name].mean, mean, rtol=0, atol=mean_atol)
        assert found.classes[name].count == 150
    correlation = np.abs(np.corrcoef(channels.T))[np.triu_indices(4, 1)]
    assert made.redundancy(statistics.covariance) == pytest.approx(correlation.mean(), abs=1e-9)


def test_without_samples_extremes_are_bounds():
    axis, _, spectra = small_case()
    statistics = SpectralStatistics.from_spectra(spectra, axis, num_samples=0)
    made = PcaProjection(n=3).select(axis, statistics)
    found, channels = made.statistics(statistics), spectra @ made.matrix.T
    # A pixel that is the brightest in all bands reaches its bound, but for rounding.
    atol = rounding(spectra.shape[1], spectra) * np.abs(made.matrix).sum(1).max()
    assert (found.minimum <= channels.min(axis=0) + atol).all()
    assert (found.maximum >= channels.max(axis=0) - atol).all()


@ALL
def test_a_projection_travels_whole(strategy):
    axis, statistics, _ = small_case()
    made = strategy(n=3).select(axis, statistics)
    again = selection_from_dict(json.loads(json.dumps(made.to_dict())))
    assert isinstance(again, BandProjection)
    assert again == made
    np.testing.assert_array_equal(again.matrix, made.matrix)
    tampered = made.to_dict()
    tampered["matrix"][0][0] += 0.01
    with pytest.raises(BandError, match=r"does not match its content"):
        selection_from_dict(tampered)
    assert strategy(n=2).select(axis, statistics).hash != made.hash


def test_the_same_bands_are_found_on_a_longer_axis():
    axis, _, _ = small_case()
    made = Binned(n=3).select(axis)
    longer = SpectralAxis(np.append([350.0], axis.wavelengths_nm))
    moved = made.resolve(longer)
    assert moved.indices == tuple(range(1, 11))
    np.testing.assert_array_equal(moved.matrix, made.matrix)
    assert made.resolve(axis) is made
    with pytest.raises(BandError, match=r"10 of 10 chosen bands \(bands=binned"):
        made.resolve(SpectralAxis(axis.wavelengths_nm + 1000))


def test_planes_are_projected_as_a_loop_does_it():
    axis, _, _ = small_case()
    made = Binned(n=3).select(axis)
    planes = np.random.default_rng(0).random((10, 4, 5)).astype(np.float32)
    found = made.apply(planes)
    assert found.dtype == np.float32
    for channel, row in zip(found, made.matrix, strict=True):
        np.testing.assert_allclose(
            channel, sum(w * p for w, p in zip(row, planes, strict=True)), rtol=1e-6
        )


def test_matrices_that_do_not_fit_are_refused():
    axis, _, _ = small_case()
    with pytest.raises(BandError, match=r"matrix of shape \(2, 9\) for 10 bands"):
        BandProjection(tuple(range(10)), axis, "x", {}, np.ones((2, 9)))
    with pytest.raises(BandError, match="a channel without a finite weight above 0"):
        BandProjection(tuple(range(10)), axis, "x", {}, np.zeros((2, 10)))
