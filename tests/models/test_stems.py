import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import rounding
from torch import Tensor
from torch.nn import functional

from hyperspec.models.stems.projection import (
    Projection,
    colour_shares,
    inflate_kernels,
    projection_centres,
    smooth_projection,
)

AXIS_NM = 348.3931 + 1.1332 * np.arange(408)
wavelength_sets = st.lists(
    st.floats(300, 1000, allow_nan=False), min_size=1, max_size=40, unique=True
)


def kernels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=generator)


def test_exact_colours_give_the_colour_kernels_in_any_order() -> None:
    rgb = kernels()
    torch.testing.assert_close(inflate_kernels(rgb, [650, 550, 450]), rgb, rtol=0, atol=0)
    torch.testing.assert_close(inflate_kernels(rgb, [450, 650, 550]), rgb[:, [2, 0, 1]])


def test_shares_by_hand() -> None:
    """500 nm lies half way between B and G, 575 a quarter from G to R, 400 and 700 outside."""
    shares = colour_shares([400.0, 500.0, 575.0, 700.0])
    raw = np.array([[0, 0, 1], [0, 0.5, 0.5], [0.25, 0.75, 0], [1, 0, 0]])
    np.testing.assert_allclose(shares, raw / [1.25, 1.25, 1.5], atol=rounding(8, 1.0))


def test_a_colour_that_no_band_is_near_is_shared_evenly() -> None:
    np.testing.assert_allclose(colour_shares([350.0, 400.0]), np.full((2, 3), 0.5))
    rgb = kernels()
    torch.testing.assert_close(inflate_kernels(rgb, [550.0]), rgb.sum(1, keepdim=True))


@given(wavelength_sets)
@settings(max_examples=50, deadline=None)
def test_a_flat_spectrum_keeps_its_response(nm: list[float]) -> None:
    rgb = kernels()
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    expected = functional.conv2d(image.expand(-1, 3, -1, -1), rgb)
    wide = inflate_kernels(rgb, nm)
    found = functional.conv2d(image.expand(-1, len(nm), -1, -1), wide)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@given(wavelength_sets, st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_smooth_projection_keeps_flat_spectra(nm: list[float], channels: int) -> None:
    weights = smooth_projection(nm, channels)
    assert weights.shape == (channels, len(nm))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)


def test_smooth_projection_is_interpolation_with_few_bands_and_local_with_many() -> None:
    few = smooth_projection([400.0, 500.0, 600.0], 5)  # at 400, 450, 500, 550, 600
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    np.testing.assert_allclose(few, expected, atol=rounding(8, 1.0))
    many = smooth_projection(AXIS_NM, 32)
    centres = projection_centres(AXIS_NM, 32)
    spacing = centres[1] - centres[0]
    far = np.abs(AXIS_NM - centres[:, None]) >= spacing
    assert (many[far] == 0).all()
    np.testing.assert_allclose(many[1:-1] @ AXIS_NM, centres[1:-1], atol=0.1)


def test_projection_centres() -> None:
    np.testing.assert_allclose(projection_centres([500, 400, 600], 3), [400, 500, 600])
    np.testing.assert_allclose(projection_centres([400, 600], 1), [500])


def test_projection_is_a_product_per_pixel_and_commutes_with_a_warp() -> None:
    torch.manual_seed(0)
    projection = Projection(7, 3).double()
    x = torch.randn(2, 7, 8, 8, dtype=torch.float64)
    expected = torch.stack([projection.weight @ x[i].flatten(1) for i in range(2)])
    torch.testing.assert_close(projection(x), expected.reshape(2, 3, 8, 8))
    theta = torch.tensor([[[0.6, -0.3, 0.1], [0.2, 0.7, -0.4]]], dtype=torch.float64)

    def warp(y: Tensor) -> Tensor:
        grid = functional.affine_grid(theta.expand(2, -1, -1), list(y.shape), align_corners=False)
        return functional.grid_sample(y, grid, align_corners=False)

    torch.testing.assert_close(projection(warp(x)), warp(projection(x)))


@pytest.mark.parametrize("num_bands", [10, 408])
def test_projection_starts_with_unit_response(num_bands: int) -> None:
    torch.manual_seed(1)
    projection = Projection(num_bands, 512)
    response = projection(torch.randn(16, num_bands, 4, 4))
    assert response.var().item() == pytest.approx(1, abs=0.1)  # of drawn weights
    assert str(projection) == f"Projection({num_bands}, 512)"
