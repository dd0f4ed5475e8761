from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from views_presets import PRESETS

import hyperspec.transforms.noise as views_noise
from hyperspec.spectra.axis import mission_axis
from hyperspec.transforms.augment import ViewParams, Views
from hyperspec.transforms.config import ViewsConfig

AXIS = mission_axis()
QUIET = replace(PRESETS["none"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_views(config: ViewsConfig, n: int = 12, size: int = 16, **kwargs: object) -> Views:
    nm = AXIS.wavelengths_nm[np.linspace(0, 407, n).astype(int)]
    return Views(config, nm, size, axis_range_nm=AXIS.range_nm, **kwargs)  # type: ignore[arg-type]


def images(batch: int, n: int = 12, size: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, n, size, size, generator=generator, dtype=dtype)


def foreground(batch: int, size: int = 16) -> Tensor:
    return torch.rand(batch, 1, size, size, generator=torch.Generator().manual_seed(2)) > 0.3


def same(a: ViewParams, b: ViewParams) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(ViewParams)]
    return all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in pairs)


def test_no_views_return_the_images_themselves() -> None:
    views, x = make_views(PRESETS["none"]), images(3)
    params = views.draw(3)
    assert views.spectral(x, params) is x
    assert views.warp(x, params) is x
    torch.testing.assert_close(params.matrix, torch.eye(3).double().expand(3, 3, 3))
    mask = foreground(3)
    assert torch.equal(views.spectral(x, params, mask), x * mask)


@pytest.mark.parametrize("preset", ["light", "default", "strong"])
@pytest.mark.parametrize("n", [1, 2, 12])
def test_presets_are_finite_on_any_subset_and_change_the_images(preset: str, n: int) -> None:
    views, x, mask = (
        make_views(PRESETS[preset], n),
        images(4, n, dtype=torch.float32),
        foreground(4),
    )
    original = x.clone()
    params = views.draw(4)
    y = views.warp(views.spectral(x, params, mask), params)
    assert y.shape == (4, n, 16, 16)
    assert bool(torch.isfinite(y).all())
    assert float((y - x).abs().mean()) > 0.01
    assert torch.equal(x, original)
    assert not bool((views.spectral(x, params, mask) * ~mask).any())


@pytest.mark.parametrize("preset", ["light", "default", "strong"])
def test_the_seed_decides_the_views(preset: str) -> None:
    views = make_views(PRESETS[preset])
    torch.manual_seed(3)
    first, second = views.draw(5), views.draw(5)
    torch.manual_seed(3)
    assert same(views.draw(5), first)
    assert same(views.draw(5), second)
    assert not same(first, second)
    x = images(5)
    assert torch.equal(views.spectral(x, first), views.spectral(x, first))


def test_a_generator_decides_and_leaves_the_default_generator_alone() -> None:
    views = make_views(PRESETS["strong"])
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(8)
    first, second = views.draw(4, generator), views.draw(4, generator)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert same(views.draw(4, torch.Generator().manual_seed(8)), first)
    assert not same(first, second)


def test_checkpointing_replays_the_views() -> None:
    views, x = make_views(PRESETS["default"]), images(3)
    mask = foreground(3)
    scale, offset = torch.ones(12).double(), torch.zeros(12).double()
    seen = []

    def loss(weight: Tensor) -> Tensor:
        params = views.draw(3)
        z = views.warp(views.project_view(x, mask, weight, scale, offset, params), params)
        seen.append(z.detach())
        return (z**2).sum()

    weight = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    checkpoint(loss, weight, use_reentrant=False).backward()
    assert len(seen) == 2
    assert torch.equal(*seen)


def test_the_same_seed_lights_every_subset_alike() -> None:
    few, many = make_views(PRESETS["default"], 2), make_views(PRESETS["default"], 408)
    factors = []
    for views in (few, many):
        torch.manual_seed(4)
        factor = views.band_factor(views.draw(6))
        assert factor is not None
        factors.append(factor)
    torch.testing.assert_close(factors[0], factors[1][:, [0, 407]])


def test_gain_tilt_and_curvature_have_their_spread() -> None:
    torch.manual_seed(0)
    views = make_views(PRESETS["default"], 3)
    params = views.draw(4000)
    assert params.light is not None
    np.testing.assert_allclose(params.light.std(0), [0.2, 0.15, 0.15], rtol=0.05)
    np.testing.assert_allclose(params.light.mean(0), 0, atol=0.012)  # standard error 0.003
    factor = views.band_factor(params)
    assert factor is not None
    gain, tilt, curvature = params.light.unbind(1)
    torch.testing.assert_close(factor[:, 0].log(), gain - tilt + curvature, atol=1e-5, rtol=0)


def test_noise_has_the_level_of_its_band() -> None:
    config = replace(QUIET, noise_sd=0.02, noise_low_end=3.0, noise_high_end=2.0)
    views = make_views(config, 3, 64)
    x = torch.full((8, 3, 64, 64), 0.5)
    sd = (views.spectral(x, views.draw(8)) - x).std((0, 2, 3))
    np.testing.assert_allclose(sd, [0.06, 0.02, 0.04], rtol=0.02)


def test_shift_is_seen_in_nanometres() -> None:
    views = make_views(replace(QUIET, shift_nm=5.0), 408, 2)
    nm = views.wavelengths_nm
    line = torch.exp(-4 * np.log(2) * ((nm - 550.0) / 12.0) ** 2)
    params = views.draw(4)
    assert params.shift_nm is not None
    params = replace(params, shift_nm=torch.tensor([2.0, -2.0, 0.0, 5.0]))
    y = views.spectral(line[None, :, None, None].expand(4, 408, 2, 2), params)[:, :, 0, 0]
    centres = (y * nm).sum(1) / y.sum(1)
    np.testing.assert_allclose(centres - 550.0, [2.0, -2.0, 0.0, 5.0], atol=0.05)


def test_erasing_fills_exactly_the_window_and_nothing_else() -> None:
    config = replace(QUIET, erase_nm=60.0, erase_probability=1.0)
    fill = np.linspace(0.2, 0.4, 408)
    views = make_views(config, 408, 2, fill=fill)
    x = images(50, 408, 2, torch.float32)
    torch.manual_seed(0)
    params = views.draw(50)
    y = views.spectral(x, params)
    assert params.keep is not None
    for row, kept in enumerate(params.keep):
        gone = torch.nonzero(~kept)[:, 0]
        assert torch.equal(y[row, kept], x[row, kept])
        torch.testing.assert_close(y[row, gone, 0, 0].double(), torch.as_tensor(fill)[gone])
        assert torch.equal(gone, torch.arange(int(gone[0]), int(gone[-1]) + 1))
        width = float(views.wavelengths_nm[gone[-1]] - views.wavelengths_nm[gone[0]])
        touches_an_end = gone[0] == 0 or gone[-1] == 407
        assert width <= 60.0
        assert touches_an_end or width > 60.0 - 2 * 1.14


def test_dropping_has_its_rate_and_leaves_one_band() -> None:
    torch.manual_seed(0)
    keep = make_views(replace(QUIET, drop_probability=0.3), 40).draw(500).keep
    assert keep is not None
    assert float((~keep).float().mean()) == pytest.approx(0.3, abs=0.02)
    heavy = make_views(replace(QUIET, drop_probability=0.9), 3).draw(500).keep
    assert heavy is not None
    assert int(heavy.sum(1).min()) == 1
    alone = make_views(replace(QUIET, drop_probability=0.9), 1).draw(50).keep
    assert alone is not None
    assert bool(alone.all())


def test_mixing_adds_another_specimens_mean_spectrum() -> None:
    views = make_views(replace(QUIET, mix_max=0.5))
    x, mask = images(5), foreground(5)
    params = views.draw(5)
    assert params.mix is not None
    assert params.partner is not None
    assert sorted(params.partner.tolist()) == [0, 1, 2, 3, 4]
    assert all(params.partner[i] != i for i in range(5))
    y = views.spectral(x, params, mask)
    for i in range(5):
        j, share = int(params.partner[i]), float(params.mix[i])
        mean = x[j][:, mask[j, 0]].mean(1)
        expected = ((1 - share) * x[i] + share * mean[:, None, None]) * mask[i]
        torch.testing.assert_close(y[i], expected, atol=1e-6, rtol=0)
    assert 0 <= float(params.mix.min()) < float(params.mix.max()) <= 0.5


def test_only_drawn_views_are_blurred() -> None:
    torch.manual_seed(1)
    views = make_views(replace(QUIET, blur_probability=0.5, blur_sigma_px=2.0))
    x, params = images(20), views.draw(20)
    assert params.blurred is not None
    params = replace(params, blur_sigma_px=torch.ones(len(params.blurred)))
    y = views.warp(x, params)
    changed = [i for i in range(20) if not torch.equal(x[i], y[i])]
    assert changed == params.blurred.tolist()
    assert 4 < len(changed) < 16


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("preset", ["none", "light", "default", "strong"])
@pytest.mark.parametrize("n", [1, 3, 12])
def test_projecting_first_equals_the_long_way(
    preset: str, n: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Spectral, normalise, project, warp in band space against one product and a small warp."""
    config = replace(PRESETS[preset], noise_projected=False)
    views = make_views(config, n, 14, source_size=16, fill=np.linspace(0.1, 0.3, n))
    x, mask = images(4, n, dtype=dtype), foreground(4)
    make = {"generator": torch.Generator().manual_seed(5), "dtype": dtype}
    weight = torch.randn(5, n, 1, 1, **make).requires_grad_()
    scale, offset = torch.rand(n, **make) + 0.5, torch.randn(n, **make)
    torch.manual_seed(6)
    params = views.draw(4)
    normalised = views.spectral(x, params, mask) * scale[:, None, None] + offset[:, None, None]
    long = torch.nn.functional.conv2d(views.warp(normalised * mask, params), weight)
    short = views.warp(views.project_view(x, mask, weight, scale, offset, params), params)
    size = float(long.detach().abs().max())
    torch.testing.assert_close(short, long, rtol=tolerance, atol=tolerance * size)
    gradients = [torch.autograd.grad((z**2).sum(), weight)[0] for z in (long, short)]
    size = float(gradients[0].abs().max())
    torch.testing.assert_close(*gradients, rtol=10 * tolerance, atol=10 * tolerance * size)


@pytest.mark.parametrize("bank", [True, False])
def test_projected_noise_has_the_covariance_of_noise_that_is_projected(bank: bool) -> None:
    config = replace(QUIET, noise_sd=0.1, noise_bank=bank)
    views = make_views(config, 12, 64)
    x, weight = torch.zeros(24, 12, 64, 64), torch.randn(4, 12)
    scale = torch.rand(12) + 0.5
    z = views.project_view(x, None, weight, scale, torch.zeros(12), views.draw(24))
    found = np.cov(z.transpose(0, 1).flatten(1).numpy())
    factor = (weight * scale * views.noise_sd).double().numpy()
    expected = factor @ factor.T
    # 98,304 pixels: relative standard error of a variance 0.0045.
    np.testing.assert_allclose(found, expected, atol=0.02 * np.diag(expected).max())
    between = np.corrcoef(z.flatten(1).numpy()) - np.eye(24)
    assert np.abs(between).max() < 5 * 2 / np.sqrt(4 * 64 * 64)


@pytest.mark.parametrize("rank", [3, 1])
def test_projected_noise_gives_the_same_expected_gradient(rank: int) -> None:
    """Two parametrisations of one distribution; only the spread of the estimate may differ.

    A low rank is what weights have behind a reduction to few channels.
    """
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((3, rank), (rank, 8))
    ]
    weight = (parts[0] @ parts[1]).requires_grad_()
    target = torch.randn(3, 1, 1, generator=generator, dtype=torch.float64)
    x, ones = images(1, 8, 128), torch.ones(8).double()
    means, errors = [], []
    for projected in (False, True):
        config = replace(QUIET, noise_sd=0.3, noise_bank=False, noise_projected=projected)
        views = make_views(config, 8, 128)
        gradients = []
        for seed in range(60):
            torch.manual_seed(seed)
            z = views.project_view(x, None, weight, ones, 0 * ones, views.draw(1))
            # Not a quadratic: its expectation depends on more than the mean and the covariance.
            loss = torch.tanh(z - target).pow(2).mean()
            gradients.append(torch.autograd.grad(loss, weight)[0])
        stacked = torch.stack(gradients)
        means.append(stacked.mean(0))
        errors.append(stacked.std(0) / np.sqrt(60))
    deviation = (means[0] - means[1]).abs() / (errors[0] ** 2 + errors[1] ** 2).sqrt()
    assert float(deviation.max()) < 4.5
    assert float((means[0] - means[1]).norm() / means[0].norm()) < 0.02


def test_a_projection_of_lower_rank_still_has_its_noise() -> None:
    config = replace(QUIET, noise_sd=0.1, noise_low_end=1.0, noise_high_end=1.0)
    views = make_views(config, 12, 64)
    weight = torch.zeros(3, 12)
    weight[:2] = 1.0
    weight.requires_grad_()
    z = views.project_view(
        torch.zeros(4, 12, 64, 64), None, weight, torch.ones(12), torch.zeros(12), views.draw(4)
    )
    (gradient,) = torch.autograd.grad((z**2).sum(), weight)
    assert bool(torch.isfinite(gradient).all())
    sd = z.detach().std((0, 2, 3))
    np.testing.assert_allclose(sd[:2], 0.1 * np.sqrt(12), rtol=0.03)
    assert float(sd[2]) < 0.001


def test_a_stem_behind_a_reduction_to_few_channels_has_a_gradient() -> None:
    """Ten boxes of 408 bands in front of 32 channels (bands=binned): the covariance is singular."""
    config = replace(QUIET, noise_sd=0.01)
    views, boxes = make_views(config, 408, 8), torch.zeros(10, 408)
    for row, bands in zip(boxes, torch.arange(408).tensor_split(10), strict=True):
        row[bands] = 1 / len(bands)
    x, ones, zeros = images(2, 408, 8, dtype=torch.float32), torch.ones(408), torch.zeros(408)
    for seed in range(30):
        torch.manual_seed(seed)
        weight = (0.3 * torch.randn(32, 10)).requires_grad_()
        z = views.project_view(x, None, 20 * weight @ boxes, ones, zeros, views.draw(2))
        (gradient,) = torch.autograd.grad(z.tanh().sum(), weight)
        assert bool(torch.isfinite(gradient).all()), f"seed {seed}"


@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("preset", ["default", "strong"])
def test_short_images_keep_their_dtype(preset: str, weight_dtype: torch.dtype) -> None:
    views, x, mask = make_views(PRESETS[preset]), images(4, dtype=torch.float32), foreground(4)
    weight = torch.randn(5, 12).to(weight_dtype).requires_grad_()
    scale, offset, params = torch.full((12,), 7.0), torch.full((12,), -3.0), views.draw(4)
    exact = views.project_view(x, mask, weight.detach().float(), scale, offset, params)
    short = views.project_view(x.bfloat16(), mask, weight, scale, offset, params)
    assert short.dtype == torch.bfloat16
    error = (short.detach().float() - exact).pow(2).mean().sqrt() / exact.std()
    assert float(error) < 0.02
    short.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == weight_dtype
    spectral = views.spectral(x.bfloat16(), params, mask)
    assert spectral.dtype == torch.bfloat16
    difference = spectral.float() - views.spectral(x, params, mask)
    assert float(difference.abs().max()) < 0.02


def test_autocast_shortens_only_the_large_product() -> None:
    views, x = make_views(PRESETS["default"]), images(4, dtype=torch.float32)
    mask, weight = foreground(4), torch.randn(5, 12)
    scale, offset = torch.full((12,), 7.0), torch.full((12,), -3.0)
    params = views.draw(4)
    exact = views.project_view(x, mask, weight, scale, offset, params)
    with torch.autocast("cpu", torch.bfloat16):
        short = views.project_view(x, mask, weight, scale, offset, params)
    assert short.dtype == torch.bfloat16
    error = (short.float() - exact).pow(2).mean().sqrt() / exact.std()
    assert float(error) < 0.02


@pytest.mark.parametrize("preset", ["none", "default", "strong"])
def test_normalising_in_the_same_pass_equals_normalising_afterwards(preset: str) -> None:
    views, x, mask = make_views(PRESETS[preset]), images(4), foreground(4)
    scale, offset = torch.rand(12).double() + 0.5, torch.randn(12).double()
    params = views.draw(4)
    after = views.spectral(x, params, mask) * scale[:, None, None] + offset[:, None, None]
    found = views.spectral(x, params, mask, (scale, offset))
    torch.testing.assert_close(found, after * mask, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_bands_beside_each_other_are_the_same_views(
    preset: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_noise, "BLOCK", 5000)  # 19 bands
    views = make_views(PRESETS[preset], n=70, size=12, source_size=16, fill=np.full(70, 0.5))
    x, mask, params = images(5, 70, dtype=dtype), foreground(5), views.draw(5)
    affine = torch.linspace(1, 2, 70), torch.linspace(-1, 0, 70)
    original = x.clone()
    for chosen in (None, mask):
        made = views.deliver(x, params, chosen, affine)
        # bfloat16 is rounded once here and after each operation there.
        rtol, atol = (0.02, 0.06) if dtype == torch.bfloat16 else (None, None)
        plain = views.warp(views.spectral(x, params, chosen, affine), params)
        torch.testing.assert_close(made, plain, rtol=rtol, atol=atol)
        assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, original)


def test_views_drawn_for_other_images_are_refused() -> None:
    views = make_views(PRESETS["default"])
    params = views.draw(2)
    for x in (images(3), images(2, size=8)):
        for call in (views.spectral, views.warp):
            with pytest.raises(ValueError, match="drawn for 2 specimens of 16 x 16 pixels"):
                call(x, params)


def test_bad_construction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"wavelengths_nm has shape \(0,\); give one per band"):
        Views(PRESETS["none"], [], 8)
    with pytest.raises(ValueError, match=r"fill has shape \(2,\), but there are 3 bands"):
        Views(PRESETS["none"], [400, 500, 600], 8, fill=[0.0, 0.0])


def test_hints_use_the_spacing_of_the_chosen_bands() -> None:
    assert make_views(PRESETS["default"], 408).hints == ()
    assert "1.1 nm spacing" in make_views(PRESETS["strong"], 408).hints[0]
    assert len(make_views(PRESETS["strong"], 408).hints) == 3
    assert len(make_views(PRESETS["strong"], 10).hints) == 1
    assert "single band" in make_views(PRESETS["strong"], 1).hints[0]


def test_shift_smoothing_and_mixing_keep_their_digits_under_autocast() -> None:
    config = replace(QUIET, shift_nm=5.0, smooth_fwhm_nm=10.0, mix_max=0.3)
    views, x = make_views(config), images(4, dtype=torch.float32)
    params = views.draw(4)
    exact = views.spectral(x, params, foreground(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = views.spectral(x, params, foreground(4))
    assert short.dtype == torch.float32
    assert torch.equal(short, exact)


def test_the_warp_keeps_its_coordinates_under_autocast() -> None:
    """Eight bits would move the corners of a view of 64 pixels by a tenth of a pixel."""
    views, x = make_views(PRESETS["light"], size=64), images(4, size=64, dtype=torch.float32)
    params = views.draw(4)
    exact = views.warp(x, params)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(views.warp(x, params), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_blur_under_autocast_keeps_the_type_of_the_views(dtype: torch.dtype) -> None:
    views = make_views(replace(QUIET, blur_probability=0.5, blur_sigma_px=1.0))
    x, params = images(20, dtype=dtype), views.draw(20)
    assert params.blurred is not None
    exact = views.warp(x, params)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(views.warp(x, params), exact)
    assert exact.dtype == dtype


def test_a_basis_that_is_given_is_that_which_would_be_found() -> None:
    views = make_views(replace(PRESETS["default"], noise_projected=True), 40)
    x, weight, scale = images(3, 40, dtype=torch.float32), torch.randn(8, 40), torch.rand(40) + 1
    params, offset = views.draw(3), torch.zeros(40)
    basis = views.noise_basis(weight, scale)
    assert basis is not None
    assert basis.shape == (40, 8)
    given = views.project_view(x, None, weight, scale, offset, params, basis)
    assert torch.equal(given, views.project_view(x, None, weight, scale, offset, params))
    assert make_views(QUIET, 40).noise_basis(weight, scale) is not None
    assert make_views(QUIET, 4).noise_basis(weight[:, :4], scale[:4]) is None
