"""Regions: shares by largest remainders, each region covered from end to end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.bands import Regions, Uniform
from hyperspec.bands.regions import apportion
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.utils.errors import BandError

EDGES = [400.0, 480, 550, 650]


def counts_of(selection, edges=EDGES):
    return np.histogram(selection.wavelengths_nm, [0, *edges, 9999])[0].tolist()


def test_regions_share_equally_and_reach_their_ends():
    axis = mission_axis()
    selection = Regions(n=25).select(axis)
    assert counts_of(selection) == [5, 5, 5, 5, 5]
    region = np.searchsorted(EDGES, axis.wavelengths_nm, side="right")
    for r in range(5):
        inside = np.flatnonzero(region == r)
        chosen = [i for i in selection.indices if region[i] == r]
        assert (chosen[0], chosen[-1]) == (inside[0], inside[-1])
        alone = Uniform(n=5).select(axis.subset(inside)).wavelengths_nm
        np.testing.assert_array_equal(axis.wavelengths_nm[chosen], alone)


def test_rest_goes_to_the_lower_regions_first():
    assert counts_of(Regions(n=7).select(mission_axis())) == [2, 2, 1, 1, 1]
    assert counts_of(Regions(n=1).select(mission_axis())) == [1, 0, 0, 0, 0]


def test_numbers_as_shares_are_kept_exactly():
    shares = [10.0, 0, 3, 20, 7]
    assert counts_of(Regions(n=40, shares=shares).select(mission_axis())) == [10, 0, 3, 20, 7]
    assert counts_of(Regions(n=20, shares=shares).select(mission_axis())) == [5, 0, 2, 10, 3]


def test_overflow_of_a_small_region_goes_to_the_others():
    # 348.4 to 400 nm holds 46 bands of the sensor.
    selection = Regions(n=100, shares=[9.0, 1, 0, 0, 0]).select(mission_axis())
    assert counts_of(selection) == [46, 54, 0, 0, 0]


def test_a_band_on_an_edge_belongs_to_the_region_above():
    axis = SpectralAxis(np.array([390, 400, 410.0]))
    assert Regions(n=2, edges_nm=[400.0], shares=[0, 1]).select(axis).indices == (1, 2)


def test_regions_outside_the_axis_are_empty():
    axis = SpectralAxis.linear(500, 600, 11)
    assert counts_of(Regions(n=6).select(axis)) == [0, 0, 3, 3, 0]


@settings(max_examples=60, deadline=None)
@given(
    shares=st.lists(st.floats(0, 10), min_size=1, max_size=6),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_apportion_is_exact_fair_and_within_capacity(shares, seed, data):
    capacities = np.random.default_rng(seed).integers(0, 9, len(shares)).tolist()
    total = data.draw(st.integers(0, sum(capacities)))
    counts = apportion(total, shares, capacities)
    assert sum(counts) == total
    assert all(0 <= c <= room for c, room in zip(counts, capacities, strict=True))
    if sum(shares) > 0:
        for count, share, room in zip(counts, shares, capacities, strict=True):
            # None falls more than one below its quota unless it is full.
            assert count >= min(int(total * share / sum(shares) + 1e-9), room)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges_nm": [500.0, 400.0]}, r"bands\.edges_nm is \[500\.0, 400\.0\]; give ascending"),
        ({"shares": [1.0, 2.0]}, r"bands\.shares holds 2 values for the 5 regions"),
        ({"shares": [1.0, -1, 0, 0, 0]}, r"numbers of 0 or above, one at least above 0"),
        ({"shares": [0.0] * 5}, r"one at least above 0"),
    ],
)
def test_region_errors(options, message):
    with pytest.raises(BandError, match=message):
        Regions(n=5, **options)
