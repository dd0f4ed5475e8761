import numpy as np
import pytest

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.white_target import target_reflectance
from hyperspec.utils.errors import ConfigError

AXIS = SpectralAxis(np.array([400.0, 450.0, 500.0]), None, np.array([True, True, False]))


@pytest.mark.parametrize(
    "text",
    [
        "nm,reflectance\n400,0.9\n460,0.96\n",
        "\ufeff460;0.96\n400;0.9\n",  # a byte-order mark, descending
        "# sheet 12\nwavelength\tR\n400\t0.9\n\n460\t0.96\n",
        "400 0.9\n460 0.96",
    ],
)
def test_tables_are_interpolated(tmp_path, text):
    (tmp_path / "panel.csv").write_text(text, encoding="utf-8")
    found = target_reflectance("panel.csv", tmp_path, AXIS)
    np.testing.assert_allclose(found[:2], [0.9, 0.95])


def test_a_number_is_itself(tmp_path):
    assert target_reflectance(0.99, tmp_path, AXIS) == 0.99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("400,0.9\n430,0.9\n", r"covers 400 to 430 nm, but the cubes' bands 400 to 450 nm"),
        ("400,99\n500,99\n", r"line 1: 400, 99; give .* \(0\.99, not 99 percent\)"),
        ("0.4,0.9\n0.5,0.9\n", r"line 1: 0\.4, 0\.9; give nanometres"),
        ("400,0.9\n400,0.9\n", r"2 lines of nm and reflectance; give at least two, each"),
        ("400,0.9\n", r"has 1 lines"),
        ("400,0.9,3\n500,0.9,4\n", r"line 1: '400,0\.9,3' is not two numbers"),
        ("nm,R\n400,0.9\n450,x\n", r"line 3: '450,x' is not two numbers"),
        ("400;0,9\n500;0,9\n", r"with a point for the decimals"),
    ],
)
def test_other_tables_are_refused_by_line(tmp_path, text, message):
    (tmp_path / "panel.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        target_reflectance("panel.csv", tmp_path, AXIS)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"is 'pnael\.csv', neither a number nor a file below"):
        target_reflectance("pnael.csv", tmp_path, AXIS)
