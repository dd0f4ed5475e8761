"""Growing from m to n bands: the interpolation, what is kept of the responses, every stem."""

import numpy as np
import pytest
import torch

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.models import ResNetConfig, TinyConfig, build_encoder
from hyperspec.models.stems.wavelength import BandAttention
from hyperspec.models.weight_transfer import grow_weights, interpolation_map, response_map
from hyperspec.utils.errors import ModelError

OLD = np.linspace(350, 800, 9)
NEW = np.linspace(350, 800, 60)


def spectra(nm: np.ndarray, count: int = 400, noise: float = 0.0) -> np.ndarray:
    """Smooth random spectra with one narrow window, the same for any bands."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(count, 4))
    shapes = [np.sin(nm / 90), np.cos(nm / 60), nm / 800, np.exp(-(((nm - 373) / 8) ** 2))]
    clean = weights @ np.stack(shapes)
    return clean + noise * np.random.default_rng(len(nm)).normal(size=clean.shape)


def test_interpolation_is_that_of_numpy_scaled_by_m_over_n() -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 9))
    order = rng.permutation(9)
    new = np.array([300.0, 350.0, 361.0, 799.0, 900.0])
    found = weights[:, order] @ interpolation_map(OLD[order], new)
    expected = [np.interp(new, OLD, row) * 9 / 5 for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_same_bands_keep_their_weights() -> None:
    np.testing.assert_allclose(interpolation_map(OLD, OLD), np.eye(9), atol=1e-12)
    seen = spectra(OLD, noise=0.1)
    np.testing.assert_allclose(response_map(OLD, OLD, seen, seen), np.eye(9), atol=1e-12)


def test_the_map_is_the_minimum_of_its_criterion() -> None:
    """Against the normal equations written as one stacked least-squares problem."""
    old, new = spectra(OLD, 50, 0.1), spectra(NEW, 50, 0.1)
    ridge = 0.01
    found = response_map(OLD, NEW, old, new, ridge)
    root = np.sqrt(ridge * np.mean(new**2))
    start = interpolation_map(OLD, NEW)
    rows = np.concatenate([new / np.sqrt(50), root * np.eye(60)])
    right = np.concatenate([old / np.sqrt(50), root * start.T])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0].T
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_responses_are_kept_where_interpolation_misses_them() -> None:
    """Old bands beside the window at 373 nm never saw it; interpolated weights read it."""
    old, new = spectra(OLD), spectra(NEW)
    wanted = old
    plain = new @ interpolation_map(OLD, NEW).T
    kept = new @ response_map(OLD, NEW, old, new).T

    def missed(found: np.ndarray) -> float:
        scale = np.linalg.norm(wanted, axis=0)
        return float(np.max(np.linalg.norm(found - wanted, axis=0) / scale))

    assert missed(plain) > 0.3
    assert missed(kept) < 0.02


def test_without_spectra_the_map_is_the_interpolation() -> None:
    empty = np.zeros((0, 9)), np.zeros((0, 60))
    np.testing.assert_array_equal(response_map(OLD, NEW, *empty), interpolation_map(OLD, NEW))
    dark = np.zeros((5, 9)), np.zeros((5, 60))
    np.testing.assert_array_equal(response_map(OLD, NEW, *dark), interpolation_map(OLD, NEW))


def images(nm: np.ndarray) -> torch.Tensor:
    values = spectra(nm, 6 * 16 * 16).reshape(6, 16, 16, len(nm)).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(values)).float()


@pytest.mark.parametrize("stem", ["projection", "inflate", "wavelength", "attention"])
@pytest.mark.parametrize("backbone", ["tiny", "resnet18"])
def test_embeddings_stay_when_an_encoder_grows(stem: str, backbone: str) -> None:
    torch.manual_seed(0)
    config = TinyConfig(stem=stem) if backbone == "tiny" else ResNetConfig(stem=stem)
    trained = build_encoder(config, OLD).eval()
    if stem == "attention":
        first = trained.backbone.stages.attention
        assert isinstance(first, BandAttention)
        torch.nn.init.normal_(first.excite.weight, std=0.02)
    grown = build_encoder(config, NEW).eval()
    seen = spectra(NEW)
    names = grow_weights(trained, grown, OLD, NEW, response_map(OLD, NEW, spectra(OLD), seen), seen)
    with torch.no_grad():
        before, after = trained(images(OLD)), grown(images(NEW))
    middle = before.mean(0)
    cosines = torch.nn.functional.cosine_similarity(before - middle, after - middle)
    assert cosines.median() > 0.98
    own = {"projection": 1, "inflate": 1, "wavelength": 2, "attention": 5}
    assert len(names) == own[stem]
    fresh, old = grown.state_dict(), trained.state_dict()
    assert all(torch.equal(fresh[k], old[k]) for k in old if k not in names)


def test_attention_gets_hidden_units_without_effect() -> None:
    torch.manual_seed(0)
    config = TinyConfig(stem="attention")
    old_nm, new_nm = np.linspace(350, 800, 20), np.linspace(350, 800, 408)
    trained, grown = build_encoder(config, old_nm), build_encoder(config, new_nm)
    torch.nn.init.normal_(trained.backbone.stages.attention.excite.weight)
    grow_weights(trained, grown, old_nm, new_nm, interpolation_map(old_nm, new_nm))
    excite = grown.backbone.stages.attention.excite
    assert excite.weight.shape == (408, 25)
    assert torch.count_nonzero(excite.weight[:, 4:]) == 0
    old = trained.backbone.stages.attention.excite.weight
    torch.testing.assert_close(excite.weight[[0, 407], :4], old[[0, 19]])
    # and back: the four units with an effect are kept
    again = build_encoder(config, old_nm)
    grow_weights(grown, again, new_nm, old_nm, interpolation_map(new_nm, old_nm))
    assert (again.backbone.stages.attention.excite.weight.norm(dim=0) > 0).all()


def test_without_spectra_a_wavelength_stem_stays_as_it_is() -> None:
    config = TinyConfig(stem="wavelength")
    trained, grown = build_encoder(config, OLD), build_encoder(config, NEW)
    assert not grow_weights(trained, grown, OLD, NEW, interpolation_map(OLD, NEW))
    for one, other in zip(trained.parameters(), grown.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (TinyConfig(), ResNetConfig(), "not of this model: backbone.stages.stem.conv1"),
        (TinyConfig(stem_channels=8), TinyConfig(), "has shape (64, 8, 3, 3), not (64, 32, 3, 3)"),
        (TinyConfig(stem="inflate"), TinyConfig(), "no weight 'projection.weight' for 9 bands"),
        (TinyConfig(), TinyConfig(stem="wavelength"), "has no stem=wavelength"),
        (TinyConfig(stem="wavelength"), TinyConfig(), "no weight 'projection.weight' for 9 bands"),
    ],
)
def test_another_model_is_refused(before: TinyConfig, now: TinyConfig, text: str) -> None:
    trained, fresh = build_encoder(before, OLD), build_encoder(now, NEW)
    with pytest.raises(ModelError) as error:
        grow_weights(trained, fresh, OLD, NEW, interpolation_map(OLD, NEW), spectra(NEW))
    assert text in str(error.value)
