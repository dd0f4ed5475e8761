"""A stem with one projection per window of wavelengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.stems.projection import Projection
from hyperspec.models.stems.wavelength import WavelengthProjection


class WindowProjection(nn.Module):
    """One 1x1 projection per window, side by side: n bands to W times k channels.

    As a matrix it has a block per window and is 0 elsewhere, so that everything spatial commutes
    with it, and a normalisation folds into it, as with any linear stem.

    Args:
        projections: One per window for its own bands, or a single generator of weights for all
            bands, which every window shares.
        windows: Places of each window's bands.
        num_bands: n.
    """

    def __init__(
        self, projections: Sequence[nn.Module], windows: Sequence[Sequence[int]], num_bands: int
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)
        self.windows, self.num_bands = [list(places) for places in windows], num_bands

    @property
    def weight(self) -> Tensor:
        """The block matrix, shape ``(W k, n)``."""
        rows = []
        for number, places in enumerate(self.windows):
            projection = self.projections[number % len(self.projections)]
            if len(self.projections) == 1:
                assert isinstance(projection, WavelengthProjection), "only its weights fit any band"
                block = projection.generated(projection.features[places])
            else:
                assert isinstance(projection, Projection | WavelengthProjection)
                block = projection.weight
            index = torch.tensor(places, device=block.device)
            rows.append(block.new_zeros(len(block), self.num_bands).index_copy(1, index, block))
        return torch.cat(rows)

    def forward(self, x: Tensor) -> Tensor:
        """Project bands to channels: ``(B, n, H, W)`` to ``(B, W k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])
