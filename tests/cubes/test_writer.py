from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cube_oracle import CODES, axis_of, fixture_cube, oracle

from hyperspec.cubes.envi.raw import header_path, write_envi
from hyperspec.cubes.files import read_header
from hyperspec.cubes.open import open_cube
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CubeError


@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("dtype", CODES)
def test_rasterio_reads_what_was_written(tmp_path, dtype, interleave, byte_order):
    cube = fixture_cube((5, 3, 4), dtype)
    header = write_envi(
        tmp_path / "a b.bil",
        cube,
        axis_of(5),
        interleave=interleave,
        byte_order=byte_order,
        header_offset=11,
    )
    seen = oracle(tmp_path / "a b.bil")
    assert seen.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(seen, cube)
    assert f"data type = {CODES[dtype]}\n" in header.read_text()
    assert b"\r" not in header.read_bytes()


def test_axis_comes_back_digit_for_digit(tmp_path):
    axis = SpectralAxis(
        np.array([348.3931, 1 / 3 + 400, 500.1]), np.array([1.1, 2.2, 3.3]), np.array([1, 0, 1])
    )
    write_envi(tmp_path / "x.bil", fixture_cube((3, 2, 2)), axis)
    with open_cube(tmp_path / "x.bil") as cube:
        np.testing.assert_array_equal(cube.axis.wavelengths_nm, axis.wavelengths_nm)
        np.testing.assert_array_equal(cube.axis.fwhm_nm, axis.fwhm_nm)
        assert cube.axis.good.tolist() == [True, False, True]
        assert cube.axis == axis


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("x.bil", ".hdr", "x.hdr"),
        ("x.bil", ".bil.hdr", "x.bil.hdr"),
        ("Genus species_1D_010203.bil", ".bil.hdr", "Genus species_1D_010203.bil.hdr"),
        ("plain", ".hdr", "plain.hdr"),
    ],
)
def test_header_names(tmp_path, name, suffix, expected):
    header = write_envi(
        tmp_path / "new" / name, fixture_cube((2, 2, 2)), axis_of(2), header_suffix=suffix
    )
    assert header == tmp_path / "new" / expected == header_path(tmp_path / "new" / name, suffix)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted([name, expected])
    with open_cube(tmp_path / "new" / name) as cube:
        assert cube.header_path == header


def test_floats_are_rounded_into_integers(tmp_path):
    values = np.array([0.4, 0.6, 2.5, 65535.4]).reshape(1, 2, 2)
    write_envi(tmp_path / "x.bil", values, axis_of(1), dtype=np.uint16)
    assert oracle(tmp_path / "x.bil").ravel().tolist() == [0, 1, 2, 65535]


def test_blocks_join_without_a_seam(tmp_path, monkeypatch):
    monkeypatch.setattr("hyperspec.cubes.envi.raw._BLOCK_BYTES", 100)
    cube = fixture_cube((5, 7, 4))
    write_envi(tmp_path / "x.bil", cube, axis_of(5))
    np.testing.assert_array_equal(oracle(tmp_path / "x.bil"), cube)


def test_scale_and_extra_fields(tmp_path):
    write_envi(
        tmp_path / "x.bil",
        fixture_cube((2, 2, 2)),
        axis_of(2),
        scale_factor=10000,
        extra={"data ignore value": "65535", "description": "{two\nlines}"},
    )
    header = read_header(tmp_path / "x.bil")
    assert header.number("reflectance scale factor") == 10000
    assert header.fields["data ignore value"] == "65535"
    assert header.fields["description"] == "{two\nlines}"


@pytest.mark.parametrize(
    ("values", "kwargs", "text"),
    [
        (np.zeros((2, 2)), {}, r"An array of shape \(2, 2\) is no cube; write \(bands, lines"),
        (np.zeros((2, 0, 2)), {}, r"An array of shape \(2, 0, 2\) is no cube"),
        (np.zeros((3, 1, 1)), {}, "The array has 3 bands, but the axis has 2; .* not written"),
        (np.zeros((2, 1, 1), "c8"), {}, "Values of type complex64 have no ENVI data type here"),
        (np.zeros((2, 1, 1), "i1"), {}, "Values of type int8 have no ENVI data type here"),
        (np.full((2, 1, 1), -1), {"dtype": "u2"}, "Values from -1 to -1 do not fit uint16"),
        (np.full((2, 1, 1), 2.0**16), {"dtype": "u2"}, "Values from 65536.0 to 65536.0 do not fit"),
        (np.full((2, 1, 1), np.nan), {"dtype": "u2"}, "Values from nan to nan do not fit uint16"),
        (np.full((2, 1, 1), 2.0**64), {"dtype": "u8"}, "do not fit uint64"),
        (np.zeros((2, 1, 1)), {"interleave": "bup"}, "interleave is 'bup'; it must be bil, bip"),
        (np.zeros((2, 1, 1)), {"byte_order": 2}, "byte_order is 2; ENVI knows 0"),
        (np.zeros((2, 1, 1)), {"header_offset": -1}, "header_offset is -1; it must be 0 or more"),
        (np.zeros((2, 1, 1)), {"header_suffix": ".txt"}, "header_suffix '.txt' for x.bil does not"),
        (np.zeros((2, 1, 1)), {"extra": {"Bands": "3"}}, "field 'Bands' is written already"),
        (np.zeros((2, 1, 1)), {"extra": {"a=b": "3"}}, "'a=b' cannot be a header field"),
        (np.zeros((2, 1, 1)), {"extra": {"a": "3\nb = 4"}}, "'a' has several lines or braces"),
    ],
)
def test_what_cannot_be_written(tmp_path, values, kwargs, text):
    with pytest.raises(CubeError, match=text):
        write_envi(tmp_path / "x.bil", values, axis_of(2), **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_cube(tmp_path):
    path = tmp_path / "x.bil"
    write_envi(path, fixture_cube((2, 2, 2)), axis_of(2))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(CubeError, match="do not fit uint8"):
        write_envi(path, np.full((2, 2, 2), 300), axis_of(2), dtype="u1")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_header_suffix_must_not_name_the_data(tmp_path: Path):
    with pytest.raises(CubeError, match=r"a data file that does not end in .hdr"):
        write_envi(tmp_path / "x.hdr", fixture_cube((2, 2, 2)), axis_of(2))
