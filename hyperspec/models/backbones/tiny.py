"""A backbone for demos and tests."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from hyperspec.models.backbones.norms import norm_layer

TINY_WIDTHS = (64, 64, 128)


def tiny(wavelengths_nm: ArrayLike, norm: str) -> tuple[OrderedDict[str, nn.Module], int]:
    """Build three 3x3 convolutions of stride 2: 32 px give a map of 4 x 4."""
    layer = norm_layer(norm)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    width = int(np.size(wavelengths_nm))
    for number, wider in enumerate(TINY_WIDTHS, 1):
        convolution = nn.Conv2d(width, wider, 3, stride=2, padding=1, bias=False)
        stages[f"conv{number}"] = nn.Sequential(convolution, layer(wider), nn.ReLU(inplace=True))
        width = wider
    return stages, width
