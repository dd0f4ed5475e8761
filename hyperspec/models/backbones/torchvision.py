"""torchvision's networks cut into stages, with a first convolution for n channels.

Each builder returns named stages that end in a feature map, and its width F. A stage called
``after_pool`` acts on the pooled features instead.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.backbones.norms import norm_layer
from hyperspec.models.backbones.weights import load_state, read_weights
from hyperspec.models.stems.projection import widened
from hyperspec.utils.errors import ModelError

Stages = OrderedDict[str, nn.Module]

STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
CLASSIFIERS = ("fc.", "classifier.2.", "heads.head.")  # the 1000 classes of ImageNet


def resnet(
    wavelengths_nm: ArrayLike, name: str, weights: str | None, norm: str
) -> tuple[Stages, int]:
    """Cut a ResNet into its stem and four layers."""
    from torchvision.models import get_model

    net = get_model(name, weights=None, norm_layer=norm_layer(norm))
    num_features = int(net.fc.in_features)
    net.fc = nn.Identity()
    # GroupNorm takes over scale and shift; it keeps no statistics.
    _load(net, name, weights, without=STATISTICS if norm == "group" else ())
    conv = net.conv1
    # torchvision's start: fan-out mode, which does not depend on the input channels.
    std = math.sqrt(2 / (conv.out_channels * math.prod(conv.kernel_size)))
    conv = widened(conv, wavelengths_nm, pretrained=weights is not None, std=std)
    stem = nn.Sequential(OrderedDict(conv1=conv, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool))
    layers = {f"layer{i}": getattr(net, f"layer{i}") for i in range(1, 5)}
    return Stages(stem=stem, **layers), num_features


def convnext(wavelengths_nm: ArrayLike, name: str, weights: str | None) -> tuple[Stages, int]:
    """Cut a ConvNeXt into its stem, four stages and three reductions between them."""
    from torchvision.models import get_model

    net = get_model(name, weights=None)
    num_features = int(net.classifier[2].in_features)
    net.classifier[2] = nn.Identity()
    _load(net, name, weights)
    net.features[0][0] = widened(
        net.features[0][0], wavelengths_nm, pretrained=weights is not None, std=0.02
    )
    # LayerNorm over channels of a (B, F) tensor is what LayerNorm2d does on a 1 x 1 map.
    norm = net.classifier[0]
    after_pool = nn.LayerNorm(num_features, eps=norm.eps)
    after_pool.weight, after_pool.bias = norm.weight, norm.bias
    stages = Stages((f"features{i}", stage) for i, stage in enumerate(net.features))
    stages["after_pool"] = after_pool
    return stages, num_features


def vit(wavelengths_nm: ArrayLike, name: str, weights: str | None) -> tuple[Stages, int]:
    """Cut a vision transformer into patches, encoder layers and the map of its patch tokens."""
    from torchvision.models import get_model

    net = get_model(name, weights=None)
    num_features = int(net.hidden_dim)
    net.heads = nn.Identity()
    _load(net, name, weights)
    pixels = int(np.size(wavelengths_nm)) * net.patch_size**2
    net.conv_proj = widened(
        net.conv_proj,
        wavelengths_nm,
        pretrained=weights is not None,
        std=math.sqrt(1 / pixels),  # torchvision's start: fan-in mode
    )
    stages = Stages(
        patches=PatchTokens(net.conv_proj, net.class_token, net.encoder.pos_embedding),
        **dict(net.encoder.layers.named_children()),
    )
    stages["map"] = TokenMap(net.encoder.ln)
    return stages, num_features


class PatchTokens(nn.Module):
    """Patches of an image as tokens, with position embeddings for any square size.

    The class token is ``(1, 1, F)``; embeddings of class token and patches, ``(1, 1 + side², F)``,
    are resized by bicubic interpolation to other numbers of patches.
    """

    def __init__(
        self, convolution: nn.Conv2d, class_token: nn.Parameter, positions: nn.Parameter
    ) -> None:
        super().__init__()
        self.convolution, self.class_token, self.positions = convolution, class_token, positions
        self.patch = int(convolution.kernel_size[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens: ``(B, k, S, S)`` to ``(B, 1 + (S / patch)², F)``.

        Raises:
            ModelError: If the image is not square or its side no multiple of the patch.
        """
        height, width = x.shape[2:]
        if height != width or height % self.patch:
            raise ModelError(
                f"A vision transformer takes square images whose side is a multiple of "
                f"{self.patch} px, not {height} x {width}: set the size of the views to such a "
                "number, or take another model."
            )
        tokens = self.convolution(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1)
        return tokens + self.positions_for(height // self.patch)

    def positions_for(self, side: int) -> Tensor:
        """Return position embeddings for ``side`` x ``side`` patches, ``(1, 1 + side², F)``."""
        own, patches = self.positions[:, :1], self.positions[:, 1:]
        trained = math.isqrt(patches.shape[1])
        if side == trained:
            return self.positions
        grid = patches.transpose(1, 2).reshape(1, -1, trained, trained)
        grid = functional.interpolate(grid, size=(side, side), mode="bicubic", antialias=True)
        return torch.cat([own, grid.flatten(2).transpose(1, 2)], dim=1)


class TokenMap(nn.Module):
    """Patch tokens as a feature map: ``(B, 1 + side², F)`` to ``(B, F, side, side)``."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise, leave the class token out, and arrange the others in the plane."""
        patches: Tensor = self.norm(tokens)[:, 1:]
        side = math.isqrt(patches.shape[1])
        return patches.transpose(1, 2).reshape(len(patches), -1, side, side)


def _load(net: nn.Module, name: str, weights: str | None, without: tuple[str, ...] = ()) -> None:
    """Load weights, if any, less the classifier and keys with the given endings."""
    if weights is None:
        return
    state = read_weights(name, weights)
    kept = {
        key: value
        for key, value in state.items()
        if not key.startswith(CLASSIFIERS) and not key.endswith(without)
    }
    load_state(net, kept, weights)
