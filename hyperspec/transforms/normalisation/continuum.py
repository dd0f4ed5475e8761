"""Continuum removal: the depth of a spectrum under its upper convex hull."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.transforms.normalisation.pixelwise import Pixelwise, divide
from hyperspec.utils.errors import AxisError


class ContinuumRemoval(Pixelwise):
    """Band depth: 1 - reflectance / upper convex hull over nm, 0 to 1.

    Negative reflectance, which only noise can give, counts as 0. A constant spectrum, and any
    spectrum of one or two bands, becomes zeros; so does a spectrum of zeros.

    Args:
        wavelengths_nm: Band centres in nanometres, distinct, any order, shape ``(n,)``.

    Raises:
        AxisError: If two bands have the same centre: the hull is a function of nm.

    Source: Clark, Roush 1984, "Reflectance spectroscopy: quantitative analysis techniques for
        remote sensing applications" (band depth, eq. 32).
    """

    def __init__(self, wavelengths_nm: NDArray[np.float64]) -> None:
        super().__init__()
        order = np.argsort(wavelengths_nm)
        centres = wavelengths_nm[order]
        twins = np.flatnonzero(np.diff(centres) == 0)
        if twins.size:
            raise AxisError(
                f"Continuum removal needs distinct band centres, but two selected bands lie at "
                f"{centres[twins[0]]:.2f} nm. Leave one out, or take another normalisation."
            )
        self.order: Tensor
        self.inverse: Tensor
        self.position: Tensor
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("inverse", torch.tensor(np.argsort(order)))
        # 0 to 1 over the axis: the differences of large nm would lose digits in float32.
        span = max(float(centres[-1] - centres[0]), 1e-9)
        self.register_buffer(
            "position", torch.tensor((centres - centres[0]) / span, dtype=torch.float32)
        )

    def normalise(self, x: Tensor) -> Tensor:
        """Compute band depths along dimension 1; see :class:`Pixelwise`."""
        x = x.clamp_min(0)
        spectra = x.movedim(1, -1)[..., self.order]
        largest = spectra.amax(dim=-1, keepdim=True)
        scaled = spectra / torch.where(largest > 0, largest, 1.0)
        hull = upper_hull(self.position.to(x.dtype), scaled.reshape(-1, len(self.position)))
        hull = (hull.view_as(spectra) * largest)[..., self.inverse].movedim(-1, 1)
        return divide(hull - x, hull, x).clamp(0, 1)


def upper_hull(position: Tensor, spectra: Tensor) -> Tensor:
    """Return the smallest concave function above each spectrum ``(P, n)``, at its bands.

    Andrew's scan from the first to the last band, in ascending positions ``(n,)``, on all spectra
    at once. Each band remembers the hull's vertex before it; those that a later band puts below an
    edge are skipped.
    """
    values = spectra.T.contiguous()  # (n, P): each step of the scan reads rows
    previous = _scan(position, values)
    hull = values.clone()
    end = torch.full_like(previous[0], len(position) - 1)
    everyone = torch.arange(spectra.shape[0], device=spectra.device)
    for band in range(len(position) - 2, 0, -1):
        start = previous[end, everyone]
        end = torch.where(start == band, band, end)
        start = previous[end, everyone]
        share = (position[band] - position[start]) / (position[end] - position[start])
        edge = torch.lerp(values[start, everyone], values[end, everyone], share)
        hull[band] = torch.where(end == band, values[band], edge)
    return torch.maximum(hull, values).T


def _scan(position: Tensor, values: Tensor) -> Tensor:
    """Return each band's vertex before it on the hull of the bands up to it, shape ``(n, P)``.

    Every spectrum is at a band of its own: a step takes one vertex off its hull, or goes on to its
    next band. n - 1 bands are gone to, and n - 2 vertices taken off at most, so that no step needs
    to look whether all have come to their end, for which the host would wait on a GPU.
    """
    count, pixels = values.shape
    # One more row: those that are done write there.
    previous = values.new_full((count + 1, pixels), -1, dtype=torch.long)
    values, position = torch.cat([values, values[-1:]]), torch.cat([position, position[-1:]])
    last = torch.zeros_like(previous[0])
    band = torch.ones_like(last)
    for _ in range(2 * count - 3):
        before = previous.gather(0, last[None])[0]
        start = before.clamp(min=0)
        base = values.gather(0, start[None])[0]
        rise = values.gather(0, last[None])[0] - base
        rise = rise * (position[band] - position[start])
        chord = values.gather(0, band[None])[0] - base
        chord = chord * (position[last] - position[start])
        below = (before >= 0) & (rise <= chord) & (band < count)
        previous.scatter_(0, band[None], last[None])  # holds once the band is left
        last = torch.where(below, before, band.clamp(max=count - 1))
        band = torch.where(below, band, (band + 1).clamp(max=count))
    return previous[:count]
