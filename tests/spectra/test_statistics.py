"""Statistics against NumPy on the whole array, however the spectra arrive."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import rounding

from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.moments import Moments
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import AxisError, HyperspecError

AXIS = SpectralAxis.linear(400, 500, 6)


def spectra_of(seed, rows=300, axis=AXIS):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(len(axis), len(axis)))
    return (0.5 + 0.05 * rng.normal(size=(rows, len(axis))) @ mixing).astype(np.float32)


def assert_matches_numpy(statistics, spectra):
    values = spectra.astype(np.float64)
    scale = np.abs(np.cov(values.T)).max()
    assert statistics.count == len(values)
    np.testing.assert_allclose(statistics.mean, values.mean(0), rtol=1e-10)
    np.testing.assert_allclose(
        statistics.covariance, np.cov(values.T), rtol=1e-10, atol=1e-10 * scale
    )
    np.testing.assert_allclose(statistics.variance, values.var(0, ddof=1), rtol=1e-10)
    np.testing.assert_allclose(statistics.correlation, np.corrcoef(values.T), rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(statistics.minimum, values.min(0))
    np.testing.assert_array_equal(statistics.maximum, values.max(0))


@pytest.mark.parametrize("rows", [2, 5, 1024, 1025, 9000])
def test_moments_match_numpy_for_any_number_of_blocks(rows):
    spectra = spectra_of(rows, rows)
    assert_matches_numpy(SpectralStatistics.from_spectra(spectra, AXIS), spectra)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, 1.0, 4000.0]),
    seed=st.integers(0, 99),
)
def test_merge_matches_one_pass_over_everything(sizes, offset, seed):
    spectra = spectra_of(seed, sum(sizes) + 1) + np.float32(offset)
    pieces = np.split(spectra, np.cumsum(sizes))
    merged = SpectralStatistics.merge([SpectralStatistics.from_spectra(p, AXIS) for p in pieces])
    assert_matches_numpy(merged, spectra)
    np.testing.assert_array_equal(
        merged.histogram, SpectralStatistics.from_spectra(spectra, AXIS).histogram
    )


def test_large_offset_does_not_eat_the_variance():
    rng = np.random.default_rng(0)
    spectra = 1e6 + rng.normal(size=(5000, 6))
    statistics = SpectralStatistics.from_spectra(spectra, AXIS)
    exact = spectra - 1e6
    np.testing.assert_allclose(statistics.covariance, np.cov(exact.T), rtol=0, atol=1e-9)


@pytest.mark.parametrize("outlier", [0, 1, 4999])
def test_an_outlier_among_those_that_are_centred_on_costs_no_digits(outlier):
    spectra = spectra_of(3, 5000)
    spectra[outlier] = 3e4  # 60,000 times the others, at the end of a block or within
    values = spectra.astype(np.longdouble)
    centred = values - values.mean(axis=0)
    exact = (centred.T @ centred / 4999).astype(np.float64)
    statistics = SpectralStatistics.from_spectra(spectra, AXIS)
    np.testing.assert_allclose(statistics.covariance, exact, rtol=1e-12)
    np.testing.assert_allclose(statistics.mean, values.mean(axis=0).astype(float), rtol=1e-12)


def test_sorted_spectra_cost_no_digits():
    spectra = np.sort(spectra_of(4, 9001), axis=0)
    assert_matches_numpy(SpectralStatistics.from_spectra(spectra, AXIS), spectra)


def test_histogram_matches_numpy_and_clamps_the_ends():
    spectra = np.random.default_rng(1).uniform(-0.3, 1.5, size=(2000, 6))
    statistics = SpectralStatistics.from_spectra(spectra, AXIS)
    for band in range(6):
        expected, _ = np.histogram(np.clip(spectra[:, band], 0, 1.2), bins=240, range=(0, 1.2))
        np.testing.assert_array_equal(statistics.histogram[band], expected)
    assert (statistics.histogram.sum(axis=1) == 2000).all()
    assert statistics.histogram[0, 0] >= (spectra[:, 0] < 0).sum() > 100


def test_one_spectrum_has_zero_covariance():
    statistics = SpectralStatistics.from_spectra(np.full((1, 6), 0.25), AXIS)
    np.testing.assert_array_equal(statistics.covariance, np.zeros((6, 6)))
    np.testing.assert_array_equal(statistics.correlation, np.eye(6))


def test_constant_band_correlates_with_nothing():
    spectra = spectra_of(3)
    spectra[:, 2] = 0.1
    statistics = SpectralStatistics.from_spectra(spectra, AXIS)
    expected = np.zeros(6)
    expected[2] = 1
    np.testing.assert_array_equal(statistics.correlation[2], expected)
    np.testing.assert_array_equal(statistics.correlation[:, 2], expected)
    assert statistics.variance[2] == 0


def test_classes_hold_their_own_moments_and_survive_a_merge():
    spectra = spectra_of(4, 90)
    labels = np.array(["b", "a", "c"] * 30)
    statistics = SpectralStatistics.merge(
        [
            SpectralStatistics.from_spectra(spectra[:40], AXIS, labels=labels[:40].tolist()),
            SpectralStatistics.from_spectra(spectra[40:], AXIS, labels=labels[40:].tolist()),
        ]
    )
    assert list(statistics.classes) == ["a", "b", "c"]
    for name, moments in statistics.classes.items():
        own = spectra[labels == name].astype(np.float64)
        assert moments.count == 30
        np.testing.assert_allclose(moments.mean, own.mean(0), rtol=1e-10)
        np.testing.assert_allclose(moments.variance, own.var(0, ddof=1), rtol=1e-10)
    assert sum(m.histogram for m in statistics.classes.values()).tolist() == (
        statistics.histogram.tolist()
    )


def test_with_class_equals_gathering_with_that_label():
    spectra = spectra_of(5)
    late = SpectralStatistics.from_spectra(spectra, AXIS).with_class("moth")
    early = SpectralStatistics.from_spectra(spectra, AXIS, labels="moth")
    assert late.hash == early.hash
    assert set(late.sample_labels) == {"moth"}


def test_unknown_labels_belong_to_no_class():
    statistics = SpectralStatistics.from_spectra(spectra_of(6, 4), AXIS, labels=["", "a", "", "a"])
    assert {n: m.count for n, m in statistics.classes.items()} == {"a": 2}


def test_samples_are_rows_of_the_spectra_drawn_by_seed():
    spectra = spectra_of(7, 1000)
    one = SpectralStatistics.from_spectra(spectra, AXIS, num_samples=50, seed=1)
    again = SpectralStatistics.from_spectra(spectra, AXIS, num_samples=50, seed=1)
    other = SpectralStatistics.from_spectra(spectra, AXIS, num_samples=50, seed=2)
    np.testing.assert_array_equal(one.samples, again.samples)
    assert (one.samples != other.samples).any()
    rows = {tuple(r) for r in spectra.tolist()}
    assert len({tuple(r) for r in one.samples.tolist()} & rows) == 50


def test_merge_joins_samples_and_thins_them_to_the_limit():
    parts = [
        SpectralStatistics.from_spectra(spectra_of(s), AXIS, labels=name, num_samples=20)
        for s, name in enumerate("ab")
    ]
    whole = SpectralStatistics.merge(parts)
    np.testing.assert_array_equal(whole.samples, np.concatenate([p.samples for p in parts]))
    assert whole.sample_labels.tolist() == ["a"] * 20 + ["b"] * 20
    thinned = SpectralStatistics.merge(parts, max_samples=15)
    assert thinned.samples.shape == (15, 6)
    for row, name in zip(thinned.samples, thinned.sample_labels, strict=True):
        assert (parts["ab".index(name)].samples == row).all(axis=1).any()


def test_nonfinite_spectra_are_dropped_and_counted():
    spectra = spectra_of(8, 50)
    broken = spectra.copy()
    broken[3, 1] = np.nan
    broken[9, 4] = np.inf
    statistics = SpectralStatistics.from_spectra(broken, AXIS)
    assert_matches_numpy(statistics, np.delete(spectra, [3, 9], axis=0))
    assert statistics.num_dropped == 2
    assert SpectralStatistics.merge([statistics, statistics]).num_dropped == 4


def test_nonfinite_values_of_bad_bands_cost_no_spectrum():
    axis = SpectralAxis(AXIS.wavelengths_nm, good=np.array([1, 1, 0, 1, 1, 1], bool))
    spectra = spectra_of(9, 50)
    spectra[:, 2] = np.nan
    statistics = SpectralStatistics.from_spectra(spectra, axis)
    assert statistics.count == 50
    assert statistics.mean[2] == statistics.variance[2] == 0
    keep = axis.good_indices
    assert_matches_numpy(statistics.restrict(keep), spectra[:, keep])


def test_restrict_keeps_order_and_every_part():
    spectra = spectra_of(10, 80)
    labels = ["a", "b"] * 40
    small = SpectralStatistics.from_spectra(spectra, AXIS, labels=labels).restrict([4, 1])
    for name, start in (("a", 0), ("b", 1)):
        own = spectra[start::2, [4, 1]].astype(np.float64)
        atol = rounding(len(own), np.cov(own.T))
        np.testing.assert_allclose(small.classes[name].covariance, np.cov(own.T), rtol=0, atol=atol)
    assert_matches_numpy(small, spectra[:, [4, 1]])
    np.testing.assert_array_equal(small.samples, spectra[:, [4, 1]])
    assert small.axis == AXIS.subset([4, 1])


def test_npz_round_trip_keeps_every_array():
    axis = SpectralAxis(AXIS.wavelengths_nm, np.full(6, 5.0), np.array([1, 0, 1, 1, 1, 1], bool))
    before = SpectralStatistics.from_spectra(spectra_of(11), axis, labels=["a", "b", ""] * 100)
    buffer = io.BytesIO()
    np.savez(buffer, **before.to_arrays())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        after = SpectralStatistics.from_arrays(arrays)
    assert after.hash == before.hash
    assert after.axis == before.axis
    assert list(after.classes) == ["a", "b"]
    np.testing.assert_array_equal(after.classes["b"].covariance, before.classes["b"].covariance)


def test_hash_sees_a_change_of_one_value():
    spectra = spectra_of(12)
    before = SpectralStatistics.from_spectra(spectra, AXIS).hash
    spectra[17, 3] += 0.01
    assert SpectralStatistics.from_spectra(spectra, AXIS).hash != before


def test_errors_say_what_was_seen_and_what_to_do():
    good = spectra_of(13, 10)
    with pytest.raises(HyperspecError, match=r"shape \(10, 6\), but the axis has 4 bands"):
        SpectralStatistics.from_spectra(good, SpectralAxis.linear(400, 500, 4))
    with pytest.raises(HyperspecError, match=r"the foreground mask is empty.*data\.mask=none"):
        SpectralStatistics.from_spectra(good[:0], AXIS)
    with pytest.raises(HyperspecError, match="3 labels for 10 spectra"):
        SpectralStatistics.from_spectra(good, AXIS, labels=["a"] * 3)
    broken = good.copy()
    broken[:4, 5] = np.nan
    with pytest.raises(
        HyperspecError, match=r"4 of 10 spectra.*band 5, 500\.00 nm: 40% of them.*\(bbl\)"
    ):
        SpectralStatistics.from_spectra(broken, AXIS, invalid="raise")
    broken[:, 5] = np.nan
    with pytest.raises(HyperspecError, match=r"10 of 10 spectra are not finite in a good band"):
        SpectralStatistics.from_spectra(broken, AXIS)


def test_merge_refuses_other_axes_other_bins_and_nothing():
    one = SpectralStatistics.from_spectra(spectra_of(14), AXIS)
    shifted = SpectralAxis(AXIS.wavelengths_nm + 2)
    other = SpectralStatistics.from_spectra(spectra_of(15), shifted)
    with pytest.raises(AxisError, match=r"band centres differ by up to 2\.000 nm"):
        SpectralStatistics.merge([one, other])
    coarse = SpectralStatistics.from_spectra(spectra_of(15), AXIS, num_bins=10)
    with pytest.raises(HyperspecError, match=r"\(10, 0\.0, 1\.2\), \(240, 0\.0, 1\.2\)"):
        SpectralStatistics.merge([one, coarse])
    with pytest.raises(HyperspecError, match="no spectral statistics to merge"):
        SpectralStatistics.merge([])


def test_moments_of_nothing_but_one_value_has_no_correlation():
    moments = Moments.of(np.full((7, 3), 0.1, np.float32))
    np.testing.assert_array_equal(moments.variance, np.zeros(3))
    np.testing.assert_array_equal(moments.correlation, np.eye(3))


@pytest.mark.parametrize(
    ("scale", "quantity"),
    [
        *((1, "reflectance"), (0.3, "reflectance")),
        # 12 and 16 bits, an 8-bit camera, and radiance in W/(m² sr nm).
        *((4095, "stored value"), (65535, "stored value"), (255, "stored value")),
        (0.02, "stored value"),
    ],
)
def test_values_are_called_reflectance_where_they_are_on_its_scale(scale, quantity):
    rng = np.random.default_rng(0)
    spectra = (rng.uniform(0.05, 0.9, (300, len(AXIS))) * scale).astype(np.float32)
    statistics = SpectralStatistics.from_spectra(spectra, AXIS)
    assert statistics.quantity == quantity
    # A glint makes no raw counts, nor reflectance.
    glints = np.concatenate([spectra, np.full((1, len(AXIS)), 5 * scale, np.float32)])
    assert SpectralStatistics.from_spectra(glints, AXIS).quantity == quantity


def test_a_black_specimen_is_reflectance_all_the_same():
    dark = np.random.default_rng(0).normal(0.03, 0.01, (300, len(AXIS))).astype(np.float32)
    assert SpectralStatistics.from_spectra(dark, AXIS).quantity == "reflectance"
