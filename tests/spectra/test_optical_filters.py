"""Optical filters: areas in closed form, catalogues, and what a sensor can show."""

import numpy as np
import pytest

from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.optical_filters import (
    OpticalFilter,
    filters_on_bands,
    read_catalogue,
    responses,
    usable,
)
from hyperspec.utils.errors import BandError


def test_areas_and_centres_are_those_of_the_shapes():
    given = [
        OpticalFilter("g", 550.3, 20, 0.8),
        OpticalFilter("b", 600.0, 20, 0.5, "box"),
        OpticalFilter("end", 349.0, 20, 1.0, "box"),
    ]
    passed, shares = responses(mission_axis(), given)
    area = 20 * np.sqrt(np.pi / np.log(2)) / 2  # of a Gaussian of this width
    assert passed[0].sum() == pytest.approx(0.8 * area, rel=1e-3)
    assert passed[1].sum() == pytest.approx(0.5 * 20, rel=0.01)
    nm = mission_axis().wavelengths_nm
    assert passed[0] @ nm / passed[0].sum() == pytest.approx(550.3, abs=0.01)
    assert shares[:2] == pytest.approx(1)
    # From the first band's own stretch, 347.83 nm, to 359 nm, of 339 to 359.
    assert shares[2] == pytest.approx((359 - 347.83) / 20, abs=0.01)
    half = np.abs(passed[0] - passed[0].max() / 2).argsort()[:2]
    assert np.sort(nm[half]) == pytest.approx([540.3, 560.3], abs=1.2)  # a step of the axis


def test_bad_bands_and_channel_order_are_minded():
    axis = SpectralAxis.linear(400, 700, 61)
    given = [OpticalFilter("g", 550, 30)]
    passed, _ = responses(axis, given)
    turned, _ = responses(axis.subset(np.arange(61)[::-1]), given)
    np.testing.assert_allclose(turned[:, ::-1], passed)
    good = np.arange(61) != 30  # 550 nm
    without, _ = responses(SpectralAxis(axis.wavelengths_nm, good=good), given)
    assert without.shape == (1, 60)
    assert without.sum() == pytest.approx(passed.sum())  # its neighbours stand for the stretch


def test_a_filter_stands_around_each_band_that_has_room():
    axis = SpectralAxis.linear(400, 700, 31)
    found = filters_on_bands(axis, 40, "box")
    assert [found[0].centre_nm, found[-1].centre_nm] == [420, 680]
    assert len(found) == 27
    with pytest.raises(BandError, match=r"bands\.width_nm is 5, narrower than the 10 nm between"):
        filters_on_bands(axis, 5, "box")
    with pytest.raises(BandError, match=r"bands\.width_nm is 400, wider than the sensor's axis"):
        filters_on_bands(axis, 400, "box")


def test_catalogues_of_rows_and_of_curves(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("name,centre_nm,width_nm,transmission\nB,600,40,0.9\nA,450,10,\n")
    found = read_catalogue(rows, "box", "bands.catalogue")
    assert [(f.name, f.centre_nm, f.width_nm, f.transmission, f.shape) for f in found] == [
        ("A", 450, 10, 1, "box"), ("B", 600, 40, 0.9, "box")]  # fmt: skip
    curves = tmp_path / "curves.csv"
    curves.write_text("wavelength_nm,T\n490,0\n500,0.8\n510,0.8\n520,0\n")
    (one,) = read_catalogue(curves, "box", "bands.catalogue")
    assert one.centre_nm == pytest.approx(505)
    assert one.width_nm == pytest.approx(20)  # area 16 over the peak
    assert one.passes(np.array([495.0, 505, 530])) == pytest.approx([0.4, 0.8, 0])
    passed, _ = responses(mission_axis(), [one])
    assert passed.sum() == pytest.approx(16, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,centre_nm\nA,450\n", "has no column width_nm. A catalogue has name, centre_nm"),
        ("name,centre_nm,width_nm\nA,450,x\n", "line 2: column 'width_nm' is 'x'; give a number"),
        ("name,centre_nm,width_nm\nA,450,0\n", "line 2: centre_nm 450, width_nm 0"),
        ("name,centre_nm,width_nm,transmission\nA,450,9,90\n", "transmission 90; give nanometres"),
        ("name,centre_nm,width_nm\nA,450,9\nA,460,9\n", "has the filter 'A' twice"),
        ("wavelength_nm,A\n400,0\n500,80\n", "Filter 'A' passes up to 80; give transmissions"),
    ],
)
def test_catalogues_with_errors_are_refused(tmp_path, text, message):
    file = tmp_path / "catalogue.csv"
    file.write_text(text)
    with pytest.raises(BandError, match=message):
        read_catalogue(file, "box", "bands.catalogue")


def test_what_the_sensor_cannot_show_is_left_out():
    given = [OpticalFilter(name, nm, width) for name, nm, width in (
        ("uv", 340, 10), ("ok", 500, 10), ("line", 600, 0.5), ("ir", 900, 10))]  # fmt: skip
    kept, passed = usable(mission_axis(), given)
    assert [one.name for one in kept] == ["ok"]
    assert passed.shape == (1, 408)
