"""Backbones: a sequence of stages that ends in a feature map."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyperspec.models.config import EncoderConfig, ResNetConfig, TinyConfig
from hyperspec.models.norms import norm_layer, running_statistics_kept
from hyperspec.models.stems import inflate_kernels
from hyperspec.models.weights import load_state, read_weights
from hyperspec.spectra.errors import ModelError

TINY_WIDTHS = (64, 64, 128)


class Backbone(nn.Module):
    """Stages applied in order, each optionally recomputed in the backward pass.

    Args:
        stages: Named stages; the first takes ``in_channels``, the last gives ``num_features``.
        in_channels: Channels of the input.
        num_features: F, channels of the feature map.
        checkpoint: Keep only the stages' inputs for the backward pass and compute the rest again
            (Chen et al. 2016): about a third more time for a fraction of the memory. Gradients
            and BatchNorm's running statistics are the same.
    """

    def __init__(
        self,
        stages: OrderedDict[str, nn.Module],
        in_channels: int,
        num_features: int,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(stages)
        self.in_channels, self.num_features = in_channels, num_features
        self.checkpoint = checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map: ``(B, in_channels, H, W)`` to ``(B, F, h, w)``."""
        for stage in self.stages:
            x = _replayed(stage, x) if self.checkpoint and torch.is_grad_enabled() else stage(x)
        return x

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the mean over the plane: ``(B, F, h, w)`` to ``(B, F)``."""
        return feature_map.mean(dim=(2, 3))


def _replayed(stage: nn.Module, x: Tensor) -> Tensor:
    """Run a stage that the backward pass computes again, with the same random state."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), running_statistics_kept(stage)

    result: Tensor = checkpoint(stage, x, use_reentrant=False, context_fn=contexts)
    return result


def build_backbone(config: EncoderConfig, wavelengths_nm: ArrayLike, checkpoint: bool) -> Backbone:
    """Build a backbone whose first convolution takes channels at given wavelengths.

    Args:
        config: The model option.
        wavelengths_nm: Centres of the input channels, nanometres, shape ``(channels,)``; they
            decide what a pretrained first convolution starts with.
        checkpoint: Recompute stages in the backward pass.

    Raises:
        ModelError: If the option is unknown, or its weights cannot be read or do not fit.
    """
    if isinstance(config, TinyConfig):
        return _tiny(config, torch.as_tensor(wavelengths_nm).numel(), checkpoint)
    if isinstance(config, ResNetConfig):
        return _resnet(config, wavelengths_nm, checkpoint)
    raise ModelError(
        f"model.name={config.name} ({type(config).__name__}) is not known: choose "
        f"{', '.join(TinyConfig.names + ResNetConfig.names)}."
    )


def _tiny(config: TinyConfig, in_channels: int, checkpoint: bool) -> Backbone:
    """Build three 3x3 convolutions of stride 2: 32 px give a map of 4 x 4."""
    norm = norm_layer(config.norm)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    width = in_channels
    for number, wider in enumerate(TINY_WIDTHS, 1):
        convolution = nn.Conv2d(width, wider, 3, stride=2, padding=1, bias=False)
        stages[f"conv{number}"] = nn.Sequential(convolution, norm(wider), nn.ReLU(inplace=True))
        width = wider
    return Backbone(stages, in_channels, width, checkpoint)


def _resnet(config: ResNetConfig, wavelengths_nm: ArrayLike, checkpoint: bool) -> Backbone:
    from torchvision.models import get_model

    net = get_model(config.name, weights=None, norm_layer=norm_layer(config.norm))
    num_features = int(net.fc.in_features)
    net.fc = nn.Identity()  # the 1000 classes of ImageNet
    if config.weights is not None:
        state = read_weights(config.name, config.weights)
        state.pop("fc.weight", None)
        state.pop("fc.bias", None)
        if config.norm == "group":
            # Scale and shift are taken over; GroupNorm keeps no statistics.
            state = {k: v for k, v in state.items() if not k.endswith(_STATISTICS)}
        load_state(net, state, config.weights)
    in_channels = torch.as_tensor(wavelengths_nm).numel()
    net.conv1 = _widened(net.conv1, wavelengths_nm, pretrained=config.weights is not None)
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(
            OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool)
        ),
        layer1=net.layer1,
        layer2=net.layer2,
        layer3=net.layer3,
        layer4=net.layer4,
    )
    return Backbone(stages, in_channels, num_features, checkpoint)


_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def _widened(rgb: nn.Conv2d, wavelengths_nm: ArrayLike, *, pretrained: bool) -> nn.Conv2d:
    """Return a first convolution for the channels at hand, from pretrained kernels or random."""
    wide = nn.Conv2d(
        torch.as_tensor(wavelengths_nm).numel(),
        rgb.out_channels,
        kernel_size=(rgb.kernel_size[0], rgb.kernel_size[1]),
        stride=(rgb.stride[0], rgb.stride[1]),
        padding=(int(rgb.padding[0]), int(rgb.padding[1])),
        bias=False,
    )
    if pretrained:
        wide.weight.data = inflate_kernels(rgb.weight.data, wavelengths_nm)
    else:
        nn.init.kaiming_normal_(wide.weight, mode="fan_out", nonlinearity="relu")
    return wide
