"""The spectral part of a view: every operation is a map over bands, one per specimen.

Gain, tilt, curvature, shift, smoothing, erasing, dropping and mixing together are
``y = factor * (operators @ x) + offset`` per pixel, so that a linear stem can take them into its
weights. Positions and widths are nanometres, so that all are defined on any subset of bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

# Full width at half maximum of a Gaussian over its standard deviation.
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True)
class BandMap:
    """An affine map over bands per specimen: ``y = factor * (operators @ x) + offset``.

    Args:
        factor: Factor per band, shape ``(B, n)``, or None for 1.
        operators: Mixings of bands, each of shape ``(B, n, n)``, the first applied first.
        offset: Added reflectance, shape ``(B, n)``, or None for 0.
    """

    factor: Tensor | None = None
    operators: tuple[Tensor, ...] = ()
    offset: Tensor | None = None

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to images ``(B, n, H, W)``; an empty map returns ``x`` itself."""
        if self.operators:
            # Composed first: n² (n + pixels) products instead of 2 n² pixels.
            operator = reduce(lambda done, following: following @ done, self.operators)
            x = (operator.to(x.dtype) @ x.flatten(2)).view_as(x)
        factor = None if self.factor is None else self.factor.to(x.dtype)[..., None, None]
        if self.offset is None:
            return x if factor is None else x * factor
        offset = self.offset.to(x.dtype)[..., None, None]
        return x + offset if factor is None else torch.addcmul(offset, x, factor)

    def of(self, row: int, bands: slice | None = None) -> BandMap:
        """Return the map of one specimen: its operators, or what follows them on some bands."""
        if bands is None:
            return BandMap(operators=tuple(each[row : row + 1] for each in self.operators))
        factor, offset = (
            None if each is None else each[row % len(each), None, bands]
            for each in (self.factor, self.offset)
        )
        return BandMap(factor, (), offset)

    def then(self, scale: Tensor, offset: Tensor) -> BandMap:
        """Compose a map per band after this one: ``scale * y + offset``, each of shape ``(n,)``."""
        factor = scale[None] if self.factor is None else self.factor * scale
        added = offset[None] if self.offset is None else self.offset * scale + offset
        return BandMap(factor, self.operators, added)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compose a linear map ``(k, n)`` over bands after this one.

        Returns:
            Weight per specimen ``(B, k, n)`` (or ``(1, k, n)`` when nothing differs between
            specimens) and what it makes of the offset, ``(B, k)`` or None.
        """
        folded = weight[None]
        if self.factor is not None:
            folded = folded * self.factor.to(weight.dtype)[:, None, :]
        for operator in reversed(self.operators):
            folded = folded @ operator.to(weight.dtype)
        if self.offset is None:
            return folded, None
        return folded, self.offset.to(weight.dtype) @ weight.T


def axis_position(wavelengths_nm: Tensor, range_nm: tuple[float, float]) -> Tensor:
    """Return t = (nm - middle) / (half the range), from -1 to 1; 0 on an axis of no extent."""
    low, high = range_nm
    half = (high - low) / 2
    if half == 0:
        return torch.zeros_like(wavelengths_nm)
    return (wavelengths_nm - (high + low) / 2) / half


def illumination(t: Tensor, gain: Tensor, tilt: Tensor, curvature: Tensor) -> Tensor:
    """Return exp(gain + tilt t + curvature t²), shape ``(B, n)``.

    The position t on the axis, -1 to 1, has shape ``(n,)``, the logs of factor, slope and
    curvature have shape ``(B,)``.
    """
    return torch.exp(gain[:, None] + tilt[:, None] * t + curvature[:, None] * t**2)


def noise_profile(t: Tensor, low_end: float, high_end: float) -> Tensor:
    """Return the noise level relative to the middle of the axis, shape ``(n,)``.

    A silicon detector behind a grating is quiet over most of its range and gets steeply worse
    towards both ends; a cubic rise reaches the given factors at t = -1 and 1.
    """
    cubed = t.abs() ** 3
    return 1 + torch.where(t < 0, (low_end - 1) * cubed, (high_end - 1) * cubed)


def shift_operator(wavelengths_nm: Tensor, shift_nm: Tensor) -> Tensor:
    """Return the maps that move a spectrum along the axis, shape ``(B, n, n)``.

    The value at a band becomes the one interpolated linearly at (its nm - shift); beyond the
    outermost chosen bands their value is held. A single band stays as it is. Bands come in any
    order, ``(n,)``; shifts ``(B,)`` in nm are towards longer wavelengths.
    """
    count = len(wavelengths_nm)
    order = wavelengths_nm.argsort()
    centres = wavelengths_nm[order]
    wanted = (centres[None, :] - shift_nm[:, None]).clamp(centres[0], centres[-1])
    upper = torch.searchsorted(centres, wanted).clamp(1, max(count - 1, 1)).clamp(max=count - 1)
    lower = (upper - 1).clamp(min=0)
    gap = (centres[upper] - centres[lower]).clamp(min=1e-9)
    share = ((wanted - centres[lower]) / gap).clamp(0, 1)
    result = torch.zeros(len(shift_nm), count, count, device=share.device, dtype=share.dtype)
    columns = torch.arange(count, device=share.device)
    rows = order[columns].expand_as(upper)
    batch = torch.arange(len(shift_nm), device=share.device)[:, None].expand_as(upper)
    result.index_put_((batch, rows, order[lower]), 1 - share, accumulate=True)
    result.index_put_((batch, rows, order[upper]), share, accumulate=True)
    return result


def smooth_operator(wavelengths_nm: Tensor, fwhm_nm: Tensor) -> Tensor:
    """Return the maps that give each band a Gaussian response, shape ``(B, n, n)``.

    Weights are the response times the width that each band stands for, so that unevenly chosen
    bands count by the spectrum that they cover; rows sum to 1. Bands ``(n,)`` come in any order;
    full widths at half maximum ``(B,)`` are in nm, 0 changes nothing.
    """
    order = wavelengths_nm.argsort()
    centres = wavelengths_nm[order]
    width = torch.ones_like(centres)
    if len(centres) > 1:
        gaps = centres.diff()
        width[order] = (torch.cat([gaps[:1], gaps]) + torch.cat([gaps, gaps[-1:]])).clamp(min=1e-6)
    distance = wavelengths_nm[:, None] - wavelengths_nm[None, :]
    # Far below any spacing, a Gaussian of this width is the identity.
    sigma = (fwhm_nm / FWHM_PER_SIGMA).clamp(min=1e-3)[:, None, None]
    weights = torch.exp(-0.5 * (distance / sigma) ** 2) * width
    return weights / weights.sum(-1, keepdim=True)


def erase_keep(wavelengths_nm: Tensor, centre_nm: Tensor, width_nm: Tensor) -> Tensor:
    """Return False for bands within half a width of the centre, nanometres, shape ``(B, n)``.

    A window that would leave no band at all erases nothing, nor does one of width 0. Bands are
    ``(n,)``, centres and widths ``(B,)``.
    """
    inside = (wavelengths_nm - centre_nm[:, None]).abs() <= width_nm[:, None] / 2
    inside &= width_nm[:, None] > 0
    return ~inside | inside.all(1, keepdim=True)


def mean_spectra(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean spectrum over foreground pixels, shape ``(B, n)``; 0 without foreground.

    Images are ``(B, n, H, W)``, the mask is ``(B, 1, H, W)`` or None for every pixel.
    """
    if mask is None:
        return x.mean((2, 3))
    weights = mask.to(x.dtype).flatten(2).transpose(1, 2)
    return (x.flatten(2) @ weights)[..., 0] / weights.sum(1).clamp(min=1)
