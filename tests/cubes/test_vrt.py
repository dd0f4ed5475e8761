"""What GDAL may open: no description of other files under another name, none outside its folder."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cube_oracle import axis_of, fixture_cube

from hyperspec.cubes import open_cube
from hyperspec.cubes.checksums import ChecksumCache, source_digests
from hyperspec.cubes.vrt import check_vrt
from hyperspec.utils.errors import CubeError

VALUES = fixture_cube((3, 4, 5))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "cubes"
    folder.mkdir()
    for path in (folder / "real.tif", tmp_path / "outside.tif"):
        with rasterio.open(
            path, "w", driver="GTiff", count=3, height=4, width=5, dtype="uint16",
            transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
        ) as target:  # fmt: skip
            target.write(VALUES)
    return folder


def vrt(path, name, relative=0, root=""):
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path.write_text(f'<VRTDataset rasterXSize="5" rasterYSize="4"{root}>{bands}</VRTDataset>')
    return path


def test_a_virtual_raster_of_its_own_folder_opens(source):
    path = vrt(source / "x.vrt", "real.tif", 1)
    with open_cube(path, axis_of(3)) as cube:
        np.testing.assert_array_equal(cube.read_raw(), VALUES)
    nested = vrt(source / "y.vrt", "x.vrt", 1)
    assert {file.name for file in check_vrt(nested)} == {"x.vrt", "real.tif"}
    with open_cube(nested, axis_of(3)) as cube:
        np.testing.assert_array_equal(cube.read_raw(), VALUES)


@pytest.mark.parametrize("name", ["x.bil", "x.raw", "x.tif", "x"])
@pytest.mark.parametrize("prolog", ["", "<?xml version='1.0'?>\n", "<!-- " + "a" * 300 + " -->"])
def test_a_virtual_raster_under_another_name_is_not_followed(source, name, prolog):
    path = vrt(source / name, "real.tif", 1)
    path.write_text(prolog + path.read_text())
    with pytest.raises(
        CubeError, match=rf"{name} is a GDAL virtual raster \(VRT\), which names oth"
    ):
        open_cube(path, axis_of(3))


@pytest.mark.parametrize(
    "name",
    ["../outside.tif", "/vsicurl/http://127.0.0.1:9/x.tif", "http://127.0.0.1:9/x.tif",
     "/vsizip/x.zip/x.tif", 'HDF5:"real.h5"://a', "WMS:http://127.0.0.1:9", "missing.tif",
     "&lt;VRTDataset/&gt;"],
)  # fmt: skip
def test_nothing_outside_its_folder_is_followed(source, name):
    path = vrt(source / "x.vrt", name, 1)
    with pytest.raises(
        CubeError, match=r"takes values from .*which is no file in .* is not followed"
    ):
        open_cube(path, axis_of(3))


def test_a_source_is_no_way_around(source):
    """Under a name that looks like a raster, GDAL would follow it just the same."""
    (source / "real2.tif").write_text("<GDAL_WMS><Service name='TMS'></Service></GDAL_WMS>")
    with pytest.raises(CubeError, match=r"real2.tif"):
        open_cube(vrt(source / "x.vrt", "real2.tif", 1), axis_of(3))
    vrt(source / "inner.tif", "../outside.tif", 1)
    with pytest.raises(CubeError, match=r"inner.tif takes values from '../outside.tif'"):
        open_cube(vrt(source / "y.vrt", "inner.tif", 1), axis_of(3))
    link = source / "link.tif"
    link.symlink_to(source.parent / "outside.tif")
    with pytest.raises(CubeError, match=r"takes values from 'link.tif'"):
        open_cube(vrt(source / "z.vrt", "link.tif", 1), axis_of(3))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<VRTDataset", "cannot be read"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><VRTDataset/>", "it declares entities"),
        ("<VRTDataset subClass='VRTWarpedDataset'/>", "computed virtual raster"),
    ],
)
def test_virtual_rasters_that_are_refused(source, content, text):
    (source / "x.vrt").write_text(content)
    with pytest.raises(CubeError, match=text):
        open_cube(source / "x.vrt", axis_of(3))


@pytest.mark.parametrize(
    "content",
    ["<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9</ServerUrl></Service></GDAL_WMS>",
     '{"type": "FeatureCollection", "features": []}', "SQLite format 3\0"],
)  # fmt: skip
def test_other_descriptions_are_of_no_known_format(source, content):
    path = source / "x.bil"
    path.write_text(content)
    with pytest.raises(CubeError, match=r"x.bil has no header"):
        open_cube(path, axis_of(3))


def test_a_changed_source_is_another_cube(source):
    path = vrt(source / "x.vrt", "real.tif", 1)
    before = source_digests(path, ChecksumCache(None))
    with rasterio.open(source / "real.tif", "r+") as target:
        target.write(VALUES + 1)
    assert source_digests(path, ChecksumCache(None)) != before
