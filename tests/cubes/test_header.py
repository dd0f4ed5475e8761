"""One test per quirk of real headers: it reads right, or it gives its own clear error."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from cube_oracle import axis_of, header_text, write_pair

from hyperspec.cubes.envi.header import is_envi, parse_header
from hyperspec.cubes.envi.wavelengths import axis_from_header
from hyperspec.cubes.files import read_header
from hyperspec.cubes.open import open_cube
from hyperspec.cubes.wavelength_units import to_nanometres
from hyperspec.utils.errors import AxisError, CubeError

HERE = Path("x.hdr")


def parse(text: str | bytes):
    return parse_header(text if isinstance(text, bytes) else text.encode(), HERE)


def nm(text: str | bytes) -> list[float]:
    return axis_from_header(parse(text)).wavelengths_nm.tolist()


def test_layout_and_defaults():
    header = parse(header_text())
    assert (header.bands, header.lines, header.samples) == (3, 2, 4)
    assert header.dtype == np.dtype("<u2")
    assert header.offset == 0  # quirk 1: no byte order, offset or file type
    assert header.file_type == ""
    assert header.data_bytes == 48
    big = parse(header_text(byte_order=1, header_offset=10))
    assert big.dtype == np.dtype(">u2")
    assert big.data_bytes == 58


def test_read_header_takes_either_file(tmp_path):
    data = write_pair(tmp_path, header_text(), "a b.bil")
    assert read_header(data) == read_header(tmp_path / "a b.hdr")
    with pytest.raises(CubeError, match=r"The header .*none.hdr cannot be read: No such file"):
        read_header(tmp_path / "none.hdr")


def test_comments_anywhere_also_inside_lists():
    text = header_text(wavelength="{400,\n;x = {9}\n500.5\n ; }\n,600}") + ";samples = 9\n"
    assert nm(text) == [400, 500.5, 600]
    assert parse(text).samples == 4


def test_commas_line_ends_tabs_blank_lines_and_key_case():
    text = header_text(wavelength=None).replace("samples =", "\n\t samples=") + (
        "Wavelength = {\n,400\n,500.5,\t600,\n}\nDescription = {Any}\n"
    )
    for variant in (text, text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\ufeff" + text):
        assert nm(variant) == [400, 500.5, 600]
    assert parse(text).fields["description"] == "{Any}"


@pytest.mark.parametrize(
    "unit", ["nm", "NM", "Nanometers", "nanometer", " nanometres ", "nm.", "{nm}"]
)
def test_nanometres(unit):
    assert nm(header_text(wavelength_units=unit)) == [400, 500.5, 600]


@pytest.mark.parametrize(
    "unit",
    [b"um", b"Micrometers", b"micrometre", b"Microns", "µm".encode(), "μm".encode(), b"\xb5m"],
)
def test_micrometres(unit):
    text = header_text(
        wavelength_units="UNIT", wavelength="{0.4, 0.5005, 0.6}", fwhm="{0.01,0.02,0.03}"
    )
    axis = axis_from_header(parse(text.encode().replace(b"UNIT", unit)))
    np.testing.assert_allclose(axis.wavelengths_nm, [400, 500.5, 600])
    np.testing.assert_allclose(axis.fwhm_nm, [10, 20, 30])


@pytest.mark.parametrize(
    ("unit", "values", "text"),
    [
        ("um", "{366, 500, 998}", r"`wavelength units = um` contradicts .* 366 to 998: that would"),
        ("nm", "{0.4, 0.5, 0.998}", r"`wavelength units = nm` contradicts .* 0.4 to 0.998"),
        ("SP1", "{0.5, 0.6, 0.7}", r"`wavelength units = SP1` is not a unit of length .* 0.5 to"),
        ("GHz", "{4000, 5000, 6000}", r"`wavelength units = GHz` is not a unit"),
        ("SP1", "{0.0, 0.5, 0.6}", r"wavelength 0 is 0; every band centre must be a finite"),
        ("nm", "{400, nan, 600}", "wavelength 1 is nan"),
        ("nm", "{400, 1e999, 600}", "wavelength 1 is inf"),
        ("nm", "{400, red, 600}", "item 1 of `wavelength` is 'red', not a number"),
        ("nm", "{400, 5_0, 600}", "item 1 of `wavelength` is '5_0', not a number"),
        ("nm", "{400,, 600}", "item 1 of `wavelength` is '', not a number"),
        ("nm", "{400, 500}", "x.hdr gives 2 wavelengths for 3 bands; correct the list or give"),
        ("nm", "{1e3, 2e3, 3e3, 4e3}", "x.hdr gives 4 wavelengths for 3 bands"),
        ("nm", "{513.342, 513.342, 513.342}", "gives 513.342 as the wavelength of all 3 bands"),
        ("nm", "{}", "x.hdr has no wavelengths; give the axis"),
        ("", "{4000, 5000, 6000}", r"no `wavelength units`, and the values, 4000 to 6000, are nei"),
        ("Unknown", "{1, 2, 3}", r"`wavelength units = Unknown`, and the values, 1 to 3, are nei"),
    ],
)
def test_units_and_lists_that_do_not_fit(unit, values, text):
    with pytest.raises(AxisError, match=text):
        nm(header_text(wavelength_units=unit, wavelength=values))


@pytest.mark.parametrize("unit", [None, "", "Unknown"])
@pytest.mark.parametrize(("scale", "name"), [(1, "nm"), (1000, "um")])
def test_a_missing_unit_is_inferred_with_a_warning(unit, scale, name):
    values = ", ".join(str(v / scale) for v in (350.5, 1000, 2504))
    with pytest.warns(UserWarning, match=rf"`wavelength units.* are read as {name}\. Write the"):
        found = nm(header_text(wavelength_units=unit, wavelength=f"{{{values}}}"))
    np.testing.assert_allclose(found, [350.5, 1000, 2504])


def test_axes_keep_their_order():
    assert nm(header_text(wavelength="{600, 500, 400}")) == [600, 500, 400]
    assert nm(header_text(wavelength="{400, 1000, 950}")) == [400, 1000, 950]


def test_the_given_axis_replaces_what_cannot_be_used():
    broken = parse(header_text(wavelength_units="SP1", bbl="{1, 0, 1}"))
    axis = axis_from_header(broken, axis_of(3))
    np.testing.assert_array_equal(axis.wavelengths_nm, axis_of(3).wavelengths_nm)
    assert axis.good.tolist() == [True, False, True]
    with pytest.warns(UserWarning, match=r"given axis replaces .* band centres differ by up to"):
        axis_from_header(parse(header_text()), axis_of(3))


def test_bad_bands_and_widths():
    axis = axis_from_header(parse(header_text(bbl="{1, 0, 1.0}", fwhm="{1.5, 2, 3}")))
    assert axis.good.tolist() == [True, False, True]
    assert axis.fwhm_nm is not None
    assert axis.fwhm_nm.tolist() == [1.5, 2, 3]
    with pytest.warns(UserWarning, match="`fwhm` is 0 for band 0, which is no width, and is left"):
        assert axis_from_header(parse(header_text(fwhm="{0, 0, 0,}"))).fwhm_nm is None
    with pytest.raises(AxisError, match="the bad-band list `bbl` has 2 items for 3 bands"):
        nm(header_text(bbl="{1, 1}"))
    with pytest.warns(UserWarning, match="`fwhm` has 2 items for 3 bands and is left out"):
        assert axis_from_header(parse(header_text(fwhm="{1, 1}"))).fwhm_nm is None


def test_band_names_and_custom_keys_are_only_kept():
    text = header_text(band_names="{a, b}") + "band_names = {Classification}\nodd = nan\nnotes\n"
    header = parse(text)
    assert header.fields["band names"] == "{a, b}"
    assert header.fields["band_names"] == "{Classification}"
    assert header.fields["odd"] == "nan"


def test_braces_nested_with_equals_signs_and_unbalanced():
    text = header_text(description="{a = {b = 2}\nsamples = 99 }", note="{x} rest")
    assert parse(text).samples == 4
    assert parse(text).fields["description"] == "{a = {b = 2}\nsamples = 99 }"
    assert parse(text).fields["note"] == "{x}"
    # As GDAL does it, the first closing brace ends a list that never balances.
    assert nm("ENVI\ndescription = {a {b}\n" + header_text()[5:]) == [400, 500.5, 600]
    with pytest.raises(CubeError, match=r"the list `wavelength = \{` is never closed; add its `}`"):
        parse(header_text(wavelength="{400, 500"))


@pytest.mark.parametrize("value", ["BSQ", "Bil", " bip "])
def test_interleave_in_any_case(value):
    assert parse(header_text(interleave=value)).interleave == value.strip().lower()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"interleave": "bup"}, r"`interleave = bup`; it must be bil, bip or bsq"),
        ({"interleave": None}, "the header has no `interleave`; it must be bil, bip or bsq"),
        ({"samples": None}, "x.hdr: the header has no `samples`; add it"),
        ({"data_type": None, "file_type": "Hypercloud"}, r"no `data type`.*type = Hypercloud"),
        ({"samples": "50.5"}, r"`samples = 50\.5` is not a whole number of 0 or more"),
        ({"lines": "-2"}, "`lines = -2` is not a whole number"),
        ({"lines": "0"}, "`lines = 0`; a cube has at least 1"),
        ({"bands": "9" * 5000}, r"`bands = 9+\.\.\.` is not a whole number"),
        ({"bands": "５"}, "`bands = ５` is not a whole number"),
        ({"data_type": 6}, r"`data type = 6` is complex64; complex cubes are not read"),
        ({"data_type": 9}, r"`data type = 9` is complex128; complex cubes are not read"),
        ({"data_type": 7}, r"`data type = 7` is unknown; known are 1 \(uint8\), 2 \(int16\)"),
        ({"byte_order": 2}, r"`byte order = 2`; it is 0 \(little\) or 1 \(big endian\)"),
        ({"file_compression": 1}, "`file compression = 1`: compressed cubes are not read"),
        ({"file_type": "ENVI Spectral Library"}, "holds single spectra, whose samples are bands"),
        ({"Samples": "5"}, "`samples` is given twice, as '4' and as '5'; keep one"),
    ],
)
def test_layouts_that_are_refused(change, text):
    with pytest.raises(CubeError, match=text):
        parse(header_text(**change))


def test_one_band_needs_no_interleave_and_repeats_may_agree():
    assert parse(header_text(bands=1, interleave=None, wavelength="{400}")).interleave == "bsq"
    assert parse(header_text(Samples=4, Lines=2)).samples == 4


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"NROWS 20\nNCOLS 20\n", "x.hdr is an ESRI header: it begins with 'NROWS 20'"),
        (b"ncols 321\nnrows 2\n", "x.hdr is an ESRI header"),
        (b"", "x.hdr is no ENVI header: it begins with '', not with the word ENVI"),
        (b"ENVIRONMENT\nsamples = 3\n", "x.hdr is no ENVI header: it begins with 'ENVIRONMENT'"),
        (b"\x00\xff\xfe", "x.hdr is no ENVI header"),
    ],
)
def test_headers_of_other_programs(content, text):
    with pytest.raises(CubeError, match=text):
        parse(content)


def test_a_data_file_taken_for_a_header(tmp_path):
    path = tmp_path / "x.hdr"
    with path.open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    with pytest.raises(CubeError, match="has 16777217 bytes, too many for a header"):
        read_header(path)


@pytest.mark.parametrize("factor", ["0", "0.000000", "1", "1.0", None, ""])
def test_scales_that_change_nothing(tmp_path, factor):
    path = write_pair(tmp_path, header_text(reflectance_scale_factor=factor))
    with open_cube(path) as cube:
        assert cube.scale_factor == 1
        np.testing.assert_array_equal(cube.read(), cube.read_raw())


def test_a_scale_is_divided_by(tmp_path):
    path = write_pair(tmp_path, header_text(reflectance_scale_factor="10000"))
    with open_cube(path) as cube:
        np.testing.assert_allclose(cube.read(), cube.read_raw() / 10000, rtol=1e-7)


def test_a_scale_below_one_has_one_reading_for_integers_only(tmp_path):
    path = write_pair(tmp_path, header_text(reflectance_scale_factor="0.0001"))
    with pytest.warns(UserWarning, match=r"factor = 0\.0001` is read as the reflectance of one"):
        cube = open_cube(path)
    np.testing.assert_allclose(cube.read(), cube.read_raw() / 10000, rtol=1e-7)
    floats = header_text(data_type=4, reflectance_scale_factor="0.0001")
    with pytest.raises(CubeError, match=r"factor = 0\.0001` for float32 values"):
        open_cube(write_pair(tmp_path, floats, size=96))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("reflectance scale factor", "-5", r"`reflectance scale factor = -5`; it must be a number"),
        ("reflectance scale factor", "nan", r"`reflectance scale factor = nan`; it must be"),
        ("reflectance scale factor", "ten", r"`reflectance scale factor = ten` is not a number"),
        ("data ignore value", "none", "`data ignore value = none` is not a number; correct"),
        ("file type", "ENVI Classification", "holds class numbers, not spectra"),
    ],
)
def test_fields_that_reading_needs(tmp_path, key, value, text):
    path = write_pair(tmp_path, header_text(**{key: value}))
    with pytest.raises(CubeError, match=text):
        open_cube(path)


def test_conversion_is_exact_for_nanometres():
    values = [348.3931 + 1.1332 * i for i in range(408)]
    assert to_nanometres(values, "nm", "x").tolist() == values


def test_a_byte_order_that_is_no_number_names_its_header(tmp_path):
    path = write_pair(tmp_path, header_text(byte_order="little"))
    with pytest.raises(CubeError, match=r"x\.hdr: `byte order = little`"):
        open_cube(path)


@pytest.mark.parametrize("before", [b"", b"\n", b"  ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \r\n"])
def test_blanks_and_a_mark_before_the_first_word_change_nothing(before):
    assert is_envi(before + b"ENVI\nsamples = 1\n")
    assert not is_envi(before + b"ENVIRONMENT\n")


def test_where_an_axis_is_given_the_headers_own_widths_are_not_spoken_of(tmp_path):
    path = write_pair(tmp_path, header_text(fwhm="{1, 2}"))
    with pytest.warns(UserWarning, match="`fwhm` has 2 items for 3 bands"):
        open_cube(path)
    given = axis_from_header(parse(header_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_cube(path, axis=given).axis == given
