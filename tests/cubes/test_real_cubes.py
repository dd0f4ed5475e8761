"""Real public cubes: each reads as rasterio reads it, or gives the error that says why not."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from cube_oracle import oracle
from rasterio.errors import RasterioError

from hyperspec.cubes.cube import Window
from hyperspec.cubes.files import read_header
from hyperspec.cubes.open import open_cube
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError

pytestmark = pytest.mark.real_data

PIKA = "pika_lfs_pointer/Wells_rep2_20180628_16h56m_pika_gige_7_plot_611-cube-to-spec-mean.spec"
POINTER = (
    "pika_lfs_pointer/Wells_rep2_20180628_16h56m_test_pika_gige_7-Convert_Radiance_Cube_to_"
    "Reflectance_from_Measured_Reference_Spectrum.bip"
)
MISSING_UNIT = r"no `wavelength units`; the values, .* are read as nm"


@pytest.mark.parametrize(
    ("name", "shape", "span", "warns"),
    [
        (
            "corn_kernel_vnir/4-22-22_right_same_B73_top_00.raw",
            (580, 31, 43),
            (366.551, 1048.421),
            0,
        ),
        ("corn_kernel_vnir/white_reference_crop.raw", (580, 31, 43), (366.551, 1048.421), 0),
        ("corn_kernel_vnir/dark_reference_crop.raw", (580, 31, 43), (366.551, 1048.421), 0),
        ("dark_reference_vnir/darkReference", (978, 1, 1600), (379.027, 1000.95), 0),
        ("fenix_calibration/Radiometric_8x2_1x1.dat", (363, 1, 384), (379.87, 2503.73), 1),
        ("fenix1k_calibration/Radiometric_8x2_1x1.dat", (334, 1, 1024), (380.85, 2502.68), 1),
        ("airborne_two_pixels/prm20231110t071521_rdn_two_px", (246, 2, 1), (350.555, 1045.649), 0),
        ("airborne_two_pixels/AV320250308t200738_rdn.img", (284, 1, 1), (389.75, 2494.0), 0),
        ("gdal_envi/gcore_dtypes/byte_envi.bin", (1, 20, 20), (400.1, 400.1), 0),
        (PIKA, (240, 1, 1), (394.6, 885.2192), 1),
    ],
)
def test_cubes_with_wavelengths(real_data, name, shape, span, warns):
    path = real_data / name
    expecting = pytest.warns(UserWarning, match=MISSING_UNIT) if warns else contextlib.nullcontext()
    with expecting, open_cube(path) as cube:
        assert cube.shape == shape
        np.testing.assert_allclose(cube.axis.range_nm, span, atol=0.001)
        raw = cube.read_raw()
        bands = [shape[0] - 1, 0, shape[0] // 2][: shape[0]]
        window = Window(shape[1] // 3, shape[2] // 3, 1, shape[2] - shape[2] // 3)
        np.testing.assert_array_equal(
            cube.read_raw(bands, window), oracle(path, bands, window), strict=True
        )
    np.testing.assert_array_equal(raw, oracle(path), strict=True)


def test_every_small_file_reads_as_rasterio_does_or_says_why(real_data):
    """With an axis given, everything in GDAL's own test folder that is no special case."""
    compared = 0
    refused = {}
    for path in sorted(real_data.glob("gdal_envi/**/*")):
        if path.is_dir() or path.suffix.lower() in (".hdr", ".txt", ".prj", ".clr", ".sta"):
            continue
        try:
            expected = oracle(path)
        except RasterioError:
            expected = np.zeros((1, 1, 1), np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the given axis replaces a real one
            try:
                with open_cube(path, SpectralAxis.linear(400, 500, len(expected))) as cube:
                    np.testing.assert_array_equal(cube.read_raw(), expected, strict=True)
                compared += 1
            except CubeError as error:
                refused[path.name] = str(error)
    assert compared == 18
    assert {name: next(w for w in WORDS if w in text) for name, text in refused.items()} == {
        "aea_compressed.dat": "compressed cubes",
        "cfloat32.raw": "complex64",
        "cfloat64.raw": "complex128",
        "envirpc.img": "longer than the 1",
        "envistat": "longer than the 24",
        "rotation.img": "longer than the 1",
        "testenviclasses": "longer than the 1",
        "truncated.bin": "399 bytes, shorter than the 400",
        "wc_10m_CCCMA_A2a_2020_tmin_9.bil": "2 bytes, shorter than the 3888000",
    }


WORDS = [
    "compressed cubes",
    "complex64",
    "complex128",
    "longer than the 24",
    "longer than the 1",
    "399 bytes, shorter than the 400",
    "2 bytes, shorter than the 3888000",
]


@pytest.mark.parametrize(
    ("name", "header", "kind", "text"),
    [
        ("dark_reference_vnir/darkReference", "2", AxisError, "35 wavelengths for 978 bands"),
        ("dark_reference_vnir/darkReference", "4", CubeError, "`interleave = bup`"),
        ("dark_reference_vnir/darkReference", "_arcgis", CubeError, "is an ESRI header"),
        ("airborne_two_pixels/prm20231110t071521_loc_two_px", "", AxisError, "246 wave.* 3 bands"),
        ("airborne_two_pixels/prm20231110t071521_obs_two_px", "", AxisError, "246 .* for 11 bands"),
        ("airborne_two_pixels/AV320250308t200738_obs.img", "", AxisError, "has no wavelengths"),
        ("frame_camera_raw/house_crop_4b_RAW.dat", "", AxisError, "wavelength 0 is 0"),
        ("gdal_envi/testenviclasses", "", CubeError, "holds class numbers"),
        ("gdal_envi/ehdr_not_envi/float32.bil", "", AxisError, r"\(EHdr\) has no wavelengths"),
        (POINTER, "", CubeError, "pointer text of a large-file store .* of 8640 bytes"),
        ("fenix_calibration/image.hdr", "", CubeError, "does not tell its data file: found none"),
    ],
)
def test_what_is_refused_says_what_was_found(real_data, name, header, kind, text):
    path = real_data / name
    other = path.with_name(path.name + header + ".hdr") if header else None
    with pytest.raises(kind, match=text):
        open_cube(path, header=other)


def test_another_header_for_one_data_file(real_data):
    path = real_data / "dark_reference_vnir/darkReference"
    with (
        open_cube(path) as cube,
        open_cube(path, header=path.with_name("darkReference3.hdr")) as other,
    ):
        assert cube.axis == other.axis
        np.testing.assert_array_equal(cube.read_raw([977, 3]), other.read_raw([977, 3]))


def test_every_header_parses_or_is_refused_by_name(real_data):
    refused = {}
    for path in sorted(real_data.rglob("*.hdr")):
        try:
            assert read_header(path).data_bytes > 0
        except CubeError as error:
            refused[path.name] = str(error)
    esri = {path.name for path in (real_data / "gdal_envi/ehdr_not_envi").glob("*.hdr")}
    assert {n for n, text in refused.items() if "is an ESRI header" in text} == {
        *esri,
        "darkReference_arcgis.hdr",
    }
    others = set(refused) - esri - {"darkReference_arcgis.hdr"}
    assert others == {
        "aea_compressed.hdr",
        "cfloat32.hdr",
        "cfloat64.hdr",
        "darkReference4.hdr",
        "hypercloud.hdr",
    }
