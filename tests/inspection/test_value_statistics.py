"""Measures of a cube against NumPy on the whole array."""

import numpy as np
import pytest
from cube_oracle import axis_of
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.inspection.value_statistics import blocks, measure
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CubeError


def look(path, values, axis=None, saturation=None, **options):
    write_envi(path, values, axis or axis_of(len(values)), **options)
    with open_cube(path) as cube:
        return measure(cube, saturation)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30), st.integers(1, 500))
def test_blocks_cover_a_frame_once_and_stay_small(bands, lines, samples, limit):
    seen = np.zeros((lines, samples), int)
    for window in blocks(bands, lines, samples, 2, limit):
        assert min(window) >= 0
        seen[window.row : window.row + window.height, window.col : window.col + window.width] += 1
        assert window.height * window.width * bands * 2 <= max(limit, bands * 2)
    assert (seen == 1).all()


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("dtype", ["u2", "i2", "f4"])
def test_equals_numpy_whatever_the_blocks(tmp_path, monkeypatch, interleave, dtype):
    monkeypatch.setattr(blocks, "__defaults__", (100,))
    values = np.random.default_rng(0).integers(0, 90, (5, 11, 13)).astype(dtype)
    values[1] = 5
    values[:, 6] = 7
    values[:, 2, 3] = values[4, 7, 7] = 99  # nodata
    extra = {"data ignore value": "99"}
    seen = look(tmp_path / "x.bil", values, interleave=interleave, extra=extra, scale_factor=100)
    valid = np.where(values == 99, np.nan, values.astype(float))
    assert seen.missing_share == pytest.approx(6 / values.size)
    assert (seen.low, seen.high) == (np.nanmin(valid), np.nanmax(valid))
    pixels = np.nanmean(np.delete(valid.reshape(5, -1), 2 * 13 + 3, axis=1), axis=0)
    assert seen.brightness == pytest.approx(np.quantile(pixels, 0.99) / 100, rel=1e-6)
    assert (seen.empty_bands, seen.flat_bands) == ((), ())  # line 6 breaks band 1's flatness
    assert seen.flat_lines == (6,)
    assert seen.bytes_read == values.nbytes


def test_flat_and_empty_bands_keep_their_numbers_beside_bad_ones(tmp_path):
    values = np.random.default_rng(0).random((5, 4, 6)).astype("f4")
    values[2] = 3.0
    values[4] = np.nan
    axis = SpectralAxis(axis_of(5).wavelengths_nm, None, [False, True, True, True, True])
    seen = look(tmp_path / "x.bil", values, axis)
    assert (seen.flat_bands, seen.empty_bands) == ((2,), (4,))
    assert seen.missing_share == 0.25
    assert seen.bytes_read == values[1:].nbytes


@pytest.mark.parametrize(
    ("top", "dtype", "level", "count"),
    [
        (4095, "u2", 4095, 3),  # a 12-bit converter at its end
        (65535, "u2", 65535, 3),
        (255, "u1", 255, 3),
        (4094, "u2", None, 0),
        (4095, "f4", None, 0),  # floats have no full scale
    ],
)
def test_saturation_is_seen_at_full_scales(tmp_path, monkeypatch, top, dtype, level, count):
    monkeypatch.setattr(blocks, "__defaults__", (60,))
    values = np.random.default_rng(0).integers(0, 200, (4, 9, 8)).astype(dtype)
    values[0, 0, 0] = min(top, 255) - 1
    values[1, 2, 3] = values[1, 8, 7] = values[3, 5, 0] = top
    seen = look(tmp_path / "x.bil", values)
    assert seen.saturation_level == level
    assert seen.saturated_share * values.size == pytest.approx(count)


def test_a_smaller_full_scale_in_an_early_block_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "__defaults__", (16,))
    values = np.full((1, 4, 8), 9, "u2")
    values[0, 0, :5] = 255
    values[0, 2, :2] = 1023
    seen = look(tmp_path / "x.bil", values)
    assert (seen.saturation_level, seen.saturated_share) == (1023, 2 / 32)
    values[0, 3, 0] = 2000
    seen = look(tmp_path / "y.bil", values)
    assert (seen.saturation_level, seen.saturated_share) == (None, 0)


def test_a_given_saturation_level_counts_what_is_at_or_above(tmp_path):
    values = np.arange(24).reshape(2, 3, 4).astype("f4")
    seen = look(tmp_path / "x.bil", values, saturation=20)
    assert (seen.saturation_level, seen.saturated_share) == (20, 4 / 24)


def test_nodata_at_full_scale_is_missing_and_not_saturated(tmp_path):
    values = np.random.default_rng(0).integers(0, 999, (3, 5, 5)).astype("u2")
    values[:, 0] = 65535
    seen = look(tmp_path / "x.bil", values, extra={"data ignore value": "65535"})
    assert (seen.missing_share, seen.saturated_share, seen.saturation_level) == (0.2, 0, None)


def test_a_cube_without_values_has_no_range(tmp_path):
    seen = look(tmp_path / "x.bil", np.full((2, 3, 3), np.nan, "f4"))
    assert seen.missing_share == 1
    assert np.isnan([seen.low, seen.high, seen.brightness]).all()


def test_a_cube_of_bad_bands_only_is_an_error(tmp_path):
    axis = SpectralAxis(axis_of(2).wavelengths_nm, None, [False, False])
    with pytest.raises(CubeError, match=r"marks all 2 bands bad \(bbl\)"):
        look(tmp_path / "x.bil", np.ones((2, 3, 3), "f4"), axis)
