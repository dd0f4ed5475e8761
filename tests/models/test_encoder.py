from pathlib import Path

import numpy as np
import pytest
import torch
from tolerance import rounding
from torch import Tensor, nn

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.losses import NtXent, check_batch_independent, micro_batched
from hyperspec.models import (
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
    build_encoder,
    build_head,
)
from hyperspec.models.backbones.backbone import build_backbone
from hyperspec.utils.errors import ConfigError, ModelError

NM = np.linspace(348.4, 809.6, 12)


def torchvision_resnet18(seed: int = 0) -> nn.Module:
    """A network whose BatchNorms have statistics of their own, as pretrained ones have."""
    from torchvision.models import resnet18

    torch.manual_seed(seed)
    net = resnet18()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save(torchvision_resnet18().state_dict(), path)
    return str(path)


@pytest.mark.parametrize("num_bands", [1, 3, 10, 408])
@pytest.mark.parametrize("stem", ["projection", "inflate"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_tiny_shapes(num_bands: int, stem: str, norm: str) -> None:
    encoder = build_encoder(TinyConfig(stem=stem, norm=norm), np.linspace(350, 800, num_bands))
    x = torch.randn(2, num_bands, 32, 32)
    channels = 32 if stem == "projection" else num_bands
    assert encoder.projects == (stem == "projection")
    assert encoder.num_bands == num_bands
    assert encoder.project(x).shape == (2, channels, 32, 32)
    assert encoder.feature_map(encoder.project(x)).shape == (2, 128, 4, 4)
    assert encoder(x).shape == (2, encoder.num_features) == (2, 128)


def test_tiny_has_the_size_that_was_tried() -> None:
    backbone = build_encoder(TinyConfig(), NM).backbone
    weights = 9 * (32 * 64 + 64 * 64 + 64 * 128)
    assert sum(p.numel() for p in backbone.parameters()) == weights + 2 * (64 + 64 + 128)


def test_projection_weight_is_what_projects() -> None:
    encoder = build_encoder(TinyConfig(stem_channels=5), NM)
    x = torch.randn(2, 12, 4, 4)
    weight = encoder.projection_weight
    assert weight is not None
    torch.testing.assert_close(encoder.project(x), torch.einsum("kn,bnyx->bkyx", weight, x))
    plain = build_encoder(TinyConfig(stem="inflate"), NM)
    assert plain.projection_weight is None
    assert plain.project(x) is x


def test_halves_make_the_whole() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(TinyConfig(), NM).eval()
    x = torch.randn(2, 12, 16, 16)
    feature_map = encoder.feature_map(encoder.project(x))
    torch.testing.assert_close(encoder(x), feature_map.mean((2, 3)))
    torch.testing.assert_close(encoder(x), encoder.features(encoder.project(x)))


@pytest.mark.parametrize(
    ("config", "num_bands"),
    [
        *((TinyConfig(norm="batch"), n) for n in (1, 12, 31)),
        *((TinyConfig(stem="wavelength"), n) for n in (1, 12, 31)),
        # The large ones take ten seconds each.
        *((config, 12) for config in (ResNetConfig(), ConvNextConfig(), VitConfig())),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_a_widening_projection_composes_with_the_first_convolution(
    config: EncoderConfig, num_bands: int
) -> None:
    torch.manual_seed(0)
    nm = np.linspace(350, 800, num_bands)
    encoder = build_encoder(config, nm).double().train()
    assert encoder.composes
    x = torch.randn(4, num_bands, 32, 32, dtype=torch.float64)

    def run(pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        encoder.zero_grad()
        torch.manual_seed(1)  # of stochastic depth
        features = encoder.features(pixels)
        features.pow(3).sum().backward()
        return features.detach(), {
            name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None
        }

    (one, gradients), (other, others) = run(encoder.project(x)), run(x)
    torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(others[name], gradient, atol=1e-9 * scale, rtol=0, msg=name)
    assert "projection" in " ".join(others)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_composing_updates_running_statistics_and_survives_recomputation(checkpoint: bool) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(TinyConfig(norm="batch"), NM, checkpoint=checkpoint)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    x = torch.randn(4, 12, 16, 16)

    def run(project: bool) -> dict[str, Tensor]:
        encoder.load_state_dict(state)
        encoder.zero_grad()
        encoder.features(encoder.project(x) if project else x).square().sum().backward()
        found = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
        return found | {name: p.grad.clone() for name, p in encoder.named_parameters()}

    projected, composed = run(True), run(False)
    slopes = [name for name, _ in encoder.named_parameters()]
    atol = rounding(4 * 16 * 16, [projected[name] for name in slopes], dtype=torch.float32)
    for name, value in projected.items():
        near = {"atol": atol, "rtol": 0.0} if name in slopes else {"atol": 1e-5, "rtol": 1e-4}
        torch.testing.assert_close(composed[name], value, **near, msg=name)
    for name in ("running_mean", "running_var"):
        key = f"backbone.stages.conv1.1.{name}"
        assert not torch.equal(composed[key], state[key])
    assert composed["projection.weight"].any()


def test_a_compiled_backbone_keeps_its_channels() -> None:
    assert not build_encoder(TinyConfig(), np.linspace(350, 800, 32)).composes
    assert not build_encoder(TinyConfig(stem="inflate"), NM).composes
    encoder = build_encoder(TinyConfig(), NM)
    assert encoder.composes
    assert torch.equal(encoder.weight_before_warp, torch.eye(12))
    encoder.backbone.compile()
    assert not encoder.composes
    assert encoder.weight_before_warp is encoder.projection_weight


@pytest.mark.parametrize(
    ("name", "features"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)]
)
def test_resnets(name: str, features: int) -> None:
    encoder = build_encoder(ResNetConfig(name=name), NM).eval()
    with torch.no_grad():
        feature_map = encoder.feature_map(encoder.project(torch.randn(1, 12, 64, 64)))
    assert feature_map.shape == (1, features, 2, 2)
    assert encoder.num_features == features


def test_pretrained_rgb_gives_torchvisions_own_features(resnet18_file: str) -> None:
    config = ResNetConfig(name="resnet18", stem="inflate", weights=resnet18_file)
    encoder = build_encoder(config, [650.0, 550.0, 450.0]).eval()
    net = torchvision_resnet18().eval()
    net.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), net(x))


@pytest.mark.parametrize("num_bands", [1, 7, 50])
@pytest.mark.parametrize("stem", ["projection", "inflate"])
def test_a_flat_spectrum_gets_the_pretrained_response(
    stem: str, num_bands: int, resnet18_file: str
) -> None:
    """A grey picture, whatever the bands and the stem, has torchvision's own features."""
    config = ResNetConfig(name="resnet18", stem=stem, weights=resnet18_file)
    encoder = build_encoder(config, np.linspace(350, 800, num_bands)).eval().double()
    net = torchvision_resnet18().eval().double()
    net.fc = nn.Identity()
    grey = torch.rand(2, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        found = encoder(grey.expand(-1, num_bands, -1, -1))
        expected = net(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # weights are float32


def test_group_norm_takes_scale_and_shift_but_no_statistics(resnet18_file: str) -> None:
    config = ResNetConfig(name="resnet18", norm="group", weights=resnet18_file)
    norm = build_encoder(config, NM).backbone.stages.stem.bn1
    assert isinstance(norm, nn.GroupNorm)
    expected = torchvision_resnet18().bn1
    assert isinstance(expected, nn.BatchNorm2d)
    torch.testing.assert_close(norm.weight, expected.weight)


def test_weights_of_another_backbone_are_refused(resnet18_file: str) -> None:
    with pytest.raises(ModelError) as error:
        build_encoder(ResNetConfig(name="resnet34", weights=resnet18_file), NM)
    assert str(error.value).startswith(
        f"model.weights={resnet18_file} does not fit this backbone (96 missing: "
        "layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, layer1.2.bn1.running_mean, "
        "layer1.2.bn1.running_var ..."
    )


def test_default_goes_through_the_torch_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnet18_file: str
) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").write_bytes(Path(resnet18_file).read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    config = ResNetConfig(name="resnet18", weights="DEFAULT", norm="frozen")
    layer = build_encoder(config, NM).backbone.stages.layer1[0].conv1
    torch.testing.assert_close(layer.weight, torchvision_resnet18().layer1[0].conv1.weight)


def test_an_option_without_a_backbone_is_refused() -> None:
    class Other(EncoderConfig):
        names = ("other",)
        norms = ("batch",)

    with pytest.raises(ConfigError, match=r"model\.name=other \(Other\) has no build_stages"):
        build_backbone(Other(name="other"), NM, checkpoint=False)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("config", [TinyConfig(norm="batch"), ResNetConfig(name="resnet18")])
def test_checkpointing_changes_neither_gradients_nor_statistics(config: EncoderConfig) -> None:
    results = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        encoder = build_encoder(config, NM, checkpoint=checkpoint).double().train()
        x = torch.randn(2, 12, 32, 32, dtype=torch.float64)
        encoder(x).square().sum().backward()
        results.append((gradients(encoder), encoder.state_dict()))
    (plain, plain_state), (replayed, replayed_state) = results
    assert plain.keys() == replayed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(replayed[name], gradient, rtol=1e-10, atol=1e-12)
    for name, value in plain_state.items():
        torch.testing.assert_close(replayed_state[name], value, rtol=0, atol=0)


def test_checkpointing_keeps_less_for_the_backward_pass() -> None:
    def kept(checkpoint: bool) -> int:
        encoder = build_encoder(TinyConfig(), NM, checkpoint=checkpoint)
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            encoder(torch.randn(2, 12, 32, 32))
        return total

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.parametrize(
    ("option", "checkpoint"), [("tiny", False), ("tiny", True), ("frozen", True)]
)
def test_micro_batches_equal_the_full_batch(
    option: str, checkpoint: bool, resnet18_file: str
) -> None:
    """The real encoders and head, stage checkpoints inside micro-batches included."""
    config: EncoderConfig = (
        TinyConfig(norm="group")
        if option == "tiny"
        else ResNetConfig(name="resnet18", norm="frozen", weights=resnet18_file)
    )
    images = torch.randn(4, 12, 32, 32, dtype=torch.float64)
    results = []
    for micro_batch in (None, 2):
        torch.manual_seed(0)
        encoder = build_encoder(config, NM, checkpoint=checkpoint).double().train()
        head = build_head(HeadConfig(dim=8), encoder.num_features).double()
        check_batch_independent(encoder)

        def embed(rows: Tensor, encoder: nn.Module = encoder) -> Tensor:
            both = encoder(torch.cat([images[rows], images[rows].flip(3)]))
            return torch.stack(both.chunk(2), dim=1)

        features = micro_batched(embed, len(images), micro_batch)
        NtXent(0.1)(*head(features.transpose(0, 1).flatten(0, 1)).chunk(2)).backward()
        results.append(torch.cat([g.flatten() for g in gradients(encoder).values()]))
    expected, found = results
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_batchnorm_backbones_are_refused_in_micro_batches() -> None:
    encoder = build_encoder(ResNetConfig(name="resnet18"), NM)
    with pytest.raises(ConfigError, match=r"backbone\.stages\.stem\.bn1 is a BatchNorm2d in train"):
        check_batch_independent(encoder)
