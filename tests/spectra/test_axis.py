"""The spectral axis: validation, nearest bands, identity, differences."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.utils.errors import AxisError, HyperspecError


def axis_of(*nm, good=None, fwhm=None):
    return SpectralAxis(
        np.array(nm, float),
        None if fwhm is None else np.array(fwhm, float),
        None if good is None else np.array(good, bool),
    )


def test_the_sensor_has_408_bands_at_the_known_wavelengths():
    axis = mission_axis()
    assert len(axis) == 408
    np.testing.assert_allclose(axis.wavelengths_nm, 348.3931 + 1.1332 * np.arange(408), atol=1e-9)
    assert axis.range_nm == pytest.approx((348.3931, 809.6055))
    assert repr(axis) == "SpectralAxis(408 bands, 348.4-809.6 nm, 0 bad)"


def test_linear_includes_both_ends():
    assert SpectralAxis.linear(400, 500, 5).wavelengths_nm.tolist() == [400, 425, 450, 475, 500]
    assert SpectralAxis.linear(500, 400, 3).wavelengths_nm.tolist() == [500, 450, 400]
    assert SpectralAxis.linear(500, 900, 1).wavelengths_nm.tolist() == [500]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: axis_of(), r"wavelengths_nm has shape \(0,\); give one value per band"),
        (lambda: SpectralAxis(np.ones((2, 3))), r"wavelengths_nm has shape \(2, 3\)"),
        (lambda: axis_of(400, np.nan), r"wavelengths_nm\[1\] is nan; every band centre must be"),
        (lambda: axis_of(400, np.inf), r"wavelengths_nm\[1\] is inf"),
        (lambda: axis_of(0, 400), r"wavelengths_nm\[0\] is 0\.0"),
        (lambda: axis_of(400, 500, -3), r"wavelengths_nm\[2\] is -3\.0"),
        (lambda: axis_of(400, 500, good=[1]), r"good has shape \(1,\), but there are 2"),
        (lambda: axis_of(400, 500, fwhm=[1, 1, 1]), r"fwhm_nm has shape \(3,\), but there are 2"),
        (lambda: SpectralAxis.linear(400, 500, 0), r"An axis of 0 bands was asked for"),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(AxisError, match=message):
        make()


def test_an_axis_cannot_be_changed_nor_share_its_callers_array():
    nm = np.array([400.0, 500])
    axis = SpectralAxis(nm)
    nm[0] = 1
    assert axis.wavelengths_nm[0] == 400
    with pytest.raises(ValueError, match="read-only"):
        axis.wavelengths_nm[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        axis.good[0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        axis.good = np.zeros(2, bool)


def test_good_indices_are_in_channel_order():
    axis = axis_of(900, 400, 500, 450, good=[1, 0, 1, 1])
    assert axis.good_indices.tolist() == [0, 2, 3]
    assert repr(axis).endswith("1 bad)")


def test_nearest_takes_the_lower_of_two_and_no_bad_band():
    assert axis_of(400, 410, 420).nearest(405) == 0
    assert axis_of(420, 410, 400).nearest(405) == 2
    assert axis_of(400, 410, 420, good=[1, 0, 1]).nearest(411) == 2
    assert axis_of(400, 410, 420).nearest(9000) == 2
    assert axis_of(400, 400, 420).nearest(401) == 0  # twins: the first channel


@settings(max_examples=60, deadline=None)
@given(
    nm=st.lists(st.integers(300, 1000), min_size=1, max_size=12),
    wanted=st.integers(250, 1100),
    seed=st.integers(0, 99),
)
def test_nearest_is_the_nearest_of_a_plain_search(nm, wanted, seed):
    good = np.random.default_rng(seed).random(len(nm)) < 0.7
    good[0] = True
    axis = axis_of(*nm, good=good)
    want = min(
        (i for i in range(len(nm)) if good[i]), key=lambda i: (abs(nm[i] - wanted), nm[i], i)
    )
    assert axis.nearest(wanted) == want
    assert axis.nearest(wanted, abs(nm[want] - wanted)) == want


def test_nearest_errors_say_how_far_the_next_band_is():
    axis = axis_of(400, 410, 420)
    with pytest.raises(
        AxisError,
        match=r"within 5 nm of 500 nm: the nearest is band 2 at 420\.00 nm, 80\.00 nm away "
        r"\(the axis spans 400\.0-420\.0 nm\).*widen the tolerance",
    ):
        axis.nearest(500, 5)
    with pytest.raises(AxisError, match=r"nan"):
        axis.nearest(float("nan"), 5)
    with pytest.raises(AxisError, match=r"All 2 bands are marked bad, so 500 nm has none near it"):
        axis_of(400, 500, good=[0, 0]).nearest(500)


def test_equality_follows_centres_widths_and_bad_bands():
    axis = axis_of(400, 410, 420)
    assert axis == axis_of(400.00001, 410, 420)
    assert hash(axis) == hash(axis_of(400, 410, 420))
    others = [
        axis_of(400.001, 410, 420),
        axis_of(410, 400, 420),
        axis_of(400, 410),
        axis_of(400, 410, 420, good=[1, 0, 1]),
        axis_of(400, 410, 420, fwhm=[2, 2, 2]),
        axis_of(400, 410, 420, fwhm=[2, 2, 3]),
    ]
    hashes = {a.hash for a in [axis, *others]}
    assert len(hashes) == 7
    assert axis != "axis"
    assert axis.hash == SpectralAxis(np.array([400, 410, 420], np.float32)).hash


def test_the_hash_tells_widths_from_further_bands():
    assert axis_of(400, 410, fwhm=[420, 430]).hash != axis_of(400, 410, 420, 430).hash


def test_subset_keeps_order_widths_and_bad_bands():
    axis = axis_of(400, 410, 420, good=[1, 0, 1], fwhm=[1, 2, 3])
    small = axis.subset([2, 1])
    assert small.wavelengths_nm.tolist() == [420, 410]
    assert small.fwhm_nm.tolist() == [3, 2]
    assert small.good.tolist() == [True, False]
    assert axis_of(400, 410).subset(np.array([1])).fwhm_nm is None


def test_differences_in_words():
    axis = axis_of(400, 410, 420)
    assert axis.differences(axis_of(400.005, 410, 420)) == []
    assert axis.differences(axis_of(400, 410)) == ["2 bands instead of 3"]
    drifted = axis.differences(axis_of(400.5, 412, 420))
    assert drifted == [
        "band centres differ by up to 2.000 nm (band 1: 412.000 instead of 410.000 nm)"
    ]
    assert axis.differences(axis_of(401, 410, 420), tolerance_nm=2) == []
    assert axis.differences(axis_of(400, 410, 420, good=[0, 1, 0])) == [
        "bad-band lists differ at bands 0, 2"
    ]
    many = SpectralAxis(mission_axis().wavelengths_nm, good=np.arange(408) >= 20)
    assert mission_axis().differences(many) == [
        "bad-band lists differ at bands 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
    ]


def test_differences_name_band_widths():
    wide = axis_of(400, 410, fwhm=[2, 2])
    assert wide.differences(axis_of(400, 410, fwhm=[2, 5])) == [
        "band widths differ by up to 3.000 nm (band 1: 5.000 instead of 2.000 nm)"
    ]
    assert wide.differences(axis_of(400, 410)) == []
    assert axis_of(400, 410).differences(wide) == []


@pytest.mark.parametrize("fwhm", [None, [1.5, 2.5, 3.5]])
def test_json_round_trip(fwhm):
    axis = axis_of(900.123, 400, 500, good=[1, 0, 1], fwhm=fwhm)
    again = SpectralAxis.from_dict(json.loads(json.dumps(axis.to_dict())))
    assert again == axis
    np.testing.assert_array_equal(again.wavelengths_nm, axis.wavelengths_nm)


def test_errors_are_hyperspec_errors_and_value_errors():
    with pytest.raises(HyperspecError):
        axis_of(-1)
    assert issubclass(HyperspecError, ValueError)
