"""Strategies that look at the axis alone, against values worked out by hand."""

import numpy as np
import pytest
from band_cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.bands import Full, ListBands, Random, Rgb, Uniform
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.utils.errors import BandError

AXIS = SpectralAxis(np.array([400, 410, 420, 500, 590, 600.0]), good=np.array([1, 1, 1, 1, 1, 0]))


def test_full_is_every_good_band_in_channel_order():
    turned = SpectralAxis(AXIS.wavelengths_nm[::-1], good=AXIS.good[::-1])
    assert Full().select(AXIS).indices == (0, 1, 2, 3, 4)
    assert Full().select(turned).indices == (1, 2, 3, 4, 5)
    assert len(Full().select(mission_axis())) == 408


def test_list_keeps_the_given_order():
    assert ListBands(indices=[3, 0, 2]).select(AXIS).indices == (3, 0, 2)
    assert ListBands(nm=[502, 411, 400]).select(AXIS).indices == (3, 1, 0)
    one, other = ListBands(indices=[0, 3]).select(AXIS), ListBands(indices=[3, 0]).select(AXIS)
    assert one.hash != other.hash


def test_list_of_a_selections_wavelengths_gives_it_back():
    chosen = Random(n=7, seed=3).select(mission_axis())
    again = ListBands(nm=chosen.wavelengths_nm.tolist()).select(mission_axis())
    assert again.indices == chosen.indices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"takes bands\.indices or bands\.nm, but neither is set"),
        ({"indices": [1], "nm": [400.0]}, r"but both are set"),
        ({"nm": []}, r"an empty list"),
        ({"nm": [400.0], "tolerance_nm": -1.0}, r"bands\.tolerance_nm is -1\.0"),
        ({"indices": [6]}, r"bands\.indices holds 6, but the axis has bands 0 to 5"),
        ({"indices": [-1]}, r"bands\.indices holds -1"),
        ({"indices": [5]}, r"bands\.indices holds 5 \(600\.00 nm\).*\(bbl\) marks as bad"),
        ({"indices": [2, 1, 2]}, r"bands\.indices holds 2 more than once"),
        ({"nm": [450.0]}, r"bands\.nm holds 450\. No good band lies within 5 nm.*30\.00 nm away"),
        ({"nm": [400.0, 500.0, 402.0]}, r"holds 400 and 402, whose nearest band is the same: 0"),
    ],
)
def test_list_errors_name_key_value_and_way_out(options, message):
    with pytest.raises(BandError, match=message):
        ListBands(**options).select(AXIS)


def test_rgb_comes_in_red_green_blue_order():
    selection = Rgb().select(mission_axis())
    # 650 nm: (650 - 348.3931) / 1.1332 = 266.2 and so on.
    assert selection.indices == (266, 178, 90)
    assert selection.wavelengths_nm.tolist() == sorted(selection.wavelengths_nm, reverse=True)


def test_rgb_errors():
    with pytest.raises(BandError, match=r"three wavelengths, but bands\.nm holds 2"):
        Rgb(nm=[650, 550])
    with pytest.raises(BandError, match=r"bands\.nm holds 650\. No good band lies within 20 nm"):
        Rgb().select(AXIS)


def test_uniform_on_the_sensor_reaches_both_ends():
    axis = mission_axis()
    assert Uniform(n=1).select(axis).indices == (203,)  # halfway between 203 and 204
    assert Uniform(n=2).select(axis).indices == (0, 407)
    assert Uniform(n=3).select(axis).indices == (0, 203, 407)
    assert Uniform(n=12).select(axis).indices == tuple(range(0, 408, 37))
    # The naive range(0, C, C // n)[:n] stops at 687 nm.
    wide = Uniform(n=300).select(axis)
    assert wide.indices[-1] == 407
    assert np.diff(wide.indices).max() == 2
    for n in range(1, 409):
        assert len(Uniform(n=n).select(axis)) == n


def test_uniform_spreads_over_nm_not_over_indices():
    # 100 bands from 400 to 499 nm, then 6 up to 1000: equal steps in nm.
    axis = SpectralAxis(np.concatenate([np.arange(400, 500), np.arange(500, 1001, 100)]))
    assert Uniform(n=7).select(axis).wavelengths_nm.tolist() == [
        400, 500, 600, 700, 800, 900, 1000,
    ]  # fmt: skip


def test_uniform_moves_from_bad_and_taken_bands():
    # The end 600 is bad: the range is 400-590. Points 400, 495, 590.
    assert Uniform(n=3).select(AXIS).indices == (0, 3, 4)
    # Points 400, 463.3, 526.7, 590: 463.3 -> 500 (36.7 away, 420 is 43.3); 526.7 finds 500
    # taken, 590 taken, and moves to 420.
    assert Uniform(n=4).select(AXIS).indices == (0, 2, 3, 4)
    good = np.ones(9, bool)
    good[4] = False
    axis = SpectralAxis(np.linspace(400, 480, 9), good=good)
    assert Uniform(n=3).select(axis).indices == (0, 3, 8)  # 440 is bad, 430 the lower neighbour


@settings(max_examples=60, deadline=None)
@given(case=cases(max_bands=30), data=st.data())
def test_uniform_includes_both_good_ends(case, data):
    axis, _ = case
    good_nm = axis.wavelengths_nm[axis.good_indices]
    if good_nm.size == 1:
        assert Uniform(n=1).select(axis).indices == (int(axis.good_indices[0]),)
        return
    n = data.draw(st.integers(2, good_nm.size))
    chosen = Uniform(n=n).select(axis).wavelengths_nm
    assert chosen.min() == good_nm.min()
    assert chosen.max() == good_nm.max()


@settings(max_examples=60, deadline=None)
@given(num_bands=st.integers(2, 500), data=st.data())
def test_uniform_on_a_regular_axis_is_rounding(num_bands, data):
    n = data.draw(st.integers(2, num_bands))
    axis = SpectralAxis.linear(400, 900, num_bands)
    points = np.arange(n) * (num_bands - 1) / (n - 1)
    rounded = [int(np.ceil(round(p, 6) - 0.5)) for p in points]  # half goes down
    assert list(Uniform(n=n).select(axis).indices) == rounded


def test_random_is_seeded_nested_and_even():
    axis = mission_axis()
    assert Random(n=20, seed=0).select(axis) == Random(n=20, seed=0).select(axis)
    assert Random(n=20, seed=0).select(axis).indices != Random(n=20, seed=1).select(axis).indices
    small, large = Random(n=10, seed=4).select(axis), Random(n=50, seed=4).select(axis)
    assert set(small.indices) < set(large.indices)
    counts = np.zeros(408)
    for seed in range(400):
        counts[list(Random(n=102, seed=seed).select(axis).indices)] += 1
    # Binomial(400, 1/4): mean 100, sd 8.7; six sd either way.
    assert counts.sum() == 400 * 102
    assert 48 < counts.min() < counts.max() < 152


def test_random_refuses_a_negative_seed():
    with pytest.raises(BandError, match=r"bands\.seed is -1"):
        Random(n=3, seed=-1)
