"""Pigments, droplets, media, light and presets against closed forms and published peaks."""

import numpy as np
import pytest

from hyperspec.spectra.curves import read_curves
from hyperspec.spectra.eyes import EYES, by_density, sensitivities_of
from hyperspec.spectra.light import photons
from hyperspec.spectra.photoreceptors import (
    GRID_NM,
    Receptor,
    bird_media,
    droplet_transmission,
    pigment_absorbance,
)
from hyperspec.utils.errors import BandError


@pytest.mark.parametrize("peak", [360, 420, 500, 565, 620])
def test_a_pigment_peaks_at_its_wavelength_with_a_quarter_in_the_beta_band(peak):
    nm = np.arange(200, 800, 0.1)
    found = pigment_absorbance(nm, peak)
    assert abs(nm[found.argmax()] - peak) < 3  # the beta band pulls those of short wavelengths
    beta = 189 + 0.315 * peak
    width = -40.5 + 0.195 * peak
    # Two forms of one curve: what is not the alpha band is the Gaussian of equation 4.
    x, a = peak / nm, 0.8795 + 0.0459 * np.exp(-((peak - 300) ** 2) / 11940)
    with np.errstate(over="ignore"):
        alpha = 1 / (
            np.exp(69.7 * (a - x)) + np.exp(28 * (0.922 - x)) + np.exp(-14.9 * (1.104 - x)) + 0.674
        )
    np.testing.assert_allclose(
        found - alpha, 0.26 * np.exp(-(((nm - beta) / width) ** 2)), atol=1e-12
    )
    assert alpha.max() == pytest.approx(1, abs=0.005)  # of the template itself


def test_a_pigment_of_500_nm_is_half_as_wide_as_the_template_says():
    """Govardovskii et al. 2000, figure 4: half of the maximum at about 547 nm on the red side."""
    nm = np.arange(500, 600, 0.1)
    half = nm[np.abs(pigment_absorbance(nm, 500) - 0.5).argmin()]
    assert half == pytest.approx(547, abs=3)  # read off a figure


def test_peaks_outside_of_the_template_are_refused():
    with pytest.raises(BandError, match="A visual pigment of 320 nm is outside of the template's"):
        pigment_absorbance(GRID_NM, 320)


@pytest.mark.parametrize(("kind", "half"), [("C", 433.25), ("Y", 527.23), ("R", 595.92)])
def test_a_droplet_passes_half_where_its_regression_says(kind, half):
    cut = {"C": 413.0, "Y": 508.0, "R": 573.0}[kind]
    at = droplet_transmission(np.array([cut, half, half + 100]), kind, cut)
    assert at[0] == pytest.approx(np.exp(-np.exp(1.08)))
    assert at[1] == pytest.approx(0.5, abs=0.001)  # its constants have few digits
    assert at[2] > 0.98


def test_media_of_birds_pass_half_at_335_nm_and_never_more_than_all():
    found = bird_media(GRID_NM)
    assert GRID_NM[np.abs(found - 0.5).argmin()] == 335
    assert found[0] == 0
    assert found.max() == 1
    assert (np.diff(found) >= 0).all()


PUBLISHED = {  # peak sensitivities at the cornea, and how near the presets are to them
    "average_uvs": ((372, 456, 544, 609), 7),  # Endler & Mielke 2005
    "average_vs": ((416, 478, 542, 607), 6),
    "bluetit": ((371, 448, 502, 563), 0),  # its pigments; the cone peaks were not given
    "peafowl": ((424, 477, 537, 605), 1),  # Hart 2002; VS is its pigment: its media are left out
    "honeybee": ((344, 436, 544), 3),  # Peitsch et al. 1992
    "papilio": ((360, 460, 520, 600), 2),
    "heliconius": ((355, 398, 470, 555), 2),
    "human": ((441, 541, 566), 1),  # Stockman & Sharpe 2000, per photon
}


@pytest.mark.parametrize("name", EYES)
def test_presets_peak_where_the_literature_says(name):
    eye, seen = EYES[name], EYES[name].sensitivities()
    expected, tolerance = PUBLISHED[name]
    if name == "bluetit":
        assert tuple(one.peak_nm for one in eye.receptors) == expected
        # "Shifting cone peak sensitivity some 40 nm" (Hart et al. 2000, abstract)
        assert GRID_NM[seen.curves[3].argmax()] - 563 == pytest.approx(40, abs=5)
    else:
        assert np.abs(GRID_NM[seen.curves.argmax(axis=1)] - expected).max() <= tolerance
    assert len(seen.names) == len(expected) == len(eye.noise)
    np.testing.assert_allclose(seen.curves.max(axis=1), 1)
    assert (seen.curves >= 0).all()
    assert any(str(year) in eye.sources for year in range(1982, 2019)), "sources have dates"
    assert eye.noise_source
    if seen.achromatic is not None:
        assert seen.achromatic.max() == 1


def test_noise_follows_the_root_of_the_number_of_receptors():
    assert by_density((1, 4), 0.1) == pytest.approx((0.2, 0.1))
    assert EYES["average_uvs"].noise == pytest.approx((0.2, 0.1 * 2**0.5, 0.1 * 2**0.5, 0.1))


def test_light_counts_photons():
    nm = np.array([400.0, 560.0, 700.0])
    np.testing.assert_array_equal(photons("flat", nm), 1)
    # CIE 15: D65 has 100 at 560 nm, 82.7549 at 400 nm and 71.6091 at 700 nm, in energy.
    expected = np.array([82.7549 * 400, 100 * 560, 71.6091 * 700])
    np.testing.assert_allclose(photons("d65", nm), expected, rtol=1e-4)
    shade = photons("forest_shade", GRID_NM) / photons("d65", GRID_NM)
    visible = (GRID_NM > 450) & (GRID_NM < 680)
    assert GRID_NM[visible][shade[visible].argmax()] == 550
    assert shade[GRID_NM == 750] > 2 * shade[GRID_NM == 550]


def test_light_and_receptors_come_from_files(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("wavelength_nm, u ,s\n400,0,1\n500,2,3\n600,0,0\n")
    seen = sensitivities_of("human", str(file))
    assert seen.names == ("u", "s")
    assert GRID_NM[seen.curves.argmax(axis=1)].tolist() == [500, 500]
    assert seen.curves[0, GRID_NM == 450] == pytest.approx(0.5)
    assert seen.curves[1, GRID_NM == 450] == pytest.approx(2 / 3)
    assert seen.curves[:, GRID_NM == 399].tolist() == [[0], [0]]
    light = tmp_path / "light.csv"
    light.write_text("wavelength_nm,photons\n300,1\n800,2\n")
    assert photons(str(light), np.array([300.0, 550.0, 900.0])).tolist() == [1, 1.5, 0]
    with pytest.raises(BandError, match=r"bands.illuminant='.*own.csv' has 2 curves beside"):
        photons(str(file), GRID_NM)
    with pytest.raises(BandError, match=r"bands\.illuminant is 'moonlight', which is neither d65"):
        photons("moonlight", GRID_NM)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nm,u\n400,1\n", "has the columns nm, u; it needs 'wavelength_nm'"),
        ("wavelength_nm\n400\n500\n", "has the columns wavelength_nm; it needs"),
        ("wavelength_nm,u\n", "has no rows"),
        ("wavelength_nm,u\n400,1\n", "has a single wavelength"),
        ("wavelength_nm,u\n400,1\n500,x\n", r"line 3: column 'u' is 'x'; give a number"),
        ("wavelength_nm,u\n400,1\n500\n", r"line 3: column 'u' is ''; give a number"),
        ("wavelength_nm,u\n500,1\n400,1\n", "wavelength_nm must ascend"),
        ("wavelength_nm,u\n400,1\n500,-1\n", "column 'u' must hold values of 0 and above"),
        ("wavelength_nm,u\n400,0\n500,0\n", "its lowest is 0"),
    ],
)
def test_files_that_are_no_curves_are_refused(tmp_path, text, message):
    file = tmp_path / "curves.csv"
    file.write_text(text)
    with pytest.raises(BandError, match=message):
        read_curves(file, "bands.file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BandError, match=r"bands.file='.*none.csv' cannot be read: No such file"):
        read_curves(tmp_path / "none.csv", "bands.file")


def test_receptors_of_a_file_that_see_nothing_are_refused(tmp_path):
    file = tmp_path / "infrared.csv"
    file.write_text("wavelength_nm,ir\n900,1\n1000,1\n")
    with pytest.raises(BandError, match="receptor 'ir' answers to nothing between 300 and 800 nm"):
        sensitivities_of("human", str(file))


def test_a_droplet_moves_a_receptor_to_the_red():
    bare, behind = Receptor("x", 565), Receptor("x", 565, "R", 570)
    peaks = [GRID_NM[one.sensitivity(GRID_NM).argmax()] for one in (bare, behind)]
    assert peaks[0] == 565
    assert peaks[1] > 600
