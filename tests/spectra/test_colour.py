"""Colours against colour-science's own integration, and against what is known of D65."""

import colour
import numpy as np
import pytest

from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.axis import mission_axis
from hyperspec.spectra.colour import (
    band_picture,
    colour_weights,
    exposure_of,
    nearest_bands,
    srgb_picture,
)

WHITE_D65 = (0.95047, 1.0, 1.08883)


def xyz_of(reflectance, axis):
    found = colour_weights(axis)
    return found.weights.T @ reflectance[found.bands]


@pytest.mark.parametrize("step", [1, 5, 10])
def test_equals_colour_science_on_whole_nanometres(step):
    nm = np.arange(380, 781, step, dtype=float)
    reflectance = 0.2 + 0.6 / (1 + np.exp((560 - nm) / 20))
    # Linear interpolation is ours; given the same 1 nm spectrum, the sums must agree.
    fine = np.arange(380, 781, dtype=float)
    spectrum = colour.SpectralDistribution(np.interp(fine, nm, reflectance), fine)
    expected = colour.sd_to_XYZ(
        spectrum,
        colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"]
        .copy()
        .align(colour.SpectralShape(380, 780, 1)),
        colour.SDS_ILLUMINANTS["D65"].copy().align(colour.SpectralShape(380, 780, 1)),
        method="Integration",
    )
    np.testing.assert_allclose(
        xyz_of(reflectance, SpectralAxis(nm)), expected / 100, rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize(
    "axis",
    [
        mission_axis(),
        SpectralAxis.linear(450, 1000, 60),
        SpectralAxis(np.array([600.0, 500.0, 700.0])),
        SpectralAxis(np.array([400.0, 500, 500, 600, 550, 700])),
    ],
)
def test_a_flat_spectrum_is_white_on_any_axis(axis):
    np.testing.assert_allclose(
        xyz_of(np.ones(len(axis)), axis), WHITE_D65, atol=3e-4
    )  # it has four digits
    picture = srgb_picture(
        np.broadcast_to(xyz_of(np.ones(len(axis)), axis)[:, None, None], (3, 1, 2))
    )
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, 255)


def test_order_and_bad_bands_do_not_matter():
    axis = mission_axis()
    reflectance = np.random.default_rng(0).random(len(axis))
    expected = xyz_of(reflectance, axis)
    order = np.random.default_rng(1).permutation(len(axis))
    np.testing.assert_allclose(xyz_of(reflectance[order], axis.subset(order)), expected)
    good = np.ones(len(axis), bool)
    good[100] = False
    marked = SpectralAxis(axis.wavelengths_nm, None, good)
    dead = reflectance.copy()
    dead[100] = np.nan
    without = np.delete(np.arange(len(axis)), 100)
    np.testing.assert_allclose(
        xyz_of(dead, marked), xyz_of(reflectance[without], axis.subset(without))
    )


def test_coverage_is_the_share_of_the_luminance_inside():
    assert colour_weights(mission_axis()).coverage == pytest.approx(1)
    half = colour_weights(SpectralAxis.linear(560, 1000, 441))
    assert half.range_nm == (560, 780)
    nm = np.arange(380, 781.0)
    light = colour.SDS_ILLUMINANTS["D65"].copy().align(colour.SpectralShape(380, 780, 1)).values
    weight = light * colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"][nm][:, 1]
    assert half.coverage == pytest.approx(weight[nm >= 560].sum() / weight.sum(), rel=1e-4)
    assert colour_weights(SpectralAxis.linear(900, 1700, 100)) is None
    assert colour_weights(SpectralAxis(np.array([550.0, 900.0]))) is None


@pytest.mark.parametrize(
    ("low", "high", "strongest"), [(600, 780, 0), (510, 560, 1), (400, 470, 2)]
)
def test_a_narrow_spectrum_has_its_colour(low, high, strongest):
    axis = mission_axis()
    inside = (axis.wavelengths_nm > low) & (axis.wavelengths_nm < high)
    picture = srgb_picture(xyz_of(inside.astype(float), axis)[:, None, None])
    assert picture[0, 0].argmax() == strongest


def test_srgb_encoding_and_missing_pixels():
    grey = np.array(WHITE_D65)[:, None, None] * 0.2140  # the linear light of 127.5 / 255
    picture = srgb_picture(np.concatenate([grey, np.full((3, 1, 1), np.nan)], axis=2))
    assert np.abs(picture[0, 0].astype(int) - 127.5).max() <= 1
    np.testing.assert_array_equal(picture[0, 1], 0)
    np.testing.assert_array_equal(srgb_picture(grey, exposure=10), 255)


def test_planes_are_shown_in_their_order():
    planes = np.zeros((3, 1, 3), np.float32)
    planes[0, 0, 0], planes[1, 0, 1], planes[2, 0, 2] = 7, 7, 7
    np.testing.assert_array_equal(band_picture(planes)[0], 255 * np.eye(3))
    np.testing.assert_array_equal(band_picture(np.full((3, 1, 1), np.nan)), 0)


def test_exposure_is_left_alone_where_it_is_good():
    well, dim = np.linspace(0, 0.8, 1001), np.linspace(0, 0.05, 1001)
    assert exposure_of(well, is_reflectance=True) == 1
    assert exposure_of(dim, is_reflectance=True) == pytest.approx(1 / 0.04975)
    assert exposure_of(well, is_reflectance=False) == pytest.approx(1 / 0.796)
    assert exposure_of(np.full(3, np.nan), is_reflectance=True) == 1
    assert exposure_of(np.zeros(3), is_reflectance=False) == 1


def test_nearest_bands():
    axis = mission_axis()
    np.testing.assert_allclose(
        axis.wavelengths_nm[nearest_bands(axis)], (650, 550, 450), atol=0.6
    )  # half a step
    few = SpectralAxis(np.array([475.0, 560, 668, 717, 840]))
    assert nearest_bands(few) == [2, 1, 0]
    infrared = SpectralAxis.linear(1000, 2000, 11)
    assert nearest_bands(infrared) == [9, 5, 1]
