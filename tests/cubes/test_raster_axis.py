"""The axis of rasters, from tags as GDAL, the EnMAP-Box and others write them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cube_oracle import fixture_cube

from hyperspec.cubes import open_cube, write_envi
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import AxisError

NM = [418.416, 424.043, 429.457]


def tiff(path, bands=None, whole=None, domain=None, central=None):
    """A GeoTIFF with tags per band (lists) and of the file."""
    values = fixture_cube((3, 4, 5))
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=4, width=5, dtype="uint16",
        transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
    ) as target:  # fmt: skip
        target.write(values)
        for key, texts in (bands or {}).items():
            for band, text in enumerate(texts, 1):
                if text is not None:
                    target.update_tags(band, ns=domain, **{key: text})
        target.update_tags(ns=domain, **(whole or {}))
        for band, text in enumerate(central or [], 1):
            target.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=text)
    return path


def axis_of_file(path):
    with open_cube(path) as cube:
        return cube.axis


def texts(values):
    return [str(value) for value in values]


def test_a_copy_by_gdal_has_the_exact_axis_of_its_original(tmp_path):
    nm = 348.3931 + 1.1332 * np.arange(40)
    write_envi(tmp_path / "a.bil", fixture_cube((40, 4, 5)), SpectralAxis(nm))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        rasterio.shutil.copy(str(tmp_path / "a.bil"), str(tmp_path / "copy.tif"), driver="GTiff")
        with rasterio.open(tmp_path / "copy.tif") as copy:  # the tag that was read before
            assert copy.tags(1, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.348"
    assert axis_of_file(tmp_path / "copy.tif") == axis_of_file(tmp_path / "a.bil")


@pytest.mark.parametrize("domain", [None, "ENVI"])
@pytest.mark.parametrize("place", ["bands", "whole"])
def test_all_three_lists_in_every_place(tmp_path, domain, place):
    lists = {"wavelength": texts(NM), "fwhm": ["6.5", "6.4", "6.3"], "bbl": ["1", "0", "1"]}
    if place == "bands":
        lists["wavelength_units"] = ["Nanometers"] * 3
        path = tiff(tmp_path / "x.tif", lists, domain=domain)
    else:
        whole = {key: "{" + ", ".join(items) + "}" for key, items in lists.items()}
        whole["wavelength_units"] = "Nanometers"
        path = tiff(tmp_path / "x.tif", whole=whole, domain=domain)
    axis = axis_of_file(path)
    assert axis.wavelengths_nm.tolist() == NM
    assert axis.fwhm_nm.tolist() == [6.5, 6.4, 6.3]
    assert axis.good.tolist() == [True, False, True]


def test_units_behind_the_numbers_and_keys_in_capitals(tmp_path):
    path = tiff(tmp_path / "x.tif", {"WAVELENGTH": [f"{nm / 1000} um" for nm in NM]})
    np.testing.assert_allclose(axis_of_file(path).wavelengths_nm, NM)
    path = tiff(
        tmp_path / "y.tif", {"Wavelength": [f"{nm} nm" for nm in NM], "BBL": ["0", "1", "1"]}
    )
    axis = axis_of_file(path)
    assert axis.wavelengths_nm.tolist() == NM
    assert axis.good.tolist() == [False, True, True]


def test_a_missing_unit_is_told_by_gdals_own_tag(tmp_path):
    path = tiff(tmp_path / "x.tif", {"wavelength": texts(NM)}, central=["0.418", "0.424", "0.429"])
    assert axis_of_file(path).wavelengths_nm.tolist() == NM  # and no warning of an inferred unit


def test_the_finer_of_two_tags_is_taken(tmp_path):
    exact = ["0.418416", "0.424043", "0.429457"]
    path = tiff(tmp_path / "x.tif", {"wavelength": ["418", "424", "429"]}, central=exact)
    np.testing.assert_allclose(axis_of_file(path).wavelengths_nm, NM)
    path = tiff(tmp_path / "y.tif", {"wavelength": ["b1", "b2", "b3"]}, central=exact)
    np.testing.assert_allclose(axis_of_file(path).wavelengths_nm, NM)
    path = tiff(tmp_path / "z.tif", central=exact)
    np.testing.assert_allclose(axis_of_file(path).wavelengths_nm, NM)


@pytest.mark.parametrize(
    ("bands", "central", "text"),
    [
        (
            {"wavelength": ["418.4", "500", "600"], "wavelength_units": ["nm"] * 3},
            ["0.418", "0.424", "0.429"],
            r"band 2 contradict each other: `wavelength` says 600 nm and `CENTRAL_.*` 429 nm",
        ),
        (
            {"wavelength": ["418", None, "429"]},
            None,
            r"has wavelengths in the tags of 2 of tags|2 of",
        ),
        ({"wavelength": ["418 nm", "0.4 um", "429 nm"]}, None, r"are in several units: 'nm', 'um'"),
        (
            {"wavelength": ["red", "green", "blue"]},
            None,
            r"`wavelength` of band 0 is 'red', no num",
        ),
        (
            {"wavelength": texts(NM), "wavelength_units": ["nm"] * 3, "bbl": ["1", None, "0"]},
            None,
            r"`bbl` has 2 items for 3 bands",
        ),
    ],
)
def test_tags_that_do_not_fit(tmp_path, bands, central, text):
    path = tiff(tmp_path / "x.tif", bands, central=central)
    with pytest.raises(AxisError, match=text):
        open_cube(path)


def test_bad_bands_stay_bad_under_a_given_axis(tmp_path):
    path = tiff(tmp_path / "x.tif", {"bbl": ["1", "0", "1"]})
    with open_cube(path, SpectralAxis(NM)) as cube:
        assert cube.axis.good.tolist() == [True, False, True]


def test_a_band_set_keeps_widths_and_bad_bands(tmp_path):
    for band, nm in enumerate(NM):
        values = fixture_cube((1, 4, 5))
        with rasterio.open(
            tmp_path / f"b{band}.tif", "w", driver="GTiff", count=1, height=4, width=5,
            dtype="uint16", transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
        ) as target:  # fmt: skip
            target.write(values)
            target.update_tags(
                1, wavelength=str(nm), wavelength_units="nm", fwhm="6.5", bbl=str(int(band != 1))
            )
    with open_cube(tmp_path) as cube:
        assert cube.axis.good.tolist() == [True, False, True]
        assert cube.axis.fwhm_nm.tolist() == [6.5] * 3
