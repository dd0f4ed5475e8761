import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import rounding

from hyperspec.spectra.axis import mission_axis
from hyperspec.transforms.spectral import (
    BandMap,
    axis_position,
    erase_keep,
    illumination,
    mean_spectra,
    noise_profile,
    shift_operator,
    smooth_operator,
)

NM = torch.as_tensor(np.array(mission_axis().wavelengths_nm))


def gaussian_line(nm: torch.Tensor, centre: float, fwhm: float) -> torch.Tensor:
    return torch.exp(-4 * np.log(2) * ((nm - centre) / fwhm) ** 2)


def centre_of(line: torch.Tensor) -> float:
    return float((line * NM).sum() / line.sum())


def fwhm_of(line: torch.Tensor) -> float:
    """Distance between the two half-maximum crossings, interpolated."""
    values, nm = line.numpy() / line.max().item(), NM.numpy()
    above = np.flatnonzero(values >= 0.5)
    first, last = above[0], above[-1]
    left = np.interp(0.5, values[[first - 1, first]], nm[[first - 1, first]])
    right = np.interp(0.5, values[[last + 1, last]], nm[[last + 1, last]])
    return float(right - left)


@pytest.mark.parametrize("shift", [2.0, -2.0, 0.4, 7.3])
@pytest.mark.parametrize("fwhm", [6.0, 16.0])
def test_shift_moves_the_centre_of_a_line(shift: float, fwhm: float) -> None:
    line = gaussian_line(NM, 550.0, fwhm)
    moved = shift_operator(NM, torch.tensor([shift], dtype=torch.float64))[0] @ line
    assert centre_of(moved) - centre_of(line) == pytest.approx(shift, abs=0.05)
    peak = NM[moved.argmax()] - NM[line.argmax()]
    assert float(peak) == pytest.approx(shift, abs=1.14)  # a step of the axis


def test_shift_is_numpy_interpolation_in_any_band_order() -> None:
    order = np.random.default_rng(0).permutation(408)[:37]
    nm = NM[order]
    spectrum = torch.rand(37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shifts = torch.tensor([0.0, 3.0, -11.0, 400.0], dtype=torch.float64)
    by_nm = np.argsort(nm.numpy())
    for shift, operator in zip(shifts, shift_operator(nm, shifts), strict=True):
        expected = np.interp(nm - shift, nm[by_nm], spectrum[by_nm])
        np.testing.assert_allclose(operator @ spectrum, expected, atol=1e-9)


@pytest.mark.parametrize(("line_fwhm", "smoothing"), [(16.0, 10.0), (10.0, 25.0), (30.0, 4.0)])
def test_smoothing_broadens_by_quadrature(line_fwhm: float, smoothing: float) -> None:
    line = gaussian_line(NM, 560.0, line_fwhm)
    smooth = smooth_operator(NM, torch.tensor([smoothing], dtype=torch.float64))[0] @ line
    assert fwhm_of(smooth) == pytest.approx(np.hypot(line_fwhm, smoothing), rel=0.005)
    assert centre_of(smooth) == pytest.approx(560.0, abs=0.01)
    assert float(smooth.sum()) == pytest.approx(float(line.sum()), rel=1e-4)


def test_smoothing_weighs_unevenly_chosen_bands_by_the_width_they_cover() -> None:
    # Twice as many bands below 550 nm as above: a straight line must stay one in the middle.
    nm = torch.cat([torch.arange(450, 550, 1.0), torch.arange(550, 651, 2.0)]).double()
    smooth = smooth_operator(nm, torch.tensor([20.0], dtype=torch.float64))[0] @ nm
    middle = (nm > 500) & (nm < 600)
    np.testing.assert_allclose(smooth[middle], nm[middle], atol=0.15)


@given(
    count=st.integers(1, 30),
    width=st.floats(0, 80),
    seed=st.integers(0, 1000),
    reverse=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_operators_keep_a_flat_spectrum_on_any_subset(
    count: int, width: float, seed: int, reverse: bool
) -> None:
    chosen = np.sort(np.random.default_rng(seed).choice(408, count, replace=False))
    nm = NM[chosen[::-1].copy() if reverse else chosen]
    amount = torch.tensor([width, -width, 0.0], dtype=torch.float64)
    for operator in (shift_operator(nm, amount), smooth_operator(nm, amount.abs())):
        assert operator.shape == (3, count, count)
        assert float(operator.min()) >= 0
        np.testing.assert_allclose(operator.sum(-1), 1, atol=1e-9)
        np.testing.assert_allclose(operator[2], np.eye(count), atol=1e-12)
        if count == 1:
            np.testing.assert_array_equal(operator, np.ones((3, 1, 1)))


def test_bands_at_one_wavelength_do_not_divide_by_zero() -> None:
    nm = torch.tensor([500.0, 500.0, 510.0], dtype=torch.float64)
    for make in (shift_operator, smooth_operator):
        operator = make(nm, torch.tensor([3.0], dtype=torch.float64))
        assert bool(torch.isfinite(operator).all())
        np.testing.assert_allclose(operator.sum(-1), 1, atol=1e-9)


def test_erase_removes_exactly_the_window() -> None:
    keep = erase_keep(NM, torch.tensor([500.0, 348.0, 600.0]), torch.tensor([60.0, 10.0, 0.0]))
    for row, (low, high) in zip(keep, [(470.0, 530.0), (343.0, 353.0)], strict=False):
        np.testing.assert_array_equal(row, ~((low <= NM) & (high >= NM)))
    assert bool(keep[2].all())


def test_erase_never_removes_the_last_band() -> None:
    keep = erase_keep(NM[100:101], torch.tensor([460.0]), torch.tensor([300.0]))
    assert keep.tolist() == [[True]]
    clump = erase_keep(NM[100:103], torch.tensor([462.0]), torch.tensor([30.0]))
    assert clump.tolist() == [[True, True, True]]


def test_illumination_means_the_same_on_every_subset() -> None:
    ends = mission_axis().range_nm
    curve = [torch.tensor([value], dtype=torch.float64) for value in (0.1, -0.2, 0.3)]
    whole = illumination(axis_position(NM, ends), *curve)[0]
    for chosen in ([0, 407], [100], [300, 20, 5]):
        subset = illumination(axis_position(NM[chosen], ends), *curve)[0]
        np.testing.assert_allclose(subset, whole[chosen], rtol=1e-12)
    np.testing.assert_allclose(whole[0], np.exp(0.1 + 0.2 + 0.3), rtol=1e-12)
    np.testing.assert_allclose(whole[-1], np.exp(0.1 - 0.2 + 0.3), rtol=1e-12)
    middle = illumination(axis_position(torch.tensor([sum(ends) / 2]), ends), *curve)
    assert float(middle) == pytest.approx(np.exp(0.1), rel=1e-6)


def test_an_axis_of_one_band_has_its_position_in_the_middle() -> None:
    assert axis_position(torch.tensor([500.0]), (500.0, 500.0)).tolist() == [0.0]


def test_noise_rises_to_the_given_factors_at_both_ends() -> None:
    t = torch.linspace(-1, 1, 201, dtype=torch.float64)
    level = noise_profile(t, 3.5, 2.5)
    assert [float(level[i]) for i in (0, 100, 200)] == pytest.approx([3.5, 1.0, 2.5])
    assert float(level[50:151].max()) < 1.4
    assert bool((level.diff()[:100] <= 0).all())
    assert bool((level.diff()[100:] >= 0).all())


def test_mean_spectra_use_the_foreground_only() -> None:
    x = torch.rand(3, 5, 4, 6, dtype=torch.float64)
    mask = torch.rand(3, 1, 4, 6) > 0.4
    mask[2] = False
    found = mean_spectra(x, mask)
    for b in range(2):
        np.testing.assert_allclose(found[b], x[b][:, mask[b, 0]].mean(1), rtol=1e-12)
    assert found[2].tolist() == [0.0] * 5
    np.testing.assert_allclose(mean_spectra(x, None), x.flatten(2).mean(2), rtol=1e-12)


def test_folding_equals_applying_and_then_projecting() -> None:
    generator = torch.Generator().manual_seed(3)
    make = {"generator": generator, "dtype": torch.float64}
    x, weight = torch.rand(2, 6, 3, 3, **make), torch.randn(4, 6, **make)
    factor, offset = torch.rand(2, 6, **make), torch.rand(2, 6, **make)
    operators = (torch.rand(2, 6, 6, **make), torch.rand(2, 6, 6, **make))
    for bands in (
        BandMap(),
        BandMap(factor),
        BandMap(None, operators[:1]),
        BandMap(factor, operators, offset),
        BandMap(None, (), offset),
    ):
        expected = torch.einsum("kn,bnhw->bkhw", weight, bands.apply(x))
        folded, constant = bands.fold(weight)
        found = torch.einsum("bkn,bnhw->bkhw", folded.expand(2, -1, -1), x)
        if constant is not None:
            found = found + constant[..., None, None]
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(4 * 6, expected))
    assert BandMap().apply(x) is x
    # The order of the operators, against plain loops.
    y = BandMap(factor, operators, offset).apply(x)
    pixel = operators[1][1] @ (operators[0][1] @ x[1, :, 2, 0])
    np.testing.assert_allclose(y[1, :, 2, 0], factor[1] * pixel + offset[1], rtol=1e-12)
