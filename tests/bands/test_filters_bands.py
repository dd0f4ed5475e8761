"""Filters as channels: exact n, least spacing by brute force, light as noise, leaks."""

import json
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.bands import STRATEGIES, CountedStrategy, Filters, Uniform
from hyperspec.bands.filters import _apart, _most
from hyperspec.models.stems.concrete import PhotonProjection
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.band_projection import selection_from_dict
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

COUNTED = [name for name, kind in STRATEGIES.items() if issubclass(kind, CountedStrategy)]


def case(rows=200):
    rng = np.random.default_rng(0)
    axis = SpectralAxis.linear(400, 700, 61)
    spectra = 0.4 + 0.03 * rng.normal(size=(rows, 4)) @ rng.normal(size=(4, 61))
    spectra += 0.02 * rng.normal(size=spectra.shape)
    spectra[::2, 30:34] += 0.1  # 550 to 565 nm
    labels = ["ab"[i % 2] for i in range(rows)]
    return axis, SpectralStatistics.from_spectra(spectra, axis, labels=labels), spectra


@pytest.mark.parametrize("strategy", COUNTED)
def test_any_strategy_chooses_exactly_n_filters_that_lie_apart(strategy):
    axis, statistics, _ = case()
    for n in (1, 3, 5):
        made = Filters(n, strategy, width_nm=30).select(axis, statistics)
        assert len(made) == n == len(made.params["filters"])
        centres = np.array(made.params["centres_nm"])
        assert (np.diff(centres) >= 30 - 1e-6).all(), "passbands do not overlap"
        # A tenth of a Gaussian may lie beyond the axis's ends.
        np.testing.assert_allclose(made.wavelengths_nm, centres, atol=3)
        np.testing.assert_allclose(made.fwhm_nm, 30, rtol=0.2)
        np.testing.assert_allclose(made.matrix.sum(axis=1), 1)
        again = Filters(n, strategy, width_nm=30).select(axis, statistics)
        assert again.hash == made.hash
        assert selection_from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_supervised_strategy_finds_the_filter_that_tells_the_classes():
    axis, statistics, _ = case()
    made = Filters(1, "fisher", width_nm=15).select(axis, statistics)
    assert made.params["centres_nm"][0] == pytest.approx(557.5, abs=6)  # within half its width


def test_without_a_least_distance_the_choice_is_the_strategys_own():
    axis, statistics, _ = case()
    free = Filters(4, "fisher", width_nm=15, spacing_nm=0, photons_per_nm=0)
    made = free.select(axis, statistics)
    assert np.diff(made.params["centres_nm"]).max() <= 10, "neighbours of one window"
    apart = Filters(4, "fisher", width_nm=15, spacing_nm=40).select(axis, statistics)
    assert np.diff(apart.params["centres_nm"]).min() >= 40


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_most_that_fit_is_that_of_all_subsets(data):
    count = data.draw(st.integers(1, 8))
    lows = data.draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    widths = data.draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))
    spans = np.array([[low, low + w] for low, w in zip(lows, widths, strict=True)], float)

    def fits(chosen):
        ordered = sorted(spans[list(chosen)].tolist())
        return all(a[1] <= b[0] for a, b in pairwise(ordered))

    most = max(
        size
        for size in range(1, count + 1)
        if any(fits(chosen) for chosen in combinations(range(count), size))
    )
    assert _most(spans, np.arange(count)) == most


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), spacing=st.sampled_from([None, 0.0, 12.0, 25.0]))
def test_as_many_as_fit_are_found_whatever_the_strategy_prefers(tmp_path_factory, seed, spacing):
    rng = np.random.default_rng(seed)
    rows = [
        f"F{i},{rng.uniform(430, 670):.2f},{rng.choice([10, 20, 40])}"
        for i in range(int(rng.integers(2, 9)))
    ]
    file = tmp_path_factory.mktemp("shop") / "catalogue.csv"
    file.write_text("\n".join(["name,centre_nm,width_nm", *rows]) + "\n")
    axis, statistics, _ = case()
    given_options = {"catalogue": str(file), "spacing_nm": spacing}
    spans = []
    for row in rows:
        centre, width = (float(word) for word in row.split(",")[1:])
        half = (width if spacing is None else spacing) / 2
        spans.append([centre - half, centre + half])
    most = _most(np.array(spans), np.arange(len(rows)))
    for strategy in ("variance", "uniform"):
        for n in range(1, most + 1):
            made = Filters(n, strategy, **given_options).select(axis, statistics)
            assert len(set(made.params["filters"])) == n
            taken = sorted(spans[int(name[1:])] for name in made.params["filters"])
            assert all(a[1] <= b[0] + 1e-5 for a, b in pairwise(taken))
    if most < len(rows):
        with pytest.raises(BandError, match=rf"filters {most} at most lie .* apart"):
            Filters(most + 1, "uniform", **given_options).select(axis)


def test_evenly_spread_filters_are_evenly_spread():
    made = Filters(5, width_nm=20).select(mission_axis())
    assert made.strategy == "filters/20nm"
    expected = Uniform(5).select(mission_axis().subset(np.arange(9, 399))).wavelengths_nm
    np.testing.assert_allclose(made.params["centres_nm"], expected, atol=1.2)  # a step of the axis


def test_noise_may_make_a_wide_filter_the_better_one(tmp_path):
    file = tmp_path / "catalogue.csv"
    # The narrow one lies in the window of 20 nm, a third of the wide one outside of it.
    file.write_text("name,centre_nm,width_nm\nnarrow,557.5,10\nwide,557.5,30\n")
    axis, statistics, _ = case()
    options = {"catalogue": str(file), "strategy": "fisher", "shape": "box"}
    clear = Filters(1, **options, photons_per_nm=0).select(axis, statistics)
    dim = Filters(1, **options, photons_per_nm=1).select(axis, statistics)
    assert (clear.params["filters"], dim.params["filters"]) == (["narrow"], ["wide"])


def test_the_strategy_sees_the_variance_of_the_signal_and_of_its_photons():
    axis, statistics, spectra = case(rows=4000)
    made = Filters(3, width_nm=40, photons_per_nm=0.5)
    chosen = made.select(axis, statistics)
    seen = made._seen(chosen, statistics)
    photons = np.array(chosen.params["white_photons"])
    assert photons[1] == pytest.approx(0.5 * 40 * 1.0645, rel=2e-3)
    np.testing.assert_allclose(photons, photons[1], rtol=0.1)  # up to a tenth beyond the ends
    channels = spectra[:, list(chosen.indices)] @ chosen.matrix.T
    expected = channels.var(axis=0, ddof=1) + channels.mean(axis=0) / photons
    np.testing.assert_allclose(seen.variance, expected, rtol=1e-6)
    # 256 drawn spectra: their variance is within a fifth.
    np.testing.assert_allclose(seen.samples.var(axis=0, ddof=1), expected, rtol=0.3)
    assert (seen.histogram.sum(axis=1) == len(seen.samples)).all()


def test_photon_noise_is_that_of_the_signal_the_same_each_time_and_image_by_image():
    matrix = np.array([[1.0, 0.0], [0.0, 1.0]])
    layer = PhotonProjection(matrix, [100.0, 400.0])
    images = torch.full((2, 2, 100, 100), 0.5)
    images[1] *= 1 + 1e-6
    found = layer(images)
    error = found - images
    for channel, photons in enumerate((100, 400)):
        # Of 10,000 pixels: a standard deviation within 4%, a mean within 4 standard errors.
        assert error[0, channel].std() == pytest.approx(np.sqrt(0.5 / photons), rel=0.04)
        assert abs(error[0, channel].mean()) < 4 * np.sqrt(0.5 / photons) / 100
    torch.testing.assert_close(layer(images), found, rtol=0, atol=0)
    torch.testing.assert_close(layer(images[1:]), found[1:], rtol=0, atol=0)
    assert not torch.equal(error[0], error[1]), "another image has another error"
    dark = layer(torch.full((1, 2, 8, 8), -0.1))
    assert torch.equal(dark, torch.full_like(dark, -0.1))
    assert type(layer.without_noise) is not type(layer)
    torch.testing.assert_close(layer.without_noise(images), images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, r"bands\.n is 0, but bands=filters chooses 1 filter at least"),
        ({"n": 2, "strategy": "full"}, r"bands\.strategy is 'full'; give uniform, "),
        ({"n": 2, "strategy": "best"}, r"bands\.strategy is 'best'; give uniform, "),
        ({"n": 2, "shape": "round"}, r"bands\.shape is 'round'; give gaussian or box"),
        ({"n": 2, "width_nm": 0.0}, r"bands\.width_nm is 0\.0; give a number above 0"),
        ({"n": 2, "spacing_nm": -1.0}, r"bands\.spacing_nm is -1\.0; give a number of 0 or above"),
        ({"n": 2, "photons_per_nm": float("nan")}, r"bands\.photons_per_nm is nan; give"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(BandError, match=message):
        Filters(**options)


def test_what_cannot_be_had_is_refused():
    axis, statistics, spectra = case()
    with pytest.raises(BandError, match=r"bands\.n is 80, but 57 of 57 filters pass their light"):
        Filters(80).select(axis, statistics)
    with pytest.raises(BandError, match=r"bands\.n is 20, but of 57 filters 15 at most lie their"):
        Filters(20).select(axis, statistics)
    with pytest.raises(BandError, match="bands=fisher ranks bands by statistics"):
        Filters(2, "fisher").select(axis)
    bare = SpectralStatistics.from_spectra(spectra, axis)
    with pytest.raises(BandError, match="bands=fisher compares classes"):
        Filters(2, "fisher").select(axis, bare)
    with pytest.raises(BandError, match="bands=filters needs two good bands at least"):
        Filters(1).select(SpectralAxis(np.array([500.0])))
    few = SpectralStatistics.from_spectra(spectra, axis, num_samples=0)
    with pytest.raises(BandError, match="bands=filters looks at training spectra"):
        Filters(2, "variance").select(axis, few)


def test_values_of_a_class_are_those_of_its_own_spectra():
    axis, statistics, _ = case()
    made = Filters(3, width_nm=40)
    seen = made._seen(made.select(axis, statistics), statistics)
    for name, own in seen.classes.items():
        rows = seen.samples[seen.sample_labels == name]
        np.testing.assert_array_equal(own.minimum, rows.min(axis=0))
        np.testing.assert_array_equal(own.maximum, rows.max(axis=0))
        assert (own.histogram.sum(axis=1) == len(rows)).all()


def test_filters_that_the_strategy_would_take_give_way_where_the_others_need_their_room(tmp_path):
    axis, statistics, _ = case()
    catalogue = tmp_path / "filters.csv"
    # The two in the middle tell the classes best; with either no second one fits.
    rows = ["left,540,30", "middle,556,30", "middle2,558,30", "right,575,30"]
    catalogue.write_text("\n".join(["name,centre_nm,width_nm", *rows]))
    made = Filters(2, "fisher", catalogue=str(catalogue), shape="box").select(axis, statistics)
    assert made.params["filters"] == ["left", "right"]
    one = Filters(1, "fisher", catalogue=str(catalogue), shape="box").select(axis, statistics)
    assert one.params["filters"][0].startswith("middle")


def test_passbands_that_touch_are_apart_whatever_rounding_does():
    touching = np.array([[0.0, 0.1 + 0.2], [0.3, 0.6]])
    assert _apart(touching, 0, np.arange(2)).tolist() == [False, True]
    assert _apart(touching, 1, np.arange(2)).tolist() == [True, False]
    overlapping = np.array([[0.0, 0.31], [0.3, 0.6]])
    assert not _apart(overlapping, 0, np.arange(2)).any()
    assert not _apart(overlapping, 1, np.arange(2)).any()


def test_two_good_bands_are_enough_for_a_filter():
    axis = SpectralAxis(np.array([500.0, 530.0]))
    made = Filters(1, width_nm=30, shape="box").select(axis)
    assert len(made) == 1
