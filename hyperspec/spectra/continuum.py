"""Continuum removal: the depth of a spectrum under its upper convex hull."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.spectra.errors import AxisError
from hyperspec.spectra.pixelwise import Pixelwise, divide


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
    """Return the smallest concave function above each spectrum, at its bands.

    From the whole axis down to single bands, each block is cut in two halves, and the hull's edge
    that crosses the cut (the bridge) is laid over the bands below it; the halves then go on alone.
    That takes log2(n) rounds on all spectra at once, where the usual scan takes n.

    Args:
        position: Ascending band positions, shape ``(n,)``.
        spectra: Values from 0 to 1, shape ``(P, n)``.
    """
    num_spectra, num_bands = spectra.shape
    if num_bands < 3:
        return spectra
    size = 1 << (num_bands - 1).bit_length()
    # The padding falls four times as steeply as any two bands can, so that the edge to it starts
    # at the last band and covers none.
    step = torch.diff(position).amin()
    steps = torch.arange(1, size - num_bands + 1, device=position.device, dtype=position.dtype)
    position = torch.cat([position, position[-1] + step * steps])
    hull = torch.cat([spectra, (-4 * steps).expand(num_spectra, -1)], dim=1)
    while size > 2:
        hull = _lay_bridges(position.view(-1, size), hull.view(num_spectra, -1, size))
        size //= 2
    return torch.maximum(hull.view(num_spectra, -1)[:, :num_bands], spectra)


def _lay_bridges(position: Tensor, values: Tensor) -> Tensor:
    """Lay the bridge over the middle of every block: positions (blocks, s), values (P, blocks, s).

    From a point left of the cut, the steepest edge to the right; from its end, the flattest edge
    back to the left; and again until neither moves: all points then lie below that edge.
    """
    half = position.shape[-1] // 2
    position = position.expand_as(values)
    left_x, right_x = position[..., :half], position[..., half:]
    left_y, right_y = values[..., :half], values[..., half:]
    start = torch.full_like(left_y[..., :1], half - 1, dtype=torch.long)
    end = torch.full_like(start, -1)
    for _ in range(2 * half):
        x, y = left_x.gather(-1, start), left_y.gather(-1, start)
        new_end = ((right_y - y) / (right_x - x)).argmax(-1, keepdim=True)
        x, y = right_x.gather(-1, new_end), right_y.gather(-1, new_end)
        new_start = ((y - left_y) / (x - left_x)).argmin(-1, keepdim=True)
        settled = torch.equal(new_start, start) and torch.equal(new_end, end)
        start, end = new_start, new_end
        if settled:
            break
    end = end + half
    x, y = position.gather(-1, start), values.gather(-1, start)
    slope = (values.gather(-1, end) - y) / (position.gather(-1, end) - x)
    bands = torch.arange(2 * half, device=values.device)
    return torch.where((bands > start) & (bands < end), y + slope * (position - x), values)
