from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cube_oracle import CODES, axis_of, fixture_cube, header_text, oracle, write_pair
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperspec
from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.spectra import BandSelection, SpectralAxis
from hyperspec.utils.errors import AxisError, BandError, CubeError


@st.composite
def layouts(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(2, 7), st.integers(1, 8)))
    row, col = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[2] - 1))
    return {
        "shape": shape,
        "dtype": draw(st.sampled_from(list(CODES))),
        "interleave": draw(st.sampled_from(["bil", "bip", "bsq"])),
        "byte_order": draw(st.sampled_from([0, 1])),
        "header_offset": draw(st.sampled_from([0, 1, 13, 5000])),
        "bands": draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=12)),
        "window": Window(
            row, col, draw(st.integers(1, shape[1] - row)), draw(st.integers(1, shape[2] - col))
        ),
        "scale": draw(st.sampled_from([None, 0.0, 1.0, 10000.0, 4095.0])),
        "suffix": draw(st.sampled_from([".hdr", ".bil.hdr"])),
    }


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_every_layout_reads_as_rasterio_does(layout):
    values = fixture_cube(layout["shape"], layout["dtype"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a specimen.bil"
        write_envi(
            path,
            values,
            axis_of(len(values)),
            interleave=layout["interleave"],
            byte_order=layout["byte_order"],
            header_offset=layout["header_offset"],
            scale_factor=layout["scale"],
            header_suffix=layout["suffix"],
        )
        bands, window = layout["bands"], layout["window"]
        with open_cube(path) as cube:
            whole, part = cube.read_raw(), cube.read_raw(bands, window)
            reflectance = cube.read(bands, window)
        expected = oracle(path, bands, window)
        np.testing.assert_array_equal(whole, oracle(path))
        np.testing.assert_array_equal(whole, values)
        np.testing.assert_array_equal(part, expected)
        assert part.dtype == expected.dtype
        assert part.dtype.isnative
        assert part.flags.c_contiguous
        assert reflectance.flags.c_contiguous
        assert reflectance.dtype == np.float32
        divided = expected.astype(np.float64) / (layout["scale"] or 1.0)
        np.testing.assert_allclose(reflectance, divided, rtol=2e-7)


def test_shape_and_names(tmp_path):
    write_envi(tmp_path / "x.bil", fixture_cube((5, 3, 4)), axis_of(5))
    with hyperspec.open(tmp_path / "x.bil") as cube:
        assert isinstance(cube, Cube)
        assert (cube.num_bands, cube.num_lines, cube.num_samples) == cube.shape == (5, 3, 4)
        assert cube.dtype == np.uint16
        assert cube.metadata["interleave"] == "bil"
        assert repr(cube).startswith("Cube('x.bil', (5, 3, 4), uint16, SpectralAxis(5 bands")


def test_a_selection_reads_its_own_bands(tmp_path):
    values = fixture_cube((5, 3, 4))
    write_envi(tmp_path / "x.bil", values, axis_of(5))
    with open_cube(tmp_path / "x.bil") as cube:
        chosen = BandSelection((4, 0), cube.axis, "list")
        np.testing.assert_array_equal(cube.read(chosen), values[[4, 0]].astype(np.float32))
        other = BandSelection((4, 0), SpectralAxis.linear(500, 600, 5), "list")
        with pytest.raises(AxisError, match=r"another axis .* 195.467 nm .* selection\.resolve"):
            cube.read(other)
        # A calibration that drifted by less than 0.01 nm is the same axis.
        near = BandSelection((3,), SpectralAxis(cube.axis.wavelengths_nm + 0.005), "list")
        np.testing.assert_array_equal(cube.read_raw(near), values[[3]])


@pytest.mark.parametrize(
    ("bands", "text"),
    [
        ([5], r"Band 5 was asked of .*x.bil, which has bands 0 to 4 \(indices are 0-based\)"),
        ([0, -1], "Band -1 was asked of"),
        ([], "at least one 0-based index"),
        ([0.5], "does not name bands"),
        ([True, False], "does not name bands"),
    ],
)
def test_bands_that_are_not_there(tmp_path, bands, text):
    write_envi(tmp_path / "x.bil", fixture_cube((5, 3, 4)), axis_of(5))
    with open_cube(tmp_path / "x.bil") as cube, pytest.raises(BandError, match=text):
        cube.read(bands)


@pytest.mark.parametrize("window", [(0, 0, 4, 1), (0, 4, 1, 1), (-1, 0, 1, 1), (0, 0, 0, 1)])
def test_windows_outside_the_frame(tmp_path, window):
    write_envi(tmp_path / "x.bil", fixture_cube((5, 3, 4)), axis_of(5))
    with (
        open_cube(tmp_path / "x.bil") as cube,
        pytest.raises(CubeError, match=r"is no window of .* which has 3 lines and 4 samples"),
    ):
        cube.read_raw(window=Window(*window))


@pytest.mark.parametrize(
    ("dtype", "nodata", "hits"),
    [
        ("u2", "65535", 1),
        ("i2", "-32768", 1),
        ("f4", "-1e34", 1),
        ("f8", "-9999", 1),
        ("u2", "-9999", 0),
        ("u2", "7.5", 0),
        ("f4", "nan", 0),
    ],
)
def test_nodata_becomes_nan_and_raw_values_stay(tmp_path, dtype, nodata, hits):
    values = fixture_cube((3, 2, 4), dtype)
    if hits:
        values[1, 1, 2] = np.dtype(dtype).type(float(nodata))
    write_envi(
        tmp_path / "x.bil",
        values,
        axis_of(3),
        scale_factor=100,
        extra={"data ignore value": nodata},
    )
    with open_cube(tmp_path / "x.bil") as cube:
        read, raw = cube.read(), cube.read_raw()
    np.testing.assert_array_equal(raw, values)
    expected = (values / 100).astype(np.float32)
    if hits:
        expected[1, 1, 2] = np.nan
    np.testing.assert_allclose(read, expected, rtol=2e-7)
    assert np.isnan(read).sum() == hits


def test_nan_pixels_stay_nan(tmp_path):
    values = fixture_cube((3, 2, 4), "f4")
    values[0, 1, 1] = np.nan
    write_envi(tmp_path / "x.bil", values, axis_of(3))
    with open_cube(tmp_path / "x.bil") as cube:
        np.testing.assert_array_equal(cube.read(), values)


def test_a_closed_cube_says_so(tmp_path):
    write_envi(tmp_path / "x.bil", fixture_cube((3, 2, 4)), axis_of(3))
    cube = open_cube(tmp_path / "x.bil")
    cube.close()
    with pytest.raises(CubeError, match=r"x\.bil is closed; open it again"):
        cube.read()


def test_what_was_read_outlives_the_map(tmp_path):
    values = fixture_cube((3, 2, 4))
    write_envi(tmp_path / "x.bil", values, axis_of(3), interleave="bsq")
    with open_cube(tmp_path / "x.bil") as cube:
        raw = cube.read_raw()
    raw[0, 0, 0] += 1  # a copy, not a read-only view of the file
    assert oracle(tmp_path / "x.bil")[0, 0, 0] == values[0, 0, 0]


def test_size_must_be_what_the_header_declares(tmp_path):
    path = tmp_path / "x.bil"
    write_envi(path, fixture_cube((3, 2, 4)), axis_of(3), header_offset=2)
    for size, relation in ((49, "shorter"), (51, "longer"), (0, "shorter")):
        path.write_bytes(bytes(size))
        with pytest.raises(CubeError, match=rf"{size} bytes, {relation} than the 50 that x.hdr"):
            open_cube(path)


def test_a_huge_claim_allocates_nothing(tmp_path):
    path = write_pair(tmp_path, header_text(samples=10**17, lines=10**17, bands=3))
    with pytest.raises(CubeError, match=r"has 48 bytes, shorter than the 6" + "0" * 34):
        open_cube(path)


@pytest.mark.parametrize("wavelength", [None, "{400, 500}"])
@pytest.mark.parametrize("axis", [None, axis_of(3)])
def test_a_huge_number_of_bands_allocates_nothing(tmp_path, wavelength, axis):
    path = write_pair(tmp_path, header_text(bands=2 * 10**8, wavelength=wavelength))
    tracemalloc.start()
    try:
        with pytest.raises(AxisError, match="200000000"):
            open_cube(path, axis)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22


def test_pairing(tmp_path):
    values = fixture_cube((3, 2, 4))
    write_envi(tmp_path / "x.bil", values, axis_of(3), header_suffix=".bil.hdr")
    (tmp_path / "x.hdr").write_text("NROWS 2\nNCOLS 4\nNBANDS 3\nNBITS 16\n")
    with open_cube(tmp_path / "x.bil") as cube:
        assert cube.header_path == tmp_path / "x.bil.hdr"
    with open_cube(tmp_path / "x.bil.hdr") as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
    write_envi(tmp_path / "y.raw", values, axis_of(3))
    with open_cube(tmp_path / "y.hdr") as cube:
        assert cube.path == tmp_path / "y.raw"
    (tmp_path / "y.dat").write_bytes(b"")
    with pytest.raises(CubeError, match=r"does not tell its data file: found y.raw, y.dat"):
        open_cube(tmp_path / "y.hdr")


def test_files_that_are_missing(tmp_path):
    with pytest.raises(CubeError, match=r"The cube .*none.bil does not exist; check the path"):
        open_cube(tmp_path / "none.bil")
    with pytest.raises(CubeError, match="is a folder; give one cube's data file"):
        open_cube(tmp_path)
    (tmp_path / "x.bil").write_bytes(bytes(8))
    with pytest.raises(CubeError, match=r"no header: neither of x.bil.hdr or x.hdr lies beside"):
        open_cube(tmp_path / "x.bil")
    (tmp_path / "lone.hdr").write_text(header_text())
    with pytest.raises(CubeError, match="does not tell its data file: found none"):
        open_cube(tmp_path / "lone.hdr")
    (tmp_path / "x.hdr").write_text("some other program's header")
    with pytest.raises(CubeError, match=r"is no ENVI header: it begins with .some other program"):
        open_cube(tmp_path / "x.bil")


def test_pointer_files_are_named(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8640\n"
    path = write_pair(tmp_path, header_text())
    path.write_bytes(pointer)
    with pytest.raises(CubeError, match=r"x.bil is a pointer text .* for a file of 8640 bytes"):
        open_cube(path)
    path = write_pair(tmp_path, pointer, "y.bil")
    with pytest.raises(CubeError, match=r"y.hdr is a pointer text of a large-file store"):
        open_cube(path)


def test_axis_for_a_cube_without_wavelengths(tmp_path):
    write_envi(tmp_path / "x.bil", fixture_cube((3, 2, 4)), None)
    with pytest.raises(AxisError, match=r"x.hdr has no wavelengths; give the axis .* 3 bands"):
        open_cube(tmp_path / "x.bil")
    with open_cube(tmp_path / "x.bil", axis_of(3)) as cube:
        assert cube.axis == axis_of(3)
    with pytest.raises(AxisError, match=r"The given axis has 4 bands, but .*x.hdr has 3"):
        open_cube(tmp_path / "x.bil", axis_of(4))


def test_many_threads_read_one_cube(tmp_path):
    values = fixture_cube((30, 20, 10))
    write_envi(tmp_path / "x.bil", values, axis_of(30))
    wrong = []
    with open_cube(tmp_path / "x.bil") as cube:

        def work(seed):
            for _ in range(50):
                seed = (seed * 31 + 7) % 30
                if not np.array_equal(cube.read_raw([seed]), values[[seed]]):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert wrong == []


def _geotiff(path: Path, values, **tags: list[str]) -> None:
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "transform": rasterio.Affine(2, 0, 0, 0, -2, 0),
        "nodata": 65535 if values.dtype == np.uint16 else None,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
        for band in range(len(values)):
            texts = {key: items[band] for key, items in tags.items()}
            target.update_tags(band + 1, **texts)


def test_geotiff_goes_through_rasterio(tmp_path):
    values = fixture_cube((3, 4, 5))
    values[2, 1, 1] = 65535
    _geotiff(
        tmp_path / "x.tif",
        values,
        wavelength=["0.7", "0.5", "0.6"],
        wavelength_units=["um"] * 3,
    )
    with open_cube(tmp_path / "x.tif") as cube:
        np.testing.assert_allclose(cube.axis.wavelengths_nm, [700, 500, 600])
        window = Window(1, 1, 2, 3)
        np.testing.assert_array_equal(
            cube.read_raw([2, 0], window), oracle(tmp_path / "x.tif", [2, 0], window)
        )
        assert np.isnan(cube.read()[2, 1, 1])
        assert cube.read()[1, 3, 4] == values[1, 3, 4]
        assert cube.header_path is None
    with pytest.raises(CubeError, match="is closed"):
        cube.read()


def test_geotiff_without_wavelengths(tmp_path):
    _geotiff(tmp_path / "x.tif", fixture_cube((3, 4, 5)))
    with pytest.raises(AxisError, match=r"\(GTiff\) has no wavelengths in its bands' tags"):
        open_cube(tmp_path / "x.tif")
    with open_cube(tmp_path / "x.tif", axis_of(3)) as cube:
        assert cube.axis == axis_of(3)
    with pytest.raises(AxisError, match=r"The given axis has 2 bands, but .*x.tif has 3"):
        open_cube(tmp_path / "x.tif", axis_of(2))


def test_complex_geotiff_is_refused(tmp_path):
    _geotiff(tmp_path / "x.tif", fixture_cube((2, 3, 4)).astype("c8"))
    with pytest.raises(CubeError, match=r"\(GTiff\) holds complex64 values; one real type"):
        open_cube(tmp_path / "x.tif", axis_of(2))


def test_tiff_inside_envi(tmp_path):
    values = fixture_cube((3, 2, 4))
    _geotiff(tmp_path / "x.bin", values)
    (tmp_path / "x.hdr").write_text(header_text(file_type="TIFF"))
    with open_cube(tmp_path / "x.bin") as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
        assert cube.axis.wavelengths_nm.tolist() == [400, 500.5, 600]
    (tmp_path / "x.hdr").write_text(header_text(file_type="TIFF", lines=3))
    with pytest.raises(CubeError, match=r"`file type = TIFF` .*\(3, 3, 4\), but x.bin is GTiff"):
        open_cube(tmp_path / "x.bin")


def test_esri_bil_needs_an_axis(tmp_path):
    values = fixture_cube((3, 2, 4))
    path = tmp_path / "x.bil"
    path.write_bytes(values.transpose(1, 0, 2).tobytes())
    esri = "NROWS 2\nNCOLS 4\nNBANDS 3\nNBITS 16\nBYTEORDER I\nLAYOUT BIL\n"
    (tmp_path / "x.hdr").write_text(esri + "WAVELENGTHS\n400\n500\n600\nWAVELENGTHS_END\n")
    with pytest.raises(AxisError, match=r"x.bil \(EHdr\) has no wavelengths"):
        open_cube(path)
    with open_cube(path, axis_of(3)) as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
    path.write_bytes(bytes(47))
    with pytest.raises(CubeError, match="has 47 bytes, shorter than the 48 that its ESRI header"):
        open_cube(path, axis_of(3))
    with pytest.raises(CubeError, match=r"x.hdr is an ESRI header: it begins with 'NROWS 2'"):
        open_cube(path, axis_of(3), header=tmp_path / "x.hdr")


def test_reading_touches_only_what_was_asked(tmp_path):
    """A sparse file of 2 GiB opens and gives a window at once, in little memory."""
    path = tmp_path / "x.bil"
    (tmp_path / "x.hdr").write_text(
        header_text(samples=2**15, lines=2**13, bands=4, wavelength="{400,500,600,700}")
    )
    with path.open("wb") as file:
        file.truncate(2**15 * 2**13 * 4 * 2)
        file.seek(((2**12 * 4 + 2) * 2**15 + 5) * 2)
        file.write(b"\x39\x05")
    if os.stat(path).st_blocks * 512 > 2**30:
        pytest.skip("this file system has no sparse files")
    with open_cube(path) as cube:
        part = cube.read_raw([3, 2], Window(2**12, 4, 2, 3))
    assert part.tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0x539, 0], [0, 0, 0]]]


def test_public_names_are_real():
    import hyperspec.cubes as room

    for name in room.__all__:
        assert getattr(room, name).__name__ == name


def test_importing_the_room_loads_no_heavy_library():
    code = "import sys, hyperspec.cubes; print('rasterio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
