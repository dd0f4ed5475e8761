"""Normalisations against NumPy per band, per pixel, and by name."""

import numpy as np
import pytest
import torch
from torch import nn

from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.transforms.normalisation import pixelwise
from hyperspec.transforms.normalisation.normalisation import (
    NORMALISATIONS,
    blank_normalisation,
    build_normalisation,
)
from hyperspec.utils.errors import AxisError, ConfigError

AXIS = SpectralAxis(np.array([400, 404, 409, 415, 420, 428, 433.0]))
PIXELWISE = ("snv", "l2", "derivative", "continuum")


def training_spectra(seed=0, constant=None):
    rng = np.random.default_rng(seed)
    spectra = 0.4 + 0.1 * rng.normal(size=(500, 3)) @ rng.normal(size=(3, 7))
    if constant is not None:
        spectra[:, constant] = 0.3
    return spectra


def built(name, **options):
    statistics = SpectralStatistics.from_spectra(training_spectra(**options), AXIS)
    return build_normalisation(name, statistics, AXIS.wavelengths_nm)


def batch(seed=1):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.uniform(0.05, 0.9, size=(2, 7, 3, 4)), dtype=torch.float32)


def per_pixel(function, x):
    return torch.tensor(np.apply_along_axis(function, 1, x.double().numpy())).float()


def test_none_is_the_batch_itself():
    x = batch()
    assert torch.equal(built("none")(x), x)
    scale, offset = built("none").per_band_affine
    assert torch.equal(scale, torch.ones(7))
    assert torch.equal(offset, torch.zeros(7))


def test_zscore_and_minmax_match_numpy_over_the_training_part():
    train, x = training_spectra(), batch()
    expected = {
        "zscore": (train.mean(0), train.std(0, ddof=1)),
        "minmax": (train.min(0), train.max(0) - train.min(0)),
    }
    for name, (centre, width) in expected.items():
        want = (x.double().numpy() - centre[:, None, None]) / width[:, None, None]
        np.testing.assert_allclose(built(name)(x).numpy(), want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["none", "minmax", "zscore"])
def test_per_band_affine_says_all(name):
    normalisation, x = built(name, constant=3), batch()
    scale, offset = normalisation.per_band_affine
    want = x * scale[:, None, None] + offset[:, None, None]
    torch.testing.assert_close(normalisation(x), want)


@pytest.mark.parametrize("name", PIXELWISE)
def test_pixelwise_options_are_not_affine(name):
    assert built(name).per_band_affine is None


@pytest.mark.parametrize("name", ["minmax", "zscore"])
def test_a_band_that_is_constant_in_training_becomes_zeros(name):
    y = built(name, constant=3)(batch())
    assert torch.equal(y[:, 3], torch.zeros(2, 3, 4))
    assert (y[:, 2].abs() > 0).all()


def test_snv_matches_its_definition():
    x = batch()
    want = per_pixel(lambda s: (s - s.mean()) / s.std(ddof=1), x)
    torch.testing.assert_close(built("snv")(x), want, rtol=1e-5, atol=1e-5)


def test_snv_ignores_gain_and_offset():
    x, snv = batch(), built("snv")
    torch.testing.assert_close(snv(3 * x + 0.2), snv(x), rtol=1e-4, atol=1e-4)


def test_l2_has_unit_length():
    x = batch()
    torch.testing.assert_close(built("l2")(x).norm(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(built("l2")(x), per_pixel(lambda s: s / np.linalg.norm(s), x))


@pytest.mark.parametrize("name", ["snv", "derivative", "continuum"])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.7, 3000.0])
def test_constant_spectra_become_zeros(name, level):
    y = built(name)(torch.full((1, 7, 2, 2), level))
    torch.testing.assert_close(y, torch.zeros(1, 7, 2, 2), rtol=0, atol=1e-6 * max(level, 1))
    if name != "derivative":
        assert torch.equal(y, torch.zeros(1, 7, 2, 2))


def test_l2_of_zeros_is_zeros():
    assert torch.equal(built("l2")(torch.zeros(1, 7, 2, 2)), torch.zeros(1, 7, 2, 2))


@pytest.mark.parametrize("name", PIXELWISE)
def test_background_becomes_zero_and_is_never_looked_at(name):
    x = batch()
    mask = torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    mask[0, 0, 1:, 2:] = True
    mask[1, 0, 0, 0] = True
    normalisation = built(name)
    whole = normalisation(x)
    spoiled = torch.where(mask, x, float("nan"))
    y = normalisation(spoiled, mask)
    torch.testing.assert_close(y, torch.where(mask, whole, 0.0))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_half_precision_in_and_out_but_not_inside(name):
    x = batch()
    normalisation = built(name)
    y = normalisation(x.to(torch.bfloat16))
    assert y.dtype == torch.bfloat16
    want = normalisation(x.to(torch.bfloat16).float())
    torch.testing.assert_close(y.float(), want, rtol=0.01, atol=0.01)  # bfloat16 rounds by 0.004
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = normalisation(x)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, normalisation(x))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_one_band_gives_finite_values(name):
    axis = AXIS.subset([2])
    statistics = SpectralStatistics.from_spectra(training_spectra()[:, [2]], axis)
    y = build_normalisation(name, statistics, axis.wavelengths_nm)(batch()[:, [2]])
    assert torch.isfinite(y).all()
    if name in ("snv", "derivative", "continuum"):
        assert torch.equal(y, torch.zeros_like(y))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_fit_travels_in_the_state_dict(name):
    fitted = nn.Sequential(built(name))
    blank = nn.Sequential(blank_normalisation(name, AXIS.wavelengths_nm))
    blank.load_state_dict(fitted.state_dict())
    assert torch.equal(blank(batch()), fitted(batch()))
    assert not list(fitted.parameters())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_batch_itself_is_left_alone(name):
    x = batch()
    before = x.clone()
    built(name)(x, torch.ones(2, 1, 3, 4, dtype=torch.bool))
    assert torch.equal(x, before)


def test_options_without_a_fit_need_no_statistics():
    for name in ("none", "snv", "l2", "continuum"):
        y = build_normalisation(name, None, AXIS.wavelengths_nm)(batch())
        assert torch.equal(y, built(name)(batch()))


def test_errors_name_the_key_the_value_and_the_way_out():
    statistics = SpectralStatistics.from_spectra(training_spectra(), AXIS)
    nm = AXIS.wavelengths_nm
    with pytest.raises(ConfigError, match=r"data\.normalisation is 'z'; give one of none, minmax"):
        build_normalisation("z", statistics, nm)
    with pytest.raises(ConfigError, match=r"data\.normalisation=zscore is fitted.*none, snv, l2"):
        build_normalisation("zscore", None, nm)
    with pytest.raises(ConfigError, match=r"statistics of 7 bands that are not the 3 selected"):
        build_normalisation("minmax", statistics, nm[:3])
    with pytest.raises(ConfigError, match=r"polyorder is 5 and its window 5"):
        build_normalisation("derivative", statistics, nm, window=5, polyorder=5)
    with pytest.raises(AxisError, match=r"two selected bands lie at 500\.00 nm"):
        build_normalisation("continuum", None, np.array([500.0, 400.0, 500.0]))


@pytest.mark.parametrize("name", PIXELWISE)
@pytest.mark.parametrize("block", [1, 200, 700])  # a line, some lines, and an image at a time
def test_what_is_normalised_in_blocks_is_what_is_normalised_at_once(name, block, monkeypatch):
    normalisation, x = built(name), torch.cat([batch(seed) for seed in range(3)])
    mask = torch.rand((6, 1, 3, 4), generator=torch.Generator().manual_seed(0)) > 0.3
    x[~mask.expand_as(x)] = float("nan")
    for given in (mask, None):
        values = x if given is not None else x.nan_to_num(0.5)
        whole = normalisation(values, given)  # smaller than a block
        monkeypatch.setattr(pixelwise, "_BLOCK", block)
        assert values.nbytes > block
        found = normalisation(values, given)
        # Sums over seven bands of values near 1, which short lines may take in another order.
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
        learned = normalisation(values.clone().requires_grad_(), given)
        torch.testing.assert_close(learned, whole, rtol=1e-5, atol=1e-6)
        assert learned.requires_grad
        monkeypatch.undo()
