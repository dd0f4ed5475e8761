import math

import numpy as np
import pytest
import torch
from tolerance import rounding
from torch.nn import functional

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.models import TinyConfig, build_encoder
from hyperspec.models.stems.wavelength import (
    BandAttention,
    WavelengthProjection,
    wavelength_features,
)

NM = np.linspace(350, 800, 12)


def test_wavelength_features_are_sines_of_known_periods() -> None:
    features = wavelength_features([350.0, 402.5])
    assert features.shape == (2, 128)
    assert features[1, 0].item() == pytest.approx(math.sin(2 * math.pi * 402.5 / 640), abs=1e-6)
    assert features[1, 63].item() == pytest.approx(math.sin(2 * math.pi * 402.5 / 10), abs=1e-6)
    assert features[0, 127].item() == pytest.approx(math.cos(2 * math.pi * 350 / 10), abs=1e-6)


def test_a_broad_band_reads_the_mean_over_its_response() -> None:
    """Against the numerical integral of each wave over a Gaussian response."""
    nm, fwhm = np.array([400.0, 500.0, 700.0]), np.array([0.0, 3.0, 20.0])
    found = wavelength_features(nm, fwhm).double().numpy()
    offsets = np.linspace(-5, 5, 4001)
    share = np.exp(-(offsets**2) / 2)
    share /= share.sum()
    for row, (centre, width) in enumerate(zip(nm, fwhm, strict=True)):
        waves = wavelength_features(centre + offsets * width / 2.354820045)
        np.testing.assert_allclose(found[row], share @ waves.double().numpy(), atol=2e-5)
    np.testing.assert_array_equal(found[0], wavelength_features(nm)[0].double().numpy())


def test_a_sample_of_bands_projects_as_these_bands_alone() -> None:
    torch.manual_seed(0)
    stem = WavelengthProjection(NM, 5, np.full(12, 4.0))
    x = torch.randn(3, 12, 4, 4)
    everything = stem(x)
    stem.sample([7, 2, 3])
    sampled = stem(x)
    sampled.square().sum().backward()
    gradient = stem.generate.weight.grad.clone()
    stem.eval()
    torch.testing.assert_close(stem(x), everything)
    stem.train()
    stem.sample(None)
    torch.testing.assert_close(stem(x), everything)
    stem.set_wavelengths(NM[[7, 2, 3]], np.full(3, 4.0))
    stem.generate.weight.grad = None
    alone = stem(x[:, [7, 2, 3]])
    alone.square().sum().backward()
    torch.testing.assert_close(sampled, alone)
    expected = stem.generate.weight.grad
    atol = rounding(3 * 16 * 3 * 5, expected, dtype=torch.float32)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("num_bands", [50, 408])
def test_a_wavelength_stem_starts_with_a_response_of_order_one(num_bands: int) -> None:
    torch.manual_seed(0)
    stem = WavelengthProjection(np.linspace(350, 810, num_bands), 4096)
    flat = stem(torch.ones(1, num_bands, 1, 1))
    assert 0.5 < flat.std().item() < 2


def test_a_bands_kernel_does_not_depend_on_the_other_bands() -> None:
    torch.manual_seed(0)
    stem = WavelengthProjection(NM, 5)
    everything = stem.weight * len(NM)
    stem.set_wavelengths(NM[[7, 2]])
    assert stem.num_bands == 2
    torch.testing.assert_close(stem.weight * 2, everything[:, [7, 2]])
    x = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(stem(x), torch.einsum("kn,bnyx->bkyx", stem.weight, x))


def test_response_to_a_smooth_spectrum_hardly_depends_on_the_number_of_bands() -> None:
    """It is a mean over the spectrum: 200 and 400 bands estimate the same integral."""
    torch.manual_seed(0)

    def response(num_bands: int) -> torch.Tensor:
        edges = torch.linspace(350, 800, num_bands + 1, dtype=torch.float64)
        nm = (edges[1:] + edges[:-1]) / 2
        stem.set_wavelengths(nm)
        spectrum = torch.exp(-(((nm - 600) / 80) ** 2)).float()
        return stem(spectrum.reshape(1, -1, 1, 1)).flatten()

    stem = WavelengthProjection(NM, 64)
    few, many = response(200), response(400)
    assert (few - many).norm() < 0.01 * many.norm()


def test_one_checkpoint_serves_any_bands() -> None:
    torch.manual_seed(0)
    config = TinyConfig(stem="wavelength", stem_channels=6)
    trained = build_encoder(config, NM).eval()
    other = build_encoder(config, NM[::-1][:5]).eval()
    other.load_state_dict(trained.state_dict())
    weight = trained.projection_weight
    assert weight is not None
    assert trained.projects
    assert trained.num_bands == 12
    expected = weight[:, [11, 10, 9, 8, 7]] * 12 / 5
    assert other.projection_weight is not None
    torch.testing.assert_close(other.projection_weight, expected)
    other(torch.randn(2, 5, 16, 16)).sum().backward()
    assert other.projection is not None
    assert all(p.grad is not None for p in other.projection.parameters())


@pytest.mark.parametrize("num_bands", [1, 10, 408])
def test_attention_starts_as_the_identity(num_bands: int) -> None:
    torch.manual_seed(0)
    stem = BandAttention(num_bands, 4)
    assert stem.squeeze.out_features == max(4, num_bands // 16)
    x = torch.randn(2, num_bands, 5, 5)
    assert torch.equal(stem.band_weights(x), torch.ones(2, num_bands))
    torch.testing.assert_close(stem(x), stem.projection(x))


def test_attention_weighs_bands_by_the_image() -> None:
    torch.manual_seed(0)
    stem = BandAttention(6, 4).double()
    torch.nn.init.normal_(stem.excite.weight)
    x = torch.randn(3, 6, 5, 5, dtype=torch.float64)
    hidden = functional.relu(x.mean((2, 3)) @ stem.squeeze.weight.T + stem.squeeze.bias)
    expected = 2 / (1 + torch.exp(-(hidden @ stem.excite.weight.T)))
    torch.testing.assert_close(stem.band_weights(x), expected)
    torch.testing.assert_close(stem(x), stem.projection(x * expected[:, :, None, None]))
    assert ((expected > 0) & (expected < 2)).all()


def test_attention_stands_behind_the_warp() -> None:
    encoder = build_encoder(TinyConfig(stem="attention", stem_channels=6), NM)
    x = torch.randn(2, 12, 16, 16)
    assert not encoder.projects
    assert encoder.projection_weight is None
    assert encoder.project(x) is x
    assert encoder.num_bands == 12
    assert [name for name, _ in encoder.backbone.stages.named_children()] == [
        "attention",
        "conv1",
        "conv2",
        "conv3",
    ]
    encoder(x).square().sum().backward()
    assert encoder.backbone.stages.attention.excite.weight.grad.abs().sum() > 0
