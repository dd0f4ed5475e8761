"""Pigments, thin films, windows and the sensor, against closed forms and the values promised."""

from __future__ import annotations

import numpy as np
import pytest
from tolerance import rounding

from hyperspec.spectra import mission_axis
from hyperspec.testing.synthetic.design import VARIANTS, Factors, Window, build_design
from hyperspec.testing.synthetic.scales import (
    CHITIN_INDEX,
    PIGMENTS,
    carotenoid,
    film_reflectance,
    iridescence,
    melanin,
    ommochrome,
    pterin,
)
from hyperspec.testing.synthetic.sensor import Sensor, noise_profile, response
from hyperspec.utils.errors import ConfigError

NM = mission_axis().wavelengths_nm


def test_single_film_is_airys_formula() -> None:
    n, thickness = 1.56, 210.0
    finesse = 4 * ((n - 1) / (n + 1)) ** 2 / (1 - ((n - 1) / (n + 1)) ** 2) ** 2
    phase = 2 * np.pi * n * thickness / NM
    expected = finesse * np.sin(phase) ** 2 / (1 + finesse * np.sin(phase) ** 2)
    np.testing.assert_allclose(film_reflectance(NM, thickness), expected, atol=rounding(32, 1.0))


@pytest.mark.parametrize("num_lamellae", [1, 2, 3, 5])
def test_quarter_wave_stack_peaks_at_its_closed_form(num_lamellae: int) -> None:
    # At the design wavelength each film and gap turns the admittance over: Y = n^(2N).
    admittance = CHITIN_INDEX ** (2 * num_lamellae)
    expected = ((1 - admittance) / (1 + admittance)) ** 2
    peak = iridescence(np.array([470.0]), 470.0, num_lamellae)
    np.testing.assert_allclose(peak, [expected], rtol=1e-12)


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, 50.0])
def test_stack_equals_the_transfer_matrix(angle_deg: float) -> None:
    got = film_reflectance(NM, 80.0, num_lamellae=3, gap_nm=110.0, angle_deg=angle_deg)
    expected = np.mean([_matrix_stack(NM, 80.0, 3, 110.0, angle_deg, p) for p in "sp"], axis=0)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert 0 <= got.min() < got.max() <= 1


def _matrix_stack(nm, film_nm, count, gap_nm, angle_deg, polarisation):  # type: ignore[no-untyped-def]
    """Abeles' characteristic matrices, an independent road to the same reflectance."""
    sin = np.sin(np.radians(angle_deg))
    layers = [(1.56, film_nm), (1.0, gap_nm)] * count
    cos0 = np.sqrt(1 - sin**2)
    outer = cos0 if polarisation == "s" else 1 / cos0
    out = []
    for wavelength in nm:
        total = np.eye(2, dtype=complex)
        for n, d in layers[:-1]:
            cos = np.sqrt(1 - (sin / n) ** 2)
            eta = n * cos if polarisation == "s" else n / cos
            delta = 2 * np.pi * n * d * cos / wavelength
            total = total @ np.array(
                [
                    [np.cos(delta), 1j * np.sin(delta) / eta],
                    [1j * eta * np.sin(delta), np.cos(delta)],
                ]
            )
        b, c = total @ np.array([1, outer])
        out.append(abs((outer * b - c) / (outer * b + c)) ** 2)
    return np.array(out)


def test_angle_moves_the_peak_to_shorter_wavelengths() -> None:
    upright = NM[iridescence(NM, 520.0, 2).argmax()]
    oblique = NM[iridescence(NM, 520.0, 2, angle_deg=35.0).argmax()]
    assert upright == pytest.approx(520, abs=2)
    assert 430 < oblique < 500


def test_melanin_decays_exponentially() -> None:
    log_slope = np.diff(np.log(melanin(NM))) / np.diff(NM)
    np.testing.assert_allclose(log_slope, -1 / 210.0, rtol=1e-9)
    assert melanin(np.array([450.0]))[0] == 1


@pytest.mark.parametrize(
    ("pigment", "peaks_nm"),
    [(carotenoid, [445, 472]), (pterin, [383]), (ommochrome, [380, 476])],
)
def test_pigments_absorb_where_they_should(pigment, peaks_nm) -> None:  # type: ignore[no-untyped-def]
    values = pigment(NM)
    inner = values[1:-1]
    found = NM[1:-1][(inner > values[:-2]) & (inner > values[2:])]
    np.testing.assert_allclose(found, peaks_nm, atol=8)  # neighbours pull at each other
    assert values[NM > 700].max() < 0.01  # the red window is free of pigments other than melanin


def test_pigments_never_emit() -> None:
    for shape in PIGMENTS.values():
        assert shape(NM).min() >= 0


def test_window_has_its_depth_and_width() -> None:
    window = Window("uv", 373.0, 16.0, 0.4)
    centre, low, high = window.spectrum(np.array([373.0, 365.0, 381.0]))
    assert (centre, low, high) == pytest.approx((0.4, 0.2, 0.2))


@pytest.mark.parametrize(
    ("n", "uv", "red"), [(5, False, False), (10, False, False), (20, True, False), (50, True, True)]
)
def test_uniform_bands_meet_the_windows_as_designed(n: int, uv: bool, red: bool) -> None:
    nearest = [int(np.abs(NM - nm).argmin()) for nm in np.linspace(NM[0], NM[-1], n)]
    depths = [w.spectrum(NM[nearest]).max() for w in build_design("planted").windows]
    for depth, met in zip(depths, (uv, red), strict=True):
        assert depth > 0.35 if met else depth < 1e-3


def test_species_are_the_full_factorial() -> None:
    for variant in VARIANTS:
        species = build_design(variant).species
        count = 4 if variant == "spots" else 8
        assert len({s.factors for s in species}) == len({s.name for s in species}) == count


def test_null_factors_ignore_the_species() -> None:
    design = build_design("null")
    rng = np.random.default_rng(0)
    drawn = np.array([[_code(design.factors(s, rng)) for s in range(8)] for _ in range(500)])
    # 500 draws of 8 kinds for each of 8 species: chi-squared with 56 degrees of freedom, of which
    # 99.9% lie below 94.5.
    counts = np.stack([np.bincount(drawn[:, s], minlength=8) for s in range(8)])
    chi_squared = ((counts - 62.5) ** 2 / 62.5).sum()
    assert chi_squared < 94.5


def _code(factors: Factors) -> int:
    return 4 * (factors.pigment == "pterin") + 2 * factors.uv + factors.red


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"synth\.variant is 'plated'.*planted, graded, null"):
        build_design("plated")


def test_noise_rises_at_both_ends_as_the_response_falls() -> None:
    noise, light = noise_profile(NM), response(NM)
    assert noise[0] == pytest.approx(0.035, rel=1e-3)
    assert noise[-1] == pytest.approx(0.025, rel=1e-3)
    assert noise.min() == pytest.approx(0.01, rel=1e-2)
    np.testing.assert_allclose(noise * np.sqrt(light), 0.01)


def test_raw_counts_calibrate_back_to_reflectance() -> None:
    rng = np.random.default_rng(3)
    sensor = Sensor.build(NM, 16, rng)
    truth = np.full((200, 16, NM.size), 0.4, np.float32)
    raw = sensor.expose(truth, rng).astype(np.float64)
    dark, white = sensor.dark_frame(rng).mean(0), sensor.white_frame(rng).mean(0)
    reflectance = (raw - dark) / (white - dark)
    # Raw stripes are strong, calibrated ones are not; the noise is what the profile says.
    assert raw.mean(0).std(0).min() > 40
    # What is left of them is the noise of 16 white lines (0.4 / 4) and of the 200 averaged here.
    bias = reflectance.mean(0) - 0.4
    left = noise_profile(NM) * np.sqrt(0.4**2 / 16 + 1 / 200)
    np.testing.assert_allclose(
        bias.std(0), left, rtol=0.8
    )  # of 16 numbers, and the extreme of all bands
    np.testing.assert_allclose(np.sqrt((bias**2).mean()), np.sqrt((left**2).mean()), rtol=0.05)
    np.testing.assert_allclose(reflectance.std(0).mean(0), noise_profile(NM), rtol=0.08)
    assert sensor.white_frame(rng).max() < 65_535
