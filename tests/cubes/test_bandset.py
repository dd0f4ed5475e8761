"""Folders with one raster per band, or per set of bands, against the whole array."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.cubes.cube import Window
from hyperspec.cubes.files import band_files
from hyperspec.cubes.open import open_cube
from hyperspec.inspection.info import look_at
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

VALUES = np.random.default_rng(0).integers(0, 999, (5, 8, 9)).astype("u2")
NM = [450.0, 550.0, 650.5, 850.0, 1000.0]


def write(path, planes, nm=None, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = planes.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", dtype=planes.dtype, nodata=nodata, **profile) as target:
        target.write(planes)
        for index, value in enumerate(nm or [], start=1):
            target.update_tags(index, wavelength=str(value), wavelength_units="nm")


@pytest.fixture
def single(tmp_path):
    """One file per band, wavelength in the name; alphabetically 1000 comes before 450."""
    for nm, plane in zip(NM, VALUES, strict=True):
        write(tmp_path / "s" / f"scene_{nm:g}nm.tif", plane[None])
    write(tmp_path / "s" / "scene_mask.tif", (VALUES[:1] > 60).astype(VALUES.dtype))
    return tmp_path / "s"


@pytest.fixture
def sets(tmp_path):
    """Two files with tags; the infrared one comes first by name."""
    write(tmp_path / "v" / "a_swir.tif", VALUES[3:], NM[3:], nodata=7)
    write(tmp_path / "v" / "b_vnir.tif", VALUES[:3], NM[:3], nodata=7)
    return tmp_path / "v"


@pytest.mark.parametrize("kind", ["single", "sets"])
def test_bands_are_in_the_order_of_their_wavelengths(kind, request):
    with open_cube(request.getfixturevalue(kind)) as cube:
        assert cube.shape == (5, 8, 9)
        assert cube.dtype == np.uint16
        np.testing.assert_array_equal(cube.axis.wavelengths_nm, NM)
        np.testing.assert_array_equal(cube.read_raw(), VALUES)


def test_any_bands_and_window(sets):
    with open_cube(sets) as cube:

        @settings(max_examples=40, deadline=None)
        @given(
            st.lists(st.integers(0, 4), min_size=1, max_size=7),
            st.tuples(st.integers(0, 7), st.integers(0, 8)),
        )
        def check(bands, corner):
            row, col = corner
            got = cube.read_raw(bands, Window(row, col, 8 - row, 9 - col))
            np.testing.assert_array_equal(got, VALUES[bands, row:, col:], strict=True)

        check()
        assert cube.nodata == 7
        np.testing.assert_array_equal(np.isnan(cube.read()), VALUES == 7)
    with pytest.raises(CubeError, match="is closed"):
        cube.read_raw([0])


def test_a_given_axis_counts_numbers_in_names_as_numbers(tmp_path):
    for index, plane in enumerate(VALUES):
        write(tmp_path / "n" / f"band{index * 5}.tif", plane[None])  # 0 5 10 15 20
    axis = SpectralAxis(np.array(NM))
    with open_cube(tmp_path / "n", axis) as cube:
        np.testing.assert_array_equal(cube.read_raw(), VALUES)
        assert cube.axis == axis
    with pytest.raises(AxisError, match=r"given axis has 3 bands, but the files of .* have 5"):
        open_cube(tmp_path / "n", axis.subset([0, 1, 2]))
    with pytest.raises(AxisError, match=r"band0\.tif has no wavelength: neither a tag"):
        open_cube(tmp_path / "n")


def test_what_does_not_fit_is_told(single):
    write(single / "scene_700nm.tif", VALUES[:1, :4])
    with pytest.raises(CubeError, match=r"scene_700nm\.tif has lines and samples \(4, 9\)"):
        open_cube(single)
    write(single / "scene_700nm.tif", VALUES[:1].astype("f4"))
    with pytest.raises(CubeError, match=r"scene_700nm\.tif has type float32 and .* uint16"):
        open_cube(single)
    (single / "scene_700nm.tif").unlink()
    write(single / "other_550nm.tif", VALUES[:1])
    with pytest.raises(AxisError, match=r"550 nm occurs twice, in other_550nm\.tif and scene_550"):
        open_cube(single)
    (single / "other_550nm.tif").write_bytes(b"no picture")
    with pytest.raises(CubeError, match="cannot be read by GDAL"):
        open_cube(single)


def test_a_folder_without_rasters_is_none(tmp_path):
    assert band_files(tmp_path) == []
    with pytest.raises(CubeError, match="is a folder; give one cube's data file"):
        open_cube(tmp_path)


def test_info_of_a_band_set(single):
    info = look_at(single)
    assert info.cube.shape == (5, 8, 9)
    np.testing.assert_array_equal(info.rgb, VALUES[[2, 1, 0]])
    assert info.cube.metadata["band files"].startswith("scene_450nm.tif, scene_550nm.tif")
