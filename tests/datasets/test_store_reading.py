"""Large reads, reused outputs, and cubes that are not in the page cache."""

import os
import subprocess

import numpy as np
import pytest
import rasterio

import hyperspec
from hyperspec.cubes import cube as handle
from hyperspec.cubes.cube import Window
from hyperspec.cubes.envi import raw as envi
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils import pread as bulk
from hyperspec.utils.errors import HyperspecError

AXIS = SpectralAxis.linear(400, 700, 7)
BANDS = [5, 0, 1, 6]
WINDOW = Window(2, 3, 9, 4)


@pytest.fixture
def values():
    band, line, sample = np.ogrid[:7, :12, :9]
    return (1000 * band + 20 * line + sample).astype(np.uint16)


@pytest.mark.parametrize("interleave", ["bil", "bsq", "bip"])
@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_reused_outputs_hold_what_rasterio_reads(
    tmp_path, values, interleave, byte_order, monkeypatch
):
    # Two bands are converted at a time, so that the last step is a short one.
    monkeypatch.setattr(handle, "_CONVERT_BYTES", 2 * 9 * 4 * 2)
    write_envi(
        tmp_path / "a.bil", values, AXIS, interleave=interleave, byte_order=byte_order,
        dtype=np.uint16, scale_factor=4000, extra={"data ignore value": "5043"},
    )  # fmt: skip
    with rasterio.open(tmp_path / "a.bil") as source:
        part = rasterio.windows.Window(3, 2, 4, 9)
        expected = source.read([b + 1 for b in BANDS], window=part)
    raw, scaled = np.zeros((4, 9, 4), np.uint16), np.zeros((4, 9, 4), np.float32)
    with hyperspec.open(tmp_path / "a.bil") as cube:
        for _ in range(2):
            assert cube.read_raw(BANDS, WINDOW, out=raw) is raw
            assert cube.read(BANDS, WINDOW, out=scaled) is scaled
            np.testing.assert_array_equal(raw, expected)
            reflectance = np.where(expected == 5043, np.nan, expected / np.float32(4000))
            np.testing.assert_array_equal(scaled, reflectance.astype(np.float32))
            assert np.isnan(scaled).sum() == 1
            raw[...], scaled[...] = 0, 0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_other_formats_take_an_output_too(tmp_path, values):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=7, height=12, width=9, dtype="uint16"
    ) as file:
        file.write(values)
    out = np.zeros((4, 9, 4), np.uint16)
    with hyperspec.open(tmp_path / "a.tif", AXIS) as cube:
        assert cube.read_raw(BANDS, WINDOW, out=out) is out
    np.testing.assert_array_equal(out, values[BANDS, 2:11, 3:7])


@pytest.mark.parametrize(
    ("out", "text"),
    [
        (np.zeros((4, 9, 4), np.int16), r"a contiguous array of shape \(4, 9, 4\) and type int16"),
        (np.zeros((4, 4, 9), np.uint16), r"shape \(4, 4, 9\) and type uint16, but the result need"),
        (np.zeros((4, 9, 8), np.uint16)[:, :, ::2], r"out is a not contiguous array"),
        (np.frombuffer(bytes(288), np.uint16).reshape(4, 9, 4), r"a contiguous, read-only array"),
        (np.zeros((4, 9, 4), ">u2"), r"type >u2.*np.empty\(\(4, 9, 4\), 'uint16'\)"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(tmp_path, values, out, text):
    write_envi(tmp_path / "a.bil", values, AXIS, dtype=np.uint16)
    with (
        hyperspec.open(tmp_path / "a.bil") as cube,
        pytest.raises(HyperspecError, match=text),
    ):
        cube.read_raw(BANDS, WINDOW, out=out)


def drop(path):
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_bytes(path):
    try:
        found = subprocess.run(
            ["fincore", "-b", "-n", "-o", "RES", path], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("fincore (util-linux) is not here to ask what is in the page cache")
    return int(found.stdout)


@pytest.mark.parametrize("interleave", ["bil", "bip"])
def test_a_cold_cube_is_read_in_sequence_first(tmp_path, interleave, monkeypatch):
    values = np.random.default_rng(0).integers(0, 9999, (7, 64, 640)).astype(np.uint16)
    path = write_envi(tmp_path / "a.bil", values, AXIS, interleave=interleave, dtype=np.uint16)
    monkeypatch.setattr(envi, "_FETCH_BYTES", 2**10)
    monkeypatch.setattr(bulk, "_SCRATCH_BYTES", 30_000)  # a last step that is short
    drop(path)
    if resident_bytes(path):
        pytest.skip("this file system keeps the page cache when told to drop it")
    with hyperspec.open(path) as cube:
        bulk.fetch(path, 0, path.stat().st_size)
        assert resident_bytes(path) >= path.stat().st_size
        drop(path)
        np.testing.assert_array_equal(cube.read_raw(), values)
        np.testing.assert_array_equal(cube.read_raw([6, 2], Window(60, 3, 4, 600)),
                                      values[[6, 2], 60:64, 3:603])  # fmt: skip


def test_fetching_more_than_there_is_ends(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    bulk.fetch(tmp_path / "a", 50, 10**6)


def test_pieces_that_end_early_are_errors(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    target = memoryview(bytearray(20))
    with (tmp_path / "a").open("rb") as file:
        bulk.read_pieces(file.fileno(), [(70, target[:5]), (10, target[5:])])
        assert bytes(target) == bytes([*range(70, 75), *range(10, 25)])
        with pytest.raises(OSError, match="the file ends 10 bytes too early"):
            bulk.read_pieces(file.fileno(), [(0, target[:5]), (90, target)])


def test_what_lies_beyond_the_end_is_not_cached(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    with (tmp_path / "a").open("rb") as file:
        assert bulk.is_cached(file.fileno(), (0, 99))
        assert not bulk.is_cached(file.fileno(), (0, 100))
