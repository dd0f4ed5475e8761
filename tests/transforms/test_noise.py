import numpy as np
import pytest
import torch
from torch import Tensor

from hyperspec.transforms import noise as views_noise
from hyperspec.transforms.noise import NoiseSource

LIKE = torch.empty(0)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1])


@pytest.mark.parametrize("use_bank", [True, False])
def test_numbers_are_standard_normal_and_uncorrelated(use_bank: bool) -> None:
    batch, channels, pixels = 6, 50, 1024
    noise = NoiseSource(pixels, use_bank).draw(batch, channels, LIKE, seed=7)
    assert noise.shape == (batch, channels, pixels)
    # 307,200 numbers: the mean has a standard error of 0.0018, the sd of 0.0013.
    assert float(noise.mean()) == pytest.approx(0, abs=0.008)
    assert float(noise.std()) == pytest.approx(1, abs=0.006)
    assert float((noise.abs() > 1.959964).float().mean()) == pytest.approx(0.05, abs=0.002)
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.08)
    between_bands = np.corrcoef(noise[0].numpy()) - np.eye(channels)
    assert np.abs(between_bands).max() < 5 / np.sqrt(pixels)
    between_specimens = np.corrcoef(noise.flatten(1).numpy()) - np.eye(batch)
    assert np.abs(between_specimens).max() < 5 / np.sqrt(channels * pixels)


@pytest.mark.parametrize("use_bank", [True, False])
def test_the_seed_decides_and_two_views_differ(use_bank: bool) -> None:
    source = NoiseSource(400, use_bank)
    first, again, other = (source.draw(3, 20, LIKE, seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert abs(correlation(first, other)) < 5 / np.sqrt(first.numel())


def test_the_bank_has_no_mean_over_draws_at_any_pixel() -> None:
    source = NoiseSource(64, use_bank=True)
    noise = torch.cat([source.draw(8, 5, LIKE, seed) for seed in range(250)])
    assert float(noise.mean(0).abs().max()) < 5 / np.sqrt(2000)
    assert float((noise.std(0) - 1).abs().max()) < 5 / np.sqrt(4000)


def test_blocks_of_channels_lie_at_different_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_noise, "BLOCK", 300)
    source = NoiseSource(100, use_bank=True)
    (blocks,) = source.places(1, 7, seed=3)
    assert [block.bands for block in blocks] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    noise = source.draw(1, 7, LIKE, seed=3)[0]
    assert np.abs(np.corrcoef(noise.numpy()) - np.eye(7)).max() < 0.5
    assert noise.unique().numel() == 700


def test_a_channel_larger_than_a_block_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_noise, "BLOCK", 64)
    noise = NoiseSource(1000, use_bank=True).draw(2, 3, LIKE, seed=0)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("use_bank", [True, False])
def test_adding_uses_the_same_numbers_at_each_bands_level(use_bank: bool) -> None:
    source = NoiseSource(81, use_bank)
    sd = torch.tensor([0.0, 0.5, 2.0])
    y = torch.rand(4, 3, 9, 9)
    expected = y + sd[:, None, None] * source.draw(4, 3, y, seed=9).view(4, 3, 9, 9)
    torch.testing.assert_close(source.add_(y.clone(), sd, seed=9), expected)


def test_numbers_have_the_dtype_of_the_images() -> None:
    source = NoiseSource(16, use_bank=True)
    single = source.draw(2, 2, LIKE, seed=4)
    double = source.draw(2, 2, LIKE.double(), seed=4)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=0, atol=0)
