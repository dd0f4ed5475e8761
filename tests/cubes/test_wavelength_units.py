"""Units of wavelengths and widths: converted, inferred with a warning, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from cube_oracle import header_text, write_pair

from hyperspec.cubes import open_cube
from hyperspec.cubes.wavelength_units import to_nanometres, widths_to_nanometres
from hyperspec.utils.errors import AxisError


@pytest.mark.parametrize(
    "unit",
    ["cm-1", "cm^-1", "1/cm", "CM^{-1}", "cm⁻¹", "Wavenumber", "wavenumbers", "Wavenumber (cm-1)",
     "inverse centimeters"],
)  # fmt: skip
def test_wavenumbers_are_converted(unit):
    np.testing.assert_allclose(
        to_nanometres([1990, 2050, 2114], unit, "x"), 1e7 / np.array([1990, 2050, 2114])
    )


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("Angstroms", 10), ("mm", 1e-6), ("Centimeters", 1e-7), ("Meters", 1e-9), ("microns", 1e-3)],
)
def test_other_units_of_envi(unit, factor):
    nm = np.array([400.0, 500.5, 900])
    np.testing.assert_allclose(to_nanometres(list(nm * factor), unit, "x"), nm)


@pytest.mark.parametrize("values", [[1990, 2050, 2114], [2114, 2050, 1990], [1700, 2000, 2600]])
def test_numbers_that_may_be_wavenumbers_are_asked_for(values):
    with pytest.raises(AxisError, match=r"may be nm or wavenumbers \(cm-1, .*write the unit"):
        to_nanometres(values, "", "x.hdr")


@pytest.mark.parametrize(
    "field",
    [{"description": "{Mid-IR, Wavenumber axis}"}, {"sensor type": "FT-IR imaging"},
     {"z plot titles": "{Wavenumber, Absorbance}"}],
)  # fmt: skip
def test_an_instrument_of_wavenumbers_is_heard(tmp_path, field):
    text = header_text(wavelength="{900, 1000, 1100}", wavelength_units=None, **field)
    with pytest.raises(AxisError, match=r"may be wavenumbers. Write the unit"):
        open_cube(write_pair(tmp_path, text))


def test_a_camera_up_to_the_far_end_is_still_inferred():
    with pytest.warns(UserWarning, match="are read as nm"):
        assert to_nanometres([1000, 1800, 2500], "", "x").tolist() == [1000, 1800, 2500]


NM = np.linspace(400, 800, 30)


@pytest.mark.parametrize(
    ("values", "widths", "expected", "text"),
    [
        (NM / 1000, 5.0, 5.0, r"would be 5000 nm .* is read as 5 nm, in a unit 1000 times smaller"),
        (NM, 0.005, 5.0, r"would be 0.005 nm .* is read as 5 nm, in a unit 1000 times larger"),
        (NM, 5000.0, 5.0, r"is read as 5 nm"),
        (NM, 330.0, None, r"would be 330 nm .* which is no width of these bands, and is left out"),
        (NM, -1.0, None, r"is -1 for band 0, which is no width, and is left out"),
        (NM, 0.0, None, r"is 0 for band 0"),
    ],
)
def test_widths_in_another_unit_are_told(values, widths, expected, text):
    with pytest.warns(UserWarning, match=text):
        found = widths_to_nanometres([widths] * 30, list(values), NM, "x.hdr")
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("centres", "widths"),
    [
        (NM, 5.0),
        (np.linspace(348.3931, 809.6, 408), 2.8),
        (np.array([443.0, 490, 560, 665, 842, 1610, 2190]), 60.0),  # Sentinel-2
        (np.array([450.0, 532, 635, 850]), 2.0),  # laser lines
        (np.linspace(400, 410, 101), 8.0),  # resampled finely
        (np.array([550.0]), 80.0),
        (np.linspace(8000, 12000, 5), 700.0),
    ],
)
def test_widths_of_real_bands_stay_silently(centres, widths):
    found = widths_to_nanometres([widths] * len(centres), list(centres), centres, "x")
    np.testing.assert_array_equal(found, widths)


def test_widths_of_wavenumbers_follow_the_wavelength():
    values = [1000.0, 1500.0, 2000.0]
    centres = to_nanometres(values, "cm-1", "x")
    found = widths_to_nanometres([8.0] * 3, values, centres, "x")
    edges = 1e7 / (np.array(values) - 4) - 1e7 / (np.array(values) + 4)
    np.testing.assert_allclose(found, edges, rtol=1e-4)
