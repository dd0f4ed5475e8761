"""A header that has the name of a file, and describes another."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cube_oracle import axis_of, fixture_cube, header_text, write_pair

from hyperspec.cubes import open_cube, write_envi
from hyperspec.cubes.read_options import ReadOptions
from hyperspec.utils.errors import CubeError

SHAPE = (3, 4, 5)


def pair(folder, first="a.bil", second="a.bsq", interleave="bsq"):
    """Two files of one size and one header, which is the second's."""
    values = fixture_cube(SHAPE)
    write_envi(folder / first, values, axis_of(3), interleave="bil")
    write_envi(folder / second, values, axis_of(3), interleave=interleave)
    return values


def test_the_file_of_another_interleave_is_refused_by_both_names(tmp_path):
    values = pair(tmp_path)
    with pytest.raises(CubeError, match=r"a.bil and a.bsq share one header, a.hdr.*describes a.bs"):
        open_cube(tmp_path / "a.bil")
    with open_cube(tmp_path / "a.bsq") as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
    (tmp_path / "a.hdr").rename(tmp_path / "a.bsq.hdr")
    write_envi(tmp_path / "a.bil", values, axis_of(3), header_suffix=".bil.hdr")
    for name in ("a.bil", "a.bsq"):  # the way out that the message names
        with open_cube(tmp_path / name) as cube:
            np.testing.assert_array_equal(cube.read_raw(), values)


@pytest.mark.parametrize(
    ("first", "second"), [("a.raw", "a.dat"), ("a.BIL", "a.bil"), ("a", "a.img")]
)
def test_files_that_the_header_cannot_tell_apart_are_refused(tmp_path, first, second):
    pair(tmp_path, first, second, "bil")
    if (tmp_path / first).samefile(tmp_path / second):
        pytest.skip("file names ignore case here")
    both = [tmp_path / first, tmp_path / second]
    for path, other in (both, both[::-1]):
        with pytest.raises(CubeError, match=rf"{path.name} and {other.name} share one header"):
            open_cube(path)


def test_a_file_of_another_size_does_not_share(tmp_path):
    values = fixture_cube(SHAPE)
    write_envi(tmp_path / "a.raw", values, axis_of(3))
    (tmp_path / "a.dat").write_bytes(bytes(7))
    with open_cube(tmp_path / "a.raw") as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
    with pytest.raises(
        CubeError, match=r"a.hdr describes a.raw and not .*a.dat, which has 7 bytes"
    ):
        open_cube(tmp_path / "a.dat")


MAGIC = {
    "a TIFF": b"II*\0",
    "a TIFF,": b"MM\0+",
    "an ERDAS IMAGINE file": b"EHFA_HEADER_TAG",
    "a GDAL virtual raster": b"<VRTDataset rasterXSize='5'>",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
}


@pytest.mark.parametrize("kind", MAGIC)
@pytest.mark.parametrize("options", [ReadOptions(), ReadOptions(trailing_bytes="ignore")])
def test_a_file_with_a_layout_of_its_own_is_named(tmp_path, kind, options):
    write_envi(tmp_path / "a.bil", fixture_cube(SHAPE), axis_of(3))
    (tmp_path / "a.img").write_bytes(MAGIC[kind] + bytes(500))
    with pytest.raises(
        CubeError, match=rf"a.img in .* is {kind}.*a.hdr describes raw values, tho.*a.bil"
    ):
        open_cube(tmp_path / "a.img", options=options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_tiff_beside_a_cube_opens_once_the_header_has_its_name(tmp_path):
    values = fixture_cube(SHAPE)
    write_envi(tmp_path / "a.bil", values, axis_of(3))
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=3, height=4, width=5, dtype="uint16"
    ) as target:
        target.write(values)
    with pytest.raises(
        CubeError, match=r"a.tif in .* is a TIFF.* \(a.bil.hdr\), and a.tif is read"
    ):
        open_cube(tmp_path / "a.tif", axis_of(3))
    (tmp_path / "a.hdr").rename(tmp_path / "a.bil.hdr")
    for name in ("a.tif", "a.bil"):
        with open_cube(tmp_path / name, axis_of(3)) as cube:
            np.testing.assert_array_equal(cube.read_raw(), values)


def test_trailing_bytes_are_an_option(tmp_path):
    path = write_pair(tmp_path, header_text(), size=48 + 9)
    with pytest.raises(
        CubeError, match=r"57 bytes, longer than the 48 .*data.trailing_bytes=ignore"
    ):
        open_cube(path)
    with pytest.warns(
        UserWarning, match="9 bytes behind the values that x.hdr declares are left out"
    ):
        cube = open_cube(path, options=ReadOptions(trailing_bytes="ignore"))
    expected = np.frombuffer(path.read_bytes()[:48], "<u2").reshape(2, 3, 4).transpose(1, 0, 2)
    np.testing.assert_array_equal(cube.read_raw(), expected)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CubeError, match=r"40 bytes, shorter than the 48 .*correct the header\.$"):
        open_cube(path, options=ReadOptions(trailing_bytes="ignore"))
