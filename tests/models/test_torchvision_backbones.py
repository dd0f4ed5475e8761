"""Backbones cut from torchvision against torchvision's own networks with the same weights."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.losses import check_batch_independent
from hyperspec.models import ConvNextConfig, EncoderConfig, VitConfig, build_encoder
from hyperspec.models.backbones import torchvision as pretrained
from hyperspec.models.backbones.torchvision import PatchTokens
from hyperspec.utils.errors import ModelError

RGB_NM = [650.0, 550.0, 450.0]


def small_convnext(name: str = "", weights: None = None) -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    blocks = [CNBlockConfig(16, 24, 1), CNBlockConfig(24, 32, 1), CNBlockConfig(32, None, 1)]
    return ConvNeXt(blocks, stochastic_depth_prob=0.1)


def small_vit(name: str = "", weights: None = None) -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=32)


SMALL: dict[str, tuple[Callable[..., nn.Module], type[EncoderConfig], int]] = {
    "convnext": (small_convnext, ConvNextConfig, 32),
    "vit": (small_vit, VitConfig, 24),
}


def small(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[nn.Module, Callable[[list[float]], nn.Module], int]:
    """Return a small network of torchvision, and what cuts an encoder from its weights."""
    make, config, features = SMALL[kind]
    torch.manual_seed(0)
    net = make()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)  # torchvision starts class token and biases at zero
    state = net.state_dict()
    monkeypatch.setattr(torchvision.models, "get_model", make)
    monkeypatch.setattr(pretrained, "read_weights", lambda name, weights: dict(state))

    def cut(nm: list[float]) -> nn.Module:
        return build_encoder(config(stem="inflate", weights="some.pt"), nm).eval()  # type: ignore[call-arg]

    return net.eval(), cut, features


def test_convnext_gives_torchvisions_features(monkeypatch: pytest.MonkeyPatch) -> None:
    net, cut, features = small("convnext", monkeypatch)
    net.classifier[2] = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    encoder = cut(RGB_NM)
    assert encoder.feature_map(x).shape == (2, features, 4, 4)
    torch.testing.assert_close(encoder(x), net(x))


def test_vit_gives_torchvisions_patch_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    net, cut, features = small("vit", monkeypatch)
    x = torch.randn(2, 3, 64, 64)
    seen: list[Tensor] = []
    net.encoder.register_forward_hook(lambda module, args, output: seen.append(output))
    net(x)
    encoder = cut(RGB_NM)
    found = encoder.feature_map(x)
    assert found.shape == (2, features, 4, 4)
    torch.testing.assert_close(found[:, :, 1, 2], seen[0][:, 1 + 4 * 1 + 2])
    torch.testing.assert_close(encoder(x), seen[0][:, 1:].mean(1))


@pytest.mark.parametrize("kind", sorted(SMALL))
@pytest.mark.parametrize("num_bands", [1, 20])
def test_flat_spectra_keep_the_pretrained_response(
    kind: str, num_bands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cut, _ = small(kind, monkeypatch)
    grey = torch.rand(2, 1, 64, 64)
    wide = cut(list(np.linspace(350, 800, num_bands)))
    found = wide(grey.expand(-1, num_bands, -1, -1))
    torch.testing.assert_close(found, cut(RGB_NM)(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_random_starts_treat_items_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, config, features = SMALL[kind]
    monkeypatch.setattr(torchvision.models, "get_model", make)
    encoder = build_encoder(config(), np.linspace(350, 800, 9), checkpoint=True)
    check_batch_independent(encoder)
    encoder(torch.randn(2, 9, 64, 64)).square().sum().backward()
    used = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert used == []
    assert encoder.num_features == features


def test_positions_are_resized_to_other_images() -> None:
    grid = torch.arange(16.0).reshape(1, 16, 1).repeat(1, 1, 3)
    positions = nn.Parameter(torch.cat([torch.full((1, 1, 3), 7.0), grid], dim=1))
    tokens = PatchTokens(nn.Conv2d(2, 3, 16, 16), nn.Parameter(torch.zeros(1, 1, 3)), positions)
    assert tokens.positions_for(4) is positions
    smaller = tokens.positions_for(2)
    assert torch.equal(smaller[:, 0], torch.full((1, 3), 7.0))
    expected = functional.interpolate(
        torch.arange(16.0).reshape(1, 1, 4, 4), size=(2, 2), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(smaller[0, 1:, 0], expected.flatten())
    assert tokens(torch.randn(2, 2, 32, 32)).shape == (2, 5, 3)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (32, 48)])
def test_images_that_do_not_divide_into_patches_are_refused(height: int, width: int) -> None:
    tokens = PatchTokens(
        nn.Conv2d(2, 3, 16, 16),
        nn.Parameter(torch.zeros(1, 1, 3)),
        nn.Parameter(torch.zeros(1, 5, 3)),
    )
    with pytest.raises(ModelError, match=rf"multiple of 16 px, not {height} x {width}: set the si"):
        tokens(torch.randn(1, 2, height, width))


@pytest.mark.parametrize(
    ("config", "side"), [(ConvNextConfig(), 2), (VitConfig(), 4)], ids=["convnext_tiny", "vit_b_16"]
)
def test_the_real_ones_build_and_run(config: EncoderConfig, side: int) -> None:
    encoder = build_encoder(config, np.linspace(350, 800, 9)).eval()
    with torch.no_grad():
        found = encoder.feature_map(encoder.project(torch.randn(1, 9, 64, 64)))
    assert found.shape == (1, 768, side, side)
    assert torch.isfinite(encoder.pool(found)).all()
