"""Linear maps in front of an encoder's own stem: fixed projections of bands onto channels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class FixedProjection(nn.Module):
    """A 1x1 convolution with given weights that no training changes; it travels in checkpoints.

    Args:
        matrix: Weights, shape ``(n, C)``.
    """

    weight: Tensor

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(matrix, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of the bands: ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        # Differences of nearly equal bands are what components are made of: never in half.
        with torch.autocast(x.device.type, enabled=False):
            return functional.conv2d(x.float(), self.weight[:, :, None, None])

    def fold(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the map over bands of this projection, a factor per channel, and another map.

        Args:
            weight: A map over channels, shape ``(k, n)``.
            scale: Factor per channel before that map, shape ``(n,)``.

        Returns:
            ``weight @ diag(scale) @ matrix``, shape ``(k, C)``.
        """
        with torch.autocast(weight.device.type, enabled=False):
            folded: Tensor = (weight.flatten(1) * scale) @ self.weight
            return folded
