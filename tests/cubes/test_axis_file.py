"""Files of wavelengths: lists, tables as several programs write them, headers."""

from __future__ import annotations

import numpy as np
import pytest
from cube_oracle import header_text

from hyperspec.cubes.axis_file import read_axis_file
from hyperspec.utils.errors import AxisError

NM = [400.5, 500.25, 600.0]


@pytest.mark.parametrize(
    ("content", "fwhm", "good"),
    [
        ("wavelength_nm\n400.5\n500.25\n600\n", None, None),
        ("Wavelength (nm)\r\n400.5\r\n500.25\r\n600\r\n", None, None),
        (
            "\ufeffband,wavelength_nm,good,mean\n0,400.5,1,7\n1,500.25,0,7\n2,600,1,7\n",
            None,
            [1, 0, 1],
        ),
        ("wavelength;fwhm\n400,5;8,5\n500,25;8,0\n600;7,5\n", [8.5, 8, 7.5], None),
        ("wavelength [um]\tfwhm (nm)\n0.4005\t8\n0.50025\t8\n0.6\t8\n", [8, 8, 8], None),
        ("wavelengths_um,fwhm\n0.4005,0.008\n0.50025,0.008\n0.6,0.008\n", [8, 8, 8], None),
        ("nm\n400.5\n500.25\n600\n", None, None),
        ("# EMIT\nBand Center (nm), FWHM\n400.5, 8\n500.25, 8\n600, 8\n", [8, 8, 8], None),
        ("wl bbl\n400.5 1\n500.25 1\n600 0\n", None, [1, 1, 0]),
    ],
)
def test_tables(tmp_path, content, fwhm, good):
    path = tmp_path / "w.csv"
    path.write_bytes(content.encode())
    quiet = "nm" in content.lower() or "um" in content
    if quiet:
        axis = read_axis_file(path)
    else:
        with pytest.warns(UserWarning, match="are read as nm"):
            axis = read_axis_file(path)
    np.testing.assert_allclose(axis.wavelengths_nm, NM)
    if fwhm is None:
        assert axis.fwhm_nm is None
    else:
        np.testing.assert_allclose(axis.fwhm_nm, fwhm)
    assert axis.good.tolist() == [bool(flag) for flag in good or [1, 1, 1]]


@pytest.mark.parametrize(
    "content",
    ["400.5\n500.25\n600\n", "400.5, 500.25, 600\n", "400.5,\n500.25,\n600,\n",
     "1 400.5\n2 500.25\n3 600", "0,400.5\n1,500.25\n2,600\n", "0.4005\n0.50025\n0.6\n"],
)  # fmt: skip
def test_lists_without_names(tmp_path, content):
    (tmp_path / "w.txt").write_text(content)
    with pytest.warns(UserWarning, match=r"w.txt has no `wavelength units`; .* are read as"):
        axis = read_axis_file(tmp_path / "w.txt")
    np.testing.assert_allclose(axis.wavelengths_nm, NM)


def test_wavenumbers_and_headers(tmp_path):
    (tmp_path / "w.csv").write_text("wavenumber\n1990\n2050\n2114\n")
    axis = read_axis_file(tmp_path / "w.csv")
    np.testing.assert_allclose(axis.wavelengths_nm, 1e7 / np.array([1990, 2050, 2114]))
    (tmp_path / "other.hdr").write_text(header_text(fwhm="{30, 30, 30}"))
    assert read_axis_file(tmp_path / "other.hdr").fwhm_nm.tolist() == [30, 30, 30]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is empty"),
        ("wavelength_nm\n", "names of columns, but no numbers"),
        ("400\nred\n600\n", r"w.csv, line 2: 'red' is no number"),
        ("wavelength_nm\n400\n5_0\n", r"line 3: '5_0' is no number"),
        ("wavelength_nm\n400\n-5\n", "wavelength 1 is -5"),
        ("a,b\n1,2\n", r"columns 'a', 'b', but none of wavelengths; name one wavelength_nm"),
        ("wavelength_nm,nm\n400,1\n", r"two columns of centres, 'wavelength_nm' and 'nm'"),
        ("400,8\n500,8\n600,8\n", r"2 columns of numbers without names; put a row above"),
        ("wavelength_nm,fwhm\n400,8\n500\n", r"rows of \[1, 2\] columns"),
        ("1990\n2050\n2114\n", r"may be nm or wavenumbers"),
        ("wavelength_nm\n0.4\n0.5\n", r"contradicts the values"),
        ("wavelength_nm,fwhm (nm)\n400,0\n500,8\n", r"widths in nm, from 0 on; give nm or um, ab"),
    ],
)
def test_files_that_do_not_say_it(tmp_path, content, text):
    (tmp_path / "w.csv").write_text(content)
    with pytest.raises(AxisError, match=text):
        read_axis_file(tmp_path / "w.csv")


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(
        AxisError, match=r"none.csv \(data.axis.file\) cannot be read: No such file"
    ):
        read_axis_file(tmp_path / "none.csv")
    (tmp_path / "w.csv").write_bytes(b"\xff\xfe4\x000\x000\x00")
    with pytest.raises(AxisError, match="no text in UTF-8; save it as CSV"):
        read_axis_file(tmp_path / "w.csv")
