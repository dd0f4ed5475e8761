import kornia.augmentation as ka
import kornia.filters as kf
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from views_presets import PRESETS

from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.spatial import (
    SpatialSampler,
    crop_matrix,
    flip_matrix,
    gaussian_blur,
    rotation_matrix,
    warp_affine,
)


def smooth_images(batch: int, channels: int, size: int) -> Tensor:
    """Low-frequency images, so that resampling twice and once nearly agree."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, channels, 4, 4, generator=generator, dtype=torch.float64)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


def test_identity_is_a_resize_without_crop() -> None:
    x = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    for size in (12, 7, 20):
        whole = torch.tensor([[0.0, 0.0], [11.0, 0.0], [11.0, 11.0], [0.0, 11.0]]).expand(2, 4, 2)
        found = warp_affine(x, torch.linalg.inv(crop_matrix(whole, size)), size)
        expected = F.interpolate(x, (size, size), mode="bilinear", align_corners=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("horizontal", [False, True])
@pytest.mark.parametrize("vertical", [False, True])
def test_flips_are_exact(horizontal: bool, vertical: bool) -> None:
    x = torch.rand(1, 2, 9, 9, dtype=torch.float64)
    matrix = flip_matrix(torch.tensor([horizontal]), torch.tensor([vertical]), 9)
    dims = [3] * horizontal + [2] * vertical
    found = warp_affine(x, torch.linalg.inv(matrix), 9)
    torch.testing.assert_close(found, x.flip(dims), rtol=0, atol=1e-12)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    x = torch.rand(1, 2, 9, 9, dtype=torch.float64)
    inverse = torch.linalg.inv(rotation_matrix(torch.tensor([90.0]), 9))
    # The border's coordinates miss the image by rounding and fade into the zeros outside.
    torch.testing.assert_close(
        warp_affine(x, inverse, 9), torch.rot90(x, 1, (2, 3)), atol=1e-9, rtol=0
    )


def test_matrices_are_those_of_kornia() -> None:
    torch.manual_seed(5)
    x = torch.rand(6, 1, 24, 24)
    rotation = ka.RandomRotation(180.0, p=1.0)
    rotation(x)
    torch.testing.assert_close(
        rotation_matrix(rotation._params["degrees"], 24).float(),
        rotation.transform_matrix,
        atol=1e-4,
        rtol=0,
    )
    crop = ka.RandomResizedCrop((16, 16), scale=(0.3, 1.0))
    crop(x)
    torch.testing.assert_close(
        crop_matrix(crop._params["src"], 16).float(), crop.transform_matrix, atol=1e-3, rtol=0
    )
    flip = ka.RandomHorizontalFlip(p=1.0)
    flip(x)
    expected = flip_matrix(torch.tensor([True]), torch.tensor([False]), 24).float()
    torch.testing.assert_close(expected.expand(6, 3, 3), flip.transform_matrix)


def test_one_warp_equals_kornias_operations_one_after_another() -> None:
    """Same seed, same parameters: the sampler draws as the chain of kornia's classes does."""
    batch, source, size = 8, 48, 40
    config = ViewsConfig()
    torch.manual_seed(11)
    inverse = torch.linalg.inv(SpatialSampler(config, source, size).draw(batch))
    x = smooth_images(batch, 2, source)
    found = warp_affine(x, inverse, size)

    torch.manual_seed(11)
    shape = torch.Size((batch, 2, source, source))
    rotate = ka.RandomRotation(180.0, p=1.0)
    crop = ka.RandomResizedCrop((size, size), scale=(0.3, 1.0), cropping_mode="resample")
    chained = rotate(x, params=rotate.forward_parameters(shape))
    chained = crop(chained, params=crop.forward_parameters(shape))
    for dim in (3, 2):
        flipped = torch.bernoulli(torch.full((batch,), 0.5)).bool()
        chained = torch.where(flipped[:, None, None, None], chained.flip(dim), chained)
    # The frame that rotation brings in is an edge, where two resamplings blur more than one.
    ones = warp_affine(torch.ones_like(x), inverse, size)
    inner = F.avg_pool2d(ones, 5, 1, 2) > 0.999
    assert inner.double().mean() > 0.5
    difference = (found - chained).abs()[inner]
    assert float(difference.max()) < 0.01
    assert float(difference.mean()) < 0.002


def test_crops_keep_their_share_of_the_image() -> None:
    torch.manual_seed(0)
    config = ViewsConfig(rotation_deg=0.0, crop_min=0.3, crop_max=0.6)
    matrix = SpatialSampler(config, 101, 50).draw(400)
    width, height = (49 / matrix[:, i, i].abs() + 1 for i in (0, 1))
    share = width * height / 101**2
    assert 0.28 < float(share.min()) < 0.33
    assert 0.57 < float(share.max()) < 0.62
    ratio = width / height
    assert 0.73 < float(ratio.min()) < float(ratio.max()) < 1.36
    corners = (
        torch.linalg.inv(matrix) @ torch.tensor([[0.0, 49.0], [0.0, 49.0], [1.0, 1.0]]).double()
    )
    assert float(corners[:, :2].min()) > -1e-6
    assert float(corners[:, :2].max()) < 100 + 1e-6


def test_flips_and_rotations_come_at_their_rates() -> None:
    torch.manual_seed(0)
    still = PRESETS["none"]
    flips = ViewsConfig(**{**vars(still), "flip_horizontal": 0.3, "flip_vertical": 0.8})
    matrix = SpatialSampler(flips, 16, 16).draw(2000)
    assert float((matrix[:, 0, 0] < 0).double().mean()) == pytest.approx(
        0.3, abs=0.04
    )  # standard error 0.01
    assert float((matrix[:, 1, 1] < 0).double().mean()) == pytest.approx(0.8, abs=0.04)
    turns = SpatialSampler(ViewsConfig(**{**vars(still), "rotation_deg": 40.0}), 16, 16).draw(2000)
    angles = torch.rad2deg(torch.atan2(turns[:, 0, 1], turns[:, 0, 0]))
    assert 39 < float(angles.max()) <= 40
    assert -40 <= float(angles.min()) < -39
    assert float(angles.std()) == pytest.approx(80 / np.sqrt(12), rel=0.05)


def test_blur_is_kornias_with_zeros_outside() -> None:
    x = torch.rand(3, 2, 20, 20, dtype=torch.float64)
    sigma = torch.tensor([0.0, 0.7, 2.0], dtype=torch.float64)
    found = gaussian_blur(x, sigma)
    torch.testing.assert_close(found[0], x[0])
    for i in (1, 2):
        s = float(sigma[i])
        expected = kf.gaussian_blur2d(x[i : i + 1], (39, 39), (s, s), border_type="constant")
        torch.testing.assert_close(found[i], expected[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_float32_coordinates(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    inverse = torch.linalg.inv(SpatialSampler(ViewsConfig(), 64, 64).draw(4))
    x = torch.rand(4, 2, 64, 64).to(dtype)
    found = warp_affine(x, inverse, 64)
    assert found.dtype == dtype
    expected = warp_affine(x.float(), inverse, 64)
    torch.testing.assert_close(found.float(), expected, atol=0.004, rtol=0.01)


def test_the_warp_has_the_right_gradient() -> None:
    torch.manual_seed(2)
    inverse = torch.linalg.inv(SpatialSampler(ViewsConfig(), 6, 5).draw(2))
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: warp_affine(v, inverse, 5), (x,))
