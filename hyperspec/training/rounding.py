"""Whether reflectance may be shortened to a 16-bit type before it is normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperspec.models.stems.concrete import FixedProjection
from hyperspec.transforms.augment import Views
from hyperspec.transforms.normalisation.pixelwise import Normalisation

MOST_ROUNDING = 1 / 8  # of a channel's standard deviation
_ROOM = 16.0  # below the largest number of a short type: factors of the views, and sums


@dataclass(frozen=True)
class Rounding:
    """How rounding of reflectance grows on its way to normalised channels, at most.

    A band that is standardised: by mean over deviation, so that what is left of a nearly constant
    one is rounding alone. A channel that sums up bands: by the root of the summed squares.

    Args:
        growth: A relative rounding error of reflectance in units of the channels; 0 without a
            linear normalisation.
        largest: The largest factor on a band.
    """

    growth: float = 0.0
    largest: float = 0.0

    @classmethod
    def of(
        cls, normalisation: Normalisation, reduction: FixedProjection | None, views: Views
    ) -> Rounding:
        """Find it for the parts of a module."""
        affine = normalisation.per_band_affine
        if affine is None:
            return cls()
        scale = affine[0].detach().cpu()
        factors = torch.diag(scale)
        if reduction is not None:
            factors = scale[:, None] * reduction.weight.cpu()
        grown = (factors * views.fill.cpu()).norm(dim=1).max()
        return cls(float(grown), float(factors.abs().max()))

    def bears(self, dtype: torch.dtype) -> bool:
        """Say whether a short type keeps enough digits, and room for the products."""
        limits = torch.finfo(dtype)
        small = self.growth * limits.eps / 2 <= MOST_ROUNDING
        return small and self.largest * _ROOM <= limits.max
